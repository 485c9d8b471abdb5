/**
 * The alarm by which a tenant is checkpointed and maintained that was written to and that nobody
 * asks any more. While it is in use, its pool does that in its pauses (`upkeep.ts`), by timers; but
 * timers go with the isolate, and what is due with the tenant's memory when others need the slot.
 * An alarm is in the object's storage, and makes the object anew if it has to.
 *
 *               a write               nobody came for a while: upkeep, a few seconds of it
 *     nothing ----------> due at ... ----------------------------------------------------> nothing
 *                          ^    |                                   |
 *                          +----+ somebody came, or there is more <-+
 *
 * It is set by a write and never by upkeep itself, so an object that nobody asks is woken once, and
 * then rests for good. It must never be set more often than once in `afterMs`: each time is a row
 * that is written.
 */
import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { TenantName } from '../../base/ids.ts'

/** What the alarm needs of an object's storage. */
export interface AlarmStorage {
  get(key: string): Promise<unknown>
  put(key: string, value: string): Promise<void>
  getAlarm(): Promise<number | null>
  setAlarm(atMs: number): Promise<void>
}

/** An object does not know its tenant's name when an alarm wakes it. */
const TENANT_KEY = 'upkeep/tenant'

export interface UpkeepTools {
  /** Loads the tenant if it is not, and does one step. False: nothing is left to be done. */
  readonly step: (tenant: TenantName) => Promise<boolean>
  /** Lets requests come in between. */
  readonly turn: () => Promise<void>
}

export class UpkeepAlarm {
  readonly #clock: Clock
  readonly #log: Pick<Log, 'error'>
  readonly #afterMs: number
  #storage: AlarmStorage
  /** An alarm is set, by this memory. */
  #isSet = false
  /** When somebody last came, ms since 1970; undefined: not in this memory. */
  #usedMs: number | undefined

  /** @param afterMs rest after which the work is done; 0: there is no alarm */
  constructor(
    storage: AlarmStorage,
    { clock, log, afterMs }: { clock: Clock; log: Pick<Log, 'error'>; afterMs: number },
  ) {
    this.#storage = storage
    this.#clock = clock
    this.#log = log
    this.#afterMs = afterMs
  }

  /** The object has been made anew. */
  rebind(storage: AlarmStorage): void {
    this.#storage = storage
  }

  /** Somebody comes. */
  used(): void {
    this.#usedMs = this.#clock.nowMs()
  }

  /** A client is writing. It is set a moment later: what is written now comes first. */
  wrote(tenant: TenantName): void {
    this.used()
    if (this.#isSet || this.#afterMs === 0) return
    this.#isSet = true
    queueMicrotask(() => {
      this.#set(tenant).catch((error: unknown) => {
        this.#isSet = false
        this.#log.error('a tenant will not be maintained', { tenant, error })
      })
    })
  }

  /** When it rings next, ms since 1970; null: nothing is to be done. */
  dueMs(): Promise<number | null> {
    return this.#storage.getAlarm()
  }

  /** It rings. Rejects as a step does: the platform rings again then, a few times. */
  async ring({ step, turn }: UpkeepTools): Promise<void> {
    const tenant = (await this.#storage.get(TENANT_KEY)) as TenantName | undefined
    if (tenant === undefined) return
    const nowMs = this.#clock.nowMs()
    const restMs = nowMs - (this.#usedMs ?? Number.NEGATIVE_INFINITY)
    if (restMs < this.#afterMs) return this.#setAt(nowMs + this.#afterMs - restMs)
    // Who writes from now on sets another one.
    this.#isSet = false
    const endMs = this.#clock.monotonicMs() + LIMITS.upkeepAlarmWorkMs
    while (await step(tenant)) {
      if (this.#clock.monotonicMs() >= endMs) return this.#setAt(nowMs + this.#pauseMs)
      await turn()
    }
  }

  /** What is in use is not to be waited for at work. */
  get #pauseMs(): number {
    return Math.max(this.#afterMs, LIMITS.upkeepAlarmWorkMs)
  }

  async #set(tenant: TenantName): Promise<void> {
    if ((await this.#storage.get(TENANT_KEY)) !== tenant) {
      await this.#storage.put(TENANT_KEY, tenant)
    }
    // One of a former memory may be set already.
    if ((await this.#storage.getAlarm()) !== null) return
    await this.#storage.setAlarm(this.#clock.nowMs() + this.#afterMs)
  }

  async #setAt(atMs: number): Promise<void> {
    this.#isSet = true
    await this.#storage.setAlarm(atMs)
  }
}
