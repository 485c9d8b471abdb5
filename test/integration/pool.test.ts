/** One shard for real: pool, engine and stores on disk, with a clock that the test moves. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { before, beforeEach, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { concatBytes, keptBytes } from '../../src/base/bytes.ts'
import { ManualClock } from '../../src/base/clock.ts'
import type { TenantName } from '../../src/base/ids.ts'
import { silentLog } from '../../src/base/log.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { queryMessage, readAnswer } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { StoreFactory } from '../../src/host/node/store-factory.ts'
import { storePath } from '../../src/host/node/tenant-files-on-disk.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import { Pool } from '../../src/pool/pool.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { say } from '../support/messages.ts'
import { testFolder } from '../support/temporary-folder.ts'

const NAP_MS = 10_000
const folder = testFolder()
const tenantsPath = join(folder, 'tenants')
let engine: WasmEngine
let clock: ManualClock
let pool: Pool
let tenantCount = 0

before(async () => {
  mkdirSync(tenantsPath)
  engine = await createEngine(await loadEngineParts(), { clock: systemClock, random: systemRandom })
})

beforeEach(() => {
  clock = new ManualClock()
  pool = newPool()
})

const newFactory = (): StoreFactory =>
  new StoreFactory({
    dataPath: folder,
    tenantsPath,
    clock: systemClock,
    engine,
    retentionMs: 0,
    createMissing: false,
  })

function newPool(): Pool {
  // Nobody moves the clock while a test waits, so nobody may have to wait for it.
  const few = { slotsPerShard: 2, spareSlots: 0, slotQuantumMs: 0, slotBusyMs: 0 }
  return new Pool({ engine, source: newFactory(), clock, log: silentLog, limits: few })
}

function newTenant(): TenantName {
  const name = `t${tenantCount++}` as TenantName
  const path = storePath(tenantsPath, name)
  mkdirSync(join(path, '..'), { recursive: true })
  newFactory().create(name)
  return name
}

/** First column of the first row. */
async function ask(client: PoolClient, sql: string): Promise<string | null | undefined> {
  const { error, result } = readAnswer(await keptBytes(client.run(queryMessage(sql), true)))
  if (error) throw new Error(`${error.sqlState} ${error.message}`)
  return result.rows[0]?.[0]
}

test('five tenants take turns on two slots, each sees its own rows, all is stored', async () => {
  const names = [1, 2, 3, 4, 5].map(() => newTenant())
  const clients = names.map((name) => pool.connect(name))
  await Promise.all(
    clients.map((each, index) => ask(each, `create table t as select ${index} as n`)),
  )
  for (let round = 0; round < 3; round++) {
    for (const [index, client] of clients.entries()) {
      clock.advance(10)
      assert.equal(await ask(client, 'select n from t'), String(index))
    }
  }
  const { pressure, ahead } = pool.statistics().evictions
  assert.ok(pressure + ahead >= 10)
  await pool.drain()
  const restarted = newPool()
  for (const [index, name] of names.entries()) {
    const client = restarted.connect(name)
    assert.equal(await ask(client, 'select n from t'), String(index))
    client.close()
  }
  await restarted.drain()
})

test('who leaves leaves nothing: no transaction, no setting, no temporary table', async () => {
  const name = newTenant()
  const [leaver, stayer] = [pool.connect(name), pool.connect(name)]
  await ask(leaver, 'create table t(n int)')
  await ask(leaver, 'begin; insert into t values (1)')
  assert.equal(leaver.transactionStatus, 'transaction')
  const waiting = ask(stayer, 'select count(*) from t')
  leaver.close()
  assert.equal(await waiting, '0')
  await ask(stayer, "set application_name = 'secret'; create temp table mine(n int)")
  stayer.close()
  const next = pool.connect(name)
  assert.notEqual(await ask(next, 'show application_name'), 'secret')
  assert.equal(await ask(next, "select to_regclass('pg_temp.mine')"), null)
  await pool.drain()
})

test('a nap is a shutdown: sequences go on, unlogged rows stay', async () => {
  const name = newTenant()
  const client = pool.connect(name)
  await ask(client, 'create table t(id serial); create unlogged table u(n int)')
  await ask(client, 'insert into u values (7)')
  for (const id of ['1', '2', '3']) {
    assert.equal(await ask(client, 'insert into t default values returning id'), id)
    pool.nap(name)
    assert.equal(await ask(client, 'select n from u'), '7')
    pool.nap(name)
  }
  client.close()
  await pool.drain()
})

test('what no page of the files says is not lost by leaving', async () => {
  const name = newTenant()
  const client = pool.connect(name)
  await ask(client, 'create unlogged table u(n int); create unlogged sequence s')
  await ask(client, 'insert into u values (1)')
  for (const n of [2, 3]) {
    pool.nap(name)
    await ask(client, `insert into u values (${n})`)
    pool.nap(name)
    assert.equal(await ask(client, 'select count(*) from u'), String(n))
    pool.nap(name)
    await ask(client, `select nextval('s')`)
  }
  pool.nap(name)
  assert.equal(await ask(client, `select nextval('s')`), '3')
  await ask(client, 'drop table u; drop sequence s')
  pool.nap(name)
  const told = Number(await ask(client, 'select pg_current_xact_id()'))
  pool.nap(name)
  assert.ok(Number(await ask(client, 'select pg_current_xact_id()')) > told)
  client.close()
  await pool.drain()
})

test('idle time brings vacuum and analyze, and dead rows are remembered across naps', async () => {
  const name = newTenant()
  const client = pool.connect(name)
  const vacuums = async (): Promise<number> => {
    const count = await ask(client, "select pg_stat_get_vacuum_count('t'::regclass)")
    return Number(count)
  }
  await ask(client, 'create table t(n int); insert into t select generate_series(1, 100)')
  clock.advance(1_000)
  assert.equal(await ask(client, "select reltuples from pg_class where relname = 't'"), '100')
  // Thirty dead rows in each wake: vacuum is due beyond 50 + 0.2 * 100 of them.
  await ask(client, 'delete from t where n <= 30')
  pool.nap(name)
  await ask(client, 'delete from t where n <= 60')
  clock.advance(1_000)
  assert.equal(await vacuums(), 0)
  pool.nap(name)
  await ask(client, 'delete from t where n <= 90')
  clock.advance(1_000)
  assert.equal(await vacuums(), 1)
  clock.advance(NAP_MS)
  assert.equal(pool.phaseOf(name), 'napping')
  await pool.drain()
})

test('a tenant that is frozen is young as a whole, with the databases nobody is in', async () => {
  const name = newTenant()
  const client = pool.connect(name)
  const ages = `select max(age(datfrozenxid)) from pg_database`
  const oldest = 'checkpoint; select oldest_xid from pg_control_checkpoint()'
  const before = Number(await ask(client, oldest))
  await ask(client, 'alter system set autovacuum_freeze_max_age = 100000')
  await ask(client, 'alter system set vacuum_freeze_min_age = 0')
  pool.nap(name)
  await ask(client, 'create table t(n int)')
  const spend = `do $$ begin
    for i in 1..101000 loop
      begin insert into t values (i); exception when others then raise; end;
    end loop; end $$`
  await ask(client, spend)
  assert.ok(Number(await ask(client, ages)) > 100_000)
  clock.advance(1_000)
  assert.ok(Number(await ask(client, ages)) < 1_000)
  assert.ok(Number(await ask(client, oldest)) > before + 100_000)
  await pool.drain()
})

test('much WAL is checkpointed without waiting for idle time', async () => {
  const client = pool.connect(newTenant())
  await ask(client, 'create table t(n text)')
  const redo = (): Promise<string | null | undefined> =>
    ask(client, 'select redo_lsn from pg_control_checkpoint()')
  const redoBefore = await redo()
  for (let round = 0; round < 5; round++) {
    await ask(
      client,
      'insert into t select repeat(md5(g::text), 30) from generate_series(1, 4000) g',
    )
    await Promise.resolve()
  }
  assert.notEqual(await redo(), redoBefore)
  await pool.drain()
})

/** Parse and Sync of a named statement with one integer parameter. */
const parseNamed = (name: string, sql: string): Uint8Array =>
  concatBytes([say.parse(name, sql, [23]), say.sync()])

/** Settings that count from the next start: no image is taken before it. */
const NEEDS_START = 'alter system set vacuum_cost_limit = 300'

for (const [how, phase, touch] of [
  ['in an image', 'napping', 'select 1'],
  ['read out and said again', 'cold', NEEDS_START],
] as const) {
  test(`a session outlives a nap, ${how}`, () => outliveNaps(phase, touch))
}

async function outliveNaps(phase: 'napping' | 'cold', touch: string): Promise<void> {
  const name = newTenant()
  const client = pool.connect(name)
  await ask(client, `create role "odd ""role"; create table t(n int); insert into t values (7)`)
  await ask(client, `grant select on t to "odd ""role"; create schema "my schema"`)
  await ask(client, `set application_name = 'it''s \\ odd'; set work_mem = '5MB'`)
  await ask(client, `set search_path = "my schema", public; set escape_string_warning = off`)
  await ask(client, 'listen "some channel"')
  await ask(client, 'prepare plan(int) as select n + $1 from t')
  await keptBytes(client.run(parseNamed('typed', 'select n * $1 from public.t'), true))
  await ask(client, `set standard_conforming_strings = off; set role "odd ""role"`)
  for (let nap = 0; nap < 3; nap++) {
    await ask(client, 'reset role')
    await ask(client, touch)
    await ask(client, `set role "odd ""role"`)
    pool.nap(name)
    assert.equal(pool.phaseOf(name), phase)
    assert.equal(await ask(client, 'show application_name'), `it's \\ odd`)
    assert.equal(await ask(client, 'show work_mem'), '5MB')
    assert.equal(await ask(client, 'show search_path'), '"my schema", public')
    assert.equal(await ask(client, 'show standard_conforming_strings'), 'off')
    assert.equal(await ask(client, 'select current_user'), 'odd "role')
    assert.equal(await ask(client, 'execute plan(1)'), '8')
    assert.equal(await ask(client, 'execute typed(6)'), '42')
    const types = "select parameter_types::text from pg_prepared_statements where name = 'typed'"
    assert.equal(await ask(client, types), '{integer}')
    assert.equal(await ask(client, 'select pg_listening_channels()'), 'some channel')
  }
  await assert.rejects(ask(client, 'insert into t values (1)'), /42501/)
  client.close()
  const next = pool.connect(name)
  assert.equal(await ask(next, 'select count(*) from pg_prepared_statements'), '0')
  assert.equal(await ask(next, 'select current_user'), 'postgres')
  await pool.drain()
}

/** What only the memory of a backend knows, and how to see that it is still there. */
const STATES = {
  'create temp table mine(n int)': 'select count(*) from mine',
  'select pg_advisory_lock(1)': "select count(*) - 1 from pg_locks where locktype = 'advisory'",
  'begin; declare c cursor with hold for select 0; commit': 'fetch c',
}

test('an image carries temporary tables, advisory locks and cursors, and ends them', async () => {
  for (const [setUp, probe] of Object.entries(STATES)) {
    const name = newTenant()
    const client = pool.connect(name)
    await ask(client, setUp)
    for (const other of [newTenant(), newTenant(), newTenant()]) {
      pool.nap(name)
      const visitor = pool.connect(other)
      await ask(visitor, 'select 1')
      visitor.close()
    }
    assert.equal(await ask(client, probe), '0', setUp)
    pool.nap(name)
    client.close()
    const next = pool.connect(name)
    assert.equal(await ask(next, "select to_regclass('pg_temp.mine')"), null)
    assert.equal(await ask(next, 'select count(*) from pg_cursors'), '0')
    assert.equal(await ask(next, "select count(*) from pg_locks where locktype = 'advisory'"), '0')
    next.close()
  }
  await pool.drain()
})

test('they go along also from a slot that has grown: nobody pins one by thinking', async () => {
  const parts = await loadEngineParts()
  // Any memory is too large for the next tenant.
  const options = { clock: systemClock, random: systemRandom, slotRetireBytes: 1 }
  const strict = await createEngine(parts, options)
  const limits = { slotsPerShard: 1, spareSlots: 0, slotQuantumMs: 0, slotBusyMs: 0 }
  pool = new Pool({ engine: strict, source: newFactory(), clock, log: silentLog, limits })
  for (const [setUp, probe] of Object.entries(STATES)) {
    const client = pool.connect(newTenant())
    await ask(client, setUp)
    clock.advance(10)
    const visitor = pool.connect(newTenant())
    assert.equal(await ask(visitor, 'select 1'), '1')
    visitor.close()
    clock.advance(10)
    assert.equal(await ask(client, probe), '0', setUp)
    client.close()
  }
  assert.ok(pool.statistics().slots.retired > 3)
  await pool.drain()
})

test('an open transaction naps, in any slot goes on, and commits', async () => {
  const [name, other, third] = [newTenant(), newTenant(), newTenant()]
  const client = pool.connect(name)
  await ask(client, 'create table t(n int primary key); create table d(n int unique deferrable)')
  await ask(client, 'begin; set constraints all deferred; insert into t values (1)')
  await ask(client, 'savepoint s; insert into t values (2); insert into d values (1), (1)')
  await ask(client, 'declare c cursor for select generate_series(1, 100)')
  for (let round = 1; round <= 5; round++) {
    pool.nap(name)
    assert.equal(pool.phaseOf(name), 'napping')
    for (const each of [other, third]) {
      const visitor = pool.connect(each)
      await ask(visitor, 'create table if not exists v(n int); insert into v values (1)')
      visitor.close()
    }
    assert.equal(await ask(client, 'fetch c'), String(round))
    assert.equal(client.transactionStatus, 'transaction')
  }
  await ask(client, 'delete from d where n = 1; rollback to s; insert into t values (3)')
  pool.nap(name)
  await ask(client, 'commit')
  pool.nap(name)
  assert.equal(await ask(client, 'select string_agg(n::text, $$,$$ order by n) from t'), '1,3')
  await pool.drain()
})

test('a client that leaves its transaction in an image leaves it rolled back', async () => {
  const name = newTenant()
  const [leaver, stayer] = [pool.connect(name), pool.connect(name)]
  await ask(leaver, 'create table t(n int)')
  await ask(stayer, "set application_name = 'stays'")
  await ask(leaver, 'begin; insert into t values (1)')
  pool.nap(name)
  const waiting = ask(stayer, 'delete from t returning n')
  assert.equal(pool.phaseOf(name), 'napping', 'a slot would not help who waits')
  leaver.close()
  assert.equal(await waiting, undefined)
  assert.equal(await ask(stayer, 'show application_name'), 'stays')
  // Nobody is left: the image goes, and with it the transaction.
  await ask(stayer, 'begin; insert into t values (2)')
  pool.nap(name)
  stayer.close()
  assert.equal(pool.phaseOf(name), 'cold')
  const next = pool.connect(name)
  assert.equal(await ask(next, 'select count(*) from t'), '0')
  await pool.drain()
})

test('what no image can hold keeps the tenant in its slot until its client has gone', async () => {
  for (const [setUp, probe] of Object.entries(STATES)) {
    const name = newTenant()
    const client = pool.connect(name)
    await ask(client, NEEDS_START)
    await ask(client, setUp)
    assert.throws(() => pool.nap(name), /in use/)
    clock.advance(2 * NAP_MS)
    assert.equal(pool.phaseOf(name), 'awake')
    // Others take turns on the other slot.
    for (const other of [newTenant(), newTenant()]) {
      const visitor = pool.connect(other)
      await ask(visitor, 'select 1')
      visitor.close()
    }
    assert.equal(await ask(client, probe), '0', setUp)
    client.close()
    pool.nap(name)
    assert.equal(pool.phaseOf(name), 'cold')
  }
  await pool.drain()
})

test('what a client was connected by goes with it, whose session a backend naps in', async () => {
  const use = async (): Promise<WeakRef<object>> => {
    const listener = { lost: () => {} }
    const client = pool.connect(newTenant(), listener)
    await ask(client, "set application_name = 'leaver'")
    for (const other of [newTenant(), newTenant()]) {
      clock.advance(10)
      await ask(pool.connect(other), 'select 1')
    }
    assert.ok(pool.statistics().tenants.napping >= 1)
    client.close()
    return new WeakRef(listener)
  }
  const listener = await use()
  await nextTurn()
  collectGarbage()
  assert.equal(listener.deref(), undefined)
  await pool.drain()
})
