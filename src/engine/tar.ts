/**
 * Reads the tar files in which PGlite ships its extensions: plain ustar, regular files and folders,
 * names below 100 characters. Nothing else occurs there, and anything else is refused.
 *
 * Source: POSIX.1-2008, pax interchange format, "ustar Header Block".
 */
import { assert } from '../base/assert.ts'
import { fromUtf8 } from '../base/bytes.ts'

const BLOCK_BYTES = 512
const TYPE_FILE = '0'
const TYPE_FOLDER = '5'

/** Regular files of a tar archive by name. The contents are views of `archive`. */
export function readTar(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>()
  let at = 0
  while (at + BLOCK_BYTES <= archive.length && archive[at] !== 0) {
    const header = archive.subarray(at, at + BLOCK_BYTES)
    const size = Number.parseInt(text(header, 124, 12), 8)
    const type = text(header, 156, 1) || TYPE_FILE
    const prefix = text(header, 345, 155)
    const name = prefix ? `${prefix}/${text(header, 0, 100)}` : text(header, 0, 100)
    assert(Number.isSafeInteger(size), `size of ${name} in a tar file`)
    assert(type === TYPE_FILE || type === TYPE_FOLDER, `${name} in a tar file is of type ${type}`)
    at += BLOCK_BYTES
    if (type === TYPE_FILE) files.set(name, archive.subarray(at, at + size))
    at += Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES
  }
  return files
}

function text(header: Uint8Array, from: number, length: number): string {
  const field = fromUtf8(header.slice(from, from + length))
  const end = field.indexOf('\0')
  return (end < 0 ? field : field.slice(0, end)).trim()
}
