/**
 * Who may use which slot, and when: the rules of one shard's pool as a deterministic machine
 * `(state, event, nowMs) -> effects`, carried out by `pool.ts`, explored by `pool-state.test.ts`.
 *
 * A tenant:
 *
 *               request,           slot free            bootFinished
 *     +------+  no slot: queue   +--------+             +-------+ <---------------+
 *     | cold | ----------------> | waking | ----------> | awake |  batches, upkeep |
 *     +------+                   +--------+             +-------+ ----------------+
 *      ^ ^ ^   bootFailed, slotLost |                     |   | nap, pressure, fairness, drain
 *      | | +------------------------+         slotLost    |   v
 *      | +------------------------------------------------+  +----------+
 *      |                       evicted(to: cold)             | draining |
 *      +---------------------------------------------------- +----------+
 *      |  imageMoved   +---------+  imageMoved  +--------+       |
 *      +-------------- | asleep  | <----------- | napping| <-----+ evicted(to: napping | asleep)
 *                      +---------+              +--------+
 *     (napping and asleep wake as cold does, or stay; what cannot be imaged ends in cold)
 *
 * Rules:
 * - A backend belongs to one client from its first message until a complete batch leaves it idle.
 *   The others of that tenant wait in order of arrival, and so do tenants that wait for a slot.
 * - While a tenant waits for a slot, the least recently used one whose backend is free gives its
 *   slot up: after `slotThinkMs` without a batch, or `slotQuantumMs` between two (at once without
 *   clients). An open transaction goes along in the image; what cannot stays (`evictionRefused`).
 * - While tenants swap, one that rests leaves before it is asked to (`slot-supply.ts`).
 * - Beside an open transaction others read in a fork, in a slot of its own (`fork-desk.ts`).
 * - A tenant that has had its turn of the thread stands in line for the next (`thread-turns.ts`).
 * - A paused tenant leaves when nobody holds its backend (`pause-desk.ts`); one to be renewed, too.
 * - One boot per tenant. Every wait ends: granted, or rejected with the name of the limit.
 * It must never let two clients into one backend, never run half a transaction in a slot that does
 * not hold the other half (phase `lost`), and never keep a reference to a tenant that has nothing.
 */
import { assert } from '../base/assert.ts'
import type { BatchResult, EvictionReason, Maintained, PoolEffect } from './pool-model.ts'
import type { PoolEvent, PoolLimits, Rejection, RestingPhase, SlotEntry } from './pool-model.ts'
import { ClientEntry, isForkEvent, isPauseEvent, isResting, NOTHING_RAN } from './pool-model.ts'
import { isTenantMove, TenantEntry, type TenantMove } from './pool-model.ts'
import { canLeave, dueAtRest, first, holderWaits, isFreeSlot, refusalOf } from './pool-policy.ts'
import { leavesNow, leavingReason, nextDeadlineMs, pickToNapAhead } from './pool-policy.ts'
import { isBusy, isIdle, pickVictim, quantumEndMs, thinkingHolders } from './pool-policy.ts'
import { slotsExpected, wantsSlotMade } from './pool-policy.ts'
import { ForkDesk, type ForkHost } from './fork-desk.ts'
import { acquire, giveBack } from './pool-fast-path.ts'
import { PauseDesk } from './pause-desk.ts'
import type { Reading } from './reading-batch.ts'
import { type Reaction, REACTIONS } from './pool-reactions.ts'
import { SlotSupply } from './slot-supply.ts'
import { ThreadTurns } from './thread-turns.ts'
import { WaitingRoom } from './waiting-room.ts'
import type { TenantName } from '../base/ids.ts'

/** The state of one shard's pool. Owned by one `Pool`; reads are free, writes go through events. */
export class PoolState implements ForkHost {
  readonly limits: PoolLimits
  readonly tenants: Map<TenantName, TenantEntry> = new Map()
  readonly slots: Set<SlotEntry> = new Set()
  readonly waiting: WaitingRoom = new WaitingRoom()
  readonly slotQueue: ReadonlySet<TenantEntry> = this.waiting.tenants
  /** Every waiting client in order of arrival. */
  readonly waitingByAge: ReadonlySet<ClientEntry> = this.waiting.clients
  readonly turns: ThreadTurns
  readonly supply: SlotSupply = new SlotSupply()
  readonly forks: ForkDesk = new ForkDesk(this)
  readonly pauses: PauseDesk = new PauseDesk(this)
  drainDeadlineMs: number | undefined = undefined
  #drained = false
  #timerAtMs = Number.POSITIVE_INFINITY
  /** Of the event that is being taken in. */
  effects: PoolEffect[] = []

  constructor(limits: PoolLimits, onShared?: (shared: boolean) => void) {
    assert(limits.slotsPerShard >= 1, 'a shard needs at least one slot')
    this.limits = limits
    this.turns = new ThreadTurns(limits, onShared)
  }

  /** The entry of `name`, made if there is none; kept while it has clients, a slot, an image. */
  tenant(name: TenantName): TenantEntry {
    const known = this.tenants.get(name)
    if (known) return known
    const tenant = new TenantEntry(name)
    tenant.paused = this.pauses.isPaused(name)
    this.tenants.set(name, tenant)
    return tenant
  }

  /** @returns whether it was there */
  dropSlot(slot: SlotEntry): boolean {
    if (!this.slots.delete(slot)) return false
    this.effects.push({ type: 'discardSlot', slot })
    return true
  }

  /** Takes one event in. The effects are to be carried out in order. */
  handle(event: PoolEvent, nowMs: number): readonly PoolEffect[] {
    const effects: PoolEffect[] = (this.effects = [])
    this.#take(event, nowMs)
    this.#assignSlots(nowMs)
    for (const out of this.forks.assign(nowMs)) this.#evict(out, 'pressure', nowMs)
    this.#finishDrain()
    this.pauses.report()
    if (this.turns.mustAsk(this.slots, nowMs)) effects.push({ type: 'awaitTurn' })
    this.#armTimer(nowMs)
    return effects
  }

  #take(event: PoolEvent, nowMs: number): void {
    if (isTenantMove(event)) return this.#moveTenant(event, nowMs)
    if (isForkEvent(event)) return this.forks.take(event, nowMs)
    if (isPauseEvent(event)) return this.#review(this.pauses.take(event), nowMs)
    switch (event.type) {
      case 'clientArrived':
        event.client.arrivedMs = nowMs
        return this.turns.arrive(event.client.tenant)
      case 'batchRequested':
        return this.#request(event.client, event.reading ?? 'no', nowMs)
      case 'batchFinished':
        return this.#finish(event.client, event.result, nowMs)
      case 'batchPaused':
        return this.turns.paused(event.client, event.threadMs, nowMs)
      case 'floated':
        event.client.phase = 'running'
        return this.#finish(event.client, NOTHING_RAN, nowMs)
      case 'waitCanceled':
        if (event.client.phase !== 'waiting') return
        return this.#reject(event.client, event.code ?? 'QUERY_CANCELED')
      case 'clientLeft':
        return this.#leave(event.client, nowMs)
      case 'clientPinned':
        return this.#pin(event.client)
      case 'cleanedUp':
        assert(event.tenant.holder === 'cleaning', 'only a clean-up ends as one')
        return this.#free(event.tenant, nowMs)
      case 'maintained':
        return this.#maintained(event, nowMs)
      case 'slotCreated':
        this.supply.made(nowMs)
        return void this.slots.add(event.slot)
      case 'slotFailed':
        return this.#slotFailed(event.error, nowMs)
      case 'slotLost':
        return this.#slotLost(event.slot, event.error)
      case 'tick':
        return this.#tick(nowMs, event.upkeepOf)
      case 'drainRequested':
        return this.#drain(event.deadlineMs, nowMs)
      case 'turn':
        return this.#goOn(this.turns.next(this.slots, nowMs), nowMs)
    }
  }

  // Clients

  #request(client: ClientEntry, reading: Reading, nowMs: number): void {
    const tenant = client.tenant
    if (client.phase === 'lost') {
      client.phase = 'idle'
      return this.#reject(client, 'SLOT_LOST')
    }
    if (acquire(this, client)) return void this.effects.push({ type: 'grant', client })
    // Whoever has a transaction open must be able to end it: it stands in nobody's queue.
    const goesOn = tenant.holder === client && !this.#drained
    assert(client.phase === 'idle' || goesOn, 'one batch at a time per client')
    const refusal = refusalOf(this, client, goesOn)
    if (refusal !== undefined) return this.#reject(client, refusal)
    this.forks.note(client, goesOn ? 'no' : reading, nowMs)
    this.waiting.add(client, nowMs)
    if (tenant.outOfTurn) this.turns.requested()
  }

  #finish(client: ClientEntry, result: BatchResult, nowMs: number): void {
    const tenant = client.tenant
    assert(tenant.holder === client && client.phase === 'running', 'only a running batch ends')
    tenant.lastUsedMs = nowMs
    this.turns.chargeRest(client, result.threadMs, nowMs)
    if (result.wrote) tenant.maintenanceDue = true
    if (result.urgent) tenant.maintenanceUrgent = true
    const free = giveBack(client, result)
    if (client.leaving) this.#leave(client, nowMs)
    else if (free) this.#free(tenant, nowMs)
  }

  #leave(client: ClientEntry, nowMs: number): void {
    const tenant = client.tenant
    if (client.phase === 'gone') return
    if (client.phase === 'running') return void (client.leaving = true)
    if (client.phase === 'waiting') this.waiting.remove(client)
    const abort = client.phase === 'holding'
    client.phase = 'gone'
    this.turns.leave(tenant)
    const reaction = REACTIONS[tenant.phase].clientLeft
    // Where the backend is not at hand, what it has to forget is remembered.
    if (abort) {
      assert(tenant.holder === client, 'who holds a transaction holds the backend')
      tenant.abortDue = true
      tenant.holder = undefined
    }
    if (client.used || (tenant.clientCount === 0 && tenant.sessionUsed)) tenant.discardDue = true
    if (reaction === 'settle' && tenant.holder === undefined) {
      this.#free(tenant, nowMs)
    } else if (reaction === 'rest') {
      this.waiting.review(tenant)
      this.#dropIfUseless(tenant)
      this.#forgetIfEmpty(tenant)
    }
  }

  /** Others have to wait for it, as for the end of a transaction. */
  #pin(client: ClientEntry): void {
    const { tenant } = client
    const { clientPinned: reaction } = REACTIONS[tenant.phase]
    const waits = client.phase === 'waiting'
    if (reaction === 'ignore' || tenant.holder || !(waits || client.phase === 'idle')) return
    if (!waits) client.phase = 'holding'
    tenant.holder = client
    this.waiting.review(tenant)
  }

  #reject(client: ClientEntry, code: Rejection, cause?: unknown): void {
    if (client.phase === 'waiting') this.waiting.remove(client)
    this.effects.push({ type: 'reject', client, code, cause })
  }

  // Backends

  /** The backend of an awake tenant has no holder any more: what comes next? */
  #free(tenant: TenantEntry, nowMs: number): void {
    assert(tenant.phase === 'awake', 'only an awake tenant has a backend')
    tenant.holder = undefined
    this.forks.handOver(tenant)
    if (tenant.abortDue || tenant.discardDue) return this.#cleanUp(tenant, tenant.abortDue)
    if (tenant.maintenanceUrgent) return this.#maintain(tenant)
    if (this.drainDeadlineMs !== undefined) return this.#evict(tenant, 'drain', nowMs)
    // Not before it has served somebody: slots would go round for ever and nobody would be served.
    const isOverdue = tenant.served && nowMs >= quantumEndMs(this, tenant)
    const isWanted = tenant.waiting.size > 0 && this.slotQueue.size > slotsExpected(this)
    if (isOverdue && isWanted) return this.#evict(tenant, 'fairness', nowMs)
    if (leavesNow(tenant, nowMs)) return this.#evict(tenant, leavingReason(tenant), nowMs)
    const next = first(tenant.waiting)
    if (next && !tenant.outOfTurn && !tenant.paused) this.#serve(next)
  }

  /** They are to be at rest from now on, or not any more. */
  #review(tenants: readonly TenantEntry[], nowMs: number): void {
    for (const tenant of tenants) {
      if (tenant.paused) this.forks.end(tenant)
      this.waiting.review(tenant)
      if (tenant.phase === 'awake' && !tenant.holder) this.#free(tenant, nowMs)
    }
  }

  #serve(client: ClientEntry): void {
    const tenant = client.tenant
    this.waiting.remove(client)
    tenant.holder = client
    tenant.sessionUsed = tenant.served = client.used = true
    client.phase = 'running'
    this.effects.push({ type: 'grant', client })
  }

  /** A backend is there again: for whoever had it when its tenant left, or else for the next. */
  #goOn(tenant: TenantEntry | undefined, nowMs: number): void {
    if (!tenant) return
    const holder = tenant.holder
    if (!(holder instanceof ClientEntry)) return this.#free(tenant, nowMs)
    if (holder.isAway) return void this.effects.push({ type: 'goOn', client: holder })
    if (holderWaits(tenant) && !tenant.outOfTurn) this.#serve(holder)
  }

  #cleanUp(tenant: TenantEntry, abort: boolean): void {
    tenant.holder = 'cleaning'
    const discardAll = tenant.clientCount === 0 || tenant.discardDue
    if (tenant.clientCount === 0) tenant.sessionUsed = false
    tenant.abortDue = tenant.discardDue = false
    this.effects.push({ type: 'cleanUp', tenant, abort, discardAll })
  }

  #maintain(tenant: TenantEntry): void {
    tenant.holder = 'maintenance'
    tenant.maintenanceUrgent = false
    this.effects.push({ type: 'maintain', tenant })
  }

  #maintained({ tenant, more, notBeforeMs }: Maintained, nowMs: number): void {
    assert(tenant.holder === 'maintenance', 'only upkeep ends as such')
    tenant.maintenanceDue = more
    tenant.maintenanceAtMs = notBeforeMs ?? Number.NEGATIVE_INFINITY
    this.#free(tenant, nowMs)
  }

  // Slots

  /** Gives free slots to the tenants that wait, and sees to it that there will be more. */
  #assignSlots(nowMs: number): void {
    let freeCount = 0
    for (const slot of this.slots) {
      if (!isFreeSlot(slot)) continue
      const tenant = first(this.slotQueue)
      if (!tenant) freeCount++
      else {
        this.supply.wakes(tenant, nowMs)
        this.#boot(tenant, slot)
      }
    }
    if (this.drainDeadlineMs !== undefined) return
    // To put a tenant away takes a millisecond, to make a slot fifty: whoever waits gets the slot
    // of somebody who rests, and slots are made where that does not help, or in a quiet moment.
    let missing = this.slotQueue.size - slotsExpected(this)
    missing -= this.forks.yield(missing)
    for (; missing > 0; missing--) {
      const victim = pickVictim(this, nowMs)
      if (!victim) break
      this.#evict(victim, 'pressure', nowMs)
    }
    const early = pickToNapAhead(this, nowMs)
    if (early) this.#evict(early, 'ahead', nowMs)
    if (!wantsSlotMade(this, { missing, freeCount }, nowMs)) return
    this.supply.making()
    this.effects.push({ type: 'createSlot' })
  }

  #boot(tenant: TenantEntry, slot: SlotEntry): void {
    const from = tenant.phase
    assert(isResting(from), 'only a resting tenant wakes')
    slot.tenant = tenant
    tenant.slot = slot
    tenant.phase = 'waking'
    this.waiting.review(tenant)
    this.effects.push({ type: 'boot', tenant, slot, from })
  }

  #evict(tenant: TenantEntry, reason: EvictionReason, nowMs: number): void {
    const still = !tenant.holder || canLeave(tenant)
    assert(tenant.phase === 'awake' && still, 'only a backend that does nothing is evicted')
    this.forks.leave(tenant, nowMs)
    tenant.phase = 'draining'
    this.supply.leaves(tenant, { reason, isBusy: isBusy(this, tenant, nowMs) }, nowMs)
    this.effects.push({ type: 'evict', tenant, reason })
  }

  #slotFailed(error: unknown, nowMs: number): void {
    this.supply.failed(nowMs, this.limits.slotRetryMs)
    if (this.slots.size > 0) return
    // With no slot at all nobody's patience would be rewarded.
    for (const client of this.waitingByAge) this.#reject(client, 'SLOT_LOST', error)
  }

  #slotLost(slot: SlotEntry, error: unknown): void {
    const { tenant } = slot
    // A slot is reported once; a second report finds it gone.
    if (!this.dropSlot(slot) || !tenant) return
    assert(REACTIONS[tenant.phase].slotLost === 'rest', `a ${tenant.phase} tenant has no slot`)
    this.#rest(tenant, 'cold', error)
  }

  // Tenants

  #moveTenant(event: TenantMove, nowMs: number): void {
    const tenant = event.tenant
    const reaction: Reaction = REACTIONS[tenant.phase][event.type]
    assert(reaction !== 'never', `${event.type} while ${tenant.phase}`)
    if (reaction === 'ignore') return
    this.supply.swappedMs = nowMs
    switch (event.type) {
      case 'bootFinished':
        tenant.phase = 'awake'
        tenant.served = false
        tenant.awakeSinceMs = nowMs
        tenant.lastUsedMs = nowMs
        return this.#goOn(tenant, nowMs)
      case 'bootFailed':
        // Whoever waits is told now; of a loss it must not be told again when it next asks.
        if (event.to !== 'napping' && holderWaits(tenant)) tenant.holder = undefined
        for (const client of tenant.waiting) this.#reject(client, 'SLOT_LOST', event.error)
        return this.#leaveSlot(tenant, event.to, event.slotUsable)
      case 'evicted':
        return this.#leaveSlot(tenant, event.to, event.slotReusable)
      case 'evictionRefused':
        tenant.phase = 'awake'
        this.supply.stays(tenant, nowMs, this.limits.slotRetryMs)
        return this.#goOn(tenant, nowMs)
      case 'imageMoved':
        assert(event.to === 'cold' || !tenant.holder, 'an open transaction stays in memory')
        return this.#rest(tenant, event.to)
      case 'imageRead':
        tenant.lastUsedMs = nowMs
        return this.#rest(tenant, 'napping')
      case 'warmRequested':
        return this.#boot(tenant, event.slot)
      case 'napRequested':
        if (canLeave(tenant)) this.#evict(tenant, event.reason ?? 'requested', nowMs)
        return
      case 'upkeepDue':
        return void (tenant.maintenanceDue = true)
      case 'renewalRequested':
        tenant.renewalDue = true
        return this.#review([tenant], nowMs)
    }
  }

  #leaveSlot(tenant: TenantEntry, to: RestingPhase, slotReusable: boolean): void {
    const slot = tenant.slot
    assert(slot, 'only a tenant with a slot can leave it')
    this.#rest(tenant, to)
    slot.tenant = undefined
    if (!slotReusable) this.dropSlot(slot)
  }

  /**
   * Out of the slot. Whoever still waits makes the tenant queue again, behind those already there.
   * An image keeps an open transaction and the clients' session; without one they are gone.
   */
  #rest(tenant: TenantEntry, to: RestingPhase, error?: unknown): void {
    const holder = tenant.holder
    const holds = holder instanceof ClientEntry
    if (to !== 'napping' || !holds) tenant.holder = undefined
    this.forks.end(tenant)
    tenant.phase = to
    tenant.slot = undefined
    tenant.maintenanceUrgent = false
    if (to === 'cold') tenant.forgetMemory()
    this.waiting.review(tenant)
    if (holds && to !== 'napping') this.#loseTransaction(holder, error)
    this.#dropIfUseless(tenant)
    this.#forgetIfEmpty(tenant)
  }

  /** The backend that a client had is gone: it is told now, or when it next asks. */
  #loseTransaction(client: ClientEntry, error: unknown): void {
    if (client.phase === 'holding') return void (client.phase = 'lost')
    if (client.phase === 'running') client.phase = 'idle'
    client.isBack()
    if (client.leaving) this.#leave(client, 0)
    else this.#reject(client, 'SLOT_LOST', error)
  }

  /** Nobody will go on with an open transaction: recovery ends it as well as a clean-up would. */
  #dropIfUseless(tenant: TenantEntry): void {
    if (tenant.phase !== 'napping' || !tenant.abortDue || tenant.clientCount > 0) return
    this.effects.push({ type: 'dropImage', tenant })
    this.#rest(tenant, 'cold')
  }

  #forgetIfEmpty(tenant: TenantEntry): void {
    if (tenant.clientCount > 0 || (tenant.phase !== 'cold' && tenant.phase !== 'asleep')) return
    if (this.tenants.delete(tenant.name)) this.effects.push({ type: 'forget', tenant })
  }

  #tick(nowMs: number, asked?: TenantEntry): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY
    const late = this.waiting.overdue(nowMs, this.limits.queryWaitMs)
    for (const client of late) this.#reject(client, 'QUERY_WAIT_TIMEOUT')
    for (const { tenant } of this.slots) {
      if (!tenant) continue
      const due = tenant === asked && isIdle(tenant) ? 'upkeep' : dueAtRest(this, tenant, nowMs)
      if (due === 'upkeep') this.#maintain(tenant)
      if (due === 'nap') this.#evict(tenant, 'idle', nowMs)
      if (due === 'leave') this.#free(tenant, nowMs)
    }
    // Whose transactions have had their time learn it from their next request.
    if (this.drainDeadlineMs === undefined || nowMs < this.drainDeadlineMs) return
    for (const holder of thinkingHolders(this)) {
      holder.phase = 'lost'
      this.#cleanUp(holder.tenant, true)
    }
  }

  #armTimer(nowMs: number): void {
    const atMs = Math.min(nextDeadlineMs(this, nowMs), this.forks.deadlineMs(nowMs))
    // When nothing is due any more the timer goes: an object of a Worker would be kept for it.
    const isOver = atMs === Number.POSITIVE_INFINITY && this.#timerAtMs !== atMs
    if (this.#drained || (atMs >= this.#timerAtMs && !isOver)) return
    this.#timerAtMs = atMs
    this.effects.push({ type: 'setTimer', atMs })
  }

  #drain(deadlineMs: number, nowMs: number): void {
    if (this.drainDeadlineMs !== undefined) return
    this.drainDeadlineMs = deadlineMs
    this.turns.end(this.tenants.values())
    this.forks.endAll()
    this.pauses.end()
    for (const client of this.waitingByAge) this.#reject(client, 'SHUTTING_DOWN')
    for (const { tenant } of this.slots) {
      if (tenant && isIdle(tenant)) this.#evict(tenant, 'drain', nowMs)
    }
  }

  #finishDrain(): void {
    if (this.drainDeadlineMs === undefined || this.#drained || this.supply.creating) return
    for (const slot of this.slots) if (!isFreeSlot(slot)) return
    this.#drained = true
    for (const slot of this.slots) this.effects.push({ type: 'discardSlot', slot })
    this.slots.clear()
    this.effects.push({ type: 'drained' })
  }
}
