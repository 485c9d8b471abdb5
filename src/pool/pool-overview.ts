/**
 * Who is where in one pool at one moment, tenant by tenant and slot by slot: what an administrator
 * looks at. Plain data that can be sent to another thread; the sums are in `pool-statistics.ts`.
 *
 * It costs a pass over all tenants that the pool knows, so it must never be asked for by a query.
 */
import type { TenantName } from '../base/ids.ts'
import type { SlotEntry, TenantEntry, TenantPhase } from './pool-model.ts'
import { first } from './pool-policy.ts'
import type { PoolState } from './pool-state.ts'

/** Who has a tenant's backend: one of its clients, the pool itself for upkeep, or nobody. */
export type BackendUse = 'client' | 'upkeep' | 'nobody'

export interface TenantPicture {
  readonly name: TenantName
  readonly phase: TenantPhase
  readonly use: BackendUse
  readonly clients: number
  /** Those of its clients that wait for its backend. */
  readonly waiting: number
  /** How long the first of them has waited; 0 if none does. */
  readonly longestWaitMs: number
}

export interface SlotPicture {
  /** Counts up in one pool and is never used again. */
  readonly id: number
  readonly memoryBytes: number
  /** Undefined in a free slot. */
  readonly tenant: TenantName | undefined
  readonly phase: TenantPhase | undefined
  readonly use: BackendUse
  /** It holds no tenant, but a copy of that tenant's backend, for its clients to read in. */
  readonly isFork: boolean
  /** Since its tenant woke in it; 0 while there is none. */
  readonly awakeMs: number
  /** Since its tenant was last used; 0 while there is none. */
  readonly restMs: number
}

export interface PoolOverview {
  /** Tenants that have clients, a slot or an image, in no order. */
  readonly tenants: readonly TenantPicture[]
  readonly slots: readonly SlotPicture[]
}

/** Puts the picture together. @param slots the slots of `state`, as the engine has them */
export function poolOverview(
  state: PoolState,
  slots: Pick<ReadonlyMap<SlotEntry, { readonly memoryBytes: number }>, 'get'>,
  nowMs: number,
): PoolOverview {
  return {
    tenants: Array.from(state.tenants.values(), (tenant) => tenantPicture(tenant, nowMs)),
    slots: Array.from(state.slots, (slot) =>
      slotPicture(slot, slots.get(slot)?.memoryBytes ?? 0, nowMs),
    ),
  }
}

function tenantPicture(tenant: TenantEntry, nowMs: number): TenantPicture {
  const oldest = first(tenant.waiting)
  return {
    name: tenant.name,
    phase: tenant.phase,
    use: useOf(tenant),
    clients: tenant.clientCount,
    waiting: tenant.waiting.size,
    longestWaitMs: oldest ? nowMs - oldest.waitSinceMs : 0,
  }
}

function slotPicture(slot: SlotEntry, memoryBytes: number, nowMs: number): SlotPicture {
  const { id, tenant, forkOf } = slot
  const isAwake = tenant?.phase === 'awake'
  return {
    id,
    memoryBytes,
    tenant: (tenant ?? forkOf)?.name,
    phase: (tenant ?? forkOf)?.phase,
    use: tenant ? useOf(tenant) : 'nobody',
    isFork: forkOf !== undefined,
    awakeMs: isAwake ? nowMs - tenant.awakeSinceMs : 0,
    restMs: isAwake ? nowMs - tenant.lastUsedMs : 0,
  }
}

function useOf({ holder }: TenantEntry): BackendUse {
  if (holder === undefined) return 'nobody'
  return holder === 'maintenance' || holder === 'cleaning' ? 'upkeep' : 'client'
}
