/**
 * Where a file of Postgres could not grow: which of our limits was met, and what to do about it.
 * Postgres knows of a full disk only, and tells people to look at one that may have plenty of room.
 */
import type { FileLimit } from '../store/file-node.ts'
import type { RaisedError, ToldError } from './answer-errors.ts'

const DISK_FULL = '53100'
/** RAISE of somebody's function: its words are its own. */
const RAISED_BY_HAND = 'exec_stmt_raise'
const REPLACED: ReadonlySet<string> = new Set(['D', 'H'])

const WORDS: Readonly<Record<FileLimit, { readonly detail: string; readonly hint: string }>> = {
  temporary: {
    detail: 'temporary files of a database are kept in memory; they have reached their limit',
    hint: 'sort, join or collect fewer rows at a time; ephemeralBytesMax is in docs/limits.md',
  },
  database: {
    detail: 'the database has reached its size limit',
    hint: 'TRUNCATE, DROP, or DELETE and VACUUM; or raise --database-size',
  },
  disk: {
    detail: 'the disk of this database is almost full; what is left is for recovery and clean-up',
    hint: 'free space on that disk, then try again',
  },
}

/** Undefined if the error is another one. */
export function roomError(raised: RaisedError, met: FileLimit): ToldError | undefined {
  if (raised.get('C') !== DISK_FULL || raised.get('R') === RAISED_BY_HAND) return undefined
  const { detail, hint } = WORDS[met]
  return {
    dropped: REPLACED,
    fields: [
      ['D', detail],
      ['H', hint],
    ],
  }
}
