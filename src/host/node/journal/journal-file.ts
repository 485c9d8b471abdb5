/**
 * One file of a journal: a header, and entries one after the other. The file has its full length
 * and is all zeros before anything is promised in it, so that a sync of it writes what was appended
 * and nothing of the file system's own. It is written from its start again when all stores have
 * what is in it; the number of that life (`generation`) goes into every checksum, so nothing of a
 * former life is ever taken for an entry of this one.
 *
 *   offset | size | field
 *        0 |    8 | magic "pgnapJNL"
 *        8 |    4 | format version, u32 little endian
 *       12 |    4 | generation, u32
 *       16 |    4 | CRC-32 of the bytes before
 *       32 |      | entries: length (u32), CRC-32 (u32) of the bytes, their place, the generation
 *
 * The first entry whose checksum does not fit is the end: what lies behind it was never promised,
 * since a sync is only asked for when the one before has come back.
 */
import { closeSync, openSync, readFileSync, writeSync, writevSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { assert } from '../../../base/assert.ts'
import { concatBytes, fromUtf8, lengthOfAll, utf8 } from '../../../base/bytes.ts'
import { PgnapError } from '../../../base/errors.ts'
import { syncData } from '../durable-file.ts'

/** 600 commits of a row each, or so. */
const JOURNAL_FILE_BYTES = 2 * 1024 * 1024
const MAGIC = 'pgnapJNL'
const FORMAT_VERSION = 1
const CHECKED_BYTES = 16
const HEADER_BYTES = 32
const FRAME_BYTES = 8
const FILE_MODE = 0o600

export class JournalFile {
  readonly path: string
  readonly #byteLength: number
  /** Undefined when it is closed. */
  #descriptor: number | undefined
  #generation = 0
  /** Where the next entry goes. */
  #end: number
  /** What has been appended and not written, and where it begins. */
  #parts: Uint8Array[] = []
  #partsAt = 0
  #syncCount = 0
  #closed = false

  private constructor(path: string, byteLength: number) {
    this.path = path
    this.#byteLength = this.#end = byteLength
    this.#descriptor = openSync(path, 'r+')
  }

  /**
   * Makes a file; its content is on the disk when the promise is kept, its name may not be. Where
   * that fails, there is none.
   */
  static async make(path: string, byteLength: number = JOURNAL_FILE_BYTES): Promise<JournalFile> {
    const file = await open(path, 'wx', FILE_MODE)
    try {
      await file.writeFile(new Uint8Array(byteLength))
      await file.sync()
      return new JournalFile(path, byteLength)
    } catch (error) {
      await rm(path, { force: true })
      throw error
    } finally {
      await file.close()
    }
  }

  /** Whether an entry of so many bytes fits behind those that are there. */
  hasRoomFor(entryBytes: number): boolean {
    return this.#end + FRAME_BYTES + entryBytes <= this.#byteLength
  }

  /** Begins again from the start: what was in it is forgotten. */
  restart(generation: number): void {
    assert(generation > this.#generation, 'a file has each life once')
    this.#generation = generation
    this.#parts = [headerOf(generation)]
    this.#partsAt = 0
    this.#end = HEADER_BYTES
  }

  /** Appends an entry, which is written with the next {@link JournalFile.sync}. */
  append(entry: Uint8Array): void {
    assert(this.hasRoomFor(entry.length), 'an entry fits into its file')
    const frame = new Uint8Array(FRAME_BYTES)
    const view = new DataView(frame.buffer)
    view.setUint32(0, entry.length, true)
    view.setUint32(4, checksumOf(entry, this.#end, this.#generation), true)
    this.#parts.push(frame, entry)
    this.#end += FRAME_BYTES + entry.length
  }

  /** Writes what was appended; the promise is kept when it is on the disk. One at a time. */
  async sync(): Promise<void> {
    const descriptor = this.#descriptor
    assert(descriptor !== undefined, 'what is closed is not written')
    const parts = this.#parts
    this.#parts = []
    const at = this.#partsAt
    this.#partsAt = this.#end
    this.#syncCount++
    try {
      writeAll(descriptor, parts, at)
      await syncData(descriptor)
    } finally {
      this.#syncCount--
      this.#closeIfDue()
    }
  }

  close(): void {
    this.#closed = true
    this.#closeIfDue()
  }

  /** Not under a sync: its number could be that of another file by then. */
  #closeIfDue(): void {
    if (!this.#closed || this.#syncCount > 0 || this.#descriptor === undefined) return
    closeSync(this.#descriptor)
    this.#descriptor = undefined
  }
}

/**
 * The entries of a file, oldest first, as views of one buffer.
 * Throws STORE_FORMAT_UNKNOWN for a file of another pgnap, STORE_CORRUPT where its head is damaged,
 * and what the disk throws.
 */
export function readJournalFile(path: string): readonly Uint8Array[] {
  const bytes = readFileSync(path)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = bytes.subarray(0, HEADER_BYTES)
  // Nothing has been promised in a file that never came to have its header.
  if (header.length < HEADER_BYTES || header.every((byte) => byte === 0)) return []
  if (!isHeader(header, view)) {
    throw new PgnapError('STORE_CORRUPT', `the journal ${path} is damaged: its head is not one`, {
      hint: 'check the disk; if commits of the last moments are missing, restore from a backup',
    })
  }
  const format = view.getUint32(8, true)
  if (format !== FORMAT_VERSION) {
    throw new PgnapError('STORE_FORMAT_UNKNOWN', `the journal ${path} is of format ${format}`, {
      hint: 'start the pgnap that wrote it once, and stop it; it brings the journal home',
    })
  }
  const generation = view.getUint32(12, true)
  const entries: Uint8Array[] = []
  for (let at = HEADER_BYTES; at + FRAME_BYTES <= bytes.length;) {
    const length = view.getUint32(at, true)
    const entryAt = at + FRAME_BYTES
    if (length === 0 || entryAt + length > bytes.length) break
    const entry = bytes.subarray(entryAt, entryAt + length)
    if (view.getUint32(at + 4, true) !== checksumOf(entry, at, generation)) break
    entries.push(entry)
    at = entryAt + length
  }
  return entries
}

function headerOf(generation: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES)
  const view = new DataView(header.buffer)
  header.set(utf8(MAGIC))
  view.setUint32(8, FORMAT_VERSION, true)
  view.setUint32(12, generation, true)
  view.setUint32(CHECKED_BYTES, crc32(header.subarray(0, CHECKED_BYTES)), true)
  return header
}

function isHeader(header: Uint8Array, view: DataView): boolean {
  if (fromUtf8(header.subarray(0, MAGIC.length)) !== MAGIC) return false
  return view.getUint32(CHECKED_BYTES, true) === crc32(header.subarray(0, CHECKED_BYTES))
}

function checksumOf(entry: Uint8Array, at: number, generation: number): number {
  const place = new Uint8Array(Uint32Array.of(at, generation).buffer)
  return crc32(entry, crc32(place))
}

function writeAll(descriptor: number, parts: readonly Uint8Array[], at: number): void {
  const written = writevSync(descriptor, parts, at)
  if (written === lengthOfAll(parts)) return
  // The rest of a write that was cut short is written by itself, or says why it cannot be.
  const rest = concatBytes(parts).subarray(written)
  for (let done = 0; done < rest.length;) {
    done += writeSync(descriptor, rest, done, rest.length - done, at + written + done)
  }
}
