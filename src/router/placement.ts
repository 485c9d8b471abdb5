/**
 * Which shard a tenant goes to when the first client connects to it. Names are spread by a hash, as
 * coins fall: of sixteen tenants eleven may be in one shard of two, which then has more of them
 * than slots, and all of its thread to do while the other one rests. And who is connected does not
 * move any more. So whoever comes where more tenants are connected than elsewhere goes elsewhere.
 *
 * A tenant that has not been here before rests on disk, and costs a message to each of the two
 * shards. Of one that has, an image may have to be written: the difference has to be worth it, only
 * a few go in a row, and nobody twice in a minute.
 *
 * Pure: it moves nobody. What it says may be refused, and then the tenant stays.
 */
import type { ShardIndex, TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { ROUND_MS } from './rebalancer.ts'

/** So many tenants more have to be connected for one to go that has not been here before. */
const NEW_GAP = 1
/** The same for any other. */
const KNOWN_GAP = 2
/** Among many a hash differs little enough: the gap is at least this share of who is there. */
const GAP_SHARE = 1 / 8
/** Tenants that are remembered as having been here. */
const KNOWN_MAX = 10_000
export class Placement {
  /** When each was last sent elsewhere, if it was; who came last is last. */
  readonly #known = new Map<TenantName, number>()
  #roundFromMs = Number.NEGATIVE_INFINITY
  #leftInRound = 0

  /**
   * Somebody connects to `tenant`, to which nobody is connected, and which belongs to the shard
   * `at`.
   * @param connected tenants with connections in each shard; undefined: it does not run
   * @returns where it is to go instead, if it is
   */
  choose(
    tenant: TenantName,
    at: ShardIndex,
    connected: readonly (number | undefined)[],
    nowMs: number,
  ): ShardIndex | undefined {
    const placedMs = this.#known.get(tenant)
    this.#remember(tenant, placedMs ?? Number.NEGATIVE_INFINITY)
    const here = connected[at]
    if (here === undefined) return undefined
    let to = at
    let fewest = here
    for (const [shard, count] of connected.entries()) {
      if (count === undefined || count >= fewest) continue
      to = shard as ShardIndex
      fewest = count
    }
    const isKnown = placedMs !== undefined
    const gapMin = Math.max(isKnown ? KNOWN_GAP : NEW_GAP, here * GAP_SHARE)
    if (here - fewest < gapMin) return undefined
    if (isKnown && !this.#mayMove(placedMs, nowMs)) return undefined
    this.#remember(tenant, nowMs)
    return to
  }

  /** A tenant is used, and not connected to: it is in memory where it belongs. */
  saw(tenant: TenantName): void {
    if (!this.#known.has(tenant)) this.#remember(tenant, Number.NEGATIVE_INFINITY)
  }

  #mayMove(placedMs: number, nowMs: number): boolean {
    if (nowMs - placedMs < LIMITS.moveAgainMs) return false
    if (nowMs - this.#roundFromMs >= ROUND_MS) {
      this.#roundFromMs = nowMs
      this.#leftInRound = LIMITS.movesPerRoundMax
    }
    return this.#leftInRound-- > 0
  }

  #remember(tenant: TenantName, placedMs: number): void {
    this.#known.delete(tenant)
    this.#known.set(tenant, placedMs)
    if (this.#known.size <= KNOWN_MAX) return
    const [oldest] = this.#known.keys()
    if (oldest !== undefined) this.#known.delete(oldest)
  }
}
