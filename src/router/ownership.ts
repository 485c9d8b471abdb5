/**
 * Which tenants a shard may open, as the shard itself knows it: those whose name hashes to it, less
 * those that have moved away, and those that have moved in. Who belongs where is decided by
 * `Assignments`, in the main thread; this is what makes a shard say no when word of an earlier
 * decision reaches it late, or when it would wake a tenant on its own account.
 *
 *     main:   begin ---> release ----------> letGo ---> accept ----------> end
 *     old:    owns       says yes, and owns no more
 *     new:                                              owns from here on
 *
 * Between the two nobody owns the tenant; there is no moment at which two do.
 */
import { PgnapError } from '../base/errors.ts'
import type { ShardIndex, TenantName } from '../base/ids.ts'
import { shardOf } from './assignment.ts'

/** A tenant that is not, or not now, where its hash says. Undefined: between two shards. */
export interface MovedTenant {
  readonly tenant: TenantName
  readonly shard: ShardIndex | undefined
}

export interface OwnershipOptions {
  readonly index: number
  readonly shardCount: number
  /** Tenants that had moved, to this shard or another, when its thread was started. */
  readonly moved?: readonly MovedTenant[]
}

export class Ownership {
  readonly #index: number
  readonly #shardCount: number
  /** Ours by their names, and elsewhere. Both sets are as large as the main thread's table. */
  readonly #away = new Set<TenantName>()
  /** Another's by their names, and here. */
  readonly #guests = new Set<TenantName>()

  constructor({ index, shardCount, moved = [] }: OwnershipOptions) {
    this.#index = index
    this.#shardCount = shardCount
    for (const { tenant, shard } of moved) {
      if (shard === index) this.accept(tenant)
      else this.release(tenant)
    }
  }

  owns(tenant: TenantName): boolean {
    return this.#isHome(tenant) ? !this.#away.has(tenant) : this.#guests.has(tenant)
  }

  /** @throws PgnapError TENANT_MOVED unless the tenant is this shard's */
  check(tenant: TenantName): void {
    if (this.owns(tenant)) return
    throw new PgnapError('TENANT_MOVED', `tenant "${tenant}" has moved to another thread`, {
      hint: 'connect again; nothing has run',
    })
  }

  release(tenant: TenantName): void {
    if (this.#isHome(tenant)) this.#away.add(tenant)
    else this.#guests.delete(tenant)
  }

  accept(tenant: TenantName): void {
    if (this.#isHome(tenant)) this.#away.delete(tenant)
    else this.#guests.add(tenant)
  }

  #isHome(tenant: TenantName): boolean {
    return shardOf(tenant, this.#shardCount) === this.#index
  }
}
