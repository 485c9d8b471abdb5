/**
 * Small WebAssembly modules, put together at run time from what is known only then: signatures and
 * addresses. As bytes, because an assembler is a megabyte and this is a page.
 *
 * Source: WebAssembly Core Specification 3.0, "Binary Format".
 */
import { utf8 } from '../base/bytes.ts'

/** Types of values. */
export const TYPE = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  funcref: 0x70,
  externref: 0x6f,
  exnref: 0x69,
} as const

/** Instructions. */
export const CODE = {
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  throwRef: 0x0a,
  end: 0x0b,
  branchIf: 0x0d,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  tailCallIndirect: 0x13,
  drop: 0x1a,
  tryTable: 0x1f,
  localGet: 0x20,
  localSet: 0x21,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Store: 0x36,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
} as const

/** Clauses of a `try_table`. */
export const CATCH = { one: 0, oneWithReference: 1 } as const
/** A block, or a clause, that leaves nothing behind. */
export const NOTHING = 0x40

const [FUNCTION_TYPE, MUTABLE, SHARED_WITH_MAXIMUM, HAS_MAXIMUM] = [0x60, 1, 3, 1] as const
const SECTION = {
  types: 1,
  imports: 2,
  functions: 3,
  tables: 4,
  globals: 6,
  exports: 7,
  code: 10,
} as const
const KIND = { function: 0, table: 1, memory: 2, global: 3, tag: 4 } as const

export type Bytes = readonly number[]

/** Limits of an imported memory, in pages. */
interface Memory {
  readonly minimumPages: number
  readonly maximumPages: number
  readonly shared: boolean
}

export function functionType(parameters: Bytes, results: Bytes): Bytes {
  return [FUNCTION_TYPE, ...vector(parameters), ...vector(results)]
}

/** What a module wants of `env`, by name. */
export const importing = {
  function: (name: string, type: number): Bytes => imported(name, KIND.function, unsigned(type)),
  table: (name: string): Bytes => imported(name, KIND.table, [TYPE.funcref, 0, 0]),
  global: (name: string, type: number): Bytes => imported(name, KIND.global, [type, MUTABLE]),
  tag: (name: string, type: number): Bytes => imported(name, KIND.tag, [0, ...unsigned(type)]),
  memory: (name: string, { minimumPages, maximumPages, shared }: Memory): Bytes =>
    imported(name, KIND.memory, [
      shared ? SHARED_WITH_MAXIMUM : HAS_MAXIMUM,
      ...unsigned(minimumPages),
      ...unsigned(maximumPages),
    ]),
} as const

export const exporting = {
  function: (name: string, index: number): Bytes => exported(name, KIND.function, index),
  table: (name: string, index: number): Bytes => exported(name, KIND.table, index),
  global: (name: string, index: number): Bytes => exported(name, KIND.global, index),
} as const

/** A global variable that begins with what `value` leaves. */
export function globalOf(type: number, value: Bytes): Bytes {
  return [type, MUTABLE, ...value, CODE.end]
}

/** A function: how many locals of each type it has beside its parameters, and what it does. */
export function functionOf(
  locals: readonly (readonly [count: number, type: number])[],
  lines: readonly Bytes[],
): Bytes {
  const body = [
    ...unsigned(locals.length),
    ...locals.flatMap(([count, type]) => [...unsigned(count), type]),
  ]
  return vector([...body, ...lines.flat(), CODE.end])
}

/** Parts of a module; each entry as the functions above make them. */
export interface ModuleParts {
  readonly types: readonly Bytes[]
  readonly imports?: readonly Bytes[]
  /** Types of the functions. */
  readonly functions: Bytes
  /** Entries of a table of the module's own. */
  readonly tableEntries?: number
  readonly globals?: readonly Bytes[]
  readonly exports: readonly Bytes[]
  readonly code: readonly Bytes[]
}

export function assemble(parts: ModuleParts): Uint8Array<ArrayBuffer> {
  const { types, imports = [], functions, tableEntries, globals = [], exports, code } = parts
  const tables = tableEntries === undefined ? [] : [[TYPE.funcref, 0, ...unsigned(tableEntries)]]
  const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  const bytes = [
    ...header,
    ...section(SECTION.types, types),
    ...section(SECTION.imports, imports),
    ...section(SECTION.functions, functions.map(unsigned)),
    ...section(SECTION.tables, tables),
    ...section(SECTION.globals, globals),
    ...section(SECTION.exports, exports),
    ...section(SECTION.code, code),
  ]
  return Uint8Array.from(bytes)
}

/** LEB128 of a number that is not negative. */
export function unsigned(value: number): Bytes {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

/** The same as the signed kind. */
export function signed(value: number): Bytes {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)]
}

function imported(name: string, kind: number, description: Bytes): Bytes {
  return [...text('env'), ...text(name), kind, ...description]
}

function exported(name: string, kind: number, index: number): Bytes {
  return [...text(name), kind, ...unsigned(index)]
}

function section(id: number, entries: readonly Bytes[]): Bytes {
  if (entries.length === 0) return []
  return [id, ...vector([...unsigned(entries.length), ...entries.flat()])]
}

function vector(bytes: Bytes): Bytes {
  return [...unsigned(bytes.length), ...bytes]
}

function text(name: string): Bytes {
  return vector([...utf8(name)])
}
