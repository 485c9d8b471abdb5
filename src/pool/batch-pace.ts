/**
 * Whose batches are run so that they can pause (`Slot.runPausing`). To enter the backend that way
 * costs as much as a small statement, most of it for a fresh stack. So whoever has been quick for a
 * while is trusted to be so again, and run without, as is who comes to a tenant of which all has
 * been quick for a while. Whoever takes his time is not.
 *
 * A trusted batch may take long all the same, and keeps its thread then. That is held against its
 * tenant: nobody of it is trusted for a while, and the next time for twice as long.
 */
import { LIMITS } from '../base/limits.ts'

/** What is remembered of a tenant. */
export class TenantPace {
  /** In a row, whoever of its clients sent them. */
  quickBatches = 0
  /** Monotonic. */
  distrustedUntilMs = 0
  distrustMs: number = LIMITS.distrustMs

  /** A trusted batch was long. */
  lose(nowMs: number): void {
    const isLongAgo = nowMs - this.distrustedUntilMs >= LIMITS.distrustMsMax
    if (isLongAgo) this.distrustMs = LIMITS.distrustMs
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
    this.#quickBatches = Math.min(tenant.quickBatches, LIMITS.trustBatches)
  }

  /** Whether its next batch need not be able to pause. */
  isTrusted(nowMs: number): boolean {
    return this.#quickBatches >= LIMITS.trustBatches && nowMs >= this.#tenant.distrustedUntilMs
  }

  /** A batch has had the thread for `ranMs`. */
  note(ranMs: number, nowMs: number): void {
    const tenant = this.#tenant
    if (ranMs < LIMITS.quickBatchMs) {
      this.#quickBatches++
      tenant.quickBatches++
      return
    }
    if (ranMs >= LIMITS.longBatchMs && this.isTrusted(nowMs)) tenant.lose(nowMs)
    this.#quickBatches = tenant.quickBatches = 0
  }
}
