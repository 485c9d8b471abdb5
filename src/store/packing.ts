/**
 * Rows and commits as bytes: for the way between a home and a compute (a structured clone of a page
 * would copy the whole buffer that it is a view of, and weigh an object each), and for a journal.
 *
 *     rows     for each: key, length + 1, the bytes; 0 instead of a length: there is no such row
 *     commit   next inode or 0, number of deletions, for each: first key, number of keys; rows
 *
 * All numbers are varints. What comes from elsewhere may be anything: bytes that cannot be a list
 * are refused (STORE_CORRUPT) before anything is applied.
 */
import { concatBytes } from '../base/bytes.ts'
import type { InodeNo, PageKey } from '../base/ids.ts'
import { type Put, type StoreChanges, VALUE_BYTES_MAX } from './commit.ts'
import { INODES_MAX, type KeyRange } from './keys.ts'
import { corrupt, putVarint, VarintReader } from './varint.ts'

const KEYS_MAX = 2 ** 44
const NOTHING = new Uint8Array(0)

/** A row of a home; without data there is none of this key. */
export interface Row {
  readonly key: PageKey
  readonly data: Uint8Array | undefined
}

/** Collects rows. */
export class RowPacker {
  readonly #parts: Uint8Array[] = []
  byteLength = 0
  count = 0

  add({ key, data }: Row): void {
    const head: number[] = []
    putVarint(head, key)
    putVarint(head, data === undefined ? 0 : data.length + 1)
    this.#parts.push(Uint8Array.from(head), data ?? NOTHING)
    this.byteLength += head.length + (data?.length ?? 0)
    this.count++
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return concatBytes(this.#parts)
  }
}

/** What a {@link RowPacker} has packed. The data are views. Throws STORE_CORRUPT. */
export function unpackRows(bytes: Uint8Array): readonly Row[] {
  return readRows(bytes, 0)
}

/** Without its origin, which is told beside it. */
export function packCommit({
  puts,
  deletions,
  nextInode = 0 as InodeNo,
}: StoreChanges): Uint8Array {
  const head: number[] = []
  putVarint(head, nextInode)
  putVarint(head, deletions.length)
  for (const { from, to } of deletions) {
    putVarint(head, from)
    putVarint(head, to - from)
  }
  const rows = new RowPacker()
  for (const put of puts) rows.add(put)
  return concatBytes([Uint8Array.from(head), rows.bytes()])
}

/** What {@link packCommit} has packed; the data are copies. Throws STORE_CORRUPT. */
export function unpackCommit(bytes: Uint8Array): StoreChanges {
  const reader = new VarintReader(bytes)
  const nextInode = reader.next()
  if (nextInode > INODES_MAX) throw corrupt('a commit from elsewhere uses up all numbers of files')
  const deletions: KeyRange[] = []
  for (let left = reader.next(); left > 0; left--) {
    const from = reader.next()
    const to = from + reader.next()
    if (to <= from || to > KEYS_MAX)
      throw corrupt('a commit from elsewhere deletes an impossible range')
    deletions.push({ from: from as PageKey, to: to as PageKey })
  }
  const puts: Put[] = []
  const keys = new Set<PageKey>()
  for (const { key, data } of readRows(bytes, reader.at)) {
    if (keys.has(key)) throw corrupt('a commit from elsewhere puts a row twice')
    keys.add(key)
    if (data === undefined) throw corrupt('a commit from elsewhere puts nothing')
    // The store remembers small ones as they are: a view would keep the whole message.
    puts.push({ key, data: data.slice() })
  }
  const changes = { puts, deletions }
  return nextInode === 0 ? changes : { ...changes, nextInode: nextInode as InodeNo }
}

function readRows(bytes: Uint8Array, start: number): readonly Row[] {
  const rows: Row[] = []
  for (let at = start; at < bytes.length;) {
    const reader = new VarintReader(bytes, at)
    const key = reader.next()
    const length = reader.next() - 1
    const end = reader.at + Math.max(0, length)
    if (key >= KEYS_MAX || length > VALUE_BYTES_MAX || end > bytes.length) {
      throw corrupt('a row from elsewhere cannot be one')
    }
    const data = length < 0 ? undefined : bytes.subarray(reader.at, end)
    rows.push({ key: key as PageKey, data })
    at = end
  }
  return rows
}
