/**
 * Many small files as one array of bytes: the files that a slot finds outside PGDATA beside those
 * of the stock bundle (patched side modules, extensions). Parsing copies nothing: every slot of a
 * process sees the same bytes, which may be shared between threads.
 *
 *   u32 length of the index | index: JSON [[path, bytes], ...] as UTF-8 | contents in that order
 */
import { assert } from '../base/assert.ts'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { isFilled, type SparseBytes } from '../base/sparse-bytes.ts'

/** Contents by absolute path. */
export type FilePack = ReadonlyMap<string, Uint8Array>

export function serializePack(files: FilePack): Uint8Array<ArrayBuffer> {
  const entries = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const index = utf8(JSON.stringify(entries.map(([path, bytes]) => [path, bytes.length])))
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, index.length, true)
  return concatBytes([length, index, ...entries.map(([, bytes]) => bytes)])
}

/** @param fill of what `bytes` are part of; the contents are left as they are */
export function parsePack(bytes: Uint8Array, fill: SparseBytes['fill'] = isFilled): FilePack {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  fill(bytes.subarray(0, 4))
  const indexBytes = view.getUint32(0, true)
  const indexPart = bytes.subarray(4, 4 + indexBytes)
  fill(indexPart)
  // A TextDecoder refuses shared memory, so the index is copied.
  const index: unknown = JSON.parse(fromUtf8(indexPart.slice()))
  assert(Array.isArray(index), 'the index of a file pack is a list')
  const files = new Map<string, Uint8Array>()
  let at = 4 + indexBytes
  for (const [path, length] of index as [string, number][]) {
    files.set(path, bytes.subarray(at, at + length))
    at += length
  }
  assert(at === bytes.length, 'a file pack ends where its last file ends')
  return files
}
