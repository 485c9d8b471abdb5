/**
 * Time as an argument. Pure rooms never read a clock of their own: a test hands them one that it
 * can move, and a simulation replays the same times from the same seed.
 */

/** A timer that has been set. Cancelling one that has fired does nothing. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump when the machine's time is set. */
  nowMs(): number
  /** Milliseconds from an arbitrary origin, with fractions; never goes back. For durations. */
  monotonicMs(): number
  /**
   * Milliseconds that this thread has had a processor, with fractions. A thread that others make
   * wait has had less than has gone by. Missing where it cannot be known.
   */
  readonly processorMs?: () => number
  /** Runs `action` once, `delayMs` from now. A timer does not keep the process alive. */
  setTimer(delayMs: number, action: () => void): Timer
  /** Runs `action` once, as soon as whatever else has come in has been looked at. */
  nextTurn(action: () => void): void
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #nowMs: number
  #timers: { atMs: number; action: () => void }[] = []

  constructor(startMs = 1_000_000) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  setTimer(delayMs: number, action: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, action }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  nextTurn(action: () => void): void {
    this.setTimer(0, action)
  }

  /** Moves time on and fires what falls due, in order of time. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= untilMs)
      const next = due.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (!next) break
      this.#timers = this.#timers.filter((other) => other !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.action()
    }
    this.#nowMs = untilMs
  }
}
