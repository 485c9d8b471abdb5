/**
 * What a request makes its server hold, on the account of its thread: a large body, from its first
 * bytes until it is answered. It may have to be given up while it is read and while what it asks
 * for waits or runs; then it is answered CLIENT_MEMORY_EXHAUSTED.
 */
import type { Context, MiddlewareHandler } from 'hono'
import type { PgnapError } from '../../base/errors.ts'
import type { HeldBytes, Holder } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { heldTooMuch } from '../wire/server-messages.ts'

/** Of a context: the account, and what the request has on it, if that is anything. */
const ACCOUNT = 'heldBytes'
const HOLD = 'bodyHold'

class BodyHold implements Holder {
  readonly #held: HeldBytes
  readonly #controller = new AbortController()
  /** Ends when the client leaves, and when this is given up. */
  readonly signal: AbortSignal
  error: PgnapError | undefined

  constructor(held: HeldBytes, clientSignal: AbortSignal) {
    this.#held = held
    this.signal = AbortSignal.any([clientSignal, this.#controller.signal])
  }

  take(bytes: number, tenant: string): void {
    if (!this.error) this.#held.set(this, bytes, tenant)
  }

  giveUp(): void {
    this.error = heldTooMuch()
    this.#controller.abort(this.error)
  }

  release(): void {
    this.#held.delete(this)
  }
}

/** Has large bodies on this account. Goes before whatever reads one. */
export function holdBodies(held: HeldBytes): MiddlewareHandler {
  return async (context, next) => {
    context.set(ACCOUNT, held)
    await next()
    holdOf(context)?.release()
  }
}

/**
 * So much of the body is there, which is for this tenant.
 * @returns whether it is the first time that this counts
 */
export function holdBody(context: Context, bytes: number, tenant: string): boolean {
  if (bytes <= LIMITS.heldUncountedBytes) return false
  const known = holdOf(context)
  const hold = known ?? newHold(context)
  hold?.take(bytes, tenant)
  return known === undefined && hold !== undefined
}

/** Aborted when nobody waits for the answer any more, or its body had to be given up. */
export function signalOf(context: Context): AbortSignal {
  return holdOf(context)?.signal ?? context.req.raw.signal
}

/** Why the request could not be answered, if it had to be given up. */
export function givenUp(context: Context): PgnapError | undefined {
  return holdOf(context)?.error
}

function newHold(context: Context): BodyHold | undefined {
  const held = context.get(ACCOUNT) as HeldBytes | undefined
  const hold = held && new BodyHold(held, context.req.raw.signal)
  context.set(HOLD, hold)
  return hold
}

function holdOf(context: Context): BodyHold | undefined {
  return context.get(HOLD) as BodyHold | undefined
}
