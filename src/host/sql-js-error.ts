/** What sql.js has said no with, as an error of pgnap: it tells a text and no code. */
import { PgnapError, errorText } from '../base/errors.ts'
import { sqliteFailure } from '../medium/sqlite-error.ts'

const NO_MEMORY = 'SQLITE_NOMEM'
/** SQLite's texts of the codes that are not somebody's mistake (sqlite3_errstr). */
const NAMES: readonly (readonly [text: string, name: string])[] = [
  ['file is not a database', 'SQLITE_NOTADB'],
  ['database disk image is malformed', 'SQLITE_CORRUPT'],
  ['malformed database schema', 'SQLITE_CORRUPT'],
  ['database or disk is full', 'SQLITE_FULL'],
  ['disk I/O error', 'SQLITE_IOERR'],
  ['out of memory', NO_MEMORY],
]

/** Whether a failure of {@link sqlJsFailure} says that there is no more memory. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof PgnapError && error.detail?.includes(NO_MEMORY) === true
}

export function sqlJsFailure(error: unknown): PgnapError {
  if (error instanceof PgnapError) return error
  // Of a use that it does not expect it throws a text.
  const text = errorText(error)
  const resultName = NAMES.find(([known]) => text.startsWith(known))?.[1]
  return sqliteFailure({ resultName, text, cause: error })
}
