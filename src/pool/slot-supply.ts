/**
 * Whether one more slot is being made or may be, and what the comings and goings of tenants say
 * about slots: whether one should be kept free for whoever comes next, and whether there are too
 * few of them.
 *
 * A tenant that wakes where all slots are taken waits until another has been put to nap, which
 * takes a millisecond or two: most of what a swap costs. While swaps go on, the least recently used
 * tenant therefore naps ahead of them, as soon as it rests, and the next one finds a slot empty. If
 * the first to come is the very tenant that was put out, that was in vain, and stops until others
 * come.
 */
import type { EvictionReason, TenantEntry } from './pool-model.ts'

/** How long a swap counts as a sign of more to come, and a tenant as one that comes back soon. */
const RECENT_MS = 1_000

interface Leaving {
  readonly reason: EvictionReason
  /** Its clients would have gone on. */
  readonly isBusy: boolean
}

export class SlotSupply {
  /** Slots are made one at a time: two at once would only delay the first. */
  creating = false
  /** After a failure no slot is made before this time. */
  createAfterMs: number = Number.NEGATIVE_INFINITY
  /** Tenants that came back soon after they had made room, since a slot was last made. */
  returns = 0
  /** When somebody who was busy had to make room the last time. */
  busyLeftMs: number = Number.NEGATIVE_INFINITY
  /** The end of the last half of a swap, or the like: the thread has not looked at its sockets. */
  swappedMs: number = Number.NEGATIVE_INFINITY
  #wantedUntilMs = Number.NEGATIVE_INFINITY
  #putOutAhead: TenantEntry | undefined

  leaves(tenant: TenantEntry, { reason, isBusy }: Leaving, nowMs: number): void {
    tenant.leavesFor = reason
    const forOthers = reason === 'pressure' || reason === 'fairness'
    if (forOthers) this.#wantedUntilMs = nowMs + RECENT_MS
    if (forOthers && isBusy) this.busyLeftMs = nowMs
    if (reason === 'ahead') this.#putOutAhead = tenant
    if (forOthers || reason === 'ahead') tenant.putOutMs = nowMs
  }

  /** It could not leave: it is not asked again for a while. */
  stays(tenant: TenantEntry, nowMs: number, retryMs: number): void {
    // Others may well have its slot: what it cannot do is leave without an image.
    if (tenant.leavesFor === 'renewal') return void (tenant.notRenewedUntilMs = nowMs + retryMs)
    tenant.notAheadUntilMs = nowMs + retryMs
    if (tenant === this.#putOutAhead) this.#putOutAhead = undefined
    else tenant.pinnedUntilMs = nowMs + retryMs
  }

  /** A tenant wakes because it is asked for. */
  wakes(tenant: TenantEntry, nowMs: number): void {
    if (nowMs - tenant.putOutMs <= RECENT_MS) this.returns++
    if (!this.#putOutAhead) return
    const inVain = tenant === this.#putOutAhead
    this.#putOutAhead = undefined
    this.#wantedUntilMs = inVain ? Number.NEGATIVE_INFINITY : nowMs + RECENT_MS
  }

  made(nowMs: number): void {
    this.creating = false
    this.swappedMs = nowMs
  }

  making(): void {
    this.creating = true
    this.returns = 0
  }

  failed(nowMs: number, retryMs: number): void {
    this.creating = false
    this.createAfterMs = nowMs + retryMs
  }

  /** Whether a slot should be free for whoever comes next. */
  wantsFreeSlot(nowMs: number): boolean {
    return nowMs < this.#wantedUntilMs
  }
}
