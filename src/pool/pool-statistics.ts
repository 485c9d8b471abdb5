/**
 * What a shard's pool counts. The counters are written on the path of queries, so they are plain
 * fields; `PoolStatistics` is the picture of one moment, as data that can be sent to another thread
 * and added up over shards.
 */
import { Histogram } from '../base/histogram.ts'
import type { HistogramData } from '../base/histogram.ts'
import { SyncDelayMonitor, type SyncDelayFacts, type SyncDelayOptions } from '../base/sync-delay.ts'
import { BusyMeter } from './busy-meter.ts'
import { ErrorCounts, type ErrorTotals } from './error-counts.ts'
import { type LiveClient, type LiveTenant, wasWokenSince } from './pool-client.ts'
import type { KeepWarm, KeepWarmStatistics } from './keep-warm.ts'
import type { EvictionReason, TenantPhase, Tier, WakeTier } from './pool-model.ts'
import type { PoolOptions } from './pool-options.ts'
import { isFreeSlot } from './pool-policy.ts'
import type { PoolState } from './pool-state.ts'
import type { JournalCounts } from './tenant-source.ts'

/** Tenants that were anywhere but in memory had to be loaded. */
export const LOADED: Readonly<Record<Tier, boolean>> = {
  awake: false,
  napping: false,
  asleep: true,
  cold: true,
  new: true,
}

/** Counters of one pool since it was made. */
export class PoolCounters {
  requests = 0
  /** Requests by where they found their tenant; `awake` may have waited for another client. */
  readonly found: Record<Tier, number> = { awake: 0, napping: 0, asleep: 0, cold: 0, new: 0 }
  /** Requests that had to wait for another client of their tenant, or for a slot. */
  waits = 0
  rejections = 0
  bootFailures = 0
  slotsCreated = 0
  slotsLost = 0
  /** Slots given up because another tenant must not be loaded into them. */
  slotsRetired = 0
  maintenanceSteps = 0
  /** See {@link ForkStatistics}. */
  readonly forks: Record<ForkCount, number> = { made: 0, refused: 0, reads: 0, withheld: 0 }
  /** Images that memory had no room for: on disk now, or gone. */
  readonly imagesMoved: Record<'asleep' | 'cold', number> = { asleep: 0, cold: 0 }
  /** Tenants whose connected clients lost their session with an image. */
  sessionsLost = 0
  readonly evictions: Record<EvictionReason, number> = {
    pressure: 0,
    ahead: 0,
    fairness: 0,
    idle: 0,
    requested: 0,
    warmed: 0,
    renewal: 0,
    drain: 0,
  }
  readonly wakes: Record<WakeTier, Histogram> = {
    napping: new Histogram(),
    asleep: new Histogram(),
    cold: new Histogram(),
    new: new Histogram(),
  }
  /** Taking a tenant out of its slot. */
  readonly leave: Histogram = new Histogram()
  readonly wait: Histogram = new Histogram()
  readonly execution: Histogram = new Histogram()
  readonly commit: Histogram = new Histogram()
  readonly errors: ErrorCounts = new ErrorCounts()
  /** Of all tenants, those of which nothing is known any more included. */
  readonly busy: BusyMeter = new BusyMeter()
  readonly syncDelay: SyncDelayMonitor
  readonly #slotWaitMs: PoolOptions['slotWaitMs']

  constructor(options: SyncDelayOptions & Pick<PoolOptions, 'slotWaitMs'>) {
    this.syncDelay = new SyncDelayMonitor(options)
    this.#slotWaitMs = options.slotWaitMs
  }

  /** Numbers one by one, because an object per query would be an allocation. */
  countBatch(tenant: LiveTenant, execMs: number, threadMs: number, endMs: number): void {
    this.execution.record(execMs)
    this.#countBusy(tenant, threadMs, endMs)
  }

  /** What a batch has changed is durable, so long after it had run. */
  countCommit({ timings, tenant }: LiveClient, ms: number): void {
    this.commit.record(ms)
    this.syncDelay.record('save', ms, tenant.entry.name)
    if (timings) timings.persistMs = ms
  }

  /** It has just been woken. */
  countWake(tenant: LiveTenant): void {
    const { wokenFrom, wakeMs, entry } = tenant
    this.wakes[wokenFrom].record(wakeMs)
    const loadMs = wakeMs + (this.#slotWaitMs?.() ?? 0)
    if (LOADED[wokenFrom]) this.syncDelay.record('load', loadMs, entry.name)
    this.#countBusy(tenant, tenant.wakeMs, tenant.awakeSinceMs)
  }

  countLeave(tenant: LiveTenant, reason: EvictionReason, startMs: number, endMs: number): void {
    this.evictions[reason]++
    this.leave.record(endMs - startMs)
    this.#countBusy(tenant, endMs - startMs, endMs)
  }

  #countBusy(tenant: LiveTenant, ms: number, nowMs: number): void {
    tenant.busy.add(ms, nowMs)
    this.busy.add(ms, nowMs)
  }

  /** A request is served that had to wait since then. */
  countFound(tenant: LiveTenant, sinceMs: number): void {
    this.found[wasWokenSince(tenant, sinceMs) ? tenant.wokenFrom : 'awake']++
  }
}

/** A picture of one pool; see `GET /v1/pool`. */
export interface PoolStatistics {
  readonly slots: {
    readonly total: number
    /** Ready, without a tenant. */
    readonly idle: number
    /** Those with forks included. */
    readonly inUse: number
    readonly max: number
    readonly memoryBytes: number
    readonly created: number
    readonly lost: number
    readonly retired: number
  }
  readonly forks: ForkStatistics
  /** Tenants the pool knows of. Cold ones are counted only while they have clients. */
  readonly tenants: Readonly<Record<TenantPhase, number>>
  readonly clients: { readonly connected: number; readonly waiting: number }
  readonly tenantsWaitingForSlot: number
  readonly requests: number
  /** Requests that were served, by where they found their tenant. */
  readonly found: Readonly<Record<Tier, number>>
  readonly waits: number
  readonly rejections: number
  readonly bootFailures: number
  readonly errors: ErrorTotals
  readonly maintenanceSteps: number
  readonly evictions: Readonly<Record<EvictionReason, number>>
  /** Images of napping tenants in memory, the stores that they keep open included. */
  readonly images: ImageStatistics
  readonly keepWarm: KeepWarmStatistics
  readonly wakes: Readonly<Record<WakeTier, HistogramData>>
  readonly leave: HistogramData
  readonly wait: HistogramData
  readonly execution: HistogramData
  readonly commit: HistogramData
  readonly journal: JournalCounts
  readonly syncDelay: SyncDelayFacts
}

type ForkCount = 'made' | 'refused' | 'reads' | 'withheld'

/**
 * Copies of backends in which clients read beside an open transaction: those that are there now,
 * and since the start how many were made, could not be made, batches that they have answered, and
 * batches that had to wait for the backend after all.
 */
export interface ForkStatistics extends Readonly<Record<ForkCount, number>> {
  readonly now: number
}

export interface ImageStatistics {
  readonly count: number
  readonly bytes: number
  /** Since the start: for want of room on disk now, or gone. */
  readonly moved: Readonly<Record<'asleep' | 'cold', number>>
  readonly sessionsLost: number
}

const NO_JOURNAL: JournalCounts = { commits: 0, syncs: 0 }

/** Puts the picture together. @param held by slots and images now */
export function poolStatistics(
  state: PoolState,
  counters: PoolCounters,
  held: {
    readonly memoryBytes: number
    readonly images: Pick<ImageStatistics, 'count' | 'bytes'>
    readonly keepWarm: Pick<KeepWarm, 'statistics'>
    readonly journal: JournalCounts | undefined
  },
): PoolStatistics {
  const phases = { cold: 0, waking: 0, awake: 0, draining: 0, napping: 0, asleep: 0 }
  let connected = 0
  for (const tenant of state.tenants.values()) {
    phases[tenant.phase]++
    connected += tenant.clientCount
  }
  const slots = [...state.slots]
  const inUse = slots.filter((slot) => !isFreeSlot(slot)).length
  const forkCount = slots.filter(({ forkOf }) => forkOf).length
  const { wakes } = counters
  return {
    slots: {
      total: state.slots.size,
      idle: state.slots.size - inUse,
      inUse,
      max: state.limits.slotsPerShard,
      memoryBytes: held.memoryBytes,
      created: counters.slotsCreated,
      lost: counters.slotsLost,
      retired: counters.slotsRetired,
    },
    forks: { now: forkCount, ...counters.forks },
    tenants: phases,
    clients: { connected, waiting: state.waitingByAge.size },
    tenantsWaitingForSlot: state.slotQueue.size,
    requests: counters.requests,
    found: { ...counters.found },
    waits: counters.waits,
    rejections: counters.rejections,
    bootFailures: counters.bootFailures,
    errors: counters.errors.toData(),
    maintenanceSteps: counters.maintenanceSteps,
    evictions: { ...counters.evictions },
    images: {
      count: held.images.count,
      bytes: held.images.bytes,
      moved: { ...counters.imagesMoved },
      sessionsLost: counters.sessionsLost,
    },
    keepWarm: held.keepWarm.statistics(),
    wakes: {
      napping: wakes.napping.toData(),
      asleep: wakes.asleep.toData(),
      cold: wakes.cold.toData(),
      new: wakes.new.toData(),
    },
    leave: counters.leave.toData(),
    wait: counters.wait.toData(),
    execution: counters.execution.toData(),
    commit: counters.commit.toData(),
    journal: held.journal ?? NO_JOURNAL,
    syncDelay: counters.syncDelay.facts(),
  }
}
