/**
 * The tenants of one pool as candidates for another: how busy each has been, and letting one go so
 * that another pool can have it. When `release` has said yes, this pool holds nothing of the
 * tenant: no slot, no image, no open store, no counters. Its image is on disk, where the next pool
 * looks.
 *
 * That nobody asks for the tenant meanwhile is the caller's business.
 */
import type { Clock } from '../base/clock.ts'
import { toPgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import type { ImageShelf } from './image-shelf.ts'
import type { LiveTenant } from './pool-client.ts'
import type { PoolCounters } from './pool-statistics.ts'
import type { Pool } from './pool.ts'
import type { TenantSource } from './tenant-source.ts'
import type { Upkeep } from './upkeep.ts'

/** Tenants that are reported: many more than would move at once. */
const REPORTED_MAX = 32

export interface PoolLoad {
  /** Of all tenants: running, committing, waking, leaving. Forgotten by halves in five seconds. */
  readonly totalMs: number
  /** The busiest, the busiest first. */
  readonly tenants: readonly { readonly tenant: TenantName; readonly busyMs: number }[]
}

export interface RestingTenantsOptions {
  readonly pool: Pick<Pool, 'clientCountOf' | 'keepWarm' | 'nap' | 'phaseOf'>
  readonly tenants: ReadonlyMap<TenantName, LiveTenant>
  readonly counters: Pick<PoolCounters, 'busy'>
  readonly shelf: ImageShelf
  readonly upkeep: Upkeep
  readonly source: TenantSource
  readonly clock: Clock
}

export class RestingTenants {
  readonly #options: RestingTenantsOptions

  constructor(options: RestingTenantsOptions) {
    this.#options = options
  }

  /** Costs a pass over all tenants that the pool knows. @param isWanted whether one is reported */
  load(isWanted: (tenant: TenantName) => boolean): PoolLoad {
    const { tenants, clock, counters } = this.#options
    const nowMs = clock.monotonicMs()
    const busiest = Array.from(tenants, ([tenant, { busy }]) => ({
      tenant,
      busyMs: busy.recentMs(nowMs),
    }))
      .filter(({ tenant, busyMs }) => busyMs >= 1 && isWanted(tenant))
      .toSorted((a, b) => b.busyMs - a.busyMs)
    return { totalMs: counters.busy.recentMs(nowMs), tenants: busiest.slice(0, REPORTED_MAX) }
  }

  /** False: it has clients, or something only its open files have; then it stays. */
  async release(tenant: TenantName): Promise<boolean> {
    const { pool, tenants, shelf, upkeep, source } = this.#options
    if (pool.clientCountOf(tenant) > 0) return false
    pool.keepWarm.moves(tenant)
    try {
      pool.nap(tenant)
    } catch (error) {
      if (toPgnapError(error).code === 'TENANT_BUSY') return false
      throw error
    }
    if (tenants.get(tenant)?.open?.files.irreplaceable) return false
    await shelf.release(tenant, tenants.get(tenant))
    upkeep.forget(tenant)
    source.images?.letGo(tenant)
    return true
  }
}
