/**
 * The alarm of a home that sees to it that commits come which computes have acknowledged (`async`).
 *
 * Computes flush by themselves. This is for when that failed: the alarm asks for what is not at
 * home yet, at first after `flushMs`, then again and again. A call to the compute Worker may reach
 * another isolate than the one that has the commits; that one says so, and the order stays. It is
 * given up after `flushOrderMs`: by then the isolate has ended, and with it what it had.
 */
import { toPgnapError } from '../../../base/errors.ts'
import type { Clock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Log } from '../../../base/log.ts'
import type { FlushOrder } from './compute.ts'

const FLUSH_PREFIX = 'flush/'

/** What the alarm needs of an object's storage. */
export interface AlarmStorage {
  get(key: string): Promise<KeptOrder | undefined>
  put(key: string, order: KeptOrder): Promise<void>
  delete(key: string): Promise<boolean>
  list(options: { readonly prefix: string }): Promise<Map<string, KeptOrder>>
  getAlarm(): Promise<number | null>
  setAlarm(atMs: number): Promise<void>
}

export interface KeptOrder extends FlushOrder {
  /** When it was set last, ms since 1970. */
  readonly setMs: number
}

export interface FlushTools {
  /** Whether the home has all that is ordered. */
  readonly has: (order: FlushOrder) => Promise<boolean>
  /** Whether whoever was asked had the commits, and brought them. */
  readonly flush: (order: FlushOrder) => Promise<boolean>
}

export class FlushAlarm {
  readonly #storage: AlarmStorage
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #log: Pick<Log, 'warn'>

  constructor(storage: AlarmStorage, clock: Pick<Clock, 'nowMs'>, log: Pick<Log, 'warn'>) {
    this.#storage = storage
    this.#clock = clock
    this.#log = log
  }

  /** At the latest in so many ms. One order per compute, and way to load and write. */
  async set(delayMs: number, order: FlushOrder): Promise<void> {
    const setMs = this.#clock.nowMs()
    const { load, write, writer } = order
    await this.#storage.put(`${FLUSH_PREFIX}${load}/${write}/${writer}`, { ...order, setMs })
    await this.#wakeAt(setMs + delayMs)
  }

  /** Has done what is ordered, as far as can be. True: nothing is left to be done. */
  async ring(tools: FlushTools): Promise<boolean> {
    const orders = await this.#storage.list({ prefix: FLUSH_PREFIX })
    let isDone = true
    for (const [key, order] of orders) {
      if (!(await this.#isOver(order, tools))) isDone = false
      // Another commit may have been ordered meanwhile.
      else if ((await this.#storage.get(key))?.sequence === order.sequence)
        await this.#storage.delete(key)
      else isDone = false
    }
    if (!isDone) await this.#wakeAt(this.#clock.nowMs() + LIMITS.flushMs)
    return isDone
  }

  async #isOver(order: KeptOrder, { has, flush }: FlushTools): Promise<boolean> {
    const { load, write } = order
    let failure: unknown
    try {
      if ((await has(order)) || (await flush(order))) return true
    } catch (error) {
      failure = error
      // What was refused was taken back, and said to be lost.
      if (!mayHelp(error)) return true
    }
    if (this.#clock.nowMs() - order.setMs < LIMITS.flushOrderMs) return false
    this.#log.warn('commits that were acknowledged have not come home', {
      load,
      write,
      error: failure,
    })
    return true
  }

  async #wakeAt(atMs: number): Promise<void> {
    const dueMs = await this.#storage.getAlarm()
    if (dueMs === null || dueMs > atMs) await this.#storage.setAlarm(atMs)
  }
}

/** Whether to bring the same again may help: what was refused was taken back. */
export function mayHelp(error: unknown): boolean {
  const { code } = toPgnapError(error)
  return code === 'OUTCOME_UNKNOWN' || code === 'SERVER_UNREACHABLE' || code === 'INTERNAL'
}
