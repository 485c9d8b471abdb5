/**
 * Takes the meaning from `SET synchronous_commit = off`, which many programs say for speed. There
 * it means that a commit may stay in Postgres's memory until the WAL writer comes, within a second.
 * Here no WAL writer comes, and a slot's memory ends with each nap: what was acknowledged would be
 * lost without any crash. So the words stay allowed, and mean `local`: the commit is in the WAL
 * before it is acknowledged, as promise 1 demands, and the store's one fsync follows either way.
 *
 * Postgres keeps the words of the setting in a table of (name, value, hidden); it is found by its
 * names and changed in the pre-main image. Nothing else in that image may differ from stock.
 *
 * Source: guc_tables.c, synchronous_commit_options; xact.h, SyncCommitLevel.
 */
import { assert } from '../base/assert.ts'
import { utf8 } from '../base/bytes.ts'

/** The table as Postgres 18 has it. */
const OPTIONS: readonly (readonly [name: string, value: number])[] = [
  ['local', 1],
  ['remote_write', 2],
  ['remote_apply', 4],
  ['on', 3],
  ['off', 0],
  ['true', 3],
  ['false', 0],
  ['yes', 3],
  ['no', 0],
  ['1', 3],
  ['0', 0],
]
const OFF = 0
const LOCAL = 1
/** struct config_enum_entry: pointer, int, bool with padding. */
const ENTRY_BYTES = 12

/**
 * Makes the words for "off" mean `local`. The memory is that of an instance in which Postgres has
 * not started; an assertion fails if it is of a Postgres with another table.
 */
export function makeCommitsDurable(heap: Uint8Array): void {
  const view = new DataView(heap.buffer, heap.byteOffset, heap.byteLength)
  const tableAt = findTable(heap, view)
  for (const [index, [, value]] of OPTIONS.entries()) {
    if (value === OFF) view.setInt32(tableAt + index * ENTRY_BYTES + 4, LOCAL, true)
  }
}

function findTable(heap: Uint8Array, view: DataView): number {
  const found: number[] = []
  const last = heap.length - OPTIONS.length * ENTRY_BYTES
  for (let at = 0; at <= last; at += 4) {
    // The values first: comparing two numbers is cheaper than following a pointer.
    const fits = OPTIONS.every(
      ([name, value], index) =>
        view.getInt32(at + index * ENTRY_BYTES + 4, true) === value &&
        isText(heap, view.getUint32(at + index * ENTRY_BYTES, true), name),
    )
    if (fits) found.push(at)
  }
  assert(found.length === 1 && found[0], 'the module has one table of synchronous_commit')
  return found[0]
}

function isText(heap: Uint8Array, at: number, text: string): boolean {
  return utf8(`${text}\0`).every((byte, index) => heap[at + index] === byte)
}
