/**
 * The clock of one object, whose timers outlive its lives: the platform forgets the timers of an
 * object that it puts away, so they are set again when it is made anew (`rearm`). Before one of
 * them does anything, it is seen to that there is a slot to do it in.
 */
import type { Clock, Timer } from '../../base/clock.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'

interface Pending {
  readonly atMs: number
  readonly action: () => void
  timer: Timer
}

export class ObjectClock implements Clock {
  readonly #pending = new Set<Pending>()
  readonly #preparing: () => Promise<void> | undefined

  /** @param preparing what to wait for before an action, until it says that there is nothing */
  constructor(preparing: () => Promise<void> | undefined) {
    this.#preparing = preparing
  }

  nowMs(): number {
    return workerClock.nowMs()
  }

  monotonicMs(): number {
    return workerClock.monotonicMs()
  }

  setTimer(delayMs: number, action: () => void): Timer {
    const atMs = workerClock.monotonicMs() + delayMs
    const pending: Pending = { atMs, action, timer: { cancel: () => {} } }
    this.#pending.add(pending)
    this.#arm(pending)
    return {
      cancel: () => {
        this.#pending.delete(pending)
        pending.timer.cancel()
      },
    }
  }

  nextTurn(action: () => void): void {
    this.setTimer(0, action)
  }

  /** To be called in the first event of the object's new life. */
  rearm(): void {
    for (const pending of this.#pending) this.#arm(pending)
  }

  #arm(pending: Pending): void {
    const delayMs = Math.max(0, pending.atMs - workerClock.monotonicMs())
    pending.timer = workerClock.setTimer(delayMs, () => void this.#fire(pending))
  }

  async #fire(pending: Pending): Promise<void> {
    try {
      for (let waiting = this.#preparing(); waiting; waiting = this.#preparing()) await waiting
    } catch (error) {
      // Whatever the action does in the slot fails as well, and tells whoever it concerns.
      consoleLog.error('there is no slot for what is due', { error })
    }
    if (this.#pending.delete(pending)) pending.action()
  }
}
