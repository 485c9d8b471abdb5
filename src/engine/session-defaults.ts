/**
 * What RESET goes back to: a client may give settings of its own when it connects, and those are
 * its defaults, not the backend's. So when the backend changes hands, they change with it.
 *
 * They are set as a server sets what it finds in a startup packet. A setting that the session has
 * set itself keeps its value by that, any other one takes the new default.
 *
 * Source: Postgres 18, guc.c (set_config_with_handle), guc.h, elog.h.
 */
import { utf8 } from '../base/bytes.ts'
import type { Instance } from './instance.ts'

/** enum GucContext, of a superuser's startup packet; enum GucSource; enum GucAction. */
const PGC_SU_BACKEND = 3
const PGC_S_CLIENT = 9
const GUC_ACTION_SET = 0
const CHANGE_VALUE = 1
const NOT_BY_RELOAD = 0
/** Whoever refuses says so to nobody: LOG_SERVER_ONLY, and the log of statements is off. */
const LOG_SERVER_ONLY = 16
const STACK_ALIGNMENT = 16

/**
 * Gives settings other defaults, in a backend that is outside of a transaction. A value that is not
 * possible any more is passed over. Throws what wasm throws.
 */
export function setDefaults(
  instance: Pick<Instance, 'module' | 'functionOf'>,
  defaults: ReadonlyMap<string, string>,
): void {
  const stackPointer = instance.module.___stack_pointer
  const stackTop: unknown = stackPointer.value
  const push = (text: string): number => {
    const bytes = utf8(`${text}\0`)
    const room = Math.ceil(bytes.length / STACK_ALIGNMENT) * STACK_ALIGNMENT
    const at = Number(stackPointer.value) - room
    stackPointer.value = at
    instance.module.HEAPU8.set(bytes, at)
    return at
  }
  instance.functionOf('StartTransactionCommand')()
  for (const [name, value] of defaults) {
    instance.functionOf('set_config_option')(
      push(name),
      push(value),
      PGC_SU_BACKEND,
      PGC_S_CLIENT,
      GUC_ACTION_SET,
      CHANGE_VALUE,
      LOG_SERVER_ONLY,
      NOT_BY_RELOAD,
    )
    stackPointer.value = stackTop
  }
  instance.functionOf('CommitTransactionCommand')()
}
