/**
 * SQLite's result codes as errors of pgnap. The low byte is the class, the rest says more and goes
 * into the detail. A constraint that fails is a bug of ours and no fault of the disk: INTERNAL.
 */
import { AssertionError } from '../../base/assert.ts'
import { PgnapError, type ErrorCode } from '../../base/errors.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
}

const IO: Meaning = {
  code: 'STORE_IO',
  message: 'the store cannot be read or written',
  hint: 'check the disk, the permissions of the data folder and the log of the system',
}
const LOCKED: Meaning = {
  code: 'STORE_LOCKED',
  message: 'the store is open in another process',
  hint: 'stop the other pgnap that uses this data folder',
}
const CORRUPT: Meaning = {
  code: 'STORE_CORRUPT',
  message: 'the store is damaged',
  hint: 'run "pgnap verify" on this tenant, then restore it from a backup',
}
const FULL: Meaning = {
  code: 'STORE_FULL',
  message: 'there is no room left for the store',
  hint: 'free space on the disk of the data folder, then try again',
}

/** By SQLite's primary result code. */
const MEANINGS: Readonly<Record<number, Meaning>> = {
  5: LOCKED, // SQLITE_BUSY
  6: LOCKED, // SQLITE_LOCKED
  7: IO, // SQLITE_NOMEM
  8: IO, // SQLITE_READONLY
  10: IO, // SQLITE_IOERR
  11: CORRUPT, // SQLITE_CORRUPT
  13: FULL, // SQLITE_FULL
  14: IO, // SQLITE_CANTOPEN
  26: CORRUPT, // SQLITE_NOTADB
}

/** What `node:sqlite` threw, as a {@link PgnapError}; our own errors pass through. */
export function sqliteError(error: unknown): Error {
  if (error instanceof PgnapError || error instanceof AssertionError) return error
  const resultCode = resultCodeOf(error)
  const text = error instanceof Error ? error.message : String(error)
  const meaning = resultCode === undefined ? undefined : MEANINGS[resultCode & 0xff]
  if (meaning === undefined) {
    return new PgnapError('INTERNAL', `the store's database refused a statement: ${text}`, {
      cause: error,
      hint: 'this is a bug in pgnap; please report it with the server log',
    })
  }
  const detail = `SQLite: ${text} (${resultCode})`
  return new PgnapError(meaning.code, meaning.message, { cause: error, detail, hint: meaning.hint })
}

/** A log that could not be made durable: what the operating system said. */
export function syncError(error: unknown): PgnapError {
  const text = error instanceof Error ? error.message : String(error)
  const full = error instanceof Error && 'code' in error && error.code === 'ENOSPC'
  const { code, message, hint } = full ? FULL : IO
  return new PgnapError(code, message, { cause: error, detail: `sync: ${text}`, hint })
}

function resultCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode : undefined
}
