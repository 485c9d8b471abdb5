/** The alarm of a home that is to have the commits flushed which a compute has acknowledged. */
import { workerClock } from '../clock.ts'
import type { FlushOrder } from './compute.ts'

const FLUSH_KEY = 'flush'

export class FlushAlarm {
  readonly #storage: DurableObjectStorage

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
  }

  /** At the latest in so many ms. */
  async set(delayMs: number, order: FlushOrder): Promise<void> {
    const atMs = workerClock.nowMs() + delayMs
    const dueMs = await this.#storage.getAlarm()
    await this.#storage.put(FLUSH_KEY, order)
    if (dueMs === null || dueMs > atMs) await this.#storage.setAlarm(atMs)
  }

  /** What was set last. */
  order(): Promise<FlushOrder | undefined> {
    return this.#storage.get<FlushOrder>(FLUSH_KEY)
  }

  async clear(): Promise<void> {
    await this.#storage.delete(FLUSH_KEY)
    await this.#storage.deleteAlarm()
  }
}
