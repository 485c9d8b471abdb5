/**
 * What a store keeps of one file or directory, as the value of its record key. There is no table of
 * directory entries: a record names its own parent, so a rename is one record, and versions,
 * branches and garbage collection need not know what a file is.
 *
 * parent 0 means "not in the tree": a file of the template or of a lower layer that is gone here (a
 * whiteout), or, with a size, a file that was unlinked while still open (an orphan), to be swept by
 * whoever opens the store next.
 */
import { assert } from '../base/assert.ts'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import type { InodeNo } from '../base/ids.ts'
import { INODES_MAX } from './keys.ts'
import { VarintReader, corrupt, putVarint } from './varint.ts'

/** First byte of a record. */
const RECORD_KIND = 1

export interface InodeRecord {
  /** Type and permission bits, as in struct stat. */
  readonly mode: number
  readonly sizeBytes: number
  /** How many bytes of what lies below (lower layers, template) still show through. */
  readonly baseBytes: number
  /** Bytes per chunk; fixed for the life of the inode. */
  readonly chunkBytes: number
  readonly modifiedMs: number
  readonly parent: InodeNo | 0
  readonly name: string
}

export function encodeRecord(record: InodeRecord): Uint8Array<ArrayBuffer> {
  assert(record.baseBytes <= record.sizeBytes, 'nothing shows through past the end of a file')
  const out: number[] = [RECORD_KIND]
  putVarint(out, record.mode)
  putVarint(out, record.sizeBytes)
  putVarint(out, record.baseBytes)
  putVarint(out, record.chunkBytes)
  putVarint(out, Math.max(0, Math.floor(record.modifiedMs)))
  putVarint(out, record.parent)
  const name = utf8(record.name)
  const bytes = new Uint8Array(out.length + name.length)
  bytes.set(out)
  bytes.set(name, out.length)
  return bytes
}

/** Throws STORE_CORRUPT when the bytes cannot be a record. */
export function decodeRecord(bytes: Uint8Array): InodeRecord {
  if (bytes[0] !== RECORD_KIND) throw corrupt(`a file record is of the unknown kind ${bytes[0]}`)
  const reader = new VarintReader(bytes, 1)
  const mode = reader.next()
  const sizeBytes = reader.next()
  const baseBytes = reader.next()
  const chunkBytes = reader.next()
  const modifiedMs = reader.next()
  const parent = reader.next()
  if (chunkBytes === 0 || baseBytes > sizeBytes || parent >= INODES_MAX) {
    throw corrupt('a file record contradicts itself')
  }
  const name = fromUtf8(bytes.subarray(reader.at))
  return { mode, sizeBytes, baseBytes, chunkBytes, modifiedMs, parent: parent as InodeNo | 0, name }
}
