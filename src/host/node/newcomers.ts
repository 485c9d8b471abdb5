/**
 * Connections of which nobody knows yet who they are. There may be only so many: whoever opens
 * thousands and says nothing must not use up what others need. Beyond, the one that has been here
 * for longest has to go, not the one that comes: a client that means it is through in the time of a
 * few round trips.
 */
import type { Clock, Timer } from '../../base/clock.ts'

export interface NewcomersOptions {
  readonly countMax: number
  /** Nobody is sent away before he has been here for so long. */
  readonly graceMs: number
  /** Beyond that many there is no grace. Default: there always is. */
  readonly countHardMax?: number
  readonly clock: Clock
}

interface Newcomer {
  readonly sinceMs: number
  readonly sendAway: () => void
}

export class Newcomers {
  readonly #options: NewcomersOptions
  /** In the order in which they came. */
  readonly #here = new Set<Newcomer>()
  #timer: Timer | undefined

  constructor(options: NewcomersOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#here.size
  }

  /**
   * One more. @param sendAway closes it; called at most once, and not after the returned function,
   *   which is to be called when it is known who it is, or it has gone
   */
  enter(sendAway: () => void): () => void {
    const newcomer = { sinceMs: this.#options.clock.monotonicMs(), sendAway }
    this.#here.add(newcomer)
    this.#makeRoom()
    return () => void this.#here.delete(newcomer)
  }

  #makeRoom(): void {
    const { countMax, graceMs, clock, countHardMax = Infinity } = this.#options
    while (this.#here.size > countMax) {
      const [oldest] = this.#here
      if (!oldest) return
      const leftMs = oldest.sinceMs + graceMs - clock.monotonicMs()
      if (leftMs > 0 && this.#here.size <= countHardMax) {
        if (this.#timer) return
        this.#timer = clock.setTimer(leftMs, () => {
          this.#timer = undefined
          this.#makeRoom()
        })
        return
      }
      this.#here.delete(oldest)
      oldest.sendAway()
    }
  }
}
