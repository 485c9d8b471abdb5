/**
 * SQLite's result codes as errors of pgnap. The low byte is the class, the rest says more and goes
 * into the detail. A constraint that fails is a bug of ours and no fault of the disk: INTERNAL.
 */
import { PgnapError, type ErrorCode } from '../base/errors.ts'

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

/** SQLite's name and number of a primary result code, and what it means to a store. */
const MEANINGS: readonly (readonly [name: string, code: number, meaning: Meaning])[] = [
  ['SQLITE_BUSY', 5, LOCKED],
  ['SQLITE_LOCKED', 6, LOCKED],
  ['SQLITE_NOMEM', 7, IO],
  ['SQLITE_READONLY', 8, IO],
  ['SQLITE_IOERR', 10, IO],
  ['SQLITE_CORRUPT', 11, CORRUPT],
  ['SQLITE_FULL', 13, FULL],
  ['SQLITE_CANTOPEN', 14, IO],
  ['SQLITE_NOTADB', 26, CORRUPT],
]

/** What SQLite has said. */
export interface SqliteFailure {
  /** Result code, if the database tells it by number, primary or extended. */
  readonly resultCode?: number | undefined
  /** Its name, if the database tells it by that: `SQLITE_FULL`, or an extended one. */
  readonly resultName?: string | undefined
  readonly text: string
  readonly cause: unknown
}

/** As a {@link PgnapError}: by its meaning, or INTERNAL if it can only be a mistake of ours. */
export function sqliteFailure(failure: SqliteFailure): PgnapError {
  const { resultCode, resultName, text, cause } = failure
  const known = MEANINGS.find(
    ([name, code]) =>
      resultName?.startsWith(name) || (resultCode !== undefined && (resultCode & 0xff) === code),
  )
  if (known === undefined) {
    return new PgnapError('INTERNAL', `the store's database refused a statement: ${text}`, {
      cause,
      hint: 'this is a bug in pgnap; please report it with the server log',
    })
  }
  const { code, message, hint } = known[2]
  const detail = `SQLite: ${text} (${resultCode ?? resultName})`
  return new PgnapError(code, message, { cause, detail, hint })
}

/** A log that could not be made durable: what the operating system said. */
export function syncFailure(text: string, isFull: boolean, cause: unknown): PgnapError {
  const { code, message, hint } = isFull ? FULL : IO
  return new PgnapError(code, message, { cause, detail: `sync: ${text}`, hint })
}
