/** Several pools of one tenant each, over one real slot: what Durable Objects of an isolate do. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { TenantName } from '../../src/base/ids.ts'
import { silentLog } from '../../src/base/log.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { LentSlot } from '../../src/engine/lent-slot.ts'
import { SlotShare } from '../../src/engine/slot-share.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { queryMessage } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { StoreFactory } from '../../src/host/node/store-factory.ts'
import type { PoolClient, PoolClientListener } from '../../src/pool/pool-client.ts'
import type { PoolLimits } from '../../src/pool/pool-model.ts'
import { Pool } from '../../src/pool/pool.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { ask, verifyingEngine } from '../support/image-world.ts'
import { testFolder } from '../support/temporary-folder.ts'

const MIB = 2 ** 20
const folder = testFolder()
const tenantsPath = join(folder, 'tenants')
let engine: WasmEngine
const worlds: { close(): Promise<void> }[] = []

before(async () => {
  mkdirSync(tenantsPath)
  engine = await verifyingEngine({ slotRetireBytes: 40 * MIB })
})

after(async () => {
  for (const world of worlds) await world.close()
})

interface TenantOptions {
  readonly keepsImage?: boolean
  readonly limits?: Partial<PoolLimits>
}

/** One tenant with its own pool, which never hears of the others. */
class Tenant {
  readonly pool: Pool
  readonly #share: SlotShare
  readonly #name: TenantName
  lent: LentSlot | undefined

  constructor(
    share: SlotShare,
    name: string,
    { keepsImage = true, limits = {} }: TenantOptions = {},
  ) {
    this.#share = share
    this.#name = name as TenantName
    const { fingerprint, postgresMajor } = engine
    const lend = async (): Promise<LentSlot> => (this.lent = await share.lend(() => {}, keepsImage))
    this.pool = new Pool({
      engine: { fingerprint, postgresMajor, createSlot: lend },
      source: new StoreFactory({
        dataPath: folder,
        tenantsPath,
        clock: systemClock,
        engine,
        retentionMs: 3_600_000,
        createMissing: true,
      }),
      clock: systemClock,
      log: silentLog,
      keepWarm: false,
      imageCacheBytes: 0,
      limits: {
        slotsPerShard: 1,
        spareSlots: 0,
        napAfterMs: 1e9,
        maintenanceIdleMs: 1e9,
        turnAloneMs: Infinity,
        ...limits,
      },
    })
    worlds.push({ close: () => this.pool.drain(0) })
  }

  connect(listener?: PoolClientListener): PoolClient {
    return this.pool.connect(this.#name, listener)
  }

  nap(): void {
    this.pool.nap(this.#name)
  }

  async run(client: PoolClient, sql: string): Promise<string | null | undefined> {
    // What is run finds the slot that was ready: nobody comes in between.
    const preparing = (): Promise<void> | undefined => this.#share.preparing(this.lent)
    for (let waiting = preparing(); waiting; waiting = preparing()) await waiting
    return ask(client, sql)
  }

  async ask(sql: string): Promise<string | null | undefined> {
    const client = this.connect()
    try {
      return await this.run(client, sql)
    } finally {
      client.close()
    }
  }
}

function world(imageBytesMax: number, names: readonly string[]): [SlotShare, ...Tenant[]] {
  const share = new SlotShare({ engine, imageBytesMax })
  return [share, ...names.map((name) => new Tenant(share, name))]
}

test('tenants take turns in one slot, and each finds what it left', async () => {
  const names = Array.from({ length: 6 }, (_, index) => `turns-${index}`)
  const [share, ...tenants] = world(64 * MIB, names)
  const written = new Map<Tenant, number>()
  for (const tenant of tenants) {
    await tenant.ask('create table t(n int primary key)')
    written.set(tenant, 0)
  }
  const random = new SeededRandom(1)
  for (let step = 0; step < 200; step++) {
    const tenant = tenants[random.below(tenants.length)]
    assert.ok(tenant)
    const count = written.get(tenant) ?? 0
    if (random.below(2) === 0) {
      await tenant.ask(`insert into t values (${count})`)
      written.set(tenant, count + 1)
    } else assert.equal(await tenant.ask('select count(*) from t'), String(count))
  }
  assert.equal(share.counters.slotsMade, 1)
  assert.equal(share.counters.dropped, 0)
  assert.ok(share.counters.resumed > 100)
  assert.equal(share.imageCount, tenants.length - 1)
})

test('a transaction goes on where it was, however many others had the slot', async () => {
  const [, one, other] = world(64 * MIB, ['tx-one', 'tx-other'])
  assert.ok(one && other)
  await one.ask('create table t(n int)')
  const client = one.connect()
  await one.run(client, 'begin')
  await one.run(client, 'insert into t values (1)')
  await other.ask('create table t(n int)')
  await other.ask('checkpoint')
  assert.equal(await one.run(client, 'select count(*) from t'), '1')
  await other.ask('insert into t values (1)')
  await one.run(client, 'commit')
  client.close()
  assert.equal(await one.ask('select count(*) from t'), '1')
})

test('who is dropped for want of room boots from its store, and nobody sees an error', async () => {
  const [share, ...tenants] = world(0, ['drop-a', 'drop-b', 'drop-c'])
  for (const tenant of tenants) await tenant.ask('create table t as select 1 as n')
  for (let round = 1; round <= 3; round++) {
    for (const tenant of tenants) await tenant.ask('update t set n = n + 1')
  }
  for (const tenant of tenants) assert.equal(await tenant.ask('select n from t'), '4')
  assert.equal(share.imageBytes, 0)
  assert.ok(share.counters.dropped >= 9)
})

test('a transaction outlives images of tenants at rest, up to twice the budget', async () => {
  const [share, holder, ...others] = world(MIB / 2, ['keep-tx', 'keep-1', 'keep-2', 'keep-3'])
  assert.ok(holder)
  await holder.ask('create table t(n int)')
  const client = holder.connect()
  await holder.run(client, 'begin')
  await holder.run(client, 'insert into t values (1)')
  for (const other of others) await other.ask('create table t(n int)')
  for (const other of others) await other.ask('insert into t values (1)')
  assert.ok(share.counters.dropped > 0, 'there was no room for all')
  await holder.run(client, 'commit')
  client.close()
  assert.equal(await holder.ask('select count(*) from t'), '1')
})

test('a transaction that cannot be kept is lost, and its client is told', async () => {
  const [share, holder, other] = world(0, ['lose-tx', 'lose-other'])
  assert.ok(holder && other)
  await holder.ask('create table t(n int)')
  const client = holder.connect()
  await holder.run(client, 'begin')
  await holder.run(client, 'insert into t values (1)')
  await other.ask('create table t(n int)')
  assert.equal(share.imageBytes, 0)
  await assert.rejects(holder.run(client, 'commit'), { code: 'SLOT_LOST' })
  assert.equal(await holder.run(client, 'select count(*) from t'), '0')
  client.close()
})

test('who cannot be imaged loses the slot to others, and nothing that was committed', async () => {
  const [share, one, other] = world(64 * MIB, ['set-one', 'set-other'])
  assert.ok(one && other)
  await one.ask(`alter system set work_mem = '5MB'`)
  await one.ask('create table t as select 1 as n')
  await other.ask('create table t(n int)')
  assert.equal(share.counters.displaced, 1)
  assert.equal(await one.ask('show work_mem'), '5MB')
  await one.ask('insert into t values (2)')
  assert.equal(await one.ask('select count(*) from t'), '2')
})

test('who uses an extension comes back as everybody does', async () => {
  const [share, one, other] = world(64 * MIB, ['ext-one', 'ext-other'])
  assert.ok(one && other)
  await one.ask('create extension hstore')
  await one.ask(`create table t as select 'a=>1'::hstore as h`)
  await other.ask('create table t(n int)')
  assert.equal(await one.ask(`select h->'a' from t`), '1')
  const { displaced, resumed, slotsMade } = share.counters
  assert.deepEqual({ displaced, resumed, slotsMade }, { displaced: 0, resumed: 1, slotsMade: 1 })
})

test('whoever wants no image kept boots from its store when others have had the slot', async () => {
  const [share, other] = world(64 * MIB, ['kept'])
  assert.ok(other)
  const one = new Tenant(share, 'unkept', { keepsImage: false })
  await one.ask('create table t as select 1 as n')
  await other.ask('create table t as select 2 as n')
  assert.deepEqual([share.imageCount, share.counters.displaced], [0, 1])
  assert.equal(await one.ask('select n from t'), '1')
  assert.deepEqual([share.imageCount, share.counters.resumed], [1, 0])
  assert.equal(await other.ask('select n from t'), '2')
  assert.equal(share.counters.resumed, 1)
})

test('a slot that has grown is replaced for the next tenant', async () => {
  const [share, large, small] = world(64 * MIB, ['grow-large', 'grow-small'])
  assert.ok(large && small)
  await large.ask(
    "set work_mem = '64MB'; select count(*) from (select g from generate_series(1, 200000) g " +
      'order by md5(g::text)) s',
  )
  assert.ok(share.slotBytes > 40 * MIB)
  await small.ask('select 1')
  assert.equal(share.counters.slotsMade, 2)
  assert.ok(share.slotBytes < 40 * MIB)
  assert.equal(await large.ask('select 1'), '1')
})

test('a backend that dies takes nobody along', async () => {
  const [share, one, other] = world(64 * MIB, ['die-one', 'die-other'])
  assert.ok(one && other)
  await other.ask('create table t as select 7 as n')
  await one.ask('create table t as select 1 as n')
  // Declared to take a number, it takes it for an address: far beyond the memory.
  await one.ask(`create extension pg_trgm; create function trap(int) returns text[]
    language c strict as '$libdir/pg_trgm', 'show_trgm'`)
  await assert.rejects(one.ask('select trap(-64)'), { code: 'SLOT_LOST' })
  assert.equal(await other.ask('select n from t'), '7')
  assert.equal(await one.ask('select n from t'), '1')
  assert.ok(share.counters.slotsMade <= 2)
})

test('an image is not used over files that have changed since', async () => {
  const share = new SlotShare({ engine, imageBytesMax: 64 * MIB })
  const { template, fingerprint, postgresMajor } = engine
  const storeEngine = { fingerprint, postgresMajor, templateId: template.id }
  const templates = new Map([[template.id, template]])
  const clock = systemClock
  using store = Store.open(NodeSqliteMedium.inMemory(), { clock, engine: storeEngine, templates })
  const files = TenantFiles.open(store.view(), { template, clock })
  let told = 0
  const lent = await share.lend(() => told++)
  lent.begin(files)
  lent.run(queryMessage('create table t(n int)'))
  files.commit()
  const other = await share.lend()
  other.begin(TenantFiles.inMemory({ template, clock }))
  assert.equal(share.holds(lent), false)
  files.create(files.root, 'changed', 0o100600)
  files.commit()
  assert.throws(() => lent.run(queryMessage('select 1')), { code: 'SLOT_LOST' })
  assert.equal(lent.lost, true)
  assert.equal(told, 1)
  assert.ok(other.run(queryMessage('select 1')).length > 0, 'others go on')
})

test('a session of settings and a role goes on when the memory under it was taken', async () => {
  for (const imageBytesMax of [0, 64 * MIB]) {
    const [share, other] = world(imageBytesMax, [`plain-other-${imageBytesMax}`])
    assert.ok(other)
    const one = new Tenant(share, `plain-one-${imageBytesMax}`, { keepsImage: imageBytesMax === 0 })
    const [plain, set, heard] = [one.connect(loses), one.connect(loses), [] as Uint8Array[]]
    await one.run(plain, 'create role reader')
    await one.run(set, "set application_name = 'mine'")
    await one.run(set, "set role reader; set work_mem = '7MB'")
    const listening = one.connect({ ...loses, messages: (bytes) => heard.push(bytes.slice()) })
    await one.run(listening, 'listen news')
    for (const client of [plain, set, plain]) {
      await other.ask('select 1')
      assert.equal(await one.run(client, 'select 1'), '1')
    }
    await other.ask('select 1')
    const mine = await one.run(
      set,
      `select concat_ws(' ', current_user,
      current_setting('application_name'), current_setting('work_mem'))`,
    )
    assert.equal(mine, 'reader mine 7MB')
    assert.equal(
      await one.run(plain, "select current_user || current_setting('work_mem')"),
      'postgres4MB',
    )
    await other.ask('select 1')
    await one.run(plain, "notify news, 'still'")
    assert.equal(heard.length, 1)
    for (const client of [plain, set, listening]) client.close()
  }
})

const loses: PoolClientListener = { lost: (error) => assert.fail(error) }

test('a session that had more is ended, and not silently begun anew', async () => {
  const more = [
    'prepare p as select 1',
    'create temp table mine(n int)',
    'select pg_advisory_lock(1)',
    'declare c cursor with hold for select 1',
  ]
  for (const [index, sql] of more.entries()) {
    const [share, other] = world(64 * MIB, [`session-other-${index}`])
    assert.ok(other)
    const one = new Tenant(share, `session-one-${index}`, { keepsImage: false })
    const told: string[] = []
    const client = one.connect({ lost: ({ code, message }) => told.push(`${code}: ${message}`) })
    await one.run(client, sql)
    const bystander = one.connect(loses)
    await other.ask('select 1')
    await assert.rejects(one.run(client, 'select 1'), { code: 'SLOT_LOST' })
    if (told.length > 0) {
      assert.deepEqual(told, ['SLOT_LOST: the session of this connection could not be kept'])
    }
    assert.equal(await one.run(bystander, 'select 1'), '1')
    bystander.close()
    client.close()
  }
})

test('a batch that waits for its turn is run, though others take the slot meanwhile', async () => {
  const [share, other] = world(64 * MIB, ['turn-other'])
  assert.ok(other)
  await other.ask('create table t as select 2 as n')
  const limits = { turnAloneMs: 0 }
  const one = new Tenant(share, 'turn-one', { keepsImage: false, limits })
  const client = one.connect(loses)
  await one.run(client, 'create table t as select 1 as n')
  const { displaced } = share.counters
  // Its tenant has had its turn: this one waits for the next turn of the event loop.
  const answer = one.run(client, 'select n from t')
  assert.equal(await other.ask('select n from t'), '2')
  assert.equal(share.counters.displaced, displaced + 1)
  assert.equal(await answer, '1')
  // So does what waits in an open transaction, but that is gone.
  await one.run(client, 'begin')
  const inside = one.run(client, 'select n from t')
  const [outside] = await Promise.allSettled([other.ask('select n from t'), inside])
  assert.equal(outside.status, 'fulfilled')
  await assert.rejects(inside, { code: 'SLOT_LOST' })
  assert.equal(await one.run(client, 'select n from t'), '1', 'it has been told, and begins anew')
  client.close()
})

test('tenants that leave a slot useless to others come all at once, and none fails', async () => {
  const [share, ...tenants] = world(64 * MIB, ['both-a', 'both-b', 'both-c'])
  // More memory than a slot for others may have.
  const large = `select length(repeat('x', ${14 * MIB}))`
  for (let round = 0; round < 4; round++) {
    const values = tenants.map((tenant) => tenant.ask(large))
    assert.deepEqual(
      await Promise.all(values),
      Array.from(tenants, () => String(14 * MIB)),
    )
  }
  assert.ok(share.counters.slotsMade > 4)
})

/** A tenant with one client that may be in a transaction, and what its table must hold. */
interface Modelled {
  readonly tenant: Tenant
  client: PoolClient
  committed: number
  /** Rows of the open transaction; undefined: none is open. */
  open: number | undefined
}

test('whatever is swapped, dropped and booted, every tenant has what it was told', async () => {
  const [share, ...tenants] = world(MIB, ['model-0', 'model-1', 'model-2', 'model-3', 'model-4'])
  const random = new SeededRandom(7)
  const all: Modelled[] = tenants.map((tenant) => {
    return { tenant, client: tenant.connect(), committed: 0, open: undefined }
  })
  for (const { tenant } of all) {
    await tenant.ask('create table t(n int)')
    // What boots from its store weighs more.
    tenant.nap()
  }
  let losses = 0
  for (let step = 0; step < 400; step++) {
    const one = all[random.below(all.length)]
    assert.ok(one)
    try {
      await takeStep(one, random.below(6))
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'SLOT_LOST', String(error))
      losses++
      // What was not committed is gone; the next client finds what was.
      one.client.close()
      one.client = one.tenant.connect()
      one.open = undefined
    }
  }
  for (const { tenant, client, committed } of all) {
    client.close()
    assert.equal(await tenant.ask('select count(*) from t'), String(committed))
  }
  const { dropped, resumed } = share.counters
  assert.ok(losses > 0 && dropped > losses && resumed > 50, `${losses} ${dropped} ${resumed}`)
})

async function takeStep(one: Modelled, choice: number): Promise<void> {
  const { tenant, client } = one
  const run = (sql: string): Promise<string | null | undefined> => tenant.run(client, sql)
  if (choice === 0 && one.open === undefined) {
    await run('begin')
    one.open = 0
  } else if (choice === 1 && one.open !== undefined) {
    await run('commit')
    one.committed += one.open
    one.open = undefined
  } else if (choice === 2 && one.open !== undefined) {
    await run('rollback')
    one.open = undefined
  } else if (choice < 5) {
    await run('insert into t values (1)')
    if (one.open === undefined) one.committed++
    else one.open++
  } else {
    const expected = one.committed + (one.open ?? 0)
    assert.equal(await run('select count(*) from t'), String(expected))
  }
}
