/**
 * What a call of another object comes back with: a result, or an error as data. An error that is
 * thrown across a call would arrive with its message and nothing else, and would count as a failure
 * of the object.
 */
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
