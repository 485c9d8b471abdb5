/**
 * One after the other, in the order in which they came: whoever has the turn may wait for calls of
 * other objects, and nobody else touches what it works on meanwhile.
 *
 * On Workers a request can end in the middle of what it does, without a word to those who wait for
 * it. So nobody waits for ever; whoever has waited too long is told. If all that time was one
 * other's, what it waited for is not to be used any more; a long queue is no reason for that.
 */
import type { Clock } from '../../../base/clock.ts'

export class Turns {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'setTimer'>
  #last: Promise<void> = Promise.resolve()
  /** Those that wait or work. */
  count = 0
  /** Since when whoever has the turn has it. */
  #sinceMs: number | undefined

  constructor(clock: Pick<Clock, 'monotonicMs' | 'setTimer'>) {
    this.#clock = clock
  }

  /** For how long whoever has the turn has had it; 0 if nobody has it. */
  get heldMs(): number {
    return this.#sinceMs === undefined ? 0 : this.#clock.monotonicMs() - this.#sinceMs
  }

  /** Runs `work` when its turn has come. Rejects with `late()` if it does not come in time. */
  async run<Result>(
    limitMs: number,
    late: () => Error,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    this.count++
    let hasTurn = false
    try {
      await this.#within(limitMs, before, late)
      hasTurn = true
      this.#sinceMs = this.#clock.monotonicMs()
      return await work()
    } finally {
      this.count--
      // Whoever gives up lets nobody past who is still at work.
      if (hasTurn) this.#sinceMs = undefined
      if (hasTurn) resolve()
      else void before.then(resolve)
    }
  }

  async #within(limitMs: number, before: Promise<void>, late: () => Error): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = this.#clock.setTimer(limitMs, () => reject(late()))
    void before.then(resolve)
    try {
      await promise
    } finally {
      timer.cancel()
    }
  }
}
