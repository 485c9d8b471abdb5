/**
 * What calls a function through its pointer and comes back if that ends in a longjmp(3), as
 * WebAssembly. Postgres calls whatever may raise an error that way, some twenty times per
 * statement. Emscripten has JavaScript for it (`invoke_iii` and its like, by signature), which
 * costs two changes of language per call, and keeps a running statement from being suspended
 * (`pausing.ts`).
 *
 * Two modules, because of the order of things: the engine's module wants these functions before its
 * own function table exists.
 *
 *     engine --import--> doors --own table--> calls --the engine's table--> the function
 */
import { assert } from '../base/assert.ts'
import {
  assemble,
  type Bytes,
  CATCH,
  CODE,
  exporting,
  functionOf,
  functionType,
  importing,
  NOTHING,
  signed,
  TYPE,
  unsigned,
} from './wasm-assembly.ts'

/** What `invoke_SIGNATURE` says of its result and its parameters, but for the pointer. */
const NAME = /^invoke_([vijfd])([ijfd]*)$/
const TYPES: Readonly<Record<string, number>> = {
  i: TYPE.i32,
  j: TYPE.i64,
  f: TYPE.f32,
  d: TYPE.f64,
}
/** A constant zero of each type. */
const ZERO: Readonly<Record<number, Bytes>> = {
  [TYPE.i32]: [CODE.i32Const, 0],
  [TYPE.i64]: [CODE.i64Const, 0],
  [TYPE.f32]: [CODE.f32Const, 0, 0, 0, 0],
  [TYPE.f64]: [CODE.f64Const, 0, 0, 0, 0, 0, 0, 0, 0],
}

/** The code for one set of names. */
export interface InvokeCode {
  readonly names: readonly string[]
  readonly doors: WebAssembly.Module
  readonly calls: WebAssembly.Module
}

/** What the calls work on. */
export interface InvokeHost {
  readonly table: WebAssembly.Table
  readonly stackPointer: WebAssembly.Global
  readonly setThrew: (threw: number, value: number) => void
  /** Whether it was thrown for a longjmp. */
  readonly isLongJump: (thrown: unknown) => boolean
}

/** The functions by name, and what gives them something to call. */
export interface Invokes {
  readonly functions: WebAssembly.Exports
  /** Once, before the first of them is called. */
  connect(host: InvokeHost): void
}

interface Signature {
  /** Without the pointer, which is the first parameter. */
  readonly parameters: Bytes
  readonly results: Bytes
}

/** JavaScript's exceptions as WebAssembly sees them; undefined where it cannot (before V8 13.7). */
export const javaScriptTag: object | undefined = (WebAssembly as { readonly JSTag?: object }).JSTag

/** Compiles the code. Needs {@link javaScriptTag}, and a runtime that compiles at run time. */
export function compileInvokes(
  names: readonly string[],
  compile: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module,
): InvokeCode {
  const signatures = names.map(signatureOf)
  return {
    names,
    doors: compile(assembleDoors(names, signatures)),
    calls: compile(assembleCalls(names, signatures)),
  }
}

/** Functions of one instance. */
export function openInvokes({ names, doors, calls }: InvokeCode): Invokes {
  const { exports: functions } = new WebAssembly.Instance(doors)
  return {
    functions,
    connect(host) {
      const env = { ...host, tag: javaScriptTag } as unknown as WebAssembly.ModuleImports
      const { exports: made } = new WebAssembly.Instance(calls, { env })
      const table = functions['table'] as WebAssembly.Table
      for (const [index, name] of names.entries()) table.set(index, made[name])
    },
  }
}

function signatureOf(name: string): Signature {
  const [, result = '', parameters = ''] = NAME.exec(name) ?? []
  assert(result !== '', `${name} tells a signature`)
  const types = (letters: string): Bytes =>
    Array.from(letters).flatMap((letter) => TYPES[letter] ?? [])
  return { parameters: types(parameters), results: types(result) }
}

function withPointer({ parameters, results }: Signature): Bytes {
  return functionType([TYPE.i32, ...parameters], results)
}

/** Each passes its parameters on to an entry of the module's own table. */
function assembleDoors(
  names: readonly string[],
  signatures: readonly Signature[],
): Uint8Array<ArrayBuffer> {
  return assemble({
    types: signatures.map(withPointer),
    functions: signatures.map((_, index) => index),
    tableEntries: names.length,
    exports: [
      exporting.table('table', 0),
      ...names.map((name, index) => exporting.function(name, index)),
    ],
    code: signatures.map(({ parameters }, index) => {
      const all = Array.from({ length: parameters.length + 1 }, (_, at) => at)
      return functionOf(
        [],
        [
          all.flatMap(localGet),
          [CODE.i32Const, ...signed(index)],
          [CODE.tailCallIndirect, ...unsigned(index), 0],
        ],
      )
    }),
  })
}

/** Of the imported functions and of the rest of what the calls use. */
const [SET_THREW, IS_LONG_JUMP, IMPORTED_FUNCTIONS] = [0, 1, 2] as const
const [STACK_POINTER, TAG, TABLE] = [0, 0, 0] as const

function assembleCalls(
  names: readonly string[],
  signatures: readonly Signature[],
): Uint8Array<ArrayBuffer> {
  const count = names.length
  // Behind those with the pointer and those without.
  const [setThrew, isLongJump, tag, caught] = [
    2 * count,
    2 * count + 1,
    2 * count + 2,
    2 * count + 3,
  ]
  return assemble({
    types: [
      ...signatures.map(withPointer),
      ...signatures.map(({ parameters, results }) => functionType(parameters, results)),
      functionType([TYPE.i32, TYPE.i32], []),
      functionType([TYPE.externref], [TYPE.i32]),
      functionType([TYPE.externref], []),
      functionType([], [TYPE.externref, TYPE.exnref]),
    ],
    imports: [
      importing.function('setThrew', setThrew ?? 0),
      importing.function('isLongJump', isLongJump ?? 0),
      importing.table('table'),
      importing.global('stackPointer', TYPE.i32),
      importing.tag('tag', tag ?? 0),
    ],
    functions: signatures.map((_, index) => index),
    exports: names.map((name, index) => exporting.function(name, IMPORTED_FUNCTIONS + index)),
    code: signatures.map((signature, index) =>
      callOf(signature, { inner: count + index, caught: caught ?? 0 }),
    ),
  })
}

/** @param types of what is called, and of the block that is left with what was thrown */
function callOf(
  { parameters, results }: Signature,
  types: { readonly inner: number; readonly caught: number },
): Bytes {
  const stack = parameters.length + 1
  const thrown = stack + 1
  const [result = NOTHING] = results
  const zero = results.flatMap((type) => ZERO[type] ?? [])
  return functionOf(
    [
      [1, TYPE.i32],
      [1, TYPE.exnref],
    ],
    [
      [CODE.globalGet, STACK_POINTER, ...localSet(stack)],
      [CODE.block, ...signed(types.caught)],
      [CODE.tryTable, result, 1, CATCH.oneWithReference, TAG, 0],
      parameters.flatMap((_, at) => localGet(at + 1)),
      [...localGet(0), CODE.callIndirect, ...unsigned(types.inner), TABLE],
      [CODE.end, CODE.return, CODE.end],
      // Here are what was thrown and a reference to the exception.
      localSet(thrown),
      [...localGet(stack), CODE.globalSet, STACK_POINTER],
      [CODE.call, IS_LONG_JUMP, CODE.if, NOTHING],
      [CODE.i32Const, 1, CODE.i32Const, 0, CODE.call, SET_THREW, ...zero, CODE.return, CODE.end],
      [...localGet(thrown), CODE.throwRef],
    ],
  )
}

function localGet(index: number): Bytes {
  return [CODE.localGet, ...unsigned(index)]
}

function localSet(index: number): Bytes {
  return [CODE.localSet, ...unsigned(index)]
}
