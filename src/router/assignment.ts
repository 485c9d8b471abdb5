/**
 * Which shard a tenant belongs to: rendezvous hashing. Every shard gets a score for the tenant
 * from a hash of both, and the highest wins. With no table to keep it is the same in every thread
 * and after every restart, and when a shard is added only the tenants that move to it move at all.
 *
 * The hash is FNV-1a with a final mix: not secret. Somebody who chooses tenant names can aim at one
 * shard; what he can do there is bounded by the limits of the pool.
 */
import { assert } from '../base/assert.ts'
import type { ShardIndex, TenantName } from '../base/ids.ts'

/** The shard of `tenant` among `shardCount`. */
export function shardOf(tenant: TenantName, shardCount: number): ShardIndex {
  assert(Number.isInteger(shardCount) && shardCount >= 1, 'there is at least one shard')
  const name = hashOf(tenant)
  let best = 0
  let bestScore = -1
  for (let shard = 0; shard < shardCount; shard++) {
    // Of two equal scores the lower shard wins, so that the answer never depends on chance.
    const score = mix(name ^ Math.imul(shard + 1, 0x9e3779b1))
    if (score > bestScore) {
      best = shard
      bestScore = score
    }
  }
  return best as ShardIndex
}

/** FNV-1a over the characters; tenant names are ASCII. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < name.length; index++) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193)
  }
  return hash
}

/** Spreads every bit over all 32 (the finalizer of MurmurHash3). */
function mix(value: number): number {
  let mixed = value ^ (value >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
