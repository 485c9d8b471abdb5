/**
 * Who may use which slot, and when: the rules of one shard's pool as a deterministic machine
 * `(state, event, nowMs) -> effects`. It does no I/O, reads no clock and never waits; `pool.ts`
 * does what it says and reports back. That is why it can be explored exhaustively (`pool-
 * state.test.ts`).
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
 *     (napping and asleep wake as cold does; without an image source every nap ends in cold)
 *
 * Rules:
 * - A backend belongs to one client from its first message until a complete batch leaves it idle.
 *   The others of that tenant wait in order of arrival, and so do tenants that wait for a slot.
 * - One boot per tenant, however many clients asked for it.
 * - While a tenant waits for a slot, a tenant whose backend is free gives its slot up: the least
 *   recently used one, after `slotQuantumMs` (at once if it has no clients left). A stream of short
 *   batches does not protect it: the quantum ends between two of them. An open transaction
 *   does, and a session that cannot be carried over (`evictionRefused`); the limit on waiting
 *   protects the others.
 * - Every wait ends: granted, or rejected with the name of the limit.
 *
 * It must never let two clients into one backend, never run half a transaction in a slot that does
 * not hold the other half (phase `lost`), and never keep a reference to a tenant that has nothing.
 */
import { assert, unreachable } from '../base/assert.ts'
import type {
  BatchResult,
  ClientEntry,
  EvictionReason,
  PoolEffect,
  PoolEvent,
  PoolLimits,
  Rejection,
  RestingPhase,
  SlotEntry,
  TenantMove,
} from './pool-model.ts'
import { TenantEntry } from './pool-model.ts'
import {
  first,
  isIdle,
  mayCreate,
  nextDeadlineMs,
  pickVictim,
  slotsExpected,
} from './pool-policy.ts'
import { REACTIONS } from './pool-reactions.ts'
import type { Reaction } from './pool-reactions.ts'
import type { TenantName } from '../base/ids.ts'

/** The state of one shard's pool. Owned by one `Pool`; reads are free, writes go through events. */
export class PoolState {
  readonly limits: PoolLimits
  readonly tenants: Map<TenantName, TenantEntry> = new Map()
  readonly slots: Set<SlotEntry> = new Set()
  /** Tenants waiting for a slot, first come first served. */
  readonly slotQueue: Set<TenantEntry> = new Set()
  /** Every waiting client in order of arrival: the first one is the next to time out. */
  readonly waitingByAge: Set<ClientEntry> = new Set()
  /** Slots are made one at a time: two at once would only delay the first. */
  creating = false
  drainDeadlineMs: number | undefined = undefined
  #drained = false
  /** After a failure no slot is made before this time. */
  createAfterMs: number = Number.NEGATIVE_INFINITY
  #timerAtMs = Number.POSITIVE_INFINITY
  #effects: PoolEffect[] = []

  constructor(limits: PoolLimits) {
    assert(limits.slotsPerShard >= 1, 'a shard needs at least one slot')
    this.limits = limits
  }

  /**
   * The entry of `name`, made if there is none. It stays as long as it has clients, a slot or an
   * image.
   */
  tenant(name: TenantName): TenantEntry {
    let tenant = this.tenants.get(name)
    if (!tenant) {
      tenant = new TenantEntry(name)
      this.tenants.set(name, tenant)
    }
    return tenant
  }

  /**
   * The path of almost every query: takes the backend for `client` if nobody has to wait for that.
   * Allocates nothing. False: send `batchRequested`, which does the rest.
   */
  acquire(client: ClientEntry): boolean {
    const tenant = client.tenant
    if (tenant.holder === client) {
      assert(client.phase === 'holding', 'one batch at a time per client')
      client.phase = 'running'
      return true
    }
    if (tenant.phase !== 'awake' || tenant.holder !== undefined || tenant.waiting.size > 0)
      return false
    if (client.phase !== 'idle' || this.drainDeadlineMs !== undefined) return false
    tenant.holder = client
    tenant.sessionUsed = tenant.served = true
    client.phase = 'running'
    return true
  }

  /**
   * The counterpart of {@link acquire}: ends a batch if nobody else is concerned by its end.
   * Allocates nothing. False: send `batchFinished`, which does the rest.
   */
  release(client: ClientEntry, result: BatchResult, nowMs: number): boolean {
    const tenant = client.tenant
    assert(tenant.holder === client && client.phase === 'running', 'only a running batch ends')
    if (client.leaving || result.urgent || this.slotQueue.size > 0) return false
    if (this.drainDeadlineMs !== undefined) return false
    const free = result.complete && result.status === 'idle'
    if (free && tenant.waiting.size > 0) return false
    // The first write after a rest has to arm the timer of upkeep, so it takes the long way.
    if (result.wrote && !tenant.maintenanceDue) return false
    tenant.lastUsedMs = nowMs
    client.phase = free ? 'idle' : 'holding'
    if (free) tenant.holder = undefined
    return true
  }

  /** Takes one event in. The effects are to be carried out in order. */
  handle(event: PoolEvent, nowMs: number): readonly PoolEffect[] {
    const effects: PoolEffect[] = []
    this.#effects = effects
    this.#take(event, nowMs)
    this.#assignSlots(nowMs)
    this.#finishDrain()
    this.#armTimer(nowMs)
    return effects
  }

  #take(event: PoolEvent, nowMs: number): void {
    switch (event.type) {
      case 'clientArrived':
        event.client.tenant.clientCount++
        return
      case 'batchRequested':
        return this.#request(event.client, nowMs)
      case 'batchFinished':
        return this.#finish(event.client, event.result, nowMs)
      case 'waitCanceled':
        if (event.client.phase === 'waiting') this.#reject(event.client, 'QUERY_CANCELED')
        return
      case 'clientLeft':
        return this.#leave(event.client, nowMs)
      case 'cleanedUp':
        assert(event.tenant.holder === 'cleaning', 'only a clean-up ends as one')
        return this.#free(event.tenant, nowMs)
      case 'maintained':
        return this.#maintained(event.tenant, event.more, nowMs)
      case 'slotCreated':
        this.creating = false
        this.slots.add(event.slot)
        return
      case 'slotFailed':
        return this.#slotFailed(event.error, nowMs)
      case 'slotLost':
        return this.#slotLost(event.slot, event.error)
      case 'bootFinished':
      case 'bootFailed':
      case 'evicted':
      case 'evictionRefused':
      case 'imageMoved':
      case 'napRequested':
        return this.#moveTenant(event, nowMs)
      case 'tick':
        return this.#tick(nowMs)
      case 'drainRequested':
        return this.#drain(event.deadlineMs)
      default:
        return unreachable(event)
    }
  }

  // Clients

  #request(client: ClientEntry, nowMs: number): void {
    const tenant = client.tenant
    if (client.phase === 'lost') {
      client.phase = 'idle'
      return this.#reject(client, 'SLOT_LOST')
    }
    if (this.acquire(client)) return void this.#effects.push({ type: 'grant', client })
    assert(client.phase === 'idle', 'one batch at a time per client')
    if (this.drainDeadlineMs !== undefined) return this.#reject(client, 'SHUTTING_DOWN')
    if (tenant.waiting.size >= this.limits.tenantQueueMax) return this.#reject(client, 'QUEUE_FULL')
    const reaction = REACTIONS[tenant.phase].batchRequested
    const joins = reaction === 'waitForSlot' && !this.slotQueue.has(tenant)
    if (joins && this.slotQueue.size >= this.limits.shardQueueMax) {
      return this.#reject(client, 'QUEUE_FULL')
    }
    if (joins) this.slotQueue.add(tenant)
    client.phase = 'waiting'
    client.waitSinceMs = nowMs
    tenant.waiting.add(client)
    this.waitingByAge.add(client)
  }

  #finish(client: ClientEntry, result: BatchResult, nowMs: number): void {
    const tenant = client.tenant
    assert(tenant.holder === client && client.phase === 'running', 'only a running batch ends')
    tenant.lastUsedMs = nowMs
    if (result.wrote) tenant.maintenanceDue = true
    if (result.urgent) tenant.maintenanceUrgent = true
    const free = result.complete && result.status === 'idle'
    client.phase = free ? 'idle' : 'holding'
    if (free) tenant.holder = undefined
    if (client.leaving) this.#leave(client, nowMs)
    else if (free) this.#free(tenant, nowMs)
  }

  #leave(client: ClientEntry, nowMs: number): void {
    const tenant = client.tenant
    if (client.phase === 'gone') return
    if (client.phase === 'running') {
      client.leaving = true
      return
    }
    if (client.phase === 'waiting') this.#stopWaiting(client)
    const abort = client.phase === 'holding'
    client.phase = 'gone'
    tenant.clientCount--
    const reaction = REACTIONS[tenant.phase].clientLeft
    if (abort) {
      assert(tenant.holder === client, 'who holds a transaction holds the backend')
      this.#cleanUp(tenant, true)
    } else if (reaction === 'settle' && tenant.holder === undefined) {
      this.#free(tenant, nowMs)
    } else if (reaction === 'rest') {
      this.#forgetIfEmpty(tenant)
    }
  }

  /** Takes a client out of every queue. A tenant that nobody waits for any more needs no slot. */
  #stopWaiting(client: ClientEntry): void {
    const tenant = client.tenant
    tenant.waiting.delete(client)
    this.waitingByAge.delete(client)
    client.phase = 'idle'
    if (tenant.waiting.size === 0) this.slotQueue.delete(tenant)
  }

  #reject(client: ClientEntry, code: Rejection, cause?: unknown): void {
    if (client.phase === 'waiting') this.#stopWaiting(client)
    this.#effects.push({ type: 'reject', client, code, cause })
  }

  // Backends

  /** The backend of an awake tenant has no holder any more: what comes next? */
  #free(tenant: TenantEntry, nowMs: number): void {
    assert(tenant.phase === 'awake', 'only an awake tenant has a backend')
    tenant.holder = undefined
    if (tenant.clientCount === 0 && tenant.sessionUsed) return this.#cleanUp(tenant, false)
    if (tenant.maintenanceUrgent) return this.#maintain(tenant)
    if (this.drainDeadlineMs !== undefined) return this.#evict(tenant, 'drain')
    // Not before it has served somebody: slots would go round for ever and nobody would be served.
    const quantumEndMs = tenant.awakeSinceMs + this.limits.slotQuantumMs
    const overdue = tenant.served && nowMs >= Math.max(quantumEndMs, tenant.pinnedUntilMs)
    if (tenant.waiting.size > 0 && overdue && this.slotQueue.size > slotsExpected(this)) {
      return this.#evict(tenant, 'fairness')
    }
    const next = first(tenant.waiting)
    if (!next) return
    this.#stopWaiting(next)
    tenant.holder = next
    tenant.sessionUsed = tenant.served = true
    next.phase = 'running'
    this.#effects.push({ type: 'grant', client: next })
  }

  #cleanUp(tenant: TenantEntry, abort: boolean): void {
    tenant.holder = 'cleaning'
    const discardAll = tenant.clientCount === 0
    if (discardAll) tenant.sessionUsed = false
    this.#effects.push({ type: 'cleanUp', tenant, abort, discardAll })
  }

  #maintain(tenant: TenantEntry): void {
    tenant.holder = 'maintenance'
    tenant.maintenanceUrgent = false
    this.#effects.push({ type: 'maintain', tenant })
  }

  #maintained(tenant: TenantEntry, more: boolean, nowMs: number): void {
    assert(tenant.holder === 'maintenance', 'only upkeep ends as such')
    tenant.maintenanceDue = more
    this.#free(tenant, nowMs)
  }

  // Slots

  /** Gives free slots to the tenants that wait, and sees to it that there will be more. */
  #assignSlots(nowMs: number): void {
    let freeCount = 0
    for (const slot of this.slots) {
      if (slot.tenant) continue
      const tenant = first(this.slotQueue)
      if (tenant) this.#boot(tenant, slot)
      else freeCount++
    }
    if (this.drainDeadlineMs !== undefined) return
    const short = this.slotQueue.size > 0 || freeCount < this.limits.spareSlots
    if (short && !this.creating && mayCreate(this, nowMs)) {
      this.creating = true
      this.#effects.push({ type: 'createSlot' })
    }
    // While there is room for more slots the queue waits for those: a wake is cheaper than a loss.
    const room = this.slots.size + (this.creating ? 1 : 0) < this.limits.slotsPerShard
    if (room && this.creating) return
    let missing = this.slotQueue.size - slotsExpected(this)
    for (; missing > 0; missing--) {
      const victim = pickVictim(this, nowMs)
      if (!victim) return
      this.#evict(victim, 'pressure')
    }
  }

  #boot(tenant: TenantEntry, slot: SlotEntry): void {
    const from = tenant.phase
    assert(
      from === 'cold' || from === 'napping' || from === 'asleep',
      'only a resting tenant wakes',
    )
    this.slotQueue.delete(tenant)
    slot.tenant = tenant
    tenant.slot = slot
    tenant.phase = 'waking'
    this.#effects.push({ type: 'boot', tenant, slot, from })
  }

  #evict(tenant: TenantEntry, reason: EvictionReason): void {
    assert(tenant.phase === 'awake' && !tenant.holder, 'only a free backend is evicted')
    tenant.phase = 'draining'
    this.#effects.push({ type: 'evict', tenant, reason })
  }

  #slotFailed(error: unknown, nowMs: number): void {
    this.creating = false
    this.createAfterMs = nowMs + this.limits.slotRetryMs
    if (this.slots.size > 0) return
    // With no slot at all nobody's patience would be rewarded.
    for (const client of this.waitingByAge) this.#reject(client, 'SLOT_LOST', error)
  }

  #slotLost(slot: SlotEntry, error: unknown): void {
    // A slot is reported once; a second report finds it gone.
    if (!this.slots.delete(slot)) return
    this.#effects.push({ type: 'discardSlot', slot })
    const tenant = slot.tenant
    if (!tenant) return
    assert(REACTIONS[tenant.phase].slotLost === 'rest', `a ${tenant.phase} tenant has no slot`)
    const holder = tenant.holder
    this.#rest(tenant, 'cold')
    if (holder === undefined || holder === 'maintenance' || holder === 'cleaning') return
    const wasHolding = holder.phase === 'holding'
    holder.phase = wasHolding ? 'lost' : 'idle'
    if (holder.leaving) this.#leave(holder, 0)
    else if (!wasHolding) this.#reject(holder, 'SLOT_LOST', error)
  }

  // Tenants

  #moveTenant(event: TenantMove, nowMs: number): void {
    const tenant = event.tenant
    const reaction: Reaction = REACTIONS[tenant.phase][event.type]
    assert(reaction !== 'never', `${event.type} while ${tenant.phase}`)
    if (reaction === 'ignore') return
    switch (event.type) {
      case 'bootFinished':
        tenant.phase = 'awake'
        tenant.served = false
        tenant.awakeSinceMs = nowMs
        tenant.lastUsedMs = nowMs
        return this.#free(tenant, nowMs)
      case 'bootFailed':
        for (const client of tenant.waiting) this.#reject(client, 'SLOT_LOST', event.error)
        return this.#leaveSlot(tenant, 'cold', event.slotUsable)
      case 'evicted':
        return this.#leaveSlot(tenant, event.to, event.slotReusable)
      case 'evictionRefused':
        tenant.phase = 'awake'
        tenant.lastUsedMs = nowMs
        tenant.pinnedUntilMs = nowMs + this.limits.slotRetryMs
        return this.#free(tenant, nowMs)
      case 'imageMoved':
        tenant.phase = event.to
        return this.#forgetIfEmpty(tenant)
      case 'napRequested':
        if (isIdle(tenant)) this.#evict(tenant, 'requested')
    }
  }

  #leaveSlot(tenant: TenantEntry, to: RestingPhase, slotReusable: boolean): void {
    const slot = tenant.slot
    assert(slot, 'only a tenant with a slot can leave it')
    this.#rest(tenant, to)
    slot.tenant = undefined
    if (slotReusable) return
    this.slots.delete(slot)
    this.#effects.push({ type: 'discardSlot', slot })
  }

  /**
   * Out of the slot. Whoever still waits makes the tenant queue again, behind those already there.
   */
  #rest(tenant: TenantEntry, to: RestingPhase): void {
    tenant.phase = to
    tenant.slot = undefined
    tenant.holder = undefined
    tenant.maintenanceDue = false
    tenant.maintenanceUrgent = false
    if (to === 'cold') tenant.sessionUsed = false
    if (tenant.waiting.size > 0) this.slotQueue.add(tenant)
    this.#forgetIfEmpty(tenant)
  }

  #forgetIfEmpty(tenant: TenantEntry): void {
    if (tenant.phase !== 'cold' || tenant.clientCount > 0) return
    this.tenants.delete(tenant.name)
    this.#effects.push({ type: 'forget', tenant })
  }

  // Time

  #tick(nowMs: number): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY
    for (;;) {
      const oldest = first(this.waitingByAge)
      if (!oldest || nowMs < oldest.waitSinceMs + this.limits.queryWaitMs) break
      this.#reject(oldest, 'QUERY_WAIT_TIMEOUT')
    }
    for (const { tenant } of this.slots) {
      if (!tenant || !isIdle(tenant)) continue
      const restMs = nowMs - tenant.lastUsedMs
      if (tenant.maintenanceDue && restMs >= this.limits.maintenanceIdleMs) this.#maintain(tenant)
      else if (restMs >= this.limits.napAfterMs) this.#evict(tenant, 'idle')
    }
    if (this.drainDeadlineMs !== undefined && nowMs >= this.drainDeadlineMs) this.#abortHolders()
  }

  #armTimer(nowMs: number): void {
    const atMs = this.#drained ? Number.POSITIVE_INFINITY : nextDeadlineMs(this, nowMs)
    if (atMs >= this.#timerAtMs) return
    this.#timerAtMs = atMs
    this.#effects.push({ type: 'setTimer', atMs })
  }

  // The end

  #drain(deadlineMs: number): void {
    if (this.drainDeadlineMs !== undefined) return
    this.drainDeadlineMs = deadlineMs
    for (const client of this.waitingByAge) this.#reject(client, 'SHUTTING_DOWN')
    for (const { tenant } of this.slots) {
      if (tenant && isIdle(tenant)) this.#evict(tenant, 'drain')
    }
  }

  /** Their transactions have had their time. The clients learn it from their next request. */
  #abortHolders(): void {
    for (const { tenant } of this.slots) {
      const holder = tenant?.holder
      if (!tenant || holder === undefined || holder === 'maintenance' || holder === 'cleaning')
        continue
      if (holder.phase !== 'holding') continue
      holder.phase = 'lost'
      this.#cleanUp(tenant, true)
    }
  }

  #finishDrain(): void {
    if (this.drainDeadlineMs === undefined || this.#drained || this.creating) return
    for (const slot of this.slots) if (slot.tenant) return
    this.#drained = true
    for (const slot of this.slots) this.#effects.push({ type: 'discardSlot', slot })
    this.slots.clear()
    this.#effects.push({ type: 'drained' })
  }
}
