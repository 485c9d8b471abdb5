/**
 * How long loading and saving a tenant's data takes, judged by what its user notices: sizes and
 * network speeds are guesses, the delay is the thing itself (seed 004).
 *
 *            < 100 ms   optimal      nothing
 *            < 300 ms   acceptable   nothing
 *            < 500 ms   warning      a line in the log
 *          < 1,000 ms   slow         think of archiving
 *                more   critical     tell the user
 *
 * One slow one is an accident: a fresh runtime, a disk that was asleep. So there is a window of the
 * last ten of each kind as well, and if 30 % of it are `slow` or `critical`, the alarm is raised
 * until they are fewer. What is missing in a window counts as quick: the first load after a start
 * cannot raise it.
 *
 * It stands on the path of every commit: `record` allocates nothing unless it has something to say.
 */
import type { Clock } from './clock.ts'
import { LIMITS } from './limits.ts'
import type { Log, LogFields } from './log.ts'

export type SyncKind = 'load' | 'save'

/** From the best to the worst. */
export const SYNC_STATUSES: readonly SyncStatus[] = [
  'optimal',
  'acceptable',
  'warning',
  'slow',
  'critical',
]
export type SyncStatus = 'optimal' | 'acceptable' | 'warning' | 'slow' | 'critical'

/** What to do about it, in the words of seed 004. */
export const SYNC_ACTIONS: Readonly<Record<SyncStatus, string>> = {
  optimal: 'none',
  acceptable: 'none',
  warning: 'log_warning',
  slow: 'consider_archiving',
  critical: 'show_user_warning',
}

/** What a delay is called. */
export function syncStatus(ms: number): SyncStatus {
  if (ms < LIMITS.syncOptimalMs) return 'optimal'
  if (ms < LIMITS.syncAcceptableMs) return 'acceptable'
  if (ms < LIMITS.syncWarningMs) return 'warning'
  return ms < LIMITS.syncCriticalMs ? 'slow' : 'critical'
}

/** What is known of the loads, or of the saves, of one place. Plain data. */
export interface SyncFacts {
  /** Since the start. */
  readonly count: number
  /** Of them, by status. */
  readonly byStatus: Readonly<Record<SyncStatus, number>>
  /** The last one; undefined if there was none. */
  readonly last: { readonly ms: number; readonly status: SyncStatus } | undefined
  /** Of the last `syncWindow`: how many there are, and how many of them were slow or critical. */
  readonly recent: { readonly count: number; readonly slow: number }
  /** Too many of them are. */
  readonly alarm: boolean
}

export type SyncDelayFacts = Readonly<Record<SyncKind, SyncFacts>>

/** Loads, or saves. */
class SyncWindow {
  readonly #recentMs = new Float64Array(LIMITS.syncWindow)
  readonly #byStatus: Record<SyncStatus, number> = {
    optimal: 0,
    acceptable: 0,
    warning: 0,
    slow: 0,
    critical: 0,
  }
  #count = 0
  #slow = 0

  get alarm(): boolean {
    return this.#slow >= LIMITS.syncWarningRatio * LIMITS.syncWindow
  }

  record(ms: number): SyncStatus {
    const status = syncStatus(ms)
    const at = this.#count % LIMITS.syncWindow
    // An empty place holds 0, which is quick.
    if ((this.#recentMs[at] ?? 0) >= LIMITS.syncWarningMs) this.#slow--
    if (ms >= LIMITS.syncWarningMs) this.#slow++
    this.#recentMs[at] = ms
    this.#byStatus[status]++
    this.#count++
    return status
  }

  facts(): SyncFacts {
    const lastMs = this.#recentMs[(this.#count - 1) % LIMITS.syncWindow]
    const last = this.#count === 0 || lastMs === undefined ? undefined : lastMs
    return {
      count: this.#count,
      byStatus: { ...this.#byStatus },
      last: last === undefined ? undefined : { ms: last, status: syncStatus(last) },
      recent: { count: Math.min(this.#count, LIMITS.syncWindow), slow: this.#slow },
      alarm: this.alarm,
    }
  }
}

export interface SyncDelayOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly log: Pick<Log, 'info' | 'warn'>
}

/** Watches one place: a shard's pool, an object, a bucket. */
export class SyncDelayMonitor {
  readonly #options: SyncDelayOptions
  readonly #windows = { load: new SyncWindow(), save: new SyncWindow() }
  #quietUntilMs = Number.NEGATIVE_INFINITY
  /** Lines that were not written. */
  #unsaid = 0

  constructor(options: SyncDelayOptions) {
    this.#options = options
  }

  /**
   * One load or save has taken so long.
   * @param subject whose it was, for the log. Default: nobody's
   */
  record(kind: SyncKind, ms: number, subject?: string): SyncStatus {
    const window = this.#windows[kind]
    const before = window.alarm
    const status = window.record(ms)
    if (window.alarm !== before) this.#tellAlarm(kind, window)
    if (ms >= LIMITS.syncAcceptableMs) this.#tell(kind, ms, status, subject)
    return status
  }

  facts(): SyncDelayFacts {
    return { load: this.#windows.load.facts(), save: this.#windows.save.facts() }
  }

  #tell(kind: SyncKind, ms: number, status: SyncStatus, subject: string | undefined): void {
    const { clock, log } = this.#options
    const nowMs = clock.monotonicMs()
    if (nowMs < this.#quietUntilMs) {
      this.#unsaid++
      return
    }
    this.#quietUntilMs = nowMs + LIMITS.syncLogPauseMs
    const fields: LogFields = {
      kind,
      ms,
      status,
      action: SYNC_ACTIONS[status],
      ...(subject === undefined ? {} : { tenant: subject }),
      ...(this.#unsaid === 0 ? {} : { unsaid: this.#unsaid }),
    }
    this.#unsaid = 0
    if (status === 'warning') log.info(`a ${kind} took long`, fields)
    else log.warn(`a ${kind} took long`, fields)
  }

  #tellAlarm(kind: SyncKind, window: SyncWindow): void {
    const { log } = this.#options
    const { recent, alarm } = window.facts()
    if (alarm) log.warn(`many a ${kind} is slow lately`, { kind, ...recent })
    else log.info(`a ${kind} is quick again`, { kind, ...recent })
  }
}

/** Of several places together; its last one is the slowest of theirs. */
export function addUpSyncDelays(parts: readonly SyncDelayFacts[]): SyncDelayFacts {
  return {
    load: addUp(parts.map(({ load }) => load)),
    save: addUp(parts.map(({ save }) => save)),
  }
}

function addUp(parts: readonly SyncFacts[]): SyncFacts {
  const total = {
    count: 0,
    byStatus: { optimal: 0, acceptable: 0, warning: 0, slow: 0, critical: 0 },
    last: undefined as SyncFacts['last'],
    recent: { count: 0, slow: 0 },
    alarm: false,
  }
  for (const { count, byStatus, last, recent, alarm } of parts) {
    total.count += count
    for (const status of SYNC_STATUSES) total.byStatus[status] += byStatus[status]
    if (last && last.ms >= (total.last?.ms ?? 0)) total.last = last
    total.recent.count += recent.count
    total.recent.slow += recent.slow
    total.alarm ||= alarm
  }
  return total
}
