/** The numbers of pools as HTTP and the console show them, added up over several. */
import { Histogram, type HistogramData } from '../base/histogram.ts'
import { addUpSyncDelays } from '../base/sync-delay.ts'
import type { DurationFacts, MoveFacts, PoolFacts, TenantState, Tier } from '../front/control.ts'
import { addUpErrors } from '../pool/error-counts.ts'
import type { TenantPhase } from '../pool/pool-model.ts'
import type { PoolStatistics } from '../pool/pool-statistics.ts'

/** A phase of the pool as its users know it: leaving a slot is still being awake. */
export const STATE_OF_PHASE: Readonly<Record<TenantPhase, TenantState>> = {
  cold: 'cold',
  waking: 'waking',
  awake: 'awake',
  draining: 'awake',
  napping: 'napping',
  asleep: 'asleep',
}

const TIERS: readonly Tier[] = ['awake', 'napping', 'asleep', 'cold', 'new']

/** The sum of `pools`, and of what their shards say of tenants that have moved. */
export function addUpPools(
  pools: readonly PoolStatistics[],
  moves: readonly MoveFacts[],
): Omit<PoolFacts, 'paused'> {
  const sum = (value: (pool: PoolStatistics) => number): number =>
    pools.reduce((total, pool) => total + value(pool), 0)
  const tenants = { awake: 0, waking: 0, napping: 0, asleep: 0, cold: 0 }
  for (const pool of pools) {
    for (const [phase, state] of Object.entries(STATE_OF_PHASE)) {
      tenants[state] += pool.tenants[phase as keyof typeof STATE_OF_PHASE]
    }
  }
  const found = { awake: 0, napping: 0, asleep: 0, cold: 0, new: 0 }
  for (const tier of TIERS) found[tier] = sum((pool) => pool.found[tier])
  const served = TIERS.reduce((total, tier) => total + found[tier], 0)
  const wake = (tier: Exclude<Tier, 'awake'>): DurationFacts =>
    durationFacts(pools.map((pool) => pool.wakes[tier]))
  return {
    shards: pools.length,
    slots: addUpSlots(pools.map((pool) => pool.slots)),
    memoryBytes: sum((pool) => pool.slots.memoryBytes),
    forks: addUpForks(pools),
    tenants,
    tenantsWaitingForSlot: sum((pool) => pool.tenantsWaitingForSlot),
    clients: sum((pool) => pool.clients.connected),
    clientsWaiting: sum((pool) => pool.clients.waiting),
    found,
    hitRate: served === 0 ? 1 : found.awake / served,
    requests: sum((pool) => pool.requests),
    images: {
      count: sum((pool) => pool.images.count),
      bytes: sum((pool) => pool.images.bytes),
      toDisk: sum((pool) => pool.images.moved.asleep),
      dropped: sum((pool) => pool.images.moved.cold),
    },
    keepWarm: {
      known: sum((pool) => pool.keepWarm.known),
      // Every shard knows them all.
      pinned: Math.max(0, ...pools.map((pool) => pool.keepWarm.pinned)),
      warmed: sum((pool) => pool.keepWarm.warmed),
      hits: sum((pool) => pool.keepWarm.hits),
      wasted: sum((pool) => pool.keepWarm.wasted),
      failed: sum((pool) => pool.keepWarm.failed),
    },
    waits: sum((pool) => pool.waits),
    rejections: sum((pool) => pool.rejections),
    errors: addUpErrors(pools.map((pool) => pool.errors)),
    bootFailures: sum((pool) => pool.bootFailures),
    moves: addUpMoves(moves),
    upkeepSteps: sum((pool) => pool.maintenanceSteps),
    evictions: addUpEvictions(pools),
    wakes: {
      napping: wake('napping'),
      asleep: wake('asleep'),
      cold: wake('cold'),
      new: wake('new'),
    },
    leave: durationFacts(pools.map((pool) => pool.leave)),
    wait: durationFacts(pools.map((pool) => pool.wait)),
    execute: durationFacts(pools.map((pool) => pool.execution)),
    commit: durationFacts(pools.map((pool) => pool.commit)),
    journal: {
      commits: sum((pool) => pool.journal.commits),
      syncs: sum((pool) => pool.journal.syncs),
    },
    syncDelay: addUpSyncDelays(pools.map((pool) => pool.syncDelay)),
  }
}

function addUpForks(pools: readonly PoolStatistics[]): PoolFacts['forks'] {
  const total = { now: 0, made: 0, refused: 0, reads: 0, withheld: 0 }
  for (const { forks } of pools) {
    total.now += forks.now
    total.made += forks.made
    total.refused += forks.refused
    total.reads += forks.reads
    total.withheld += forks.withheld
  }
  return total
}

function addUpEvictions(pools: readonly PoolStatistics[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const { evictions } of pools) {
    for (const [reason, count] of Object.entries(evictions)) {
      total[reason] = (total[reason] ?? 0) + count
    }
  }
  return total
}

function addUpSlots(parts: readonly PoolStatistics['slots'][]): PoolFacts['slots'] {
  const total = { total: 0, idle: 0, inUse: 0, max: 0, created: 0, lost: 0, retired: 0 }
  for (const name of Object.keys(total) as (keyof typeof total)[]) {
    for (const slots of parts) total[name] += slots[name]
  }
  return total
}

function addUpMoves(moves: readonly MoveFacts[]): MoveFacts {
  const total = { done: 0, refused: 0, failed: 0, guests: 0 }
  for (const of of moves) {
    total.done += of.done
    total.refused += of.refused
    total.failed += of.failed
    total.guests += of.guests
  }
  return total
}

/** Of several places together. */
export function durationFacts(parts: readonly HistogramData[]): DurationFacts {
  const whole = new Histogram()
  for (const part of parts) whole.merge(part)
  return {
    count: whole.count,
    totalMs: microseconds(whole.sumMs),
    p50Ms: microseconds(whole.quantileMs(0.5)),
    p99Ms: microseconds(whole.quantileMs(0.99)),
    maxMs: microseconds(whole.maxMs),
    histogram: whole.cumulative(),
  }
}

/** Milliseconds without digits that no clock has measured. */
function microseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
