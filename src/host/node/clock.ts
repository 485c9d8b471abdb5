/**
 * The real clock of a Node process. Everything above takes a `Clock` as an argument; this is the
 * one place where it comes from.
 *
 * Timers are unref'd: a sleeping tenant's nap must never be what keeps a finished process alive.
 */
import type { Clock, Timer } from '../../base/clock.ts'
import { assert } from '../../base/assert.ts'

/**
 * Longest delay of one `setTimeout` (2^31 - 1 ms, 24.8 days). Node fires anything longer at once.
 */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

/** Wall time, monotonic time and timers of this process. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  processorMs: () => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  },
  setTimer,
  nextTurn: (action) => void setImmediate(action),
}

/** Delays of any length: those beyond what one timeout can hold are waited for in several. */
function setTimer(delayMs: number, action: () => void): Timer {
  assert(!Number.isNaN(delayMs), 'a delay is a number')
  let timeout: NodeJS.Timeout
  const arm = (leftMs: number): void => {
    const stepMs = Math.min(leftMs, TIMEOUT_MS_MAX)
    timeout = setTimeout(() => {
      if (leftMs > stepMs) arm(leftMs - stepMs)
      else action()
    }, stepMs)
    timeout.unref()
  }
  arm(Math.max(0, delayMs))
  return { cancel: () => clearTimeout(timeout) }
}
