/**
 * The clock of a Worker. In production it stands still while code runs and goes on with each event,
 * so what it says of durations inside of one request is no more than a hint.
 *
 * A timer belongs to the object in whose event it was set: it fires there, and keeps that object in
 * memory until then.
 */
import type { Clock } from '../../base/clock.ts'

export const workerClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: (delayMs, action) => {
    const timeout = setTimeout(action, Math.max(0, delayMs))
    return { cancel: () => clearTimeout(timeout) }
  },
  nextTurn: (action) => void setTimeout(action, 0),
}
