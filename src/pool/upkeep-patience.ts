/**
 * How long a client may be kept waiting by the upkeep of one table, and when that is tried again.
 * VACUUM of a large table takes seconds, on a thread that all tenants of a shard share; nobody has
 * asked for it, so it ends for whoever comes (`thread-watch.ts`). What it has done until then stays
 * done, but for the work on indexes, which begins anew.
 *
 *     attempt      1    2    3    4       5       6    7    8    ...
 *     patience     0    0    0    250 ms  500 ms  1 s  2 s  4 s  twice the one before
 *     rest after   1 s  2 s  4 s  8 s     16 s    32 s 60 s 60 s
 *
 * Without patience it begins only when nobody has asked the thread for anything for a moment; where
 * there has been no such moment for `upkeepSeekMs`, that counts as an attempt. In a shard that has
 * none it takes its time in the end, since a table that is never vacuumed grows for ever: by
 * doubling, somebody waits a little more than once as long as it takes, minutes after it was due.
 * A table whose transaction ids have to be frozen has no bound at all: a database that runs out of
 * them stops.
 */
import { LIMITS } from '../base/limits.ts'
import type { MaintenanceTask } from './maintenance.ts'

/** Where the pool says that what it runs is upkeep, for another thread to end it. */
export interface UpkeepSign {
  /** What runs next may keep whoever comes waiting for so long; then it is cancelled. */
  beginUpkeep(patienceMs: number): void
  /** It has ended. @returns whether it was cancelled for somebody's sake */
  endUpkeep(): boolean
}

/** Attempts that end as soon as anybody waits. */
const ATTEMPTS_WITHOUT_PATIENCE = 3
const PATIENCE_MS_MIN = 250
const REST_MS_MIN = 1_000
const LOOK_AGAIN_MS = 70
/** A longer patience is none that can be told. */
const DOUBLINGS_MAX = 20

/** The attempts at one tenant's tables. */
export class UpkeepPatience {
  /** How often the task of a table has given way, by the table's OID. */
  readonly #yields = new Map<number, number>()
  /** Since when a moment is sought for it. */
  readonly #seeksSince = new Map<number, number>()

  /** How long somebody may have to wait for what runs now. */
  patienceMs({ oid, freezes }: MaintenanceTask): number {
    const doublings = (this.#yields.get(oid) ?? 0) - ATTEMPTS_WITHOUT_PATIENCE
    if (doublings < 0) return 0
    const patienceMs = PATIENCE_MS_MIN * 2 ** Math.min(doublings, DOUBLINGS_MAX)
    return freezes ? patienceMs : Math.min(patienceMs, LIMITS.upkeepPatienceMaxMs)
  }

  /**
   * There was nobody's moment to begin in. @returns how long until it should be looked again
   */
  foundNoRest(task: MaintenanceTask, nowMs: number): number {
    const sinceMs = this.#seeksSince.get(task.oid) ?? nowMs
    this.#seeksSince.set(task.oid, sinceMs)
    return nowMs - sinceMs < LIMITS.upkeepSeekMs ? LOOK_AGAIN_MS : this.gaveWay(task)
  }

  /** It has given way. @returns how long nothing is to be tried again */
  gaveWay({ oid }: MaintenanceTask): number {
    const count = (this.#yields.get(oid) ?? 0) + 1
    this.#yields.set(oid, count)
    this.#seeksSince.delete(oid)
    return Math.min(REST_MS_MIN * 2 ** (count - 1), LIMITS.upkeepRestMaxMs)
  }

  /** It has been done, or was refused. */
  ended({ oid }: MaintenanceTask): void {
    this.#yields.delete(oid)
    this.#seeksSince.delete(oid)
  }

  /** Tables that need nothing any more. */
  keepOnly(tasks: readonly MaintenanceTask[]): void {
    const due = new Set(tasks.map(({ oid }) => oid))
    for (const known of [this.#yields, this.#seeksSince]) {
      for (const oid of known.keys()) if (!due.has(oid)) known.delete(oid)
    }
  }
}
