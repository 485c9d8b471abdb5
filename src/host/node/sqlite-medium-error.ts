/** What `node:sqlite` and the operating system say, as errors of pgnap. */
import { AssertionError } from '../../base/assert.ts'
import { PgnapError, errorText } from '../../base/errors.ts'
import { sqliteFailure, syncFailure } from '../../medium/sqlite-error.ts'

/** What `node:sqlite` threw, as a {@link PgnapError}; our own errors pass through. */
export function sqliteError(error: unknown): Error {
  if (error instanceof PgnapError || error instanceof AssertionError) return error
  const text = errorText(error)
  return sqliteFailure({ resultCode: resultCodeOf(error), text, cause: error })
}

/** A log that could not be made durable: what the operating system said. */
export function syncError(error: unknown): PgnapError {
  const text = errorText(error)
  const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC'
  return syncFailure(text, isFull, error)
}

function resultCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode : undefined
}
