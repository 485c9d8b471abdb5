/**
 * Gives back the room of what tenants have deleted, once nobody can ask for it any more, also when
 * they have left their slots by then: history is kept for longer than a tenant stays awake. No slot
 * and no Postgres is needed for it, only the store.
 *
 *     written to --> kept until its history has passed --+--> awake: its upkeep is due
 *                    (in memory, and no longer)          +--> its store is open: tidied, in slices
 *                                                        +--> closed: opened for that, and closed
 *
 * Slices take some ten milliseconds each, and the pause after each is so long that the thread is
 * there for others. Who wakes a tenant, deletes, copies or moves it takes its store away from here
 * between two slices.
 *
 * Neither pruning nor compacting changes what a store's stamp names, so images stay good.
 *
 * What is not known here (the server was started since, or there were too many) is found when the
 * tenant is next asked for, if only to read. It must never make a tenant that does not exist, keep
 * anybody from a store, or let an error out: whatever fails is tried when the tenant is next used.
 */
import { assert } from '../base/assert.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { toPgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { LiveTenants } from './live-tenants.ts'
import { isResting, type PoolEvent } from './pool-model.ts'
import { isQuiet } from './pool-policy.ts'
import type { PoolState } from './pool-state.ts'
import type { OpenTenant, TenantSource } from './tenant-source.ts'

export interface RestingUpkeepOptions {
  readonly state: PoolState
  readonly tenants: LiveTenants
  readonly source: TenantSource
  readonly clock: Clock
  readonly log: Log
  readonly event: (event: PoolEvent) => void
  /** Only where stores open at once. Default: nothing is done here. */
  readonly enabled: boolean | undefined
}

/** After a slice the thread is others' for so many times as long; alone, for as long. */
const PAUSES_PER_SLICE = 9
const PAUSE_MS_MIN = 10
/** Who cannot be tidied now is looked at again: it wakes, is paused, or somebody has its file. */
const LOOK_AGAIN_MS = 10_000

export class RestingUpkeep {
  readonly #options: RestingUpkeepOptions
  /** Monotonic times at which they are to be looked at. */
  readonly #due = new Map<TenantName, number>()
  /** A store that was closed and is open for this. */
  #opened: { readonly name: TenantName; readonly open: OpenTenant } | undefined
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(options: RestingUpkeepOptions) {
    this.#options = options
  }

  /** Tenants that will be looked at. */
  get count(): number {
    return this.#due.size
  }

  /** The store of a tenant is open, and it may have been written to. */
  note(name: TenantName, open: OpenTenant): void {
    if (!this.#options.enabled) return
    const { clock } = this.#options
    const inMs = dueInMs(open, clock)
    const nowMs = clock.monotonicMs()
    if (inMs !== undefined) return this.#lookAt(name, nowMs + Math.max(0, inMs))
    // Of what was begun and not ended, no date is left.
    const isBegun = (this.#due.get(name) ?? Number.POSITIVE_INFINITY) <= nowMs
    if (!isBegun) this.#due.delete(name)
  }

  /** It is about to be closed: it will be opened again only if that is worth the trouble. */
  closing(name: TenantName, open: OpenTenant): void {
    if (!this.#due.has(name)) return
    try {
      if (open.isWorthTidying?.() === true) return
    } catch {
      // Whoever opens it next is told what is wrong.
    }
    this.#due.delete(name)
  }

  /** Others need its store: it is closed, if it was opened here. */
  letGo(name: TenantName): void {
    if (this.#opened?.name === name) this.#close()
  }

  /** The tenant is to be deleted, is another pool's, or its file somebody else's. */
  forget(name: TenantName): void {
    this.letGo(name)
    this.#due.delete(name)
  }

  /** All that are kept at rest. */
  letGoPaused(): void {
    const { pauses } = this.#options.state
    if (this.#opened && pauses.isPaused(this.#opened.name)) this.#close()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#due.clear()
    this.#close()
  }

  // Time

  #lookAt(name: TenantName, atMs: number): void {
    // Behind all others: the first one is the one that was not noted for longest.
    this.#due.delete(name)
    this.#due.set(name, atMs)
    const [oldest] = this.#due.keys()
    if (this.#due.size > LIMITS.restingUpkeepMax && oldest !== undefined) this.#due.delete(oldest)
    this.#arm(atMs)
  }

  #arm(atMs: number): void {
    if (atMs >= this.#timerAtMs) return
    const { clock } = this.#options
    this.#timer?.cancel()
    this.#timerAtMs = atMs
    this.#timer = clock.setTimer(Math.max(0, atMs - clock.monotonicMs()), () => this.#beat())
  }

  #armForNext(earliestMs: number): void {
    let nextMs = Number.POSITIVE_INFINITY
    for (const atMs of this.#due.values()) nextMs = Math.min(nextMs, atMs)
    this.#arm(Math.max(nextMs, earliestMs))
  }

  #beat(): void {
    const { clock, state } = this.#options
    this.#timerAtMs = Number.POSITIVE_INFINITY
    if (state.drainDeadlineMs !== undefined) return
    const startMs = clock.monotonicMs()
    const name = this.#opened?.name ?? this.#firstDue(startMs)
    if (name !== undefined) this.#see(name)
    const endMs = clock.monotonicMs()
    const pauses = isQuiet(state, endMs) ? 1 : PAUSES_PER_SLICE
    this.#armForNext(endMs + Math.max(PAUSE_MS_MIN, (endMs - startMs) * pauses))
  }

  #firstDue(nowMs: number): TenantName | undefined {
    for (const [name, atMs] of this.#due) if (atMs <= nowMs) return name
    return undefined
  }

  // Work

  #see(name: TenantName): void {
    const { state, clock, source, event } = this.#options
    const entry = state.tenants.get(name)
    const phase = entry?.phase ?? 'cold'
    if (entry && phase === 'awake') {
      // It is noted again when that has been done.
      this.forget(name)
      return event({ type: 'upkeepDue', tenant: entry })
    }
    if (!isResting(phase) || state.pauses.isPaused(name)) {
      this.letGo(name)
      return this.#lookAt(name, clock.monotonicMs() + LOOK_AGAIN_MS)
    }
    if (source.owns?.(name) === false || source.exists?.(name) === false) return this.forget(name)
    try {
      if (!this.#tidy(name)) this.forget(name)
    } catch (error) {
      this.#failed(name, error)
    }
  }

  /** One slice. False: nothing is left to be done. */
  #tidy(name: TenantName): boolean {
    const { tenants, clock } = this.#options
    const open = tenants.get(name)?.open ?? this.#open(name)
    const inMs = dueInMs(open, clock)
    // What is there without a date is what a slice has left.
    if (inMs !== undefined && inMs > 0) {
      this.letGo(name)
      this.#lookAt(name, clock.monotonicMs() + inMs)
      return true
    }
    if (!open.tidy()) return false
    // The one that is at work goes before all others.
    this.#due.set(name, clock.monotonicMs())
    return true
  }

  #open(name: TenantName): OpenTenant {
    if (this.#opened?.name === name) return this.#opened.open
    this.#close()
    const open = this.#options.source.open(name)
    assert(!(open instanceof Promise), 'stores that are tidied at rest open at once')
    this.#opened = { name, open }
    return open
  }

  #close(): void {
    const opened = this.#opened
    this.#opened = undefined
    opened?.open.close()
  }

  /** Nothing that anybody was told has changed. */
  #failed(name: TenantName, error: unknown): void {
    const { clock, log } = this.#options
    const { code } = toPgnapError(error)
    this.forget(name)
    // A backup is reading its file, perhaps.
    if (code === 'STORE_LOCKED') this.#lookAt(name, clock.monotonicMs() + LOOK_AGAIN_MS)
    else log.warn('the store of a tenant was not tidied', { tenant: name, code, error })
  }
}

/** Milliseconds until its history has passed; undefined: it has none. */
function dueInMs(open: OpenTenant, clock: Clock): number | undefined {
  const atMs = open.historyEndsMs?.()
  return atMs === undefined ? undefined : atMs - clock.nowMs()
}
