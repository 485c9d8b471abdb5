/**
 * A tenant, two shards, the main thread between them, and everything that could be under way: calls
 * and connections on channels that keep no order among each other, moves, naps, threads that die
 * before or after their last words, and wakes that nobody asked for. The main thread is real
 * (`Assignments`, `moveTenant`), so is what a shard knows (`Ownership`) and the store with its
 * epochs; pools and threads are models. `actions` are all that could happen next.
 *
 * The database under the store has no lock: what is shown here does not rest on SQLite's.
 */
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { ManualClock } from '../../src/base/clock.ts'
import { PgnapError, toPgnapError } from '../../src/base/errors.ts'
import type { ShardIndex, TenantName } from '../../src/base/ids.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'
import { Assignments, type Visit } from '../../src/router/assignments.ts'
import { Ownership } from '../../src/router/ownership.ts'
import { type MoveOutcome, type MoveParty, moveTenant } from '../../src/router/tenant-move.ts'
import { FIRST_TENANT_INODE, chunkKey } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import type { StoreView } from '../../src/store/view.ts'
import { storeOptions } from './store-options.ts'

export const TENANT = 'acme' as TenantName
const COUNTER = chunkKey(FIRST_TENANT_INODE, 0)
const LOST = new PgnapError('SHARD_LOST', 'the thread has ended')
const template = Template.empty()
/**
 * How much likelier it is that what is under way goes on than that something new happens. Without
 * it most worlds have lost all their threads before a move comes to its end.
 */
const DELIVERY_WEIGHT = 6

/** @param weight how often it stands among the actions, so how likely it is chosen */
type Offer = (name: string, run: () => void, weight?: number) => void

export interface Action {
  readonly name: string
  readonly run: () => void
}

/** A call over HTTP, or a client on the wire. */
interface Client {
  readonly kind: 'call' | 'connection'
  state: 'entering' | 'sent' | 'open' | 'ended'
  thread: Thread | undefined
  visit: Visit | undefined
  /** Statements that it will still run. */
  left: number
  /** On the wire: it has gone away, and its shard does not know yet. */
  gone: boolean
}

type Message =
  | { readonly kind: 'client'; readonly client: Client }
  | { readonly kind: 'release'; readonly reply: PromiseWithResolvers<boolean> }
  | { readonly kind: 'accept'; readonly reply: PromiseWithResolvers<void> }

/** One thread of a shard. Its successor is another. */
class Thread {
  readonly shard: ShardIndex
  readonly ownership: Ownership
  readonly #world: MoveWorld
  /** Channels from the main thread, each in order. */
  readonly calls: Message[] = []
  readonly connections: Client[] = []
  /** What it has said and the main thread has not heard. */
  readonly said: (() => void)[] = []
  /** What the main thread waits for; fails when the end of the thread is noticed. */
  readonly owed: Set<(error: PgnapError) => void> = new Set()
  readonly clients: Set<Client> = new Set()
  open: { readonly store: Store; readonly view: StoreView } | undefined
  /** It lets go, and the image is being written. */
  releasing: PromiseWithResolvers<boolean> | undefined
  alive = true
  /** The main thread knows that it is not. */
  noticed = false

  constructor(world: MoveWorld, shard: ShardIndex) {
    this.#world = world
    this.shard = shard
    const moved = world.assignments.moved()
    this.ownership = new Ownership({ index: shard, shardCount: 2, moved })
  }

  /** Whatever the pool does with a tenant: wakes it if need be, changes it, commits. */
  batch(): number {
    if (!this.open) {
      if (!this.#world.rude) this.ownership.check(TENANT)
      const store = this.#world.openStore()
      this.open = { store, view: store.view() }
    }
    try {
      const { view } = this.open
      const value = (view.read(COUNTER)?.[0] ?? 0) + 1
      view.commit({ puts: [{ key: COUNTER, data: new Uint8Array([value]) }], deletions: [] })
      this.#world.durable.push(value)
      return value
    } catch (error) {
      // Promise 3: after a failure the next request starts from the store.
      this.close()
      throw error
    }
  }

  close(): void {
    this.open?.view[Symbol.dispose]()
    this.open?.store.close()
    this.open = undefined
  }

  hearCall(): void {
    const message = this.calls.shift()
    if (message?.kind === 'client') return this.#arrive(message.client)
    if (message?.kind === 'accept') {
      this.ownership.accept(TENANT)
      this.said.push(message.reply.resolve)
    }
    if (message?.kind === 'release') this.#release(message.reply)
  }

  hearConnection(): void {
    const client = this.connections.shift()
    if (client) this.#arrive(client)
  }

  #arrive(client: Client): void {
    try {
      if (!this.#world.rude) this.ownership.check(TENANT)
      this.clients.add(client)
      if (!client.gone) client.state = 'open'
      // A statement may have come with its startup packet: nobody hears the answer of one that
      // left.
      if (client.gone) {
        this.batch()
        this.clients.delete(client)
      }
    } catch (error) {
      assert.ok(
        client.gone || this.#world.rude,
        `nobody who waits is turned away: ${String(error)}`,
      )
      this.clients.delete(client)
    }
  }

  #release(reply: PromiseWithResolvers<boolean>): void {
    if (!this.ownership.owns(TENANT)) return void this.said.push(() => reply.resolve(true))
    if (this.clients.size > 0) return void this.said.push(() => reply.resolve(false))
    this.ownership.release(TENANT)
    this.releasing = reply
  }

  released(): void {
    const reply = this.releasing
    this.releasing = undefined
    this.close()
    this.said.push(() => reply?.resolve(true))
  }
}

export class MoveWorld {
  readonly clock: ManualClock = new ManualClock()
  readonly assignments: Assignments
  readonly rude: boolean
  /** Values of the counter in the order in which they became durable. */
  readonly durable: number[] = []
  readonly acknowledged: number[] = []
  readonly outcomes: MoveOutcome[] = []
  readonly errors: string[] = []
  readonly clients: Client[] = []
  readonly #medium = NodeSqliteMedium.inMemory()
  readonly #threads: Thread[] = []
  #movesUnderWay = 0
  #left: { clients: number; moves: number; deaths: number; strays: number }

  /** @param rude shards open whatever they like, and requests go to any: only epochs are left */
  constructor({ rude }: { readonly rude: boolean }) {
    this.rude = rude
    this.assignments = new Assignments({ shardCount: 2, clock: this.clock })
    for (const shard of [0, 1]) this.#threads[shard] = new Thread(this, shard as ShardIndex)
    this.#left = { clients: 6, moves: 4, deaths: 3, strays: 3 }
  }

  openStore(): Store {
    const open = this.#threads.filter((thread) => thread.open)
    assert.ok(this.rude || open.length === 0, 'a store is open once')
    const medium = Object.create(this.#medium, {
      [Symbol.dispose]: { value: () => {} },
    }) as Medium
    for (const name of ['exec', 'run', 'get', 'all', 'transaction', 'sizeBytes'] as const) {
      Object.defineProperty(medium, name, { value: this.#medium[name].bind(this.#medium) })
    }
    return Store.open(medium, storeOptions(template, { clock: this.clock }))
  }

  actions(): Action[] {
    const actions: Action[] = []
    const offer: Offer = (name, run, weight = 1) => {
      for (let times = 0; times < weight; times++) actions.push({ name, run })
    }
    const left = this.#left
    if (left.clients > 0) {
      offer('call', () => this.#enter('call'))
      offer('connect', () => this.#enter('connection'))
    }
    for (const to of [0, 1] as ShardIndex[]) {
      if (left.moves > 0) offer(`move to ${to}`, () => this.#move(to))
    }
    offer('a call takes long', () => this.clock.advance(LIMITS.moveQuietMs))
    for (const thread of this.#threads) this.#actionsOf(thread, offer)
    for (const [at, client] of this.clients.entries()) this.#actionsOfClient(client, at, offer)
    return actions
  }

  #actionsOf(thread: Thread, offer: Offer): void {
    const { shard } = thread
    const deliver: Offer = (name, run) => offer(name, run, DELIVERY_WEIGHT)
    if (thread.said.length > 0) deliver(`main hears ${shard}`, () => thread.said.shift()?.())
    if (thread.noticed) return deliver(`${shard} is replaced`, () => this.#replace(thread))
    if (!thread.alive) return deliver(`main sees ${shard}'s end`, () => this.#notice(thread))
    if (thread.calls.length > 0) deliver(`${shard} hears a call`, () => thread.hearCall())
    if (thread.connections.length > 0) {
      deliver(`${shard} hears a connection`, () => thread.hearConnection())
    }
    if (thread.releasing) deliver(`${shard} has written`, () => thread.released())
    else if (thread.open) offer(`${shard} naps and closes`, () => thread.close())
    if (this.#left.strays > 0) offer(`${shard} wakes by itself`, () => this.#stray(thread))
    if (this.#left.deaths > 0) offer(`${shard} dies`, () => this.#kill(thread))
  }

  #actionsOfClient(client: Client, at: number, offer: Offer): void {
    const { thread } = client
    if (client.state === 'open' && thread?.alive && client.left > 0)
      offer(`run ${at}`, () => this.#run(client, thread), DELIVERY_WEIGHT)
    if (client.kind === 'call' || client.gone) return
    if (client.state === 'sent' || client.state === 'open') {
      offer(`client ${at} leaves`, () => this.#leave(client))
    }
  }

  #enter(kind: Client['kind']): void {
    this.#left.clients--
    const client: Client = {
      kind,
      state: 'entering',
      thread: undefined,
      visit: undefined,
      left: kind === 'call' ? 1 : 3,
      gone: false,
    }
    this.clients.push(client)
    if (this.rude) return this.#send(client, (this.clients.length % 2) as ShardIndex)
    const visit = this.assignments.enter(TENANT, kind)
    const admit = (admitted: Visit): void => {
      client.visit = admitted
      this.#send(client, admitted.shard)
    }
    if (visit instanceof Promise) visit.then(admit, (error: unknown) => this.#end(client, error))
    else admit(visit)
  }

  #send(client: Client, shard: ShardIndex): void {
    const thread = this.#threads[shard]
    assert.ok(thread)
    client.state = 'sent'
    client.thread = thread
    const fail = (error: PgnapError): void => this.#end(client, error)
    if (thread.noticed) return fail(LOST)
    thread.owed.add(fail)
    if (client.kind === 'call') thread.calls.push({ kind: 'client', client })
    else thread.connections.push(client)
  }

  #run(client: Client, thread: Thread): void {
    client.left--
    let outcome: { readonly value: number } | { readonly error: unknown }
    try {
      outcome = { value: thread.batch() }
    } catch (error) {
      outcome = { error }
    }
    const hear = (): void => {
      if ('value' in outcome && client.state !== 'ended') this.acknowledged.push(outcome.value)
      if (client.kind === 'call') this.#end(client, 'error' in outcome ? outcome.error : undefined)
    }
    if ('error' in outcome) this.errors.push(toPgnapError(outcome.error).code)
    // A client on the wire hears its shard, a caller the main thread.
    if (client.kind === 'connection') return hear()
    thread.clients.delete(client)
    client.state = 'sent'
    thread.said.push(hear)
  }

  /** The main thread sees that a client has gone, whether its shard has seen it come or not. */
  #leave(client: Client): void {
    client.gone = true
    if (client.state === 'open') client.thread?.clients.delete(client)
    this.#end(client, undefined)
  }

  #end(client: Client, error: unknown): void {
    if (client.state === 'ended') return
    client.state = 'ended'
    client.visit?.[Symbol.dispose]()
    if (error !== undefined) this.errors.push(toPgnapError(error).code)
  }

  #move(to: ShardIndex): void {
    this.#left.moves--
    this.#movesUnderWay++
    const at = (shard: ShardIndex): MoveParty => this.#party(shard)
    void moveTenant(this.assignments, { tenant: TENANT, to, at }).then((outcome) => {
      this.#movesUnderWay--
      this.outcomes.push(outcome)
    })
  }

  #party(shard: ShardIndex): MoveParty {
    const ask = <Result>(
      message: (reply: PromiseWithResolvers<Result>) => Message,
    ): Promise<Result> => {
      const reply = Promise.withResolvers<Result>()
      const thread = this.#threads[shard]
      if (thread?.noticed) return Promise.reject(LOST)
      thread?.owed.add(reply.reject)
      thread?.calls.push(message(reply))
      return reply.promise
    }
    return {
      release: () => ask<boolean>((reply) => ({ kind: 'release', reply })),
      accept: () => ask<void>((reply) => ({ kind: 'accept', reply })),
    }
  }

  /** Somebody in the pool has a reason of its own: upkeep, a tenant that is kept warm. */
  #stray(thread: Thread): void {
    this.#left.strays--
    try {
      thread.batch()
    } catch (error) {
      this.errors.push(toPgnapError(error).code)
    }
  }

  /** It holds nothing any more; what it had said may still be heard, or not. */
  #kill(thread: Thread): void {
    this.#left.deaths--
    thread.alive = false
    thread.close()
  }

  #notice(thread: Thread): void {
    thread.noticed = true
    thread.said.length = 0
    for (const fail of thread.owed) fail(LOST)
    for (const client of thread.clients) this.#end(client, LOST)
  }

  /** Always later than the main thread has dealt with the calls that failed. */
  #replace(thread: Thread): void {
    this.#threads[thread.shard] = new Thread(this, thread.shard)
  }

  check(): void {
    const open = this.#threads.filter((thread) => thread.open)
    const owners = this.#threads.filter(({ alive, ownership }) => alive && ownership.owns(TENANT))
    if (!this.rude) {
      assert.ok(open.length <= 1, 'a store is open once')
      assert.ok(owners.length <= 1, 'a tenant has one owner')
      assert.deepEqual(
        this.errors.filter((code) => code === 'STORE_FENCED'),
        [],
      )
    }
    assert.deepEqual(
      this.durable,
      Array.from(this.durable, (_, index) => index + 1),
      'no lost update',
    )
    assert.equal(new Set(this.acknowledged).size, this.acknowledged.length)
  }

  /** Nothing new happens, and what is under way ends. */
  async settle(): Promise<void> {
    this.#left = { clients: 0, moves: 0, deaths: 0, strays: 0 }
    for (let calm = false; !calm;) {
      const action = this.actions().find(({ name }) => !name.startsWith('a call'))
      calm = action === undefined
      action?.run()
      await turn()
      if (calm && this.#movesUnderWay > 0) {
        calm = false
        this.clock.advance(LIMITS.moveQuietMs)
        await turn()
      }
      this.check()
    }
    if (this.rude) return
    const left = this.clients.filter(({ state }) => state !== 'ended')
    assert.deepEqual(
      left.map(({ kind, state, gone }) => ({ kind, state, gone })),
      [],
      'every request ends',
    )
    const owners = this.#threads.filter(({ ownership }) => ownership.owns(TENANT))
    assert.deepEqual(
      owners.map(({ shard }) => shard),
      [this.assignments.ownerOf(TENANT)],
      'one owner, and requests go there',
    )
    // Whatever happened, the next request is served, and finds all there was.
    const value = owners[0]?.batch()
    assert.equal(value, this.durable.length)
    assert.ok(Math.max(0, ...this.acknowledged) < (value ?? 0))
  }

  close(): void {
    for (const thread of this.#threads) thread.close()
    this.#medium[Symbol.dispose]()
  }
}
