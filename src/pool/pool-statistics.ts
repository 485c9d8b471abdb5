/**
 * What a shard's pool counts. The counters are written on the path of queries, so they are plain
 * fields; `PoolStatistics` is the picture of one moment, as data that can be sent to another thread
 * and added up over shards.
 */
import { Histogram } from '../base/histogram.ts'
import type { HistogramData } from '../base/histogram.ts'
import type { EvictionReason, SlotEntry, TenantPhase } from './pool-model.ts'
import type { PoolState } from './pool-state.ts'

/** Counters of one pool since it was made. */
export class PoolCounters {
  requests = 0
  /** Requests that found their tenant awake and its backend free. */
  hits = 0
  /** Requests that had to wait for another client of their tenant, or for a slot. */
  waits = 0
  rejections = 0
  boots = 0
  bootFailures = 0
  slotsCreated = 0
  slotsLost = 0
  /** Slots given up because another tenant must not be loaded into them. */
  slotsRetired = 0
  maintenanceSteps = 0
  readonly evictions: Record<EvictionReason, number> = {
    pressure: 0,
    fairness: 0,
    idle: 0,
    requested: 0,
    drain: 0,
  }
  readonly wake: Histogram = new Histogram()
  readonly wait: Histogram = new Histogram()
  readonly execution: Histogram = new Histogram()
  readonly commit: Histogram = new Histogram()
}

/** A picture of one pool; see `GET /v1/pool`. */
export interface PoolStatistics {
  readonly slots: {
    readonly total: number
    /** Ready, without a tenant. */
    readonly idle: number
    readonly inUse: number
    readonly max: number
    readonly memoryBytes: number
    readonly created: number
    readonly lost: number
    readonly retired: number
  }
  /** Tenants the pool knows of. Cold ones are counted only while they have clients. */
  readonly tenants: Readonly<Record<TenantPhase, number>>
  readonly clients: { readonly connected: number; readonly waiting: number }
  readonly tenantsWaitingForSlot: number
  readonly requests: number
  readonly hits: number
  /** hits / requests, in [0, 1]; 1 before the first request. */
  readonly hitRate: number
  readonly waits: number
  readonly rejections: number
  readonly boots: number
  readonly bootFailures: number
  readonly maintenanceSteps: number
  readonly evictions: Readonly<Record<EvictionReason, number>>
  readonly wake: HistogramData
  readonly wait: HistogramData
  readonly execution: HistogramData
  readonly commit: HistogramData
}

/** Puts the picture together. */
export function poolStatistics(
  state: PoolState,
  counters: PoolCounters,
  slots: ReadonlyMap<SlotEntry, { readonly memoryBytes: number }>,
): PoolStatistics {
  const phases = { cold: 0, waking: 0, awake: 0, draining: 0, napping: 0, asleep: 0 }
  let connected = 0
  for (const tenant of state.tenants.values()) {
    phases[tenant.phase]++
    connected += tenant.clientCount
  }
  let memoryBytes = 0
  for (const slot of slots.values()) memoryBytes += slot.memoryBytes
  const inUse = [...state.slots].filter((slot) => slot.tenant).length
  const { requests, hits } = counters
  return {
    slots: {
      total: state.slots.size,
      idle: state.slots.size - inUse,
      inUse,
      max: state.limits.slotsPerShard,
      memoryBytes,
      created: counters.slotsCreated,
      lost: counters.slotsLost,
      retired: counters.slotsRetired,
    },
    tenants: phases,
    clients: { connected, waiting: state.waitingByAge.size },
    tenantsWaitingForSlot: state.slotQueue.size,
    requests,
    hits,
    hitRate: requests === 0 ? 1 : hits / requests,
    waits: counters.waits,
    rejections: counters.rejections,
    boots: counters.boots,
    bootFailures: counters.bootFailures,
    maintenanceSteps: counters.maintenanceSteps,
    evictions: { ...counters.evictions },
    wake: counters.wake.toData(),
    wait: counters.wait.toData(),
    execution: counters.execution.toData(),
    commit: counters.commit.toData(),
  }
}
