/**
 * The pool's state machine and everything that a shell could be in the middle of. `actions` are all
 * that could happen next; `check` holds after each of them; `settle` lets the world run out.
 */
import assert from 'node:assert/strict'
import type { TenantName } from '../../src/base/ids.ts'
import { ClientEntry, SlotEntry } from '../../src/pool/pool-model.ts'
import type { PoolEffect, PoolEvent, PoolLimits, TenantEntry } from '../../src/pool/pool-model.ts'
import { isIdle, pickVictim, slotsExpected } from '../../src/pool/pool-policy.ts'
import { PoolState } from '../../src/pool/pool-state.ts'

export interface Config {
  readonly limits: Partial<PoolLimits>
  /** Tenant of each client. */
  readonly clients: readonly string[]
  readonly requestsPerClient: number
  /** Failures, naps, images, cancels. */
  readonly rough: boolean
}

export interface Action {
  readonly name: string
  readonly run: () => void
}

const SMALL: PoolLimits = {
  slotsPerShard: 2,
  spareSlots: 0,
  tenantQueueMax: 2,
  shardQueueMax: 2,
  queryWaitMs: 50,
  napAfterMs: 20,
  slotQuantumMs: 5,
  slotRetryMs: 30,
  maintenanceIdleMs: 8,
}

export class World {
  readonly state: PoolState
  readonly clients: ClientEntry[]
  readonly left: number[]
  readonly slots: SlotEntry[] = []
  readonly boots: Set<TenantEntry> = new Set()
  readonly evictions: Set<TenantEntry> = new Set()
  readonly cleaning: Set<TenantEntry> = new Set()
  readonly maintaining: Set<TenantEntry> = new Set()
  /** Clients whose request has had no outcome yet, in order of request. */
  readonly asked: Set<ClientEntry> = new Set()
  /** Where each open transaction lives. */
  readonly transactions: Map<ClientEntry, SlotEntry> = new Map()
  creating = false
  nowMs = 0
  timerAtMs: number = Number.POSITIVE_INFINITY
  drained = false
  #slotCount = 0
  readonly #rough: boolean

  constructor(config: Config) {
    this.#rough = config.rough
    this.state = new PoolState({ ...SMALL, ...config.limits })
    this.clients = config.clients.map(
      (name) => new ClientEntry(this.state.tenant(name as TenantName)),
    )
    this.left = this.clients.map(() => config.requestsPerClient)
    for (const client of this.clients) {
      const effects = this.state.handle({ type: 'clientArrived', client }, 0)
      for (const effect of effects) this.#take(effect, [])
    }
    this.check()
  }

  event(event: PoolEvent): void {
    const queueBefore = [...this.state.slotQueue]
    const effects = this.state.handle(event, this.nowMs)
    for (const effect of effects) this.#take(effect, queueBefore)
    this.check()
  }

  /** Who gets a slot has passed nobody who still waits for one. */
  #checkTurn(tenant: TenantEntry, queueBefore: readonly TenantEntry[]): void {
    const at = queueBefore.indexOf(tenant)
    const passed = at < 0 ? queueBefore : queueBefore.slice(0, at)
    assert.ok(!passed.some((other) => this.state.slotQueue.has(other)), 'tenants are FIFO')
  }

  #take(effect: PoolEffect, queueBefore: TenantEntry[]): void {
    switch (effect.type) {
      case 'createSlot':
        assert.ok(!this.creating, 'slots are made one at a time')
        this.creating = true
        return
      case 'discardSlot':
        this.slots.splice(this.slots.indexOf(effect.slot), 1)
        return
      case 'boot':
        assert.ok(!this.boots.has(effect.tenant), 'one boot per tenant')
        assert.ok(this.slots.includes(effect.slot), 'a boot needs a slot that exists')
        this.#checkTurn(effect.tenant, queueBefore)
        this.boots.add(effect.tenant)
        return
      case 'evict':
        this.evictions.add(effect.tenant)
        return
      case 'grant': {
        assert.ok(this.asked.has(effect.client), 'a grant answers a request')
        for (const other of this.asked) {
          if (other === effect.client) break
          assert.notEqual(other.tenant, effect.client.tenant, 'clients of a tenant are FIFO')
        }
        this.asked.delete(effect.client)
        return this.#begin(effect.client)
      }
      case 'reject':
        // A running batch was granted before: its loss is its outcome.
        this.asked.delete(effect.client)
        return void this.transactions.delete(effect.client)
      case 'cleanUp':
        return void this.cleaning.add(effect.tenant)
      case 'maintain':
        return void this.maintaining.add(effect.tenant)
      case 'setTimer':
        assert.ok(effect.atMs < this.timerAtMs, 'a timer is only moved forward')
        this.timerAtMs = effect.atMs
        return
      case 'forget':
        assert.notEqual(this.state.tenants.get(effect.tenant.name), effect.tenant)
        return
      case 'drained':
        this.drained = true
    }
  }

  // What could happen next

  actions(): Action[] {
    return [...this.#clientActions(), ...this.#workActions(), ...this.#timeActions()]
  }

  #clientActions(): Action[] {
    return this.clients.flatMap((client, index): Action[] => {
      const act = (name: string, run: () => void): Action => ({ name: `${name} ${index}`, run })
      const leave = act('leave', () => this.leave(client))
      const askable = (this.left[index] ?? 0) > 0 || client.phase === 'holding'
      const request = act('request', () => this.request(client))
      switch (client.phase) {
        case 'idle':
        case 'holding':
        case 'lost': {
          const crash = act('crash', () => this.#crash(client.tenant))
          const crashes = this.#rough && client.phase === 'holding' ? [crash] : []
          return askable ? [request, leave, ...crashes] : [leave, ...crashes]
        }
        case 'waiting': {
          const cancel = act('cancel', () => this.event({ type: 'waitCanceled', client }))
          return this.#rough ? [leave, cancel] : [leave]
        }
        case 'running':
          return [
            act('finish', () => this.finish(client, true)),
            act('begin', () => this.finish(client, false)),
            act('leave running', () => this.leave(client)),
            ...(this.#rough ? [act('crash', () => this.#crash(client.tenant))] : []),
          ]
        case 'gone':
          return []
      }
    })
  }

  #workActions(): Action[] {
    const actions: Action[] = []
    const add = (name: string, run: () => void): void => void actions.push({ name, run })
    if (this.creating) {
      add('slot created', () => this.slotCreated())
      if (this.#rough) add('slot failed', () => this.#slotFailed())
    }
    for (const tenant of this.boots) {
      add(`boot ${tenant.name}`, () => this.booted(tenant))
      if (!this.#rough) continue
      add(`boot failed ${tenant.name}`, () => {
        this.boots.delete(tenant)
        this.event({ type: 'bootFailed', tenant, error: 'boot', slotUsable: false })
      })
    }
    for (const tenant of this.evictions) {
      add(`evicted ${tenant.name}`, () => this.evicted(tenant))
      if (!this.#rough) continue
      // Only who has clients has a session to lose, and nobody is asked at the end.
      if (tenant.clientCount > 0 && this.state.drainDeadlineMs === undefined) {
        add(`stays ${tenant.name}`, () => {
          this.evictions.delete(tenant)
          this.event({ type: 'evictionRefused', tenant })
        })
      }
      add(`evicted to napping ${tenant.name}`, () => {
        this.evictions.delete(tenant)
        this.event({ type: 'evicted', tenant, to: 'napping', slotReusable: false })
      })
    }
    for (const tenant of this.cleaning) {
      add(`cleaned ${tenant.name}`, () => this.cleaned(tenant))
      if (this.#rough) add(`crash cleaning ${tenant.name}`, () => this.#crash(tenant))
    }
    for (const tenant of this.maintaining) {
      add(`maintained ${tenant.name}`, () => this.maintained(tenant))
      if (this.#rough) add(`crash maintaining ${tenant.name}`, () => this.#crash(tenant))
    }
    return actions
  }

  #timeActions(): Action[] {
    const actions: Action[] = []
    if (this.timerAtMs < Number.POSITIVE_INFINITY) {
      actions.push({ name: 'tick', run: () => this.tick() })
    }
    if (!this.#rough) return actions
    for (const tenant of this.state.tenants.values()) {
      if (tenant.phase === 'awake') {
        const run = (): void => this.event({ type: 'napRequested', tenant })
        actions.push({ name: `nap ${tenant.name}`, run })
      }
      if (tenant.phase === 'napping') {
        const run = (): void => this.event({ type: 'imageMoved', tenant, to: 'cold' })
        actions.push({ name: `drop image ${tenant.name}`, run })
      }
    }
    return actions
  }

  // Doing it

  request(client: ClientEntry): void {
    const index = this.clients.indexOf(client)
    this.left[index] = (this.left[index] ?? 0) - 1
    // As the shell does: the short way first.
    if (this.state.acquire(client)) {
      this.#begin(client)
      return this.check()
    }
    this.asked.add(client)
    this.event({ type: 'batchRequested', client })
    assert.ok(client.phase === 'waiting' || !this.asked.has(client), 'asked means waiting')
  }

  #begin(client: ClientEntry): void {
    const slot = this.transactions.get(client)
    if (slot) assert.equal(client.tenant.slot, slot, 'a transaction goes on where it began')
  }

  finish(client: ClientEntry, idle: boolean): void {
    const slot = client.tenant.slot
    assert.ok(slot, 'a batch runs in a slot')
    if (idle) this.transactions.delete(client)
    else this.transactions.set(client, slot)
    const status = idle ? 'idle' : 'transaction'
    const result = { status, complete: true, wrote: true, urgent: false } as const
    if (this.state.release(client, result, this.nowMs)) return this.check()
    this.event({ type: 'batchFinished', client, result })
  }

  leave(client: ClientEntry): void {
    this.asked.delete(client)
    this.event({ type: 'clientLeft', client })
  }

  slotCreated(): void {
    this.creating = false
    const slot = new SlotEntry(this.#slotCount++)
    this.slots.push(slot)
    this.event({ type: 'slotCreated', slot })
  }

  #slotFailed(): void {
    this.creating = false
    this.event({ type: 'slotFailed', error: 'no memory' })
  }

  booted(tenant: TenantEntry): void {
    this.boots.delete(tenant)
    this.event({ type: 'bootFinished', tenant })
  }

  evicted(tenant: TenantEntry): void {
    this.evictions.delete(tenant)
    this.event({ type: 'evicted', tenant, to: 'cold', slotReusable: true })
  }

  cleaned(tenant: TenantEntry): void {
    this.cleaning.delete(tenant)
    this.event({ type: 'cleanedUp', tenant })
  }

  maintained(tenant: TenantEntry): void {
    this.maintaining.delete(tenant)
    this.event({ type: 'maintained', tenant, more: false })
  }

  #crash(tenant: TenantEntry): void {
    const slot = tenant.slot
    assert.ok(slot)
    for (const work of [this.boots, this.evictions, this.cleaning, this.maintaining])
      work.delete(tenant)
    this.event({ type: 'slotLost', slot, error: 'trap' })
  }

  tick(): void {
    this.nowMs = Math.max(this.nowMs, this.timerAtMs)
    this.timerAtMs = Number.POSITIVE_INFINITY
    this.event({ type: 'tick' })
  }

  // What must hold

  check(): void {
    const { state } = this
    assert.ok(
      state.slots.size + (state.creating ? 1 : 0) <= state.limits.slotsPerShard,
      'slot limit',
    )
    assert.equal(state.creating, this.creating)
    if (!this.drained) assert.deepEqual([...state.slots], this.slots, 'slots are accounted for')
    for (const slot of state.slots) {
      if (slot.tenant) assert.equal(slot.tenant.slot, slot, 'slot and tenant agree')
    }
    for (const tenant of state.tenants.values()) this.#checkTenant(tenant)
    for (const client of this.clients) this.#checkClient(client)
    this.#checkRoom()
    for (const tenant of state.slotQueue) {
      assert.ok(!tenant.slot && tenant.waiting.size > 0, 'only who needs a slot queues for one')
      assert.ok(
        [...state.slots].every((slot) => slot.tenant),
        'no slot is free while tenants wait',
      )
    }
  }

  /** Whoever could make room for those who wait does so now, or there is a timer for it. */
  #checkRoom(): void {
    const { state } = this
    const room = state.slots.size + (this.creating ? 1 : 0) < state.limits.slotsPerShard
    const drains = state.drainDeadlineMs !== undefined
    if (drains || (room && this.creating) || state.slotQueue.size <= slotsExpected(state)) return
    assert.equal(pickVictim(state, this.nowMs), undefined, 'nobody idles while others wait')
    for (const { tenant } of state.slots) {
      if (!tenant || !isIdle(tenant)) continue
      const quantumEndMs = tenant.awakeSinceMs + state.limits.slotQuantumMs
      const atMs = Math.max(quantumEndMs, tenant.pinnedUntilMs)
      assert.ok(this.timerAtMs <= atMs, 'the time when it may be asked to leave is waited for')
    }
  }

  #checkTenant(tenant: TenantEntry): void {
    const { state } = this
    const inSlot = ['waking', 'awake', 'draining'].includes(tenant.phase)
    assert.equal(tenant.slot !== undefined, inSlot, `${tenant.phase} and slot`)
    if (tenant.slot) assert.ok(state.slots.has(tenant.slot), 'the slot lives')
    if (tenant.slot) assert.equal(tenant.slot.tenant, tenant, 'tenant and slot agree')
    const holder = tenant.holder
    if (holder !== undefined) assert.equal(tenant.phase, 'awake', 'only awake tenants have holders')
    if (holder instanceof ClientEntry) {
      assert.equal(holder.tenant, tenant)
      assert.ok(holder.phase === 'running' || holder.phase === 'holding', 'a holder uses it')
    }
    if (tenant.waiting.size > 0) {
      const reason =
        holder !== undefined || tenant.phase === 'waking' || tenant.phase === 'draining'
      assert.ok(reason || state.slotQueue.has(tenant), 'nobody waits without a reason')
      assert.ok(this.timerAtMs < Number.POSITIVE_INFINITY, 'every wait has a limit')
    }
    assert.ok(tenant.waiting.size <= state.limits.tenantQueueMax, 'the queue has a limit')
    const here = this.clients.filter((each) => each.tenant === tenant && each.phase !== 'gone')
    assert.equal(tenant.clientCount, here.length, 'clients are counted')
    assert.ok(tenant.phase !== 'cold' || here.length > 0, 'nothing is kept of who has nothing')
  }

  #checkClient(client: ClientEntry): void {
    const waiting = client.phase === 'waiting'
    assert.equal(client.tenant.waiting.has(client), waiting)
    assert.equal(this.state.waitingByAge.has(client), waiting)
    assert.equal(this.asked.has(client), waiting, 'a request is waiting or has had its outcome')
    const uses = client.phase === 'running' || client.phase === 'holding'
    assert.equal(client.tenant.holder === client, uses, 'who uses the backend holds it')
  }

  /** Everybody finishes what they do: all requests have an outcome, all slots are given back. */
  settle(): void {
    for (let ticks = 0; !this.#settled(); ticks++) {
      assert.ok(ticks < 100, `comes to rest: ${this.fingerprint()}`)
      let steps = 0
      while (this.#work())
        assert.ok(++steps < 300, `no standstill, no circle: ${this.fingerprint()}`)
      if (this.timerAtMs < Number.POSITIVE_INFINITY) this.tick()
    }
    assert.equal(this.asked.size, 0, 'every request had an outcome')
    this.event({ type: 'drainRequested', deadlineMs: this.nowMs + 10 })
    assert.ok(this.drained, 'an idle pool drains at once')
    assert.equal(this.slots.length, 0, 'all slots are given up')
  }

  /** Finishes one thing that takes no time; false if there is none. Clients leave when they can. */
  #work(): boolean {
    const [boot] = this.boots
    const [eviction] = this.evictions
    const [cleaning] = this.cleaning
    const [maintaining] = this.maintaining
    const running = this.clients.find((client) => client.phase === 'running')
    const leaving = this.clients.find(({ phase }) => phase !== 'waiting' && phase !== 'gone')
    if (this.creating) this.slotCreated()
    else if (boot) this.booted(boot)
    else if (eviction) this.evicted(eviction)
    else if (cleaning) this.cleaned(cleaning)
    else if (maintaining) this.maintained(maintaining)
    else if (running) this.finish(running, true)
    else if (leaving) this.leave(leaving)
    else return false
    return true
  }

  #settled(): boolean {
    const napping = [...this.state.tenants.values()].every((tenant) => tenant.phase === 'napping')
    return napping && !this.creating && this.clients.every((client) => client.phase === 'gone')
  }

  /** Equal fingerprints: nothing that could still happen differs. */
  fingerprint(): string {
    const { state, nowMs } = this
    const ago = (atMs: number): number => Math.max(-60, atMs - nowMs)
    const id = (client: ClientEntry): number => this.clients.indexOf(client)
    const ids = (clients: Iterable<ClientEntry>): number[] => [...clients].map(id)
    const names = (tenants: Iterable<TenantEntry>): string[] =>
      [...tenants].map((each) => each.name)
    const tenants = [
      ...new Set([...this.clients.map((each) => each.tenant), ...state.tenants.values()]),
    ]
    return JSON.stringify([
      tenants.map((each) => [
        each.phase,
        each.holder instanceof ClientEntry ? id(each.holder) : each.holder,
        ids(each.waiting),
        each.phase === 'awake' ? [ago(each.awakeSinceMs), ago(each.lastUsedMs)] : 0,
        each.maintenanceDue,
        [each.sessionUsed, each.served],
      ]),
      this.clients.map((each) => [
        each.phase,
        each.leaving,
        each.phase === 'waiting' ? ago(each.waitSinceMs) : 0,
      ]),
      this.left,
      ids(state.waitingByAge),
      names(state.slotQueue),
      [...state.slots].map((slot) => slot.tenant?.name),
      [
        this.creating,
        Math.max(0, state.createAfterMs - nowMs),
        Math.min(100, this.timerAtMs - nowMs),
      ],
      [this.boots, this.evictions, this.cleaning, this.maintaining].map(names),
    ])
  }
}
