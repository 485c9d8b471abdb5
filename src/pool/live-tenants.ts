/** The tenants of a pool as its shell sees them, by the entries of its state machine. */
import type { TenantName } from '../base/ids.ts'
import { type LiveTenant, newLiveTenant } from './pool-client.ts'
import type { TenantEntry } from './pool-model.ts'

export class LiveTenants extends Map<TenantName, LiveTenant> {
  /** The record of an entry, made if there is none. */
  of(entry: TenantEntry): LiveTenant {
    const known = this.get(entry.name)
    if (known?.entry === entry) return known
    const live = newLiveTenant(entry)
    this.set(entry.name, live)
    return live
  }

  /** Another tenant may have the name by now. */
  ifKnown(entry: TenantEntry, use: (tenant: LiveTenant) => void): void {
    const known = this.get(entry.name)
    if (known?.entry === entry) use(known)
  }

  forget(entry: TenantEntry): void {
    this.ifKnown(entry, () => this.delete(entry.name))
  }
}
