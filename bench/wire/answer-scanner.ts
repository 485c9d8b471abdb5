/**
 * Walks the backend's messages, finds ReadyForQuery, and hashes the rows on the way. A benchmark
 * that does not read its answers may be timing errors; one that decodes them is timing itself.
 * Hashing the DataRow bodies costs a fraction of a microsecond and shows that every peer did the
 * same work.
 *
 * Only DataRow counts towards the hash: row descriptions carry OIDs that differ from server to
 * server.
 */

const DATA_ROW = 0x44
const ERROR_RESPONSE = 0x45
const READY_FOR_QUERY = 0x5a
const AUTHENTICATION = 0x52
const HEADER_BYTES = 5

/** An error that the server answered with. */
export class ServerError extends Error {
  override readonly name = 'ServerError'
  readonly sqlState: string

  constructor(sqlState: string, message: string) {
    super(`${message} (${sqlState})`)
    this.sqlState = sqlState
  }
}

/** 32-bit FNV-1a over all of `bytes` from `start` to `end`, continuing from `hash`. */
export function hashBytes(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let mixed = hash
  for (let index = start; index < end; index++) {
    mixed = Math.imul(mixed ^ (bytes[index] ?? 0), 0x01000193)
  }
  return mixed >>> 0
}

/** Start value of {@link hashBytes}. */
export const HASH_START = 0x811c9dc5

export class AnswerScanner {
  #carried: Buffer = Buffer.alloc(0)
  #error: ServerError | undefined
  readonly #keepRows: boolean
  /** Hash of all rows seen so far. */
  hash: number = HASH_START
  /** Rows as text, in order; only when asked for. */
  rows: (string | null)[][] = []

  constructor(options: { readonly keepRows: boolean }) {
    this.#keepRows = options.keepRows
  }

  /** Begins a new hash: a connection may be asked the same question twice. */
  restart(): void {
    this.hash = HASH_START
  }

  /** The first error since the last call, if any; forgets it. */
  takeError(): ServerError | undefined {
    const error = this.#error
    this.#error = undefined
    return error
  }

  /**
   * Takes the next bytes off the connection, split anywhere. Returns how many ReadyForQuery were
   * completed by them. `chunk` may be reused by the caller afterwards.
   */
  push(chunk: Buffer): number {
    const bytes = this.#carried.length === 0 ? chunk : Buffer.concat([this.#carried, chunk])
    let readyCount = 0
    let at = 0
    while (at + HEADER_BYTES <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1)
      if (end > bytes.length) break
      if (this.#message(bytes, at, end)) readyCount++
      at = end
    }
    this.#carried = at === bytes.length ? EMPTY : Buffer.from(bytes.subarray(at))
    return readyCount
  }

  /** Handles one message in [start, end); says whether it was ReadyForQuery. */
  #message(bytes: Buffer, start: number, end: number): boolean {
    const body = start + HEADER_BYTES
    switch (bytes.readUInt8(start)) {
      case READY_FOR_QUERY:
        return true
      case DATA_ROW:
        this.hash = hashBytes(this.hash, bytes, body, end)
        if (this.#keepRows) this.rows.push(readRow(bytes, body))
        return false
      case ERROR_RESPONSE:
        this.#error ??= readError(bytes, body, end)
        return false
      case AUTHENTICATION:
        if (bytes.readUInt32BE(body) !== 0) {
          this.#error ??= new ServerError('28000', 'the server asks for a password')
        }
        return false
      default:
        return false
    }
  }
}

const EMPTY = Buffer.alloc(0)

function readRow(bytes: Buffer, start: number): (string | null)[] {
  let at = start + 2
  return Array.from({ length: bytes.readUInt16BE(start) }, () => {
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0) return null
    at += length
    return bytes.toString('utf8', at - length, at)
  })
}

function readError(bytes: Buffer, start: number, end: number): ServerError {
  const fields = new Map<string, string>()
  for (const field of bytes.toString('utf8', start, end).split('\0')) {
    fields.set(field.slice(0, 1), field.slice(1))
  }
  return new ServerError(fields.get('C') ?? 'XX000', fields.get('M') ?? 'error without a message')
}
