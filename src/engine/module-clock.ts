/**
 * The clocks that Postgres reads, made of those that the module's glue has. Two things are better:
 * wall time has microseconds, and a sleep can be interrupted.
 */

/** WASI's clock_time_get: clock id, precision, where to write nanoseconds. Returns an error. */
export type WasiClock = (clock: number, precision: bigint, timeAt: number) => number

/** Of WASI's clock ids. */
const CLOCK_MONOTONIC = 1
/** Longer than any sleep, which is at most 2^31 ms. */
const CLOCK_JUMP_NS = 3n * 10n ** 15n
/** Beyond it does not jump any more: the time must fit 63 bits. */
const CLOCK_AHEAD_NS_MAX = 9n * 10n ** 18n
/** The last microsecond of a millisecond, in milliseconds. */
const LAST_MICROSECOND = 0.999

/**
 * Wall time with microseconds, from one that has whole milliseconds and a monotonic one. With
 * milliseconds alone, rows of two transactions, or statements prepared one after the other, would
 * have equal times and no order.
 *
 * What comes out always lies in the millisecond that went in: it agrees with the limits of time
 * that pgnap compares it with, follows when the machine's time is set, and goes back only if that
 * does.
 */
export class FineWallClock {
  /** Wall time less monotonic time, as far as is known. */
  #aheadMs = 0

  at(wallMs: number, monotonicMs: number): number {
    const lastMs = wallMs + LAST_MICROSECOND
    const guessMs = monotonicMs + this.#aheadMs
    if (guessMs >= wallMs && guessMs <= lastMs) return guessMs
    const nowMs = guessMs < wallMs ? wallMs : lastMs
    this.#aheadMs = nowMs - monotonicMs
    return nowMs
  }
}

/**
 * Sleeping is a loop that looks at the monotonic clock until enough time has passed (there is
 * nothing else in the module that could wait), and in that loop Postgres does not look for
 * interrupts. So once the flag is up, the clock jumps far ahead: the sleep ends, and the query is
 * cancelled before anybody can use the time it was told. It jumps at each look, because the first
 * one may be that at which a sleep begins: whoever raised the flag a moment before, when Postgres
 * had just looked, would otherwise wait for the whole of it.
 */
export function interruptibleClock(
  original: WasiClock,
  memory: WebAssembly.Memory,
  interruptPending: () => boolean,
): WasiClock {
  let aheadNs = 0n
  return (clock, precision, timeAt) => {
    const error = original(clock, precision, timeAt)
    if (clock !== CLOCK_MONOTONIC) return error
    if (!interruptPending()) {
      aheadNs = 0n
    } else {
      if (aheadNs < CLOCK_AHEAD_NS_MAX) aheadNs += CLOCK_JUMP_NS
      const view = new DataView(memory.buffer)
      view.setBigInt64(timeAt, view.getBigInt64(timeAt, true) + aheadNs, true)
    }
    return error
  }
}
