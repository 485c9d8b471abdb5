/**
 * Busy time of the last seconds, forgotten by halves: one number per tenant, cheap enough for the
 * path of every query. For comparing tenants with each other, not for accounting.
 */

/** After so long, half of what was counted still counts. */
const HALF_LIFE_MS = 5_000
/** Forgetting is done in steps of this at least: a power per query would be too much. */
const STEP_MS = 500

export class BusyMeter {
  /** Everything that was ever counted. */
  totalMs = 0
  #ms = 0
  #atMs = 0

  add(ms: number, nowMs: number): void {
    if (nowMs - this.#atMs >= STEP_MS) this.#forget(nowMs)
    this.#ms += ms
    this.totalMs += ms
  }

  recentMs(nowMs: number): number {
    this.#forget(nowMs)
    return this.#ms
  }

  #forget(nowMs: number): void {
    this.#ms *= 0.5 ** ((nowMs - this.#atMs) / HALF_LIFE_MS)
    this.#atMs = nowMs
  }
}
