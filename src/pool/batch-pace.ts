/**
 * Whose batches are run so that they can pause (`Slot.runPausing`). To enter the backend that way
 * costs as much as a small statement, most of it for a fresh stack. So whoever has been quick for a
 * while is trusted to be so again, and run without, and with him who comes to the same tenant.
 * Whoever takes his time is not.
 *
 * A trusted batch may take long all the same, and keeps its thread then. That is held against its
 * tenant: nobody of it is trusted for a while, and the next time for twice as long.
 */
import { LIMITS } from '../base/limits.ts'

/** What is remembered of a tenant. */
export class TenantPace {
  /** Somebody has earned trust since it was last lost. */
  isProven = false
  /** Monotonic. */
  distrustedUntilMs = 0
  distrustMs: number = LIMITS.distrustMs

  /** A trusted batch was long. */
  lose(nowMs: number): void {
    const isLongAgo = nowMs - this.distrustedUntilMs >= LIMITS.distrustMsMax
    if (isLongAgo) this.distrustMs = LIMITS.distrustMs
    this.isProven = false
    this.distrustedUntilMs = nowMs + this.distrustMs
    this.distrustMs = Math.min(2 * this.distrustMs, LIMITS.distrustMsMax)
  }
}

/** What is remembered of a client. */
export class ClientPace {
  readonly #tenant: TenantPace
  /** In a row. */
  #quickBatches: number

  constructor(tenant: TenantPace) {
    this.#tenant = tenant
    this.#quickBatches = tenant.isProven ? LIMITS.trustBatches : 0
  }

  /** Whether its next batch need not be able to pause. */
  isTrusted(nowMs: number): boolean {
    return this.#quickBatches >= LIMITS.trustBatches && nowMs >= this.#tenant.distrustedUntilMs
  }

  /** A batch has had the thread for `ranMs`. */
  note(ranMs: number, nowMs: number): void {
    if (ranMs < LIMITS.quickBatchMs) {
      if (++this.#quickBatches === LIMITS.trustBatches) this.#tenant.isProven = true
      return
    }
    if (ranMs >= LIMITS.longBatchMs && this.isTrusted(nowMs)) this.#tenant.lose(nowMs)
    this.#quickBatches = 0
  }
}
