/** Answers that wait for the disk while the thread goes on: what may happen meanwhile. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import type { PoolClient } from './pool-client.ts'
import type { PoolLimits } from './pool-model.ts'
import { Pool } from './pool.ts'

const ACME = 'acme' as TenantName

class World {
  readonly engine = new FakeEngine()
  readonly stores = new FakeStores()
  readonly clock = new ManualClock()
  readonly syncs: PromiseWithResolvers<void>[] = []
  readonly pool: Pool

  constructor(limits: Partial<PoolLimits>) {
    const { engine, stores: source, clock } = this
    const few = { slotsPerShard: 2, spareSlots: 0, ...limits }
    this.pool = new Pool({ engine, source, clock, log: silentLog, limits: few })
  }

  /** With acme and globex awake, a client each, and a disk that takes its time from here on. */
  static async of(
    limits: Partial<PoolLimits> = {},
  ): Promise<{ world: World; acme: PoolClient; globex: PoolClient }> {
    const world = new World(limits)
    const [acme, globex] = [world.connect('acme'), world.connect('globex')]
    await Promise.all([acme.run(utf8('read'), true), globex.run(utf8('read'), true)])
    world.stores.syncs = world.syncs
    return { world, acme, globex }
  }

  connect(tenant: string): PoolClient {
    return this.pool.connect(tenant as TenantName)
  }

  async turn(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      this.clock.advance(0)
      await Promise.resolve()
    }
  }

  /** What `promise` has come to by now. */
  async now(promise: Promise<Uint8Array>): Promise<string> {
    let state = 'waits'
    promise.then(
      (answer) => (state = fromUtf8(answer)),
      (error: PgnapError) => (state = error.code),
    )
    await this.turn()
    return state
  }

  sync(): void {
    this.syncs.shift()?.resolve()
  }
}

/** A batch that is answered later. */
function later(client: PoolClient, word: string): Promise<Uint8Array> {
  const answer = client.run(utf8(word), true)
  assert.ok(answer instanceof Promise, `${word} waits`)
  return answer
}

test('who has the thread to itself waits for the disk on the spot', async () => {
  const { world, acme } = await World.of()
  world.clock.advance(2)
  assert.ok(acme.run(utf8('write'), true) instanceof Uint8Array)
  assert.ok(acme.run(utf8('write'), true) instanceof Uint8Array)
  assert.deepEqual(world.syncs, [])
})

test('a disk on which one had to wait long is waited for together by the next ones', async () => {
  const { world, acme, globex } = await World.of()
  world.clock.advance(2)
  world.stores.onCommit = () => world.clock.advance(5)
  assert.ok(acme.run(utf8('write'), true) instanceof Uint8Array, 'nobody else was there')
  world.stores.onCommit = undefined
  const answer = later(globex, 'write')
  assert.equal(await world.now(answer), 'waits')
  world.sync()
  assert.equal(await world.now(answer), 'did write')
})

test('a store that is elsewhere is waited for, however alone its tenant is', async () => {
  const world = new World({})
  world.stores.areElsewhere = true
  const acme = world.connect('acme')
  await acme.run(utf8('read'), true)
  world.stores.syncs = world.syncs
  world.clock.advance(2)
  const answer = later(acme, 'write')
  assert.equal(await world.now(answer), 'waits')
  world.sync()
  assert.equal(await world.now(answer), 'did write')
  const refused = later(acme, 'write')
  world.syncs.shift()?.reject(new PgnapError('STORE_FENCED', 'another one has written'))
  assert.equal(await world.now(refused), 'STORE_FENCED')
  assert.equal(world.pool.phaseOf(ACME), 'cold')
})

test('tenants that take turns wait for the disk together, each for its own sync', async () => {
  const { world, acme, globex } = await World.of()
  const first = later(acme, 'write')
  const second = later(globex, 'write')
  assert.equal(world.syncs.length, 2)
  assert.equal(world.pool.statistics().commit.count, 0, 'nothing is durable yet')
  world.syncs[1]?.resolve()
  assert.equal(await world.now(second), 'did write')
  assert.equal(await world.now(first), 'waits')
  assert.ok(globex.run(utf8('read'), true) instanceof Uint8Array, 'a reader waits for nothing')
  world.syncs[0]?.resolve()
  assert.equal(await world.now(first), 'did write')
  assert.equal(world.pool.statistics().commit.count, 2)
})

test('the time until the disk had it is time of the commit', async () => {
  const { world, acme } = await World.of()
  acme.measure()
  const answer = later(acme, 'write')
  world.clock.advance(7)
  world.sync()
  await answer
  assert.equal(acme.timings?.persistMs, 7)
})

test('the next client of the tenant waits for the disk too', async () => {
  const { world, acme } = await World.of()
  const first = later(acme, 'write')
  const second = later(world.connect('acme'), 'two')
  assert.equal(await world.now(second), 'waits')
  assert.ok(!world.engine.log.includes('acme: two'))
  world.sync()
  assert.equal(await world.now(first), 'did write')
  assert.equal(await world.now(second), 'did two')
})

test('a waiting batch that is granted waits for the disk like any other', async () => {
  const { world, acme, globex } = await World.of()
  const first = later(acme, 'write')
  const second = later(world.connect('acme'), 'writes')
  await globex.run(utf8('read'), true)
  world.sync()
  await first
  assert.equal(await world.now(second), 'waits')
  world.sync()
  assert.equal(await world.now(second), 'did writes')
})

test('a transaction goes on where it was', async () => {
  const { world, acme, globex } = await World.of()
  await acme.run(utf8('begin'), true)
  await globex.run(utf8('read'), true)
  const written = later(acme, 'write')
  world.sync()
  await written
  assert.equal(acme.transactionStatus, 'transaction')
  assert.equal(await world.now(later(world.connect('acme'), 'two')), 'waits')
})

test('a disk that fails is an error to its client; slot and store are given up', async () => {
  const { world, acme, globex } = await World.of()
  const [first, second] = [later(acme, 'write'), later(globex, 'write')]
  const waiting = later(world.connect('acme'), 'two')
  world.syncs[0]?.reject(new PgnapError('STORE_IO', 'no', {}))
  assert.equal(await world.now(first), 'STORE_IO')
  assert.equal(acme.transactionStatus, 'idle')
  world.syncs[1]?.resolve()
  assert.equal(await world.now(second), 'did write', 'neighbours are not concerned')
  assert.equal(world.pool.statistics().slots.lost, 1)
  assert.equal(world.engine.slots.filter(({ discarded }) => discarded).length, 1)
  assert.equal(await world.now(waiting), 'did two', 'from what is in the store')
  assert.deepEqual(world.engine.log.filter((line) => line === 'boot acme').length, 2)
})

test('a client that leaves meanwhile is cleaned up after', async () => {
  const { world, acme, globex } = await World.of()
  await acme.run(utf8('begin'), true)
  await globex.run(utf8('read'), true)
  const answer = later(acme, 'write')
  acme.close()
  assert.equal(await world.now(answer), 'waits')
  assert.equal(world.engine.log.at(-1), 'acme: write')
  world.sync()
  assert.equal(await world.now(answer), 'QUERY_CANCELED')
  assert.deepEqual(world.engine.log.slice(-2), ['acme: abort', 'acme: discard all'])
})

test('a tenant neither naps nor makes room before the disk has what it wrote', async () => {
  const { world, acme, globex } = await World.of({
    slotQuantumMs: 0,
    slotBusyMs: 0,
    napAfterMs: 10,
  })
  const answer = later(acme, 'write')
  assert.throws(() => world.pool.nap(ACME), { code: 'TENANT_BUSY' })
  const other = later(globex, 'write')
  const third = later(world.connect('initech'), 'read')
  world.clock.advance(100)
  assert.equal(await world.now(third), 'waits')
  assert.equal(world.pool.phaseOf(ACME), 'awake')
  const synced = world.pool.synced(ACME)
  world.sync()
  await Promise.all([answer, synced])
  assert.equal(await world.now(other), 'waits')
  assert.equal(await world.now(third), 'did read')
})

test('a deleted tenant is closed when the disk has answered', async () => {
  const { world, acme } = await World.of()
  const answer = later(acme, 'write')
  const expelled = world.pool.expel(ACME, new PgnapError('TENANT_UNKNOWN', 'deleted', {}))
  await world.turn()
  assert.ok(world.stores.openTenants.has('acme'))
  world.sync()
  assert.equal(await world.now(answer), 'TENANT_UNKNOWN')
  await expelled
  assert.ok(!world.stores.openTenants.has('acme'))
})

test('the end of the pool waits for the disk', async () => {
  const { world, acme } = await World.of()
  const answer = later(acme, 'write')
  let drained = false
  const end = world.pool.drain(0).then(() => (drained = true))
  await world.turn()
  assert.ok(!drained && world.stores.openTenants.has('acme'))
  world.sync()
  assert.equal(await world.now(answer), 'did write')
  await end
  assert.equal(world.stores.openTenants.size, 0)
})
