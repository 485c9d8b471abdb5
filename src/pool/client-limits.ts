/**
 * The time limits that a session has set itself, where Postgres itself cannot keep them: while its
 * client is thinking, in a transaction or not, and while its batch waits for the backend. What runs
 * is the host's to interrupt, from another thread.
 *
 * A client that has not set any has no such object. The limits are those in force when its last
 * batch ended, wherever they were set.
 *
 * Source: Postgres 18, documentation, "Client Connection Defaults: Statement Behavior".
 */
import type { Clock, Timer } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TransactionStatus } from '../engine/engine.ts'
import { NO_TIMEOUTS, type SessionTimeouts } from '../engine/timeout-memory.ts'

/** A limit of waiting for other clients, and of a statement, its wait included. */
export type WaitLimit = 'LOCK_TIMEOUT' | 'STATEMENT_TIMEOUT'

/** A limit of not saying anything, or not ending a transaction. */
type IdleLimit = 'IDLE_SESSION_TIMEOUT' | 'IDLE_IN_TRANSACTION_TIMEOUT' | 'TRANSACTION_TIMEOUT'

export interface ClientLimitsOptions {
  readonly clock: Clock
  /** The client has to go. */
  readonly dismiss: (error: PgnapError) => void
  /** Its batch has waited long enough, or not: for a lock nobody waits who waits for a slot. */
  readonly giveUp: (limit: WaitLimit) => void
}

export class ClientLimits {
  readonly #options: ClientLimitsOptions
  #timeouts: SessionTimeouts = NO_TIMEOUTS
  #transactionSinceMs: number | undefined
  readonly #timers: Timer[] = []

  constructor(options: ClientLimitsOptions) {
    this.#options = options
  }

  /**
   * A batch that began at `startMs` (monotonic) has left the backend to itself. @param status
   * pipeline: it has not ended yet, which is no idle session to Postgres, but a transaction
   */
  rests(timeouts: SessionTimeouts, status: TransactionStatus | 'pipeline', startMs: number): void {
    this.works()
    this.#timeouts = timeouts
    if (status === 'idle') {
      this.#transactionSinceMs = undefined
      this.#send(timeouts.idle_session_timeout, 'IDLE_SESSION_TIMEOUT', 'idle-session')
      return
    }
    this.#transactionSinceMs ??= startMs
    const idleMs = status === 'pipeline' ? 0 : timeouts.idle_in_transaction_session_timeout
    this.#send(idleMs, 'IDLE_IN_TRANSACTION_TIMEOUT', 'idle-in-transaction')
    const { transaction_timeout: limitMs } = timeouts
    const passedMs = this.#options.clock.monotonicMs() - this.#transactionSinceMs
    const leftMs = limitMs === 0 ? 0 : Math.max(1, limitMs - passedMs)
    this.#send(leftMs, 'TRANSACTION_TIMEOUT', 'transaction')
  }

  /** Its transaction has ended by a batch that no backend has run: the limits are as they were. */
  ends(startMs: number): void {
    this.rests(this.#timeouts, 'idle', startMs)
  }

  /** Its batch waits. @param isFloating its transaction is open nowhere */
  waits(isFloating: boolean): void {
    this.works()
    // In any other transaction it waits for a slot only, and an error would end what it has done.
    if (this.#transactionSinceMs !== undefined && !isFloating) return
    const { giveUp } = this.#options
    const { lock_timeout: lockMs, statement_timeout: statementMs } = this.#timeouts
    this.#after(lockMs, () => giveUp('LOCK_TIMEOUT'))
    this.#after(statementMs, () => giveUp('STATEMENT_TIMEOUT'))
  }

  /** It does something, or has gone. */
  works(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#timers.length = 0
  }

  #send(afterMs: number, code: IdleLimit, name: string): void {
    const message = `terminating connection due to ${name} timeout`
    const hint = 'connect again; the limit is a setting of the session or of its database'
    this.#after(afterMs, () => this.#options.dismiss(new PgnapError(code, message, { hint })))
  }

  #after(afterMs: number, action: () => void): void {
    if (afterMs > 0) this.#timers.push(this.#options.clock.setTimer(afterMs, action))
  }
}
