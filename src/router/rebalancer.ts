/**
 * When tenants should move, and which: pure decisions from how busy the shards' threads are. It
 * asks no shard and moves nobody.
 *
 * Nobody is moved back and forth, for four reasons. A shard must have been hot, and another idle,
 * for several looks in a row. What moves is at most half of the difference, so that the idle one
 * does not become the hot one; a tenant that alone is more than that stays, and its neighbours move
 * instead. After a decision its effect is waited for. And who has moved does not move again for a
 * minute.
 */
import type { ShardIndex, TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'

/** Share of a thread's time from which on a shard is hot. */
const HOT = 0.7
/** Difference of two shards' shares below which moving is not worth it. */
const GAP = 0.35
/** Looks in a row that must agree. After a decision they are counted anew. */
const LOOKS = 3
/** So long after a few tenants have moved the next few may. */
export const ROUND_MS: number = LOOKS * LIMITS.rebalanceEveryMs
/** Weight of the newest look in the average. */
const NEWEST = 0.5
/** A tenant with less of a thread than this changes nothing by moving. */
const SHARE_MIN = 0.01

/** So much of a thread's time is better spent in another one. */
export interface Transfer {
  readonly from: ShardIndex
  readonly to: ShardIndex
  /** How busy `from` is. */
  readonly busy: number
  /** At most so much is to move. */
  readonly share: number
}

/** What a shard's thread has done lately, and for which of those tenants that could leave. */
export interface ShardLoad {
  readonly totalMs: number
  readonly tenants: readonly { readonly tenant: TenantName; readonly busyMs: number }[]
}

export class Rebalancer {
  readonly #averages: number[]
  #looks = 0
  #hot: ShardIndex | undefined
  readonly #movedMs = new Map<TenantName, number>()

  constructor(shardCount: number) {
    this.#averages = Array.from({ length: shardCount }, () => 0)
  }

  /**
   * One look at all shards. Returns a transfer when one is due.
   * @param busy share of its time that each thread was busy since the last look; undefined: it does
   *   not run, and nobody moves anywhere until it does
   */
  look(busy: readonly (number | undefined)[]): Transfer | undefined {
    let hot = 0 as ShardIndex
    let idle = 0 as ShardIndex
    for (const [index, share] of busy.entries()) {
      if (share === undefined) return this.#calm()
      const average = (1 - NEWEST) * (this.#averages[index] ?? 0) + NEWEST * share
      this.#averages[index] = average
      if (average > (this.#averages[hot] ?? 0)) hot = index as ShardIndex
      if (average < (this.#averages[idle] ?? 0)) idle = index as ShardIndex
    }
    const most = this.#averages[hot] ?? 0
    const gap = most - (this.#averages[idle] ?? 0)
    if (most < HOT || gap < GAP) return this.#calm()
    this.#looks = hot === this.#hot ? this.#looks + 1 : 1
    this.#hot = hot
    if (this.#looks < LOOKS) return undefined
    this.#looks = 0
    return { from: hot, to: idle, busy: most, share: gap / 2 }
  }

  /** Who moves: the busiest that fit, a few at a time. */
  choose({ busy, share }: Transfer, { totalMs, tenants }: ShardLoad, nowMs: number): TenantName[] {
    for (const [tenant, atMs] of this.#movedMs) {
      if (nowMs - atMs >= LIMITS.moveAgainMs) this.#movedMs.delete(tenant)
    }
    const chosen: TenantName[] = []
    if (totalMs <= 0) return chosen
    let left = share
    for (const { tenant, busyMs } of tenants.toSorted((a, b) => b.busyMs - a.busyMs)) {
      if (chosen.length >= LIMITS.movesPerRoundMax) break
      // What the pool has measured is a part of what its thread did: each has its part of the rest.
      const own = (busyMs / totalMs) * busy
      if (own < SHARE_MIN) break
      if (own > left || this.#movedMs.has(tenant)) continue
      chosen.push(tenant)
      left -= own
    }
    return chosen
  }

  /** It has moved, or has refused to: it is left alone for a while. */
  rest(tenant: TenantName, nowMs: number): void {
    this.#movedMs.set(tenant, nowMs)
  }

  #calm(): undefined {
    this.#looks = 0
    this.#hot = undefined
    return undefined
  }
}
