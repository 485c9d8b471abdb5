/** Calls of a home that do not wait for ever: a partition is an error, and soon. */
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Home } from './home.ts'

/** `home`, whose every call rejects with SERVER_UNREACHABLE after `homeAnswerMs`. */
export function answeringHome(home: Home, clock: Pick<Clock, 'setTimer'>): Home {
  return {
    fetch: (request) => within(clock, LIMITS.homeAnswerMs, home.fetch(request)),
    deliver: (delivery) => within(clock, LIMITS.homeAnswerMs, home.deliver(delivery)),
  }
}

/** So long without doing anything. */
export function pause(clock: Pick<Clock, 'setTimer'>, forMs: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(forMs, resolve))
}

/** Whether no answer came, or none that says what has come of a call. */
export function isUnheard(error: unknown): boolean {
  if (isUnreached(error)) return true
  return error instanceof PgnapError && error.code === 'OUTCOME_UNKNOWN'
}

/** Whether no answer came. */
export function isUnreached(error: unknown): boolean {
  return error instanceof PgnapError && error.code === 'SERVER_UNREACHABLE'
}

/** No answer came. */
export function unreachable(cause?: unknown): PgnapError {
  const message = 'the place where this tenant is at home does not answer'
  return new PgnapError('SERVER_UNREACHABLE', message, {
    hint: 'try again; who only reads may ask for what was known: ?stale=allow',
    ...(cause === undefined ? {} : { cause }),
  })
}

function within<Result>(
  clock: Pick<Clock, 'setTimer'>,
  limitMs: number,
  answer: Promise<Result>,
): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>()
  const timer = clock.setTimer(limitMs, () => reject(unreachable(`no answer within ${limitMs} ms`)))
  answer.then(resolve, reject).finally(() => timer.cancel())
  return promise
}
