/**
 * The housekeeping of a store that only computes write to: history past its retention is forgotten,
 * a slice at a time, once in a while. Where Postgres is, the pool's upkeep does that.
 */
import type { Clock } from '../base/clock.ts'
import { LIMITS } from '../base/limits.ts'
import type { Store } from '../store/store.ts'

export interface HomeUpkeepOptions {
  readonly store: Store
  readonly clock: Clock
  /** Default: `LIMITS.retentionMs`. */
  readonly retentionMs?: number
  /** Told of what has failed: it is tried again after the next commits. */
  readonly onFailure: (error: unknown) => void
}

export class HomeUpkeep {
  readonly #options: HomeUpkeepOptions
  #commits = 0
  #isPending = false

  constructor(options: HomeUpkeepOptions) {
    this.#options = options
  }

  /** So many commits have come; whoever brought them waits for nothing that this does. */
  delivered(count: number): void {
    this.#commits += count
    if (this.#commits < LIMITS.homeTidyCommits || this.#isPending) return
    this.#commits = 0
    this.#later()
  }

  #later(): void {
    this.#isPending = true
    this.#options.clock.nextTurn(() => {
      this.#isPending = false
      const { store, retentionMs, onFailure } = this.#options
      if (store.closed) return
      try {
        if (store.prune(retentionMs).more) this.#later()
      } catch (error) {
        onFailure(error)
      }
    })
  }
}
