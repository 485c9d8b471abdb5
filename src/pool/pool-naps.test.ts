/** A pool whose slots give images, with fake slots: what becomes of sessions and of errors. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8, keptBytes } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import type { PoolClient } from './pool-client.ts'
import { Pool } from './pool.ts'
import type { ImageStore, StoredImage } from './tenant-source.ts'

const ACME = 'acme' as TenantName
const BETA = 'beta' as TenantName

interface Bench {
  readonly pool: Pool
  readonly clock: ManualClock
  readonly engine: FakeEngine
  readonly stores: FakeStores
  /** Connects a client; its tenant's name is added to `lost` when it is sent away. */
  readonly connect: (tenant?: TenantName) => PoolClient
  readonly lost: string[]
}

async function bench(imageCacheBytes = 1_000_000, images?: ImageStore): Promise<Bench> {
  const engine = new FakeEngine()
  const stores = Object.assign(new FakeStores(), images ? { images } : {})
  const clock = new ManualClock()
  const limits = { slotsPerShard: 1, spareSlots: 0, slotQuantumMs: 0, slotBusyMs: 0 }
  const pool = new Pool({ engine, source: stores, clock, log: silentLog, limits, imageCacheBytes })
  const lost: string[] = []
  const connect = (tenant = ACME): PoolClient =>
    pool.connect(tenant, { lost: ({ code }) => lost.push(`${tenant} ${code}`) })
  // The one slot, in which images are possible.
  const first = connect()
  await ask(first, 'own')
  for (const slot of engine.slots) slot.canNap = true
  first.close()
  pool.nap(ACME)
  return { pool, clock, engine, stores, connect, lost }
}

async function ask(client: PoolClient, word: string): Promise<string> {
  return fromUtf8(await keptBytes(client.run(utf8(word), true)))
}

test('a nap and a wake: the same session, for clients that stay', async () => {
  const { pool, connect, engine, lost } = await bench()
  const client = connect()
  await ask(client, 'set')
  pool.nap(ACME)
  assert.equal(pool.phaseOf(ACME), 'napping')
  await ask(client, 'again')
  assert.deepEqual(engine.log.slice(-4), ['acme: set', 'nap acme', 'resume acme', 'acme: again'])
  assert.deepEqual(lost, [])
})

test('a session that was used does not go to the next client', async () => {
  const { pool, connect, engine } = await bench()
  const leaver = connect()
  await ask(leaver, 'set')
  pool.nap(ACME)
  // It leaves while the tenant naps: nobody is there to clean up after it.
  leaver.close()
  await ask(connect(), 'mine')
  assert.deepEqual(engine.log.slice(-3), ['resume acme', 'acme: discard all', 'acme: mine'])
})

test('a transaction that a client left in an image is of no use to anybody', async () => {
  const { pool, connect, engine } = await bench()
  const leaver = connect()
  await ask(leaver, 'begin')
  pool.nap(ACME)
  assert.equal(pool.phaseOf(ACME), 'napping')
  leaver.close()
  assert.equal(pool.phaseOf(ACME), 'cold')
  assert.equal(pool.statistics().images.count, 0)
  await ask(connect(), 'mine')
  assert.deepEqual(engine.log.slice(-2), ['boot acme', 'acme: mine'])
})

test('a store that cannot be opened at a wake: nobody loses a session', async () => {
  const { pool, connect, engine, stores, lost } = await bench()
  const [user, other] = [connect(), connect()]
  await ask(user, 'set')
  await ask(other, 'set role')
  pool.nap(ACME)
  for (let round = 0; round < 2; round++) {
    stores.failOpen = new PgnapError('STORE_IO', 'too many open files')
    const asked = [ask(user, 'again'), ask(other, 'again')]
    for (const answer of asked) await assert.rejects(answer, { code: 'STORE_IO' })
    assert.deepEqual([user.mayGoOn, other.mayGoOn], [true, true])
    assert.equal(pool.phaseOf(ACME), 'napping')
  }
  stores.failOpen = undefined
  assert.equal(await ask(user, 'again'), 'did again')
  assert.deepEqual(engine.log.slice(-2), ['resume acme', 'acme: again'])
  assert.deepEqual(lost, [])
  assert.equal(pool.statistics().bootFailures, 4)
  assert.equal(pool.statistics().slots.lost, 0)
})

test('the same in the middle of a transaction', async () => {
  const { pool, connect, engine, stores, lost } = await bench()
  const [holder, other] = [connect(), connect()]
  await ask(holder, 'begin')
  pool.nap(ACME)
  stores.failOpen = new PgnapError('STORE_FULL', 'no room')
  const waits = ask(other, 'later')
  await assert.rejects(ask(holder, 'write'), { code: 'STORE_FULL' })
  await assert.rejects(waits, { code: 'STORE_FULL' })
  assert.equal(pool.phaseOf(ACME), 'napping')
  stores.failOpen = undefined
  const later = ask(other, 'later')
  assert.equal(await ask(holder, 'commit'), 'did commit')
  assert.equal(await later, 'did later')
  assert.deepEqual(engine.log.slice(-3), ['resume acme', 'acme: commit', 'acme: later'])
  assert.deepEqual(lost, [])
})

test('who leaves while the store cannot be opened takes its transaction along', async () => {
  const { pool, connect, stores } = await bench()
  const holder = connect()
  await ask(holder, 'begin')
  pool.nap(ACME)
  stores.failOpen = new PgnapError('STORE_IO', 'no disk')
  await assert.rejects(ask(holder, 'write'), { code: 'STORE_IO' })
  holder.close()
  assert.equal(pool.phaseOf(ACME), 'cold')
  assert.equal(pool.statistics().images.count, 0)
})

test('an image that goes to disk while its store is being opened is found there', async () => {
  const disk = new Map<TenantName, StoredImage>()
  // Room for one open store and one image.
  const { pool, connect, engine, stores, lost } = await bench(301_500, {
    keepsAny: true,
    take: (tenant) => {
      const image = disk.get(tenant)
      disk.delete(tenant)
      return image
    },
    write: async (tenant, image) => disk.set(tenant, image).size > 0,
    remove: (tenant) => void disk.delete(tenant),
    letGo: () => {},
  })
  const [user, neighbour] = [connect(), connect(BETA)]
  await ask(user, 'set')
  pool.nap(ACME)
  await ask(neighbour, 'set')
  const gate = Promise.withResolvers<void>()
  stores.opening = gate.promise
  const again = ask(user, 'again')
  // There is one slot, so the neighbour had to leave it: its image wants the room.
  assert.equal(pool.phaseOf(ACME), 'waking')
  assert.equal(pool.phaseOf(BETA), 'napping')
  await new Promise(setImmediate)
  assert.ok(disk.has(ACME))
  gate.reject(new PgnapError('STORE_IO', 'no disk'))
  await assert.rejects(again, { code: 'STORE_IO' })
  assert.equal(pool.phaseOf(ACME), 'asleep')
  stores.opening = undefined
  assert.equal(await ask(user, 'again'), 'did again')
  assert.deepEqual(engine.log.slice(-2), ['resume acme', 'acme: again'])
  assert.deepEqual(lost, [])
})

test('a slot that fails at a wake: all who lose their session are told', async () => {
  const { pool, connect, engine, lost } = await bench()
  const [user, idle, unused] = [connect(), connect(), connect()]
  await ask(user, 'set')
  await ask(idle, 'set role')
  pool.nap(ACME)
  const [slot] = engine.slots
  assert.ok(slot)
  slot.bootError = new Error('trap')
  await assert.rejects(ask(user, 'again'), { code: 'SLOT_LOST' })
  assert.equal(user.mayGoOn, false)
  assert.deepEqual(lost, ['acme SLOT_LOST', 'acme SLOT_LOST'])
  assert.equal(pool.statistics().images.sessionsLost, 1)
  assert.equal(await ask(unused, 'first'), 'did first')
})

test('images without clients go for room without a word about sessions', async () => {
  const { pool, connect, lost } = await bench(1_500)
  for (const name of ['a', 'b', 'c', 'd'] as TenantName[]) {
    const client = connect(name)
    await ask(client, 'one')
    client.close()
    pool.nap(name)
  }
  const { images } = pool.statistics()
  assert.ok(images.moved.cold >= 3 && images.bytes <= 1_500 * 1.25)
  assert.deepEqual([images.sessionsLost, lost.length], [0, 0])
})

test('a tenant of the same name as one that was expelled gets nothing of it', async () => {
  const { pool, connect, engine, lost } = await bench()
  await ask(connect(), 'set')
  pool.nap(ACME)
  await pool.expel(ACME, new PgnapError('TENANT_UNKNOWN', 'deleted'))
  assert.deepEqual(lost, ['acme TENANT_UNKNOWN'])
  assert.equal(pool.statistics().images.count, 0)
  await ask(connect(), 'mine')
  assert.deepEqual(engine.log.slice(-2), ['boot acme', 'acme: mine'])
})

test('a nap by hand closes the store of a tenant that naps already', async () => {
  const { pool, connect, stores, engine } = await bench()
  const client = connect()
  await ask(client, 'set')
  await ask(connect(BETA), 'pressure')
  assert.equal(pool.phaseOf(ACME), 'napping')
  assert.ok(stores.openTenants.has(ACME), 'it is likely to come back')
  pool.nap(ACME)
  assert.ok(!stores.openTenants.has(ACME), 'whoever asked wants its file')
  await ask(client, 'again')
  assert.deepEqual(engine.log.slice(-2), ['resume acme', 'acme: again'])
})

test('while tenants take turns, whoever comes next finds the slot empty', async () => {
  const { pool, clock, connect, engine } = await bench()
  const clients = ['a', 'b'].map((name) => connect(name as TenantName))
  for (let turn = 0; turn < 10; turn++) {
    const client = clients[turn % 2]
    assert.ok(client)
    await ask(client, 'x')
    clock.advance(20)
  }
  const { evictions, waits } = pool.statistics()
  assert.deepEqual([evictions.pressure, evictions.ahead], [1, 9], 'the first one had to wait')
  assert.ok(waits >= 10)
  assert.equal(engine.log.at(-1), 'nap b')
})

test('a tenant that comes back alone is not put out ahead again and again', async () => {
  const { pool, clock, connect } = await bench()
  const [hot, rare] = [connect('hot' as TenantName), connect('rare' as TenantName)]
  await ask(rare, 'x')
  clock.advance(20)
  for (let turn = 0; turn < 20; turn++) {
    await ask(hot, 'x')
    clock.advance(20)
  }
  assert.equal(pool.statistics().evictions.ahead, 1)
})

test('nobody naps ahead whose batches come one after the other', async () => {
  const { pool, clock, connect } = await bench()
  const [busy, rare] = [connect('busy' as TenantName), connect('rare' as TenantName)]
  await ask(rare, 'x')
  clock.advance(20)
  for (let turn = 0; turn < 20; turn++) {
    await ask(busy, 'x')
    clock.advance(0.5)
  }
  assert.equal(pool.statistics().evictions.ahead, 0)
})

test('who could only be shut down is not sent away for somebody who has not come', async () => {
  const { pool, clock, connect, engine } = await bench()
  const [plain, other] = [connect('plain' as TenantName), connect('other' as TenantName)]
  await ask(other, 'x')
  clock.advance(20)
  await ask(plain, 'x')
  for (const slot of engine.slots) slot.canNap = false
  clock.advance(20)
  assert.equal(pool.phaseOf('plain' as TenantName), 'awake')
  assert.equal(await ask(other, 'y'), 'did y', 'and makes room at once when somebody comes')
  assert.equal(pool.phaseOf('plain' as TenantName), 'cold')
})
