/**
 * A file whose bytes are read when somebody looks at them, a block at a time, into memory that is
 * reserved for all of it. Threads share the descriptor, which stays open for as long as the process
 * lives: another file that is put in its place is not seen.
 *
 * The memory may be shared between threads as well. Each reads what it needs, and what two of them
 * read is the same.
 */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs'
import { assert } from '../../../base/assert.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { SparseBytes } from '../../../base/sparse-bytes.ts'

/** What is read at once: calls against memory. */
const BLOCK_BYTES = 16_384
/** What is hashed at once; it stays in the processor's cache. */
const HASH_BYTES = 262_144

/** An open file; posting it to another thread copies nothing. */
export interface OpenFile {
  readonly descriptor: number
  readonly sizeBytes: number
}

/** An open file, and the memory in which those who share it see it. */
export interface SharedFile extends OpenFile {
  readonly buffer: SharedArrayBuffer
}

const opened = new Map<string, OpenFile>()

/**
 * Opens a file for the rest of the process's life: one descriptor for each version of a file that
 * is asked for. @throws an error of node:fs
 */
export function openForever(path: string): OpenFile {
  const known = opened.get(versionOf(statSync(path)))
  if (known) return known
  const descriptor = openSync(path, 'r')
  const facts = fstatSync(descriptor)
  const file = { descriptor, sizeBytes: facts.size }
  opened.set(versionOf(facts), file)
  return file
}

export function shared(file: OpenFile): SharedFile {
  return { ...file, buffer: new SharedArrayBuffer(file.sizeBytes) }
}

/** What a shared file is for this thread. */
export function assetsIn(file: SharedFile): SparseFile {
  return new SparseFile(file, file.buffer)
}

export class SparseFile implements SparseBytes {
  readonly bytes: Uint8Array
  readonly #descriptor: number
  /** 1 for each block that this thread has read. */
  readonly #filled: Uint8Array

  /** @param buffer as large as the file; what others have read into it is right */
  constructor({ descriptor, sizeBytes }: OpenFile, buffer: ArrayBufferLike) {
    assert(buffer.byteLength === sizeBytes, 'the memory of a file is as large as the file')
    this.#descriptor = descriptor
    this.bytes = new Uint8Array(buffer)
    this.#filled = new Uint8Array(Math.ceil(sizeBytes / BLOCK_BYTES))
  }

  readonly fill = (part: Uint8Array): void => {
    const start = this.#offsetOf(part)
    const end = Math.ceil((start + part.length) / BLOCK_BYTES)
    let block = Math.floor(start / BLOCK_BYTES)
    while (block < end) {
      const first = block
      while (block < end && this.#filled[block] === 0) block++
      if (block > first) this.#read(first, block)
      block++
    }
  }

  readonly copy = (part: Uint8Array, targets: readonly Uint8Array[]): void => {
    let at = this.#offsetOf(part)
    for (const target of targets) {
      readExactly(this.#descriptor, target, at)
      at += target.length
    }
  }

  /** SHA-256 of what a view of `bytes` should hold, as lower-case hex. Nothing is filled. */
  sha256(part: Uint8Array): string {
    return hashOf(this.#descriptor, this.#offsetOf(part), part.length)
  }

  #read(first: number, end: number): void {
    const at = first * BLOCK_BYTES
    readExactly(this.#descriptor, this.bytes.subarray(at, end * BLOCK_BYTES), at)
    this.#filled.fill(1, first, end)
  }

  #offsetOf(part: Uint8Array): number {
    assert(part.buffer === this.bytes.buffer, 'what is filled is a part of the file')
    return part.byteOffset
  }
}

/** SHA-256 of a file, as lower-case hex. @throws an error of node:fs */
export function hashFile(path: string): string {
  const descriptor = openSync(path, 'r')
  try {
    return hashOf(descriptor, 0, fstatSync(descriptor).size)
  } finally {
    closeSync(descriptor)
  }
}

let hashed: Uint8Array<ArrayBuffer> | undefined

function hashOf(descriptor: number, start: number, length: number): string {
  const piece = (hashed ??= new Uint8Array(HASH_BYTES))
  const sum = createHash('sha256')
  for (let done = 0; done < length; done += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, length - done))
    readExactly(descriptor, part, start + done)
    sum.update(part)
  }
  return sum.digest('hex')
}

function readExactly(descriptor: number, target: Uint8Array, start: number): void {
  for (let done = 0; done < target.length;) {
    const count = readSync(descriptor, target, done, target.length - done, start + done)
    if (count === 0) {
      throw new PgnapError('ENGINE_ASSETS_INVALID', 'a file of the engine has become shorter', {
        hint: 'start pgnap again; if that does not help, install it again',
      })
    }
    done += count
  }
}

/** Names the contents of a file for as long as nobody takes pains to hide a change. */
function versionOf({ dev, ino, mtimeMs, size }: Stats): string {
  return [dev, ino, mtimeMs, size].join()
}
