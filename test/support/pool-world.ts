/**
 * The pool's state machine and everything that a shell could be in the middle of. `actionsOf` tells
 * all that could happen next; `check` holds after each of them; `settle` lets the world run out.
 */
import assert from 'node:assert/strict'
import type { TenantName } from '../../src/base/ids.ts'
import { acquire, release } from '../../src/pool/pool-fast-path.ts'
import { ClientEntry, NOTHING_RAN, SlotEntry } from '../../src/pool/pool-model.ts'
import type {
  PoolEffect,
  PoolEvent,
  PoolLimits,
  RestingPhase,
  TenantEntry,
} from '../../src/pool/pool-model.ts'
import { holderWaits } from '../../src/pool/pool-policy.ts'
import { wantsTurn } from '../../src/pool/thread-turns.ts'
import { PoolState } from '../../src/pool/pool-state.ts'
import { checkRoom, checkSlots } from './pool-moves.ts'
import { checkGoesOn, checkPauses, checkRested } from './pool-pauses.ts'
import { WorldForks } from './pool-forks.ts'
import { SMALL } from './pool-limits.ts'
import { fingerprintOf } from './pool-fingerprint.ts'

/** What clients that may read are about to do, by turns. */
const READINGS = ['reads', 'begins', 'surely'] as const

export interface Config {
  readonly limits: Partial<PoolLimits>
  /** Tenant of each client. */
  readonly clients: readonly string[]
  readonly requestsPerClient: number
  /** Failures, naps, images, cancels. */
  readonly rough: boolean
  /** Thread time of each batch. Default: none, so that nobody is ever out of turn. */
  readonly batchMs?: number
  /** Whether batches may be such as only read. */
  readonly reads?: boolean
  /** Whether an administrator pauses, resumes and renews. */
  readonly pauses?: boolean
  /** Whether batches may take long, and pause. */
  readonly long?: boolean
}

export class World {
  readonly state: PoolState
  readonly clients: ClientEntry[]
  readonly left: number[]
  readonly slots: SlotEntry[] = []
  /** Tenants that are being loaded, and where they were. */
  readonly boots: Map<TenantEntry, RestingPhase> = new Map()
  readonly evictions: Set<TenantEntry> = new Set()
  readonly cleaning: Set<TenantEntry> = new Set()
  readonly maintaining: Set<TenantEntry> = new Set()
  /** Clients whose request has had no outcome yet, in order of request. */
  readonly asked: Set<ClientEntry> = new Set()
  /** The life of its tenant's memory in which each open transaction lives. */
  readonly transactions: Map<ClientEntry, number> = new Map()
  /** Counts the losses of memory of each tenant: an image carries a life on, a boot begins one. */
  readonly lives: Map<TenantEntry, number> = new Map()
  readonly forks: WorldForks = new WorldForks(this)
  creating = false
  nowMs = 0
  turnAwaited = false
  timerAtMs: number = Number.POSITIVE_INFINITY
  drained = false
  /** Where it goes all has been checked before. */
  goesKnownPath: boolean
  #slotCount = 0
  readonly rough: boolean
  readonly reads: boolean
  readonly pauses: boolean
  readonly long: boolean
  readonly #batchMs: number

  constructor(config: Config, goesKnownPath = false) {
    this.goesKnownPath = goesKnownPath
    this.reads = config.reads ?? false
    this.rough = config.rough
    this.pauses = config.pauses ?? false
    this.long = config.long ?? false
    this.#batchMs = config.batchMs ?? 0
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
        this.boots.set(effect.tenant, effect.from)
        return
      case 'evict':
        this.evictions.add(effect.tenant)
        return
      case 'grant': {
        assert.ok(this.asked.has(effect.client), 'a grant answers a request')
        for (const other of this.asked) {
          // Whoever has a transaction open goes before those who wait for its end.
          if (other === effect.client || this.transactions.has(effect.client)) break
          assert.notEqual(other.tenant, effect.client.tenant, 'clients of a tenant are FIFO')
        }
        this.asked.delete(effect.client)
        checkGoesOn(this, effect.client)
        return this.#begin(effect.client)
      }
      case 'goOn':
        return assert.ok(effect.client.isAway && !effect.client.awaitsTurn, 'it has paused')
      case 'reject':
        // A running batch was granted before: its loss is its outcome.
        this.asked.delete(effect.client)
        // Who was only tired of waiting for a slot still has a transaction open.
        if (effect.client.tenant.holder === effect.client) return
        return void this.transactions.delete(effect.client)
      case 'cleanUp':
        return void this.cleaning.add(effect.tenant)
      case 'maintain':
        return void this.maintaining.add(effect.tenant)
      case 'fork':
      case 'endFork':
      case 'read':
        return this.forks.take(effect)
      case 'rested':
        return checkRested(effect.tenant)
      case 'dropImage':
        assert.equal(effect.tenant.clientCount, 0, 'nobody misses the image')
        return this.endLife(effect.tenant)
      case 'setTimer':
        if (effect.atMs === Number.POSITIVE_INFINITY) {
          assert.equal(this.state.waitingByAge.size, 0, 'who waits has a limit')
        } else assert.ok(effect.atMs < this.timerAtMs, 'a timer is only moved forward')
        this.timerAtMs = effect.atMs
        return
      case 'awaitTurn':
        assert.ok(!this.turnAwaited, 'a turn is awaited once')
        this.turnAwaited = true
        return
      case 'forget':
        assert.notEqual(this.state.tenants.get(effect.tenant.name), effect.tenant)
        return
      case 'drained':
        this.drained = true
    }
  }

  // Doing it

  request(client: ClientEntry): void {
    const index = this.clients.indexOf(client)
    this.left[index] = (this.left[index] ?? 0) - 1
    // As the shell does: the short way first.
    if (acquire(this.state, client)) {
      checkGoesOn(this, client)
      this.#begin(client)
      return this.check()
    }
    const reads = this.reads
    if (reads && this.forks.readNow(client)) return this.check()
    this.asked.add(client)
    // Some of them begin a transaction.
    const reading = reads ? (READINGS[index % READINGS.length] ?? 'no') : 'no'
    this.event({ type: 'batchRequested', client, reading })
    assert.ok(client.phase === 'waiting' || !this.asked.has(client), 'asked means waiting')
  }

  #begin(client: ClientEntry): void {
    const life = this.transactions.get(client)
    if (life === undefined) return
    assert.equal(
      this.#lifeOf(client.tenant),
      life,
      'a transaction goes on in the memory it began in',
    )
  }

  #lifeOf(tenant: TenantEntry): number {
    return this.lives.get(tenant) ?? 0
  }

  endLife(tenant: TenantEntry): void {
    this.lives.set(tenant, this.#lifeOf(tenant) + 1)
  }

  finish(client: ClientEntry, idle: boolean): void {
    assert.ok(client.tenant.slot, 'a batch runs in a slot')
    if (idle) this.transactions.delete(client)
    else this.transactions.set(client, this.#lifeOf(client.tenant))
    const status = idle ? 'idle' : 'transaction'
    if (idle) this.forks.transactionEnded(client.tenant)
    this.nowMs += this.#batchMs
    const threadMs = client.chargedMs + this.#batchMs
    const result = { ...NOTHING_RAN, status, wrote: true, threadMs } as const
    if (release(this.state, client, result, this.nowMs)) return this.check()
    this.event({ type: 'batchFinished', client, result })
  }

  pause(client: ClientEntry): void {
    this.nowMs += this.#batchMs
    this.event({ type: 'batchPaused', client, threadMs: client.chargedMs + this.#batchMs })
  }

  pin(client: ClientEntry): void {
    this.transactions.set(client, this.#lifeOf(client.tenant))
    this.event({ type: 'clientPinned', client })
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

  slotFailed(): void {
    this.creating = false
    this.event({ type: 'slotFailed', error: 'no memory' })
  }

  booted(tenant: TenantEntry): void {
    this.boots.delete(tenant)
    this.event({ type: 'bootFinished', tenant })
  }

  evicted(tenant: TenantEntry): void {
    this.evictions.delete(tenant)
    this.endLife(tenant)
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

  crash(tenant: TenantEntry): void {
    const slot = tenant.slot
    assert.ok(slot)
    for (const work of [this.boots, this.evictions, this.cleaning, this.maintaining])
      work.delete(tenant)
    this.endLife(tenant)
    this.event({ type: 'slotLost', slot, error: 'trap' })
  }

  tick(): void {
    this.nowMs = Math.max(this.nowMs, this.timerAtMs)
    this.timerAtMs = Number.POSITIVE_INFINITY
    this.event({ type: 'tick' })
  }

  turn(): void {
    this.turnAwaited = false
    this.state.turns.looked()
    this.event({ type: 'turn' })
  }

  // What must hold

  check(): void {
    if (this.goesKnownPath) return
    const { state } = this
    checkSlots(this)
    const isPaused = this.clients.some(({ awaitsTurn }) => awaitsTurn)
    assert.ok(this.turnAwaited || !isPaused, 'what has paused goes on')
    for (const tenant of state.tenants.values()) this.#checkTenant(tenant)
    for (const client of this.clients) this.#checkClient(client)
    checkRoom(this)
    checkPauses(this)
    this.forks.check()
    for (const tenant of state.slotQueue) {
      assert.ok(!tenant.slot && tenant.waiting.size > 0, 'only who needs a slot queues for one')
      assert.ok(
        [...state.slots].every((slot) => slot.tenant ?? slot.forkOf),
        'no slot is free while tenants wait',
      )
    }
  }

  #checkTenant(tenant: TenantEntry): void {
    const { state } = this
    const inSlot = ['waking', 'awake', 'draining'].includes(tenant.phase)
    assert.equal(tenant.slot !== undefined, inSlot, `${tenant.phase} and slot`)
    if (tenant.slot) assert.ok(state.slots.has(tenant.slot), 'the slot lives')
    if (tenant.slot) assert.equal(tenant.slot.tenant, tenant, 'tenant and slot agree')
    const holder = tenant.holder
    if (holder instanceof ClientEntry) {
      assert.equal(holder.tenant, tenant)
      const inTurn = tenant.phase === 'awake' && !tenant.outOfTurn
      const phases = inTurn ? ['running', 'holding'] : ['running', 'holding', 'waiting']
      assert.ok(tenant.phase === 'awake' || holder.phase !== 'running', 'runs only in a slot')
      assert.ok(phases.includes(holder.phase), 'a holder uses it, or will go on')
      assert.ok(tenant.phase !== 'cold' && tenant.phase !== 'asleep', 'its memory is there')
    } else if (holder !== undefined) {
      assert.equal(tenant.phase, 'awake', 'the pool itself uses only what is awake')
    }
    if (tenant.waiting.size > 0) {
      const reason =
        holder !== undefined || ['waking', 'draining'].includes(tenant.phase) || tenant.paused
      const inLine = tenant.outOfTurn && this.#turnComes()
      assert.ok(reason || inLine || state.slotQueue.has(tenant), 'nobody waits without a reason')
      assert.ok(!wantsTurn(tenant) || inLine, 'who stands in line will have a turn')
      assert.ok(this.timerAtMs < Number.POSITIVE_INFINITY, 'every wait has a limit')
    }
    const queued = tenant.waiting.size - (holderWaits(tenant) ? 1 : 0)
    assert.ok(queued <= state.limits.tenantQueueMax, 'the queue has a limit')
    const here = this.clients.filter((each) => each.tenant === tenant && each.phase !== 'gone')
    assert.equal(tenant.clientCount, here.length, 'clients are counted')
    const known = here.length > 0 || (tenant.phase !== 'cold' && tenant.phase !== 'asleep')
    assert.ok(known, 'nothing is kept of who has nothing here')
    const forgets = here.length > 0 || !tenant.sessionUsed || tenant.discardDue
    assert.ok(forgets, 'a session that nobody has will be discarded')
  }

  #turnComes(): boolean {
    const { pauseUntilMs } = this.state.turns
    return this.turnAwaited || (pauseUntilMs > this.nowMs && this.timerAtMs <= pauseUntilMs)
  }

  #checkClient(client: ClientEntry): void {
    const waiting = client.phase === 'waiting'
    assert.equal(client.tenant.waiting.has(client), waiting)
    assert.equal(this.state.waitingByAge.has(client), waiting)
    assert.equal(this.asked.has(client), waiting, 'a request is waiting or has had its outcome')
    const holds = client.tenant.holder === client
    if (client.phase === 'running' || client.phase === 'holding') assert.ok(holds, 'who uses it')
    else assert.ok(!holds || waiting, 'holds it, and nobody else')
  }

  /** Everybody finishes what they do: all requests have an outcome, all slots are given back. */
  settle(): void {
    for (let ticks = 0; !this.#settled(); ticks++) {
      if (ticks === 100) assert.fail(`comes to rest: ${fingerprintOf(this)}`)
      let steps = 0
      while (this.#work()) {
        if (++steps === 300) assert.fail(`no standstill, no circle: ${fingerprintOf(this)}`)
      }
      if (this.timerAtMs < Number.POSITIVE_INFINITY) this.tick()
    }
    assert.equal(this.asked.size, 0, 'every request had an outcome')
    this.event({ type: 'drainRequested', deadlineMs: this.nowMs + 10 })
    assert.ok(this.drained, 'an idle pool drains at once')
    assert.equal(this.slots.length, 0, 'all slots are given up')
  }

  /** Finishes one thing that takes no time; false if there is none. Clients leave when they can. */
  #work(): boolean {
    const [boot] = this.boots.keys()
    const [eviction] = this.evictions
    const [cleaning] = this.cleaning
    const [maintaining] = this.maintaining
    const running = this.clients.find((client) => client.phase === 'running')
    const leaving = this.clients.find(({ phase }) => phase !== 'waiting' && phase !== 'gone')
    if (this.forks.step()) return true
    if (this.creating) this.slotCreated()
    else if (boot) this.booted(boot)
    else if (eviction) this.evicted(eviction)
    else if (cleaning) this.cleaned(cleaning)
    else if (maintaining) this.maintained(maintaining)
    else if (this.turnAwaited) this.turn()
    else if (running) this.finish(running, true)
    else if (leaving) this.leave(leaving)
    else return false
    return true
  }

  #settled(): boolean {
    const napping = [...this.state.tenants.values()].every((tenant) => tenant.phase === 'napping')
    const busy = this.creating || this.forks.todo.length > 0
    return napping && !busy && this.clients.every((client) => client.phase === 'gone')
  }
}
