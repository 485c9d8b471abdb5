/**
 * Takes the meaning from `SET temp_buffers`. In a server each session has buffers of its own for
 * temporary tables; here all sessions of a tenant share those of one backend, which are made once,
 * as many as are set at that moment. From then on Postgres refuses to set another number, whoever
 * says it, and it believes that there are as many buffers as are set: a session with the usual
 * number, after one with few, would fail for want of them (`53000`).
 *
 * So each session may set and show what it likes, as any other setting, and the buffers are as many
 * as Postgres has by default: the setting gets another variable, and what refuses a value is gone.
 *
 * Source: Postgres 18, guc_tables.c, struct config_int (guc_tables.h), variable.c
 * (check_temp_buffers), localbuf.c; pointers of 32 bits.
 */
import type { EmscriptenModule } from './emscripten.ts'
import { MemorySearch, onlyPlace } from './memory-search.ts'

const NAME = 'temp_buffers'
/** struct config_int: address of the variable, default, smallest and largest value, what checks. */
const VARIABLE_AT = 92
const DEFAULT_AT = 96
const SMALLEST_AT = 100
const CHECK_AT = 108
/** In buffers of 8 kB. */
const DEFAULT = 1024
const SMALLEST = 100

/** In the memory of an instance in which Postgres has not started. */
export function shareTemporaryBuffers(module: Pick<EmscriptenModule, 'HEAPU8' | '_malloc'>): void {
  const variable = module._malloc(4)
  const memory = new MemorySearch(module.HEAPU8)
  const setting = onlyPlace(
    `the setting ${NAME}`,
    memory
      .textsEqualTo(NAME)
      .flatMap((text) => memory.wordsEqualTo(text))
      .filter((at) => memory.word(at + DEFAULT_AT) === DEFAULT)
      .filter((at) => memory.word(at + SMALLEST_AT) === SMALLEST),
  )
  memory.setWord(memory.word(setting + VARIABLE_AT), DEFAULT)
  memory.setWord(setting + VARIABLE_AT, variable)
  memory.setWord(setting + CHECK_AT, 0)
}
