/**
 * Replays a trace through the pool's own policy of keeping warm and a model of the tiers around it.
 * Deterministic: the same options give the same numbers, on every machine.
 */
import type { TenantName } from '../../src/base/ids.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { type KeepWarmCounts, KeepWarmPolicy } from '../../src/pool/keep-warm-policy.ts'
import { type Tier, Tiers } from './tiers.ts'
import { DAY_MS, makeTrace, type Request } from './trace.ts'

export interface SimulationOptions {
  readonly seed: number
  readonly tenants: number
  readonly days: number
  /** Of those, at the beginning: requests are not counted, only learned from. */
  readonly learningDays: number
  readonly imageCacheBytes: number
  readonly imageDiskBytes: number
  /** Tenants that are pinned, the first by number: they are of all kinds. */
  readonly pinned: number
}

export interface Outcome {
  /** Requests by where they found their tenant. */
  readonly found: Readonly<Record<Tier, number>>
  readonly requests: number
  /** Of requests whose tenant was not awake, those that found it in memory. */
  readonly inMemory: number
  /** Mean time that a request waits for its tenant to be loaded. */
  readonly wakeMs: number
  /** Over the whole time, the days of learning included. */
  readonly counts: KeepWarmCounts
}

/** What it costs to load a tenant, in milliseconds, as Server-Timing tells it: rounded medians. */
const WAKE_MS: Readonly<Record<Tier, number>> = {
  awake: 0,
  napping: 2,
  asleep: 4,
  cold: 9.5,
  new: 2,
}
const SLOTS = 16
/** The trace begins on some Monday at midnight. */
const START_MS = 1_800_000 * 48 * 20_000

/** Runs the same trace without and with the policy. */
export function compare(options: SimulationOptions): { without: Outcome; with: Outcome } {
  const trace = makeTrace(options)
  return {
    without: replay(trace, { ...options, pinned: 0 }, false),
    with: replay(trace, options, true),
  }
}

function replay(trace: readonly Request[], options: SimulationOptions, warms: boolean): Outcome {
  const policy = new KeepWarmPolicy(LIMITS.keepWarmTenantsMax)
  const { imageCacheBytes, imageDiskBytes } = options
  const tiers = new Tiers(
    { slots: SLOTS, imageCacheBytes, imageDiskBytes, napAfterMs: LIMITS.napAfterMs },
    {
      isPinned: (tenant) => policy.isPinned(tenant),
      onLeft: (tenant) => policy.left(tenant),
    },
  )
  for (let index = 0; index < options.pinned; index++) policy.pin(`t${index}` as TenantName)
  const found: Record<Tier, number> = { awake: 0, napping: 0, asleep: 0, cold: 0, new: 0 }
  let beatMs = warms ? START_MS : Number.POSITIVE_INFINITY
  for (const request of trace) {
    const nowMs = START_MS + request.atMs
    while (beatMs <= nowMs) beatMs = beat(policy, tiers, beatMs)
    const { tenant } = request
    const tier = tiers.use(tenant, nowMs)
    if (warms && tier !== 'awake') policy.arrived(tenant, nowMs)
    if (request.atMs >= options.learningDays * DAY_MS) found[tier]++
  }
  return { ...summaryOf(found), counts: policy.counts }
}

/** As `KeepWarm` does it: one tenant, then a pause. @returns the time of the next one */
function beat(policy: KeepWarmPolicy, tiers: Tiers, nowMs: number): number {
  tiers.advance(nowMs)
  for (const expired of policy.takeExpired(nowMs)) tiers.release(expired)
  const isInMemory = (tenant: TenantName): boolean => tiers.isInMemory(tenant)
  const tenant = policy.next(nowMs, isInMemory, tiers.room(nowMs))
  const soonMs = nowMs + LIMITS.keepWarmPauseMs
  if (tenant === undefined) return Math.max(soonMs, policy.nextScanAtMs)
  policy.warmed(tenant, tiers.warm(tenant, nowMs))
  return soonMs
}

function summaryOf(found: Readonly<Record<Tier, number>>): Omit<Outcome, 'counts'> {
  const tiers = Object.keys(found) as Tier[]
  const requests = tiers.reduce((sum, tier) => sum + found[tier], 0)
  const waitedMs = tiers.reduce((sum, tier) => sum + found[tier] * WAKE_MS[tier], 0)
  const atRest = found.napping + found.asleep + found.cold
  return { found, requests, inMemory: found.napping / atRest, wakeMs: waitedMs / requests }
}
