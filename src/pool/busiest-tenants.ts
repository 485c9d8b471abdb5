/** Which tenants keep a pool's thread busy: the few that are worth a series of their own. */
import type { TenantName } from '../base/ids.ts'
import type { LiveTenant } from './pool-client.ts'

export interface TenantTime {
  readonly tenant: TenantName
  /** Since the pool knows of it: it never falls while it is known. */
  readonly busyMs: number
  /** Of which it was lately; by this they are chosen, so that yesterday's make room. */
  readonly recentMs: number
}

/** At most `countMax`, the busiest first. Costs a pass over all tenants that the pool knows. */
export function busiestTenants(
  tenants: ReadonlyMap<TenantName, Pick<LiveTenant, 'busy'>>,
  countMax: number,
  nowMs: number,
): TenantTime[] {
  return Array.from(tenants, ([tenant, { busy }]) => ({
    tenant,
    busyMs: busy.totalMs,
    recentMs: busy.recentMs(nowMs),
  }))
    .filter(({ busyMs }) => busyMs > 0)
    .toSorted((a, b) => b.recentMs - a.recentMs)
    .slice(0, countMax)
}
