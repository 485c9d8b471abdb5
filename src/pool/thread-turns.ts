/**
 * Whose turn it is on the thread of a shard. Tenants cannot interrupt each other there, so what can
 * be shared out is who runs next, and for how long in one go.
 *
 *               turnMs used                   a request
 *     in turn --------------> out of turn ----------------> stands in line
 *        ^                                                        |
 *        +--------------------------------------------------------+
 *          one tenant per turn of the event loop: who has used the least lately
 *
 * Batches run in the order in which the event loop delivers them. Without this a tenant with a
 * thousand busy connections would have a thousand batches for each one of its neighbour. With it,
 * it has `turnMs` between two looks at the sockets, and whoever is in turn is served on the spot
 * when its bytes are seen. So a client that works alone, with short statements, never leaves its
 * turn: it has no second one to send before it was answered.
 *
 * A batch of fifty milliseconds is one batch all the same. After it the tenant has used so much
 * that others go first; but the next statement of a client that works alone, one after the other,
 * is not there yet: it is on its way. So before a tenant goes on whose batches are long, the thread
 * waits for a moment, a tenth of such a batch at most, if somebody was busy just now who has had
 * less. That one pays for the pause: the thread was its own.
 *
 * A statement that has paused (`batch-runs.ts`) stands in the same line, with what it has had up to
 * now on its tenant's account: a slice of it or somebody's next batch, whoever has used less. When
 * it goes on it is stopped soon, so nobody is waited for, and while somebody is, it goes on.
 *
 * What was used counts half after `turnMemoryMs`, so nobody who wants the thread is passed over for
 * longer than the others need to have used as much. A tenant whose neighbours have no clients only
 * yields so that newcomers are heard.
 *
 * It must never let a tenant that has used more go before one that waits and has used less, and
 * never cost a batch of a tenant in turn more than an addition and, once in a look, a power.
 */
import type { PoolLimits, SlotEntry, TenantEntry } from './pool-model.ts'
import { ClientEntry } from './pool-model.ts'

type TurnLimits = Pick<PoolLimits, 'turnMs' | 'turnAloneMs' | 'turnPauseMs' | 'turnMemoryMs'>

/** The part of its batches' length that a tenant may be kept waiting for somebody else. */
const PAUSE_SHARE = 1 / 10
/** A timer is no finer than this. */
const PAUSE_MS_MIN = 1

/** Shares one thread out between the tenants of its shard. Owned by `PoolState`. */
export class ThreadTurns {
  readonly #limits: TurnLimits
  readonly #onShared: ((shared: boolean) => void) | undefined
  /** Thread time after which a tenant has had its turn, as things are. */
  turnMs: number
  /** Until then only a new request gets anybody a turn. */
  pauseUntilMs: number = Number.NEGATIVE_INFINITY
  /** Tenants that have clients. */
  #tenantCount = 0
  #asked = false
  #ended = false
  /** Looks at the sockets so far, as far as they are counted. */
  #look = 0
  #lookIsWatched = false

  /** @param onShared told when clients of several tenants are there, and when they are not */
  constructor(limits: TurnLimits, onShared?: (shared: boolean) => void) {
    this.#limits = limits
    this.#onShared = onShared
    this.turnMs = limits.turnAloneMs
  }

  /** One more client of `tenant`. */
  arrive(tenant: TenantEntry): void {
    if (tenant.clientCount++ === 0) this.#count(1)
  }

  /** One client less. */
  leave(tenant: TenantEntry): void {
    if (--tenant.clientCount === 0) this.#count(-1)
  }

  #count(change: 1 | -1): void {
    const wasShared = this.#tenantCount > 1
    this.#tenantCount += change
    const shared = this.#tenantCount > 1
    if (shared !== wasShared) this.#onShared?.(shared)
    if (!this.#ended) this.turnMs = shared ? this.#limits.turnMs : this.#limits.turnAloneMs
  }

  /** What `tenant` has used in its turn. In each look at the sockets it begins anew. */
  spentMs(tenant: TenantEntry, nowMs: number): number {
    if (tenant.turnLook === this.#look) return tenant.turnSpentMs
    tenant.turnLook = this.#look
    if (tenant.turnSpentMs > 0) this.#bill(tenant, tenant.turnSpentMs, nowMs)
    return (tenant.turnSpentMs = 0)
  }

  /**
   * Whether the shell is to call {@link looked} at the next turn of the event loop, because of a
   * batch that has just ended. Once for each call. Who is alone has his turn over many looks.
   */
  mustWatchLook(): boolean {
    if (this.#lookIsWatched || this.#tenantCount < 2) return false
    return (this.#lookIsWatched = true)
  }

  /** The thread has been to its sockets, and goes there again. */
  looked(): void {
    this.#lookIsWatched = false
    this.#look++
  }

  /** A batch of `tenant` has held the thread for `ms`. */
  charge(tenant: TenantEntry, ms: number, nowMs: number): void {
    tenant.turnSpentMs = this.spentMs(tenant, nowMs) + ms
    if (tenant.turnSpentMs < this.turnMs) return
    this.#bill(tenant, tenant.turnSpentMs, nowMs)
    tenant.turnSpentMs = 0
    tenant.lastBatchMs = ms
    tenant.outOfTurn = true
  }

  /**
   * The batch of `client` has held the thread for `threadMs` so far, and has paused: it wants to go
   * on, as those that are out of turn do.
   */
  paused(client: ClientEntry, threadMs: number, nowMs: number): void {
    client.isAway = client.awaitsTurn = true
    this.chargeRest(client, threadMs, nowMs)
  }

  /** The batch of `client` has held the thread for `threadMs` since it began, pauses aside. */
  chargeRest(client: ClientEntry, threadMs: number, nowMs: number): void {
    const { tenant, chargedMs } = client
    const longestMs = chargedMs > 0 ? tenant.lastBatchMs : 0
    this.charge(tenant, Math.max(0, threadMs - chargedMs), nowMs)
    // The next one will hold the thread as long in one go as this one has, not for its last slice.
    tenant.lastBatchMs = Math.max(tenant.lastBatchMs, longestMs)
    client.chargedMs = threadMs
  }

  /** A client of a tenant that is out of turn waits: nobody else needs to be waited for. */
  requested(): void {
    this.pauseUntilMs = Number.NEGATIVE_INFINITY
  }

  /** Whether the shell is to report the next turn of the event loop. Once for each `next`. */
  mustAsk(slots: Iterable<SlotEntry>, nowMs: number): boolean {
    if (this.#asked) return false
    const waitsForSomebody = nowMs < this.pauseUntilMs
    for (const { tenant } of slots) {
      if (!tenant || !(hasPaused(tenant) || (!waitsForSomebody && wantsTurn(tenant)))) continue
      return (this.#asked = true)
    }
    return false
  }

  /**
   * A turn of the event loop: who may go on now, with what has paused if there is such a batch, or
   * else with what waits. Undefined: nobody wants to, or not yet.
   */
  next(slots: Iterable<SlotEntry>, nowMs: number): TenantEntry | undefined {
    this.#asked = false
    let chosen = this.#least(slots, nowMs, nowMs < this.pauseUntilMs ? hasPaused : wantsThread)
    // While somebody is waited for, the thread is there for what can be stopped at any time.
    if (chosen && !hasPaused(chosen) && this.#pauses(slots, chosen, nowMs)) {
      chosen = this.#least(slots, nowMs, hasPaused)
    }
    if (!chosen) return undefined
    chosen.outOfTurn = false
    if (chosen.holder instanceof ClientEntry) chosen.holder.awaitsTurn = false
    return chosen
  }

  /** Who has used the least of those that want it. */
  #least(
    slots: Iterable<SlotEntry>,
    nowMs: number,
    wantsIt: (tenant: TenantEntry) => boolean,
  ): TenantEntry | undefined {
    let chosen: TenantEntry | undefined
    let leastMs = Number.POSITIVE_INFINITY
    for (const { tenant } of slots) {
      if (!tenant || !wantsIt(tenant)) continue
      const turnMs = hasPaused(tenant) ? 0 : tenant.lastBatchMs
      const usedMs = meanUseMs(this.usedMs(tenant, nowMs), turnMs)
      if (usedMs >= leastMs) continue
      chosen = tenant
      leastMs = usedMs
    }
    return chosen
  }

  /** Nobody stands in line any more; the end of the shard is near. */
  end(tenants: Iterable<TenantEntry>): void {
    this.turnMs = Number.POSITIVE_INFINITY
    this.#ended = true
    for (const tenant of tenants) tenant.outOfTurn = false
  }

  /** What a tenant has had of the thread lately. */
  usedMs(tenant: TenantEntry, nowMs: number): number {
    const ageMs = nowMs - tenant.usageAtMs
    return tenant.usageMs * 2 ** (-ageMs / this.#limits.turnMemoryMs) + tenant.turnSpentMs
  }

  #bill(tenant: TenantEntry, ms: number, nowMs: number): void {
    const before = this.usedMs(tenant, nowMs) - tenant.turnSpentMs
    tenant.usageMs = before + ms
    tenant.usageAtMs = nowMs
  }

  /** Whether somebody is expected whose statement should not meet a long batch of `chosen`. */
  #pauses(slots: Iterable<SlotEntry>, chosen: TenantEntry, nowMs: number): boolean {
    const pauseMs = Math.min(this.#limits.turnPauseMs, chosen.lastBatchMs * PAUSE_SHARE)
    if (pauseMs < PAUSE_MS_MIN) return false
    const usedMs = this.usedMs(chosen, nowMs)
    for (const { tenant } of slots) {
      if (!tenant || tenant === chosen || !isBetweenBatches(tenant)) continue
      const untilMs = tenant.lastUsedMs + pauseMs
      if (untilMs <= nowMs || this.usedMs(tenant, nowMs) >= usedMs) continue
      this.#bill(tenant, untilMs - nowMs, nowMs)
      this.pauseUntilMs = untilMs
      return true
    }
    return false
  }
}

/**
 * What a tenant would be seen to have used, on average, if it always ran one batch when it had come
 * down to `usedMs`. To compare what is left of long batches with what is left of short ones would
 * give a tenant the more, the longer its batches are.
 */
function meanUseMs(usedMs: number, batchMs: number): number {
  return batchMs > 0 && usedMs > 0 ? batchMs / Math.log1p(batchMs / usedMs) : usedMs
}

/** Whether a batch of `tenant` has paused and waits until it may go on. */
function hasPaused({ holder }: TenantEntry): boolean {
  return holder instanceof ClientEntry && holder.awaitsTurn
}

function wantsThread(tenant: TenantEntry): boolean {
  return hasPaused(tenant) || wantsTurn(tenant)
}

/** Whether a turn would let `tenant` begin something. */
export function wantsTurn(tenant: TenantEntry): boolean {
  const { phase, outOfTurn, holder, waiting, paused } = tenant
  if (phase !== 'awake' || !outOfTurn || waiting.size === 0) return false
  if ((holder === undefined && !paused) || (forkAnswers(tenant) && firstReader(tenant))) return true
  return holder instanceof ClientEntry && waiting.has(holder)
}

/** Whether those who read need not wait for the backend of `tenant`. */
export function forkAnswers({ fork, paused }: TenantEntry): boolean {
  return fork?.forkPhase === 'ready' && !paused
}

/** The first client of `tenant` that waits with a batch that may only read. */
export function firstReader({ waiting }: TenantEntry): ClientEntry | undefined {
  for (const client of waiting) if (client.reads) return client
  return undefined
}

/** It has clients, one of which has been served, and none of them waits or is being served. */
function isBetweenBatches(tenant: TenantEntry): boolean {
  const { phase, served, clientCount, waiting } = tenant
  return phase === 'awake' && served && clientCount > 0 && waiting.size === 0 && !hasPaused(tenant)
}
