/**
 * The pool's judgements that need no change of state: who may be asked to leave, and when the
 * machine must look again. Pure functions over the state, apart from `pool-state.ts` so that a
 * policy can be read, and replaced, on one page. There are few slots in a shard: scans beat lists
 * kept in order, which the path of every query would have to keep.
 */
import type { ClientEntry, PoolLimits, SlotEntry, TenantEntry } from './pool-model.ts'

/** What a judgement may look at. */
export interface PoolView {
  readonly limits: PoolLimits
  readonly slots: ReadonlySet<SlotEntry>
  readonly slotQueue: ReadonlySet<TenantEntry>
  readonly waitingByAge: ReadonlySet<ClientEntry>
  readonly creating: boolean
  readonly createAfterMs: number
  readonly drainDeadlineMs: number | undefined
}

/** Awake, and nobody uses or awaits its backend. */
export function isIdle(tenant: TenantEntry): boolean {
  return tenant.phase === 'awake' && tenant.holder === undefined && tenant.waiting.size === 0
}

/** Slots that are free, or will be without anybody doing anything more. */
export function slotsExpected(view: PoolView): number {
  let count = view.creating ? 1 : 0
  for (const { tenant } of view.slots) {
    if (!tenant || tenant.phase === 'draining') count++
  }
  return count
}

/** Whether one more slot may be made now. */
export function mayCreate(view: PoolView, nowMs: number): boolean {
  return view.slots.size < view.limits.slotsPerShard && nowMs >= view.createAfterMs
}

/** The least recently used of the idle tenants that may be asked to leave now. */
export function pickVictim(view: PoolView, nowMs: number): TenantEntry | undefined {
  let victim: TenantEntry | undefined
  for (const { tenant } of view.slots) {
    if (!tenant || !isIdle(tenant) || nowMs < evictableAtMs(view, tenant)) continue
    if (!victim || tenant.lastUsedMs < victim.lastUsedMs) victim = tenant
  }
  return victim
}

/**
 * When the machine must get a `tick` at the latest, on the clock of `nowMs`; infinity: never. A
 * tick that comes too early does no harm.
 */
export function nextDeadlineMs(view: PoolView, nowMs: number): number {
  const limits = view.limits
  const oldest = first(view.waitingByAge)
  let atMs = oldest ? oldest.waitSinceMs + limits.queryWaitMs : Number.POSITIVE_INFINITY
  for (const { tenant } of view.slots) {
    if (!tenant || tenant.phase !== 'awake') continue
    const idle = isIdle(tenant)
    const restMs = tenant.maintenanceDue ? limits.maintenanceIdleMs : limits.napAfterMs
    // A busy tenant is looked at again later: the end of its batches does not touch the timer.
    atMs = Math.min(atMs, (idle ? tenant.lastUsedMs : nowMs) + restMs)
    if (!idle || view.slotQueue.size === 0) continue
    const leavesAtMs = evictableAtMs(view, tenant)
    if (leavesAtMs > nowMs) atMs = Math.min(atMs, leavesAtMs)
  }
  if (view.drainDeadlineMs !== undefined) {
    return view.drainDeadlineMs > nowMs ? Math.min(atMs, view.drainDeadlineMs) : atMs
  }
  const mayWantSlot = view.slots.size < limits.slotsPerShard && !view.creating
  return mayWantSlot && view.createAfterMs > nowMs ? Math.min(atMs, view.createAfterMs) : atMs
}

/**
 * A tenant whose clients have all left has nothing to lose; another keeps its slot for a quantum.
 */
function evictableAtMs(view: PoolView, tenant: TenantEntry): number {
  if (tenant.clientCount === 0) return Number.NEGATIVE_INFINITY
  return Math.max(tenant.awakeSinceMs + view.limits.slotQuantumMs, tenant.pinnedUntilMs)
}

/** The one that has been in `set` the longest. */
export function first<Item>(set: ReadonlySet<Item>): Item | undefined {
  for (const item of set) return item
  return undefined
}
