/**
 * What RESET goes back to: a client may give settings of its own when it connects, and those are
 * its defaults, not the backend's. So when the backend changes hands, they change with it.
 *
 * They are set as a server sets what it finds in a startup packet. A setting that the session has
 * set itself keeps its value by that, any other one takes the new default.
 *
 * What they are is read where Postgres has it: to ask `pg_settings` for one of them takes half a
 * millisecond, forty in a backend that has not run anything yet, and may be forbidden to a role.
 *
 * Source: Postgres 18, guc.c (set_config_with_handle, find_option, ShowAllGUCConfig), guc_funcs.c
 * (GetConfigOptionValues), guc.h, guc_tables.h, elog.h.
 */
import { assert } from '../base/assert.ts'
import { textAt, utf8 } from '../base/bytes.ts'
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

/** struct config_generic: flags, type; behind it, by type, what a setting goes back to. */
const FLAGS_AT = 20
const TYPE_AT = 24
/** GUC_NO_SHOW_ALL: it is not among those that are listed. */
const NOT_LISTED = 0x4
/** enum config_type, and where struct config_TYPE has its reset_val. */
const TYPE_BOOL = 0
const BOOL_AT = 112
const TYPE_INT = 1
const INT_AT = 120
const TYPE_REAL = 2
const REAL_AT = 136
const TYPE_STRING = 3
const STRING_AT = 112
const TYPE_ENUM = 4
const ENUM_AT = 116
/** struct config_enum: its table of struct config_enum_entry, which ends with no name. */
const ENUM_OPTIONS_AT = 100
const ENUM_OPTION_BYTES = 12
const ENUM_OPTION_VALUE_AT = 4
/** Of `%g`. */
const REAL_DIGITS = 6

/**
 * Gives settings other defaults, in a backend that is outside of a transaction. A value that is not
 * possible any more is passed over. Throws what wasm throws.
 */
export function setDefaults(
  instance: Pick<Instance, 'module' | 'functionOf'>,
  defaults: ReadonlyMap<string, string>,
): void {
  instance.functionOf('StartTransactionCommand')()
  for (const [name, value] of defaults) {
    withTexts(instance, [name, value], (nameAt, valueAt) =>
      instance.functionOf('set_config_option')(
        nameAt,
        valueAt,
        PGC_SU_BACKEND,
        PGC_S_CLIENT,
        GUC_ACTION_SET,
        CHANGE_VALUE,
        LOG_SERVER_ONLY,
        NOT_BY_RELOAD,
      ),
    )
  }
  instance.functionOf('CommitTransactionCommand')()
}

/** See {@link BackendSession.defaultOf}. Throws what wasm throws. */
export function defaultOf(
  instance: Pick<Instance, 'module' | 'functionOf' | 'word'>,
  name: string,
): string | undefined {
  const [MAKE_NONE, SAY_NOTHING] = [0, 1]
  const find = instance.functionOf('find_option')
  const setting = withTexts(instance, [name], (nameAt) =>
    Number(find(nameAt, MAKE_NONE, SAY_NOTHING, LOG_SERVER_ONLY)),
  )
  if (setting === 0 || (instance.word(setting + FLAGS_AT) & NOT_LISTED) !== 0) return undefined
  const heap = instance.module.HEAPU8
  const type = instance.word(setting + TYPE_AT)
  switch (type) {
    case TYPE_BOOL:
      return heap[setting + BOOL_AT] === 0 ? 'off' : 'on'
    case TYPE_INT:
      return String(instance.word(setting + INT_AT) | 0)
    case TYPE_REAL:
      return realText(new DataView(heap.buffer).getFloat64(setting + REAL_AT, true))
    case TYPE_STRING: {
      const at = instance.word(setting + STRING_AT)
      return at === 0 ? '' : textAt(heap, at)
    }
    case TYPE_ENUM: {
      const options = instance.word(setting + ENUM_OPTIONS_AT)
      return enumText(instance, options, instance.word(setting + ENUM_AT))
    }
    default:
      assert(false, `setting ${name} is of type ${type}`)
  }
}

/** As `%g` has it, in which `pg_settings` shows a number. No setting is without bounds. */
function realText(value: number): string {
  const [digits = '', exponent = ''] = value.toExponential(REAL_DIGITS - 1).split('e')
  const power = Number(exponent)
  if (power >= -4 && power < REAL_DIGITS) return String(Number(value.toPrecision(REAL_DIGITS)))
  const sign = power < 0 ? '-' : '+'
  return `${Number(digits)}e${sign}${String(Math.abs(power)).padStart(2, '0')}`
}

/** The first name of a value, as Postgres shows it. */
function enumText(
  instance: Pick<Instance, 'module' | 'word'>,
  options: number,
  value: number,
): string {
  for (let at = options; ; at += ENUM_OPTION_BYTES) {
    const nameAt = instance.word(at)
    assert(nameAt !== 0, 'a setting has one of its values')
    if (instance.word(at + ENUM_OPTION_VALUE_AT) !== value) continue
    return textAt(instance.module.HEAPU8, nameAt)
  }
}

/** Calls with texts on Postgres's stack, which are gone afterwards. */
function withTexts<Result>(
  { module }: Pick<Instance, 'module'>,
  texts: readonly string[],
  call: (...at: readonly number[]) => Result,
): Result {
  const stackPointer = module.___stack_pointer
  const stackTop: unknown = stackPointer.value
  const push = (text: string): number => {
    const bytes = utf8(`${text}\0`)
    const room = Math.ceil(bytes.length / STACK_ALIGNMENT) * STACK_ALIGNMENT
    const at = Number(stackPointer.value) - room
    stackPointer.value = at
    module.HEAPU8.set(bytes, at)
    return at
  }
  const result = call(...texts.map(push))
  stackPointer.value = stackTop
  return result
}
