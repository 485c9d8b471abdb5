/**
 * What somebody has waited for before a tenant could be loaded: the engine of a fresh isolate, a
 * slot. To the pool that is no part of the load; to whoever asked it is, and in a cold isolate the
 * largest one. So it is counted with the load that comes next (`sync-delay.ts`).
 */
import { workerClock } from './clock.ts'
import { takeMakingMs } from './isolate.ts'

export class LoadWait {
  #ms = 0

  /** Counts how long `work` takes: it makes a slot, or waits for one. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#ms += takeMakingMs()
    const startMs = workerClock.monotonicMs()
    try {
      return await work()
    } finally {
      this.#ms += workerClock.monotonicMs() - startMs
      // If it has made the engine, that was in the middle of it.
      takeMakingMs()
    }
  }

  /** The same of a part of the load itself that has taken so long. */
  add(ms: number): void {
    this.#ms += ms
  }

  /** Something has been loaded after it, or was there already: nobody waits for it any more. */
  take(): number {
    const ms = this.#ms + takeMakingMs()
    this.#ms = 0
    return ms
  }
}
