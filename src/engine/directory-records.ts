/**
 * Names of a folder as getdents64(2) writes them, in records of one length, as Emscripten has them.
 * Each start of Postgres reads a thousand names, of files most of which it never opens, so it is
 * written without an object for each of them.
 */
import { utf8 } from '../base/bytes.ts'

/** One name in a folder. */
export interface DirectoryEntry {
  readonly name: string
  readonly ino: number
  readonly isDirectory: boolean
}

/** `struct dirent` of musl: inode, where the next one is, length, type, name. */
export const RECORD_BYTES = 280
const NEXT_AT = 8
const LENGTH_AT = 16
const TYPE_AT = 18
const NAME_AT = 19
const NAME_BYTES_MAX = 255
const FOLDER = 4
const FILE = 8
const ASCII_MAX = 0x7f
const LOW = 2 ** 32

/** Writes entries [first, end) to `at`; the room for them is there. Returns where they end. */
export function writeRecords(
  heap: Uint8Array,
  at: number,
  entries: readonly DirectoryEntry[],
  { first, end }: { readonly first: number; readonly end: number },
): number {
  const view = new DataView(heap.buffer, heap.byteOffset)
  let record = at
  for (let index = first; index < end; index++, record += RECORD_BYTES) {
    const { name, ino, isDirectory } = entries[index] as DirectoryEntry
    setUint64(view, record, ino)
    setUint64(view, record + NEXT_AT, (index + 1) * RECORD_BYTES)
    view.setInt16(record + LENGTH_AT, RECORD_BYTES, true)
    heap[record + TYPE_AT] = isDirectory ? FOLDER : FILE
    writeName(heap, record + NAME_AT, name)
  }
  return record
}

/** A whole number, which a float holds exactly. */
function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % LOW, true)
  view.setUint32(at + 4, value / LOW, true)
}

/** With a zero behind it. Nearly all names are digits. */
function writeName(heap: Uint8Array, at: number, name: string): void {
  let length = 0
  while (length < name.length && length < NAME_BYTES_MAX && name.charCodeAt(length) <= ASCII_MAX) {
    heap[at + length] = name.charCodeAt(length)
    length++
  }
  if (length < name.length && length < NAME_BYTES_MAX) {
    const bytes = utf8(name).subarray(0, NAME_BYTES_MAX)
    heap.set(bytes, at)
    length = bytes.length
  }
  heap[at + length] = 0
}
