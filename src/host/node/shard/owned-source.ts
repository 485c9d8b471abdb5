/**
 * The one door to the stores of a shard: opens what the shard owns and nothing else. SQLite's lock
 * and the epoch would refuse the second owner of a store, too, but they cannot tell which of the
 * two is the right one.
 */
import type { TenantSource } from '../../../pool/tenant-source.ts'
import type { Ownership } from '../../../router/ownership.ts'

/** `source`, for tenants of this shard; `open` throws TENANT_MOVED for others. */
export function ownedSource(source: TenantSource, ownership: Ownership): TenantSource {
  return {
    ...(source.images ? { images: source.images } : {}),
    owns: (tenant) => ownership.owns(tenant),
    exists: (tenant) => source.exists?.(tenant) ?? true,
    open: (tenant) => {
      ownership.check(tenant)
      return source.open(tenant)
    },
    get journal() {
      return source.journal
    },
  }
}
