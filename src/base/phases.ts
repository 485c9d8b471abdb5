/**
 * Where the time of one request goes, as a list of phases that do not overlap: what one phase does
 * inside of another counts for the inner one alone, so the phases add up to no more than the whole.
 * What another thread, object or Worker has told of its own phases is included in the same way.
 *
 * One request, one recorder: phases follow each other or lie inside of each other. Two that run at
 * the same time need a recorder each.
 */
import { assert } from './assert.ts'
import type { Clock } from './clock.ts'

export interface PhaseTime {
  readonly name: string
  /** In milliseconds, as exact as the clock; a phase that was entered again has the sum. */
  readonly ms: number
}

export interface PhaseReport {
  /** Since the recorder was made. */
  readonly totalMs: number
  /** In the order in which they ended first; `other` is what belongs to none of them. */
  readonly phases: readonly PhaseTime[]
}

/** The name of what belongs to no phase. */
const REST = 'other'

export class Phases {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #startMs: number
  readonly #times = new Map<string, number>()
  #sumMs = 0

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
    this.#startMs = clock.monotonicMs()
  }

  /** Runs `work` as a phase, which ends when its promise is settled. */
  async measure<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const end = this.begin(name)
    try {
      return await work()
    } finally {
      end()
    }
  }

  /** The same for what has ended when it returns. */
  measureSync<Result>(name: string, work: () => Result): Result {
    const end = this.begin(name)
    try {
      return work()
    } finally {
      end()
    }
  }

  /** Begins a phase; what it returns ends it. For where a function would be in the way. */
  begin(name: string): () => void {
    const startMs = this.#clock.monotonicMs()
    const before = this.#sumMs
    let hasEnded = false
    return () => {
      assert(!hasEnded, 'a phase ends once')
      hasEnded = true
      const insideMs = this.#sumMs - before
      this.#add(name, this.#clock.monotonicMs() - startMs - insideMs)
    }
  }

  /** Takes in what somebody else has measured, during a phase of this one. */
  include(phases: readonly PhaseTime[]): void {
    for (const { name, ms } of phases) this.#add(name, ms)
  }

  /** What has ended until now, without `other`. */
  times(): PhaseTime[] {
    return Array.from(this.#times, ([name, ms]) => ({ name, ms }))
  }

  report(): PhaseReport {
    const totalMs = this.#clock.monotonicMs() - this.#startMs
    const rest = { name: REST, ms: Math.max(0, totalMs - this.#sumMs) }
    return { totalMs, phases: [...this.times(), rest] }
  }

  /** Two clocks may disagree about what lies inside of what: nothing takes less than no time. */
  #add(name: string, ms: number): void {
    const counted = Math.max(0, ms)
    this.#times.set(name, (this.#times.get(name) ?? 0) + counted)
    this.#sumMs += counted
  }
}
