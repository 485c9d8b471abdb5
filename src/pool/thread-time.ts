/**
 * How long a batch has kept its thread busy. That is not how long it took: where more threads want
 * to run than there are processors, or a machine shares them with others, it may have waited for
 * one. Whoever is judged by his batches (`batch-pace.ts`) is not to be judged by that.
 *
 * The processor time of a thread is a system call away, so it is looked up every millisecond before
 * a batch begins, and again at the end of one that was suspiciously long. What lies between the two
 * is counted as its own.
 */
import type { Clock } from '../base/clock.ts'
import { LIMITS } from '../base/limits.ts'

/** How old what is known of the thread may be when a batch begins. */
const SAMPLE_MS = 1

export class ThreadTime {
  readonly #processorMs: Clock['processorMs']
  #sampledAtMs = Number.NEGATIVE_INFINITY
  #sampleMs = 0

  constructor(clock: Pick<Clock, 'processorMs'>) {
    this.#processorMs = clock.processorMs
  }

  /** A batch begins. */
  begin(nowMs: number): void {
    if (nowMs - this.#sampledAtMs < SAMPLE_MS || !this.#processorMs) return
    this.#sampledAtMs = nowMs
    this.#sampleMs = this.#processorMs()
  }

  /**
   * The batch that began last has ended, and took `ms`. Not to be asked of one that waited for
   * something itself, as for a disk: that is its own time, whoever has the processor meanwhile.
   * @returns its time, without what went by while the thread had no processor
   */
  busyMs(ms: number): number {
    if (ms < LIMITS.quickBatchMs || !this.#processorMs) return ms
    return Math.min(ms, this.#processorMs() - this.#sampleMs)
  }
}
