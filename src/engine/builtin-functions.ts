/**
 * Puts functions of ours in the place of some that SQL knows by their numbers. Postgres has them in
 * a table of what is built in; the images of an engine keep what is put there.
 *
 * Source: Postgres 18, fmgr.h (FunctionCallInfoBaseData), fmgrtab.h (FmgrBuiltin); pointers of 32
 * bits, so that an int8 is one.
 */
import { type MemorySearch, onlyPlace } from './memory-search.ts'

/** Object id in the catalogs, and name in C. */
export type BuiltinFunction = readonly [id: number, name: string]

/** struct FmgrBuiltin: id of the function, two words on, its name and what to call. */
const NAME_AT = 8
const CALL_AT = 12
/** struct FunctionCallInfoBaseData: the arguments, each a value and whether it is null. */
const ARGUMENTS_AT = 20
const ARGUMENT_BYTES = 8

/** Where the value of an argument stands in a call. */
export const argumentAt = (callAt: number, index: number): number =>
  callAt + ARGUMENTS_AT + index * ARGUMENT_BYTES

/**
 * To be done where Postgres has not started.
 * @param entry of the function table
 * @returns the entry that was called before
 */
export function replaceBuiltin(
  memory: MemorySearch,
  builtin: BuiltinFunction,
  entry: number,
): number {
  const at = placeOf(memory, builtin)
  const before = memory.word(at + CALL_AT)
  memory.setWord(at + CALL_AT, entry)
  return before
}

/** @returns its entry of the function table */
export function findBuiltin(memory: MemorySearch, builtin: BuiltinFunction): number {
  return memory.word(placeOf(memory, builtin) + CALL_AT)
}

function placeOf(memory: MemorySearch, [id, name]: BuiltinFunction): number {
  return onlyPlace(
    `the entry of ${name}`,
    memory
      .textsEqualTo(name)
      .flatMap((text) => memory.wordsEqualTo(text))
      .map((place) => place - NAME_AT)
      .filter((place) => memory.word(place) === id),
  )
}
