/** Forks in the pool's world: what the shell could be in the middle of, and what must hold. */
import assert from 'node:assert/strict'
import type { TenantName } from '../../src/base/ids.ts'
import { keepsBackend, mayRead, noteRead, readersWant } from '../../src/pool/fork-desk.ts'
import { ClientEntry } from '../../src/pool/pool-model.ts'
import type { PoolEffect, SlotEntry, TenantEntry } from '../../src/pool/pool-model.ts'
import { slotsExpected } from '../../src/pool/pool-policy.ts'
import { forkAnswers } from '../../src/pool/thread-turns.ts'
import { type Action, toEach } from './pool-action.ts'
import type { World } from './pool-world.ts'

/** What one costs, as far as the rules know: with their share, a few ms of waiting. */
export const FORK_MS = 1

type ForkEffect = Extract<PoolEffect, { type: 'fork' | 'endFork' | 'read' }>

const made = toEach<TenantName>('fork', ({ forks }) => forks.carryOut('done'))
const notMade = toEach<TenantName>('no fork', ({ forks }) => forks.carryOut('refused'))
const lost = toEach<TenantName>('fork lost', ({ forks }) => forks.carryOut('lost'))
const ended = toEach<number>('end fork', ({ forks }) => forks.carryOut('done'))
const served = toEach<number>('read', ({ forks }) => forks.carryOut('done'))
const refused = toEach<number>('writes', ({ forks }) => forks.carryOut('refused'))

export class WorldForks {
  readonly #world: World
  /** Effects that have not been carried out yet, in order, as the shell does it. */
  readonly todo: ForkEffect[] = []
  /** What each fork shows: how many transactions of its tenant had ended by then. */
  readonly shows: Map<SlotEntry, number> = new Map()
  readonly #ended = new Map<TenantEntry, number>()

  constructor(world: World) {
    this.#world = world
  }

  take(effect: ForkEffect): void {
    this.todo.push(effect)
  }

  /** A transaction of this tenant has ended: what was there before must not be shown any more. */
  transactionEnded(tenant: TenantEntry): void {
    this.#ended.set(tenant, this.#endedOf(tenant) + 1)
  }

  /** It has only read so far, and somebody waits: its transaction leaves the backend. */
  mayFloat({ tenant, phase }: ClientEntry): boolean {
    return phase === 'holding' && tenant.phase === 'awake' && tenant.waiting.size > 0
  }

  float(client: ClientEntry): void {
    this.#world.transactions.delete(client)
    this.#world.event({ type: 'floated', client })
  }

  /** What may come of the next effect. */
  actions(rough: boolean): Action[] {
    const [effect] = this.todo
    if (!effect) return []
    if (effect.type === 'endFork') return [ended(effect.slot.id)]
    if (effect.type === 'fork') {
      const { name } = effect.tenant
      return rough ? [made(name), notMade(name), lost(name)] : [made(name)]
    }
    const index = this.#world.clients.indexOf(effect.client)
    return rough ? [served(index), refused(index)] : [served(index)]
  }

  carryOut(outcome: 'done' | 'refused' | 'lost'): void {
    const effect = this.todo.shift()
    assert.ok(effect)
    if (effect.type === 'endFork') return this.#end(effect.slot)
    if (effect.type === 'read') {
      return this.#read(effect.client, outcome === 'done' ? 'served' : 'refused')
    }
    if (outcome === 'done') return this.#make(effect.slot, effect.tenant)
    this.#left(effect.slot, true, outcome === 'refused')
  }

  /** Carries the next effect out, well; false if there is none. */
  step(): boolean {
    const [action] = this.actions(false)
    action?.run(this.#world)
    return action !== undefined
  }

  /** The batch of `client` ends its transaction and begins the next. */
  chain(client: ClientEntry): void {
    const { tenant } = client
    this.transactionEnded(tenant)
    if (tenant.fork) this.#world.event({ type: 'forkStale', tenant })
    this.#world.finish(client, false)
  }

  /** The short way of a batch that finds a fork. */
  readNow(client: ClientEntry): boolean {
    const { state, nowMs } = this.#world
    if (!mayRead(state, client)) return false
    this.#checkFork(client.tenant)
    noteRead(state, client, 0, nowMs)
    return true
  }

  check(): void {
    const { state } = this.#world
    for (const slot of state.slots) {
      const { forkOf, forkPhase, tenant } = slot
      assert.ok(!forkOf || !tenant, 'a slot holds a tenant or a fork')
      if (!forkOf) continue
      const leaves = this.todo.some((each) => each.type === 'endFork' && each.slot === slot)
      if (forkPhase === 'leaving') assert.ok(leaves, 'what leaves will have left')
      else assert.equal(forkOf.fork, slot, 'tenant and fork agree')
    }
    const reads = this.todo.some(({ type }) => type === 'read')
    for (const tenant of state.tenants.values()) {
      const wanted = tenant.phase === 'napping' && readersWant(tenant)
      assert.ok(!wanted || reads || state.slotQueue.has(tenant), 'a reader brings its tenant back')
    }
    for (const tenant of state.tenants.values()) {
      if (!tenant.fork) continue
      assert.equal(tenant.phase, 'awake', 'a fork does not outlive the stay of its tenant')
      assert.ok(tenant.holder instanceof ClientEntry, 'nor the transaction')
      assert.ok(state.slots.has(tenant.fork), 'its slot lives')
    }
    const forks = [...state.slots].filter(
      ({ forkOf, forkPhase }) => forkOf && forkPhase !== 'leaving',
    )
    const missing = state.slotQueue.size > slotsExpected(state)
    assert.ok(!missing || forks.length === 0, 'tenants that no slot is about to reach go before')
  }

  #make(slot: SlotEntry, tenant: TenantEntry): void {
    const holds = tenant.holder instanceof ClientEntry && keepsBackend(tenant.holder)
    if (tenant.phase !== 'awake' || !holds) return this.#left(slot, true, true)
    this.shows.set(slot, this.#endedOf(tenant))
    this.#world.event({ type: 'forkMade', slot, threadMs: FORK_MS })
  }

  #end(slot: SlotEntry): void {
    if (this.shows.delete(slot)) this.#left(slot, false, true)
  }

  #left(slot: SlotEntry, refused: boolean, slotReusable: boolean): void {
    this.#world.event({ type: 'forkLeft', slot, refused, slotReusable })
  }

  #read(client: ClientEntry, outcome: 'served' | 'refused'): void {
    const { tenant } = client
    if (client.phase !== 'waiting') return
    const threadMs = 0
    if (!forkAnswers(tenant)) {
      return this.#world.event({ type: 'readEnded', client, outcome: 'missed', threadMs })
    }
    this.#checkFork(tenant)
    if (outcome === 'served') this.#world.asked.delete(client)
    if (outcome === 'refused') this.#world.event({ type: 'forkStale', tenant, vainMs: 0 })
    this.#world.event({ type: 'readEnded', client, outcome, threadMs })
  }

  #checkFork({ fork, ...tenant }: TenantEntry): void {
    assert.ok(fork, 'somebody reads in it')
    const entry = fork.forkOf
    assert.ok(entry && entry.name === tenant.name, 'it is its own')
    assert.equal(this.shows.get(fork), this.#endedOf(entry), 'what is read is not old')
  }

  #endedOf(tenant: TenantEntry): number {
    return this.#ended.get(tenant) ?? 0
  }
}
