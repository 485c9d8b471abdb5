/** A pool whose slots give images, with fake slots: what becomes of sessions and of errors. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import type { PoolClient } from './pool-client.ts'
import { Pool } from './pool.ts'

const ACME = 'acme' as TenantName

interface Bench {
  readonly pool: Pool
  readonly engine: FakeEngine
  readonly stores: FakeStores
  /** Connects a client; its tenant's name is added to `lost` when it is sent away. */
  readonly connect: (tenant?: TenantName) => PoolClient
  readonly lost: string[]
}

async function bench(imageCacheBytes = 1_000_000): Promise<Bench> {
  const engine = new FakeEngine()
  const stores = new FakeStores()
  const clock = new ManualClock()
  const limits = { slotsPerShard: 1, spareSlots: 0, slotQuantumMs: 0 }
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
  return { pool, engine, stores, connect, lost }
}

async function ask(client: PoolClient, word: string): Promise<string> {
  return fromUtf8(await client.run(utf8(word), true))
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

test('a store that cannot be opened at a wake: all who lose their session are told', async () => {
  const { pool, connect, stores, lost } = await bench()
  const [user, idle, unused] = [connect(), connect(), connect()]
  await ask(user, 'set')
  await ask(idle, 'set role')
  pool.nap(ACME)
  stores.failOpen = new PgnapError('STORE_IO', 'too many open files')
  await assert.rejects(ask(user, 'again'), { code: 'STORE_IO' })
  stores.failOpen = undefined
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
  await ask(connect('beta' as TenantName), 'pressure')
  assert.equal(pool.phaseOf(ACME), 'napping')
  assert.ok(stores.openTenants.has(ACME), 'it is likely to come back')
  pool.nap(ACME)
  assert.ok(!stores.openTenants.has(ACME), 'whoever asked wants its file')
  await ask(client, 'again')
  assert.deepEqual(engine.log.slice(-2), ['resume acme', 'acme: again'])
})
