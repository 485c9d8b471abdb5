/**
 * Everybody who waits in one shard: clients for the backend of their tenant, tenants for a slot,
 * both first come first served. It only keeps the lists true to each other; who is served and who
 * is turned away is decided by `pool-state.ts`.
 */
import { readersWant } from './fork-desk.ts'
import { ClientEntry, isResting } from './pool-model.ts'
import type { TenantEntry } from './pool-model.ts'

export class WaitingRoom {
  /** Tenants waiting for a slot. */
  readonly tenants: Set<TenantEntry> = new Set()
  /** Every waiting client in order of arrival: the first one is the next to time out. */
  readonly clients: Set<ClientEntry> = new Set()
  /** Told when somebody waits, and when nobody does any more. */
  onWaited: ((isWaited: boolean) => void) | undefined

  add(client: ClientEntry, nowMs: number): void {
    client.phase = 'waiting'
    client.waitSinceMs = nowMs
    client.tenant.waiting.add(client)
    this.clients.add(client)
    if (this.clients.size === 1) this.onWaited?.(true)
    this.review(client.tenant)
  }

  /** Out of every queue; an open transaction stays open. */
  remove(client: ClientEntry): void {
    const { tenant } = client
    tenant.waiting.delete(client)
    if (this.clients.delete(client) && this.clients.size === 0) this.onWaited?.(false)
    client.phase = tenant.holder === client ? 'holding' : 'idle'
    this.review(tenant)
  }

  /** Those who have waited for so long, the first to come first. */
  overdue(nowMs: number, waitMs: number): ClientEntry[] {
    const found: ClientEntry[] = []
    for (const client of this.clients) {
      if (nowMs < client.waitSinceMs + waitMs) break
      found.push(client)
    }
    return found
  }

  /** Queues a tenant for a slot if one would help somebody; else it waits no more. */
  review(tenant: TenantEntry): void {
    if (wantsSlot(tenant)) this.tenants.add(tenant)
    else this.tenants.delete(tenant)
  }
}

/**
 * While a client holds the backend of a resting tenant, a slot helps nobody but that client, and
 * those who can read in a fork; of one that is paused it helps nobody else at all.
 */
function wantsSlot(tenant: TenantEntry): boolean {
  const { phase, holder, waiting, paused } = tenant
  if (!isResting(phase)) return false
  if (!(holder instanceof ClientEntry)) return waiting.size > 0 && !paused
  return waiting.has(holder) || readersWant(tenant)
}
