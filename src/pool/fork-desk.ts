/**
 * Which tenants have a fork, and who reads in it: the rules, as a part of `pool-state.ts`.
 *
 * While a client of a tenant has a transaction open and is thinking, or its statement has paused,
 * the others need not wait for it if all they want is to read. Their batches run in a *fork*: a
 * copy of the backend in a second slot, in which that transaction was rolled back, so that it shows
 * what is committed.
 *
 *                 a reader waits, a slot is free                  slot is empty
 *     +---------+ -------------> +--------+                       +---------+
 *     | no fork |                | making | --------------------> | leaving |
 *     +---------+ <---+          +--------+  stale, wanted        +---------+
 *                     |   made       |  +-----------------------------^  |
 *                     |              v  | stale, wanted                  |
 *                     |          +-------+                               |
 *                     |          | ready | batches of readers            |
 *                     |          +-------+                               |
 *                     +--------------------------------------------------+
 *
 * - A fork is stale as soon as the transaction has ended beside which it was made, or a client has
 *   done more in it than read. It never answers again then. It does not outlive its tenant's stay
 *   in the slot either.
 * - Forks get slots that nobody waits for, or that of a tenant that rests, and are the first to
 *   leave when a tenant waits for one.
 * - One is made only beside a client that has been thinking for a while: most transactions are over
 *   before it would be of use. Who begins a transaction waits longer before one is made for it:
 *   most of those write.
 * - Whoever turns out to be no reader waits as it would have without forks, in the place that it
 *   had, and its fork was in vain. The next one is made after a pause, so that such forks take a
 *   share of the thread and no more; at once for whoever surely reads: newcomers, for whom their
 *   settings are set, and who ends a transaction.
 *
 * It must never let a batch run in a fork that is stale, nor a tenant wait for a slot for the sake
 * of a fork.
 */
import { ClientEntry } from './pool-model.ts'
import type { ForkEvent, PoolEffect, SlotEntry, TenantEntry } from './pool-model.ts'
import { evictableAtMs, isFreeSlot, isIdle, type PoolView } from './pool-policy.ts'
import { somebodyRests, workedMs } from './pool-policy.ts'
import { firstReader, forkAnswers } from './thread-turns.ts'
import type { Reading } from './reading-batch.ts'
import type { ThreadTurns } from './thread-turns.ts'
import type { WaitingRoom } from './waiting-room.ts'

/** The state machine that this is a part of. */
export interface ForkHost extends PoolView {
  readonly turns: ThreadTurns
  readonly waiting: WaitingRoom
  /** Of the event that is being taken in. */
  readonly effects: PoolEffect[]
  dropSlot(slot: SlotEntry): boolean
}

export class ForkDesk {
  readonly #host: ForkHost
  /** Tenants with clients that wait to read. */
  readonly #asked = new Set<TenantEntry>()

  constructor(host: ForkHost) {
    this.#host = host
  }

  /** A batch is about to wait. With a single slot there is no room beside its tenant, ever. */
  note(client: ClientEntry, reading: Reading, nowMs: number): void {
    client.reads = reading !== 'no' && this.#host.limits.slotsPerShard > 1
    client.readsAtMs = reading === 'begins' ? nowMs + this.#host.limits.beginPatienceMs : nowMs
    client.readsSurely = reading === 'surely'
    if (client.reads) this.#asked.add(client.tenant)
  }

  take(event: ForkEvent, nowMs: number): void {
    switch (event.type) {
      case 'forkMade':
        return this.#made(event.slot, event.threadMs)
      case 'forkLeft':
        return this.#left(event.slot, event)
      case 'forkStale':
        if (event.vainMs !== undefined) this.#inVain(event.tenant, event.vainMs, nowMs)
        return this.end(event.tenant)
      case 'readEnded':
        return this.#readEnded(event, nowMs)
    }
  }

  /** Nobody reads in the fork of `tenant` any more, if it has one. */
  end(tenant: TenantEntry): void {
    const slot = tenant.fork
    if (!slot) return
    tenant.fork = undefined
    slot.forkPhase = 'leaving'
    this.#host.effects.push({ type: 'endFork', slot })
  }

  /** Nobody has the backend any more: the transaction has ended beside which its fork was made. */
  handOver(tenant: TenantEntry): void {
    tenant.forkRefused = false
    this.end(tenant)
  }

  /**
   * The tenant leaves its slot. Who has waited for a fork in vain would wake it for nothing; who is
   * about to get one would not.
   */
  leave(tenant: TenantEntry, nowMs: number): void {
    const isWaitedFor = tenant.fork !== undefined || nowMs < tenant.forkNotBeforeMs
    if (!isWaitedFor && firstReader(tenant) !== undefined) tenant.forkRefused = true
    this.end(tenant)
  }

  endAll(): void {
    for (const { forkOf } of this.#host.slots) if (forkOf) this.end(forkOf)
  }

  /** Ends forks for tenants that wait for a slot. @returns how many of `missing` that was */
  yield(missing: number): number {
    let found = 0
    for (const { forkOf, forkPhase } of this.#host.slots) {
      if (found >= missing) break
      if (!forkOf || forkPhase === 'leaving') continue
      this.end(forkOf)
      found++
    }
    return found
  }

  /**
   * Whoever may read now does, and forks are made for those who could.
   * @returns tenants that rest, and in whose slots there could be forks
   */
  assign(nowMs: number): TenantEntry[] {
    const victims: TenantEntry[] = []
    for (const tenant of this.#asked) {
      const reader = firstReader(tenant)
      if (!reader) this.#asked.delete(tenant)
      else if (forkAnswers(tenant) && !tenant.outOfTurn) {
        reader.reads = false
        this.#host.effects.push({ type: 'read', client: reader })
      } else if (this.#isWanted(tenant) && nowMs >= this.#dueMs(tenant)) {
        if (!this.#make(tenant)) victims.push(...this.#victims(tenant, nowMs).slice(0, 1))
      }
      if (victims.length > 0) break
    }
    return victims
  }

  /** Whether a fork could be made if there was one more slot, and nobody is about to leave one. */
  lackSlot(nowMs: number): boolean {
    for (const tenant of this.#asked) {
      if (!this.#isWanted(tenant) || nowMs < this.#dueMs(tenant)) continue
      const slots = [...this.#host.slots]
      if (!slots.some(isFreeSlot) && !somebodyRests(this.#host, nowMs, isIdle)) return true
    }
    return false
  }

  /** When `assign` may find something to do that nobody tells it of. */
  deadlineMs(nowMs: number): number {
    let atMs = Number.POSITIVE_INFINITY
    for (const tenant of this.#asked) {
      if (!this.#isWanted(tenant)) continue
      const dueMs = this.#dueMs(tenant)
      atMs = Math.min(atMs, dueMs > nowMs ? dueMs : this.#roomAtMs(nowMs))
    }
    return atMs
  }

  #isWanted(tenant: TenantEntry): boolean {
    const { holder, phase, fork, forkRefused, paused } = tenant
    if (phase !== 'awake' || fork || paused || forkRefused) return false
    if (!(holder instanceof ClientEntry) || !keepsBackend(holder)) return false
    return this.#host.drainDeadlineMs === undefined && firstReader(tenant) !== undefined
  }

  #dueMs({ lastUsedMs, waiting, forkNotBeforeMs }: TenantEntry): number {
    let readsAtMs = Number.POSITIVE_INFINITY
    for (const client of waiting) {
      if (!client.reads) continue
      const atMs = client.readsSurely
        ? client.readsAtMs
        : Math.max(client.readsAtMs, forkNotBeforeMs)
      readsAtMs = Math.min(readsAtMs, atMs)
    }
    return Math.max(lastUsedMs + this.#host.limits.slotThinkMs, readsAtMs)
  }

  #made(slot: SlotEntry, threadMs: number): void {
    if (slot.forkPhase !== 'making') return
    slot.forkPhase = 'ready'
    if (slot.forkOf) slot.forkOf.forkMs = threadMs
  }

  /** What it has taken is to be no more than a share of the time until the next one. */
  #inVain(tenant: TenantEntry, vainMs: number, nowMs: number): void {
    const { vainForkShare, vainForkPauseMs } = this.#host.limits
    const pauseMs = (tenant.forkMs + vainMs) * (1 / vainForkShare - 1)
    tenant.forkNotBeforeMs = nowMs + Math.min(pauseMs, vainForkPauseMs)
  }

  /** False: there is no slot for it. */
  #make(tenant: TenantEntry): boolean {
    const slot = [...this.#host.slots].find(isFreeSlot)
    if (!slot) return false
    slot.forkOf = tenant
    slot.forkPhase = 'making'
    tenant.fork = slot
    this.#host.effects.push({ type: 'fork', tenant, slot })
    return true
  }

  /** Tenants that rest and may be asked to leave, the first to leave first. */
  #victims(tenant: TenantEntry, nowMs: number): TenantEntry[] {
    const { slots, slotQueue } = this.#host
    const others = Array.from(slots, (slot) => slot.tenant).filter((each) => each !== undefined)
    if (slotQueue.size > 0 || others.some(({ phase }) => phase === 'draining')) return []
    const worked = workedMs(this.#host)
    return others
      .filter((each) => each !== tenant && isIdle(each))
      .filter((each) => nowMs >= evictableAtMs(this.#host, each, worked))
      .toSorted((one, two) => one.lastUsedMs - two.lastUsedMs)
  }

  /** When a slot can be had of which nobody tells; that somebody rests is an event. */
  #roomAtMs(nowMs: number): number {
    let atMs = Number.POSITIVE_INFINITY
    const worked = workedMs(this.#host)
    for (const { tenant } of this.#host.slots) {
      if (!tenant || !isIdle(tenant)) continue
      const leavesAtMs = evictableAtMs(this.#host, tenant, worked)
      if (leavesAtMs > nowMs) atMs = Math.min(atMs, leavesAtMs)
    }
    return atMs
  }

  #left(slot: SlotEntry, how: Extract<ForkEvent, { type: 'forkLeft' }>): void {
    const { forkOf: tenant } = slot
    if (!tenant) return
    if (tenant.fork === slot) tenant.fork = undefined
    if (how.refused) tenant.forkRefused = true
    slot.forkOf = undefined
    slot.forkPhase = 'leaving'
    if (!how.slotReusable) this.#host.dropSlot(slot)
  }

  #readEnded(
    { client, outcome, threadMs }: Extract<ForkEvent, { type: 'readEnded' }>,
    nowMs: number,
  ): void {
    noteRead(this.#host, client, threadMs, nowMs)
    if (client.phase !== 'waiting') return
    if (outcome === 'served') return this.#host.waiting.remove(client)
    this.note(client, outcome === 'missed' ? 'reads' : 'no', nowMs)
    // Its tenant may have left its slot meanwhile.
    this.#host.waiting.review(client.tenant)
  }
}

/** Whether a batch that comes now may be tried in the fork at once; nobody has to be asked. */
export function mayRead(
  { drainDeadlineMs }: Pick<PoolView, 'drainDeadlineMs'>,
  { tenant, phase }: ClientEntry,
): boolean {
  if (!forkAnswers(tenant) || tenant.outOfTurn) return false
  return phase === 'idle' && drainDeadlineMs === undefined
}

/** A batch of `client` has held the thread for so long in the fork of its tenant. */
export function noteRead(
  { turns }: { readonly turns: ThreadTurns },
  client: ClientEntry,
  threadMs: number,
  nowMs: number,
): void {
  client.used = true
  client.tenant.lastUsedMs = nowMs
  turns.charge(client.tenant, threadMs, nowMs)
}

/** Whether a tenant that naps is worth a slot for those who would read beside its transaction. */
export function readersWant(tenant: TenantEntry): boolean {
  if (tenant.paused || tenant.forkRefused) return false
  return firstReader(tenant) !== undefined
}

/** Whether a client has the backend and not the thread: it is thinking, or its statement paused. */
export function keepsBackend({ phase, isAway }: ClientEntry): boolean {
  return phase === 'holding' || (phase === 'running' && isAway)
}
