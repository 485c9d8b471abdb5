/**
 * How long a client may be kept waiting by the upkeep of one table, and when that is tried again.
 * VACUUM of a large table takes seconds, on a thread that all tenants of a shard share; nobody has
 * asked for it, so it ends for whoever comes (`thread-watch.ts`). What it has done until then stays
 * done, but for the work on indexes, which begins anew.
 *
 *     attempt      1    2    3    4      5       6       7     ...
 *     patience     0    0    0    50 ms  100 ms  200 ms  400 ms  twice the one before
 *     rest after   1 s  2 s  4 s  8 s    16 s    32 s    60 s
 *
 * At first it waits for a moment in which nobody comes. In a shard that has no such moment it takes
 * its time in the end, since a table that is never vacuumed grows for ever: by doubling, somebody
 * waits a little more than once as long as it takes, minutes after it was due. Which transaction
 * ids are old enough to be frozen is no matter of size, and a database that runs out of them stops:
 * that has no bound at all.
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
const PATIENCE_MS_MIN = 50
const REST_MS_MIN = 1_000
/** A longer patience is none that can be told. */
const DOUBLINGS_MAX = 20

/** The attempts at one tenant's tables. */
export class UpkeepPatience {
  /** How often the task of a table has given way, by the table's OID. */
  readonly #yields = new Map<number, number>()

  /** Whether any table waits for its next attempt. */
  get isTried(): boolean {
    return this.#yields.size > 0
  }

  /** How long somebody may have to wait for what runs now. */
  patienceMs({ oid, freezes }: MaintenanceTask): number {
    const doublings = (this.#yields.get(oid) ?? 0) - ATTEMPTS_WITHOUT_PATIENCE
    if (doublings < 0) return 0
    const patienceMs = PATIENCE_MS_MIN * 2 ** Math.min(doublings, DOUBLINGS_MAX)
    return freezes ? patienceMs : Math.min(patienceMs, LIMITS.upkeepPatienceMaxMs)
  }

  /** It has given way. @returns how long nothing is to be tried again */
  gaveWay({ oid }: MaintenanceTask): number {
    const count = (this.#yields.get(oid) ?? 0) + 1
    this.#yields.set(oid, count)
    return Math.min(REST_MS_MIN * 2 ** (count - 1), LIMITS.upkeepRestMaxMs)
  }

  /** It has been done, or was refused. */
  ended({ oid }: MaintenanceTask): void {
    this.#yields.delete(oid)
  }

  /** Tables that need nothing any more. */
  keepOnly(tasks: readonly MaintenanceTask[]): void {
    const due = new Set(tasks.map(({ oid }) => oid))
    for (const oid of this.#yields.keys()) if (!due.has(oid)) this.#yields.delete(oid)
  }
}
