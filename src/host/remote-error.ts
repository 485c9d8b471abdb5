/**
 * Errors on their way to another thread or object: as plain data, of which they are made anew. A
 * structured clone of an error would keep its message and nothing else.
 */
import { type ErrorCode, PgnapError, toPgnapError } from '../base/errors.ts'
import { PostgresError } from '../front/wire/result.ts'

export type RemoteError =
  | { readonly from: 'postgres'; readonly fields: ConstructorParameters<typeof PostgresError>[0] }
  | {
      readonly from: 'pgnap'
      readonly code: ErrorCode
      readonly message: string
      readonly hint: string | undefined
      readonly detail: string | undefined
    }

/** `error` as data. Anything that is not of pgnap or of Postgres is INTERNAL. */
export function toRemote(error: unknown): RemoteError {
  if (error instanceof PostgresError) return { from: 'postgres', fields: error.fields }
  const { code, message, hint, detail } = toPgnapError(error)
  return { from: 'pgnap', code, message, hint, detail }
}

/** The error that {@link toRemote} was given. */
export function fromRemote(error: RemoteError): Error {
  if (error.from === 'postgres') return new PostgresError(error.fields)
  const { code, message, hint, detail } = error
  return new PgnapError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(detail === undefined ? {} : { detail }),
  })
}
