/**
 * What a call of another object comes back with: a result, or an error as data. An error that is
 * thrown across a call would arrive with its message and nothing else, and would count as a failure
 * of the object.
 *
 * So whatever a call itself is rejected with comes from the platform: its object has ended in the
 * middle (a new version, too much memory, a storage that failed), cannot be reached, or has too
 * much to do. That is no bug of ours, and whoever asked has to know whether to ask again.
 */
import { AssertionError } from '../../base/assert.ts'
import { PgnapError, errorText } from '../../base/errors.ts'
import { PostgresError } from '../../front/wire/result.ts'
import { outcomeUnknown } from '../../replica/store-home.ts'
import { fromRemote, type RemoteError, toRemote } from '../remote-error.ts'

export type Outcome<Result> = { readonly result: Result } | { readonly error: RemoteError }

/** Called where the work is done. */
export async function outcomeOf<Result>(work: () => Promise<Result>): Promise<Outcome<Result>> {
  try {
    return { result: await work() }
  } catch (error) {
    return { error: toRemote(error) }
  }
}

/** Called where the outcome has come to. Throws PgnapError or PostgresError, as it was. */
export function resultOf<Result>(outcome: Outcome<Result>): Result {
  if ('error' in outcome) throw fromRemote(outcome.error)
  return outcome.result
}

/**
 * What a call came to that may change something. Throws as {@link resultOf}, and OUTCOME_UNKNOWN if
 * the call has ended without an answer.
 */
export async function done<Result>(call: Promise<Outcome<Result>>): Promise<Result> {
  let outcome: Outcome<Result>
  try {
    outcome = await call
  } catch (error) {
    if (isOurs(error)) throw error
    if (isOverloaded(error)) throw unanswered(error)
    throw outcomeUnknown(
      `its object or Worker has ended without an answer: ${errorText(error)}`,
      error,
    )
  }
  return resultOf(outcome)
}

/**
 * What a call came to that only looks, or may be repeated. Throws as {@link resultOf}, and
 * SERVER_UNREACHABLE if the call has ended without an answer.
 */
export async function heard<Result>(call: Promise<Outcome<Result>>): Promise<Result> {
  return resultOf(await reached(call))
}

/** The same of a call that says nothing but its result. */
export async function reached<Result>(call: Promise<Result>): Promise<Result> {
  try {
    return await call
  } catch (error) {
    throw isOurs(error) ? error : unanswered(error)
  }
}

/** Said by us, before or after a call. */
function isOurs(error: unknown): boolean {
  return [PgnapError, PostgresError, AssertionError].some((ours) => error instanceof ours)
}

/** The platform has turned the call away: nothing has run. */
function isOverloaded(error: unknown): boolean {
  return error instanceof Error && 'overloaded' in error && error.overloaded === true
}

function unanswered(cause: unknown): PgnapError {
  return new PgnapError('SERVER_UNREACHABLE', 'an object or Worker of pgnap does not answer', {
    cause,
    detail: errorText(cause),
    hint: 'try again in a moment',
  })
}
