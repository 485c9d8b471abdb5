/** Reading beside an open transaction, in one pool with a real engine and real stores. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { concatBytes } from '../../src/base/bytes.ts'
import { PgnapError } from '../../src/base/errors.ts'
import type { TenantName } from '../../src/base/ids.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { LO_OPEN, NOT_FOR_FORKS } from '../../src/engine/write-watch.ts'
import { readAnswer } from '../../src/front/wire/result.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import type { PoolLimits } from '../../src/pool/pool-model.ts'
import { ask, ImageWorld, verifyingEngine } from '../support/image-world.ts'
import { say } from '../support/messages.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let engine: WasmEngine
before(async () => {
  engine = await verifyingEngine()
})

async function turns(world: ImageWorld, ms = 2): Promise<void> {
  world.clock.advance(ms)
  for (let round = 0; round < 20; round++) {
    world.clock.advance(0)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

interface Desk extends Disposable {
  readonly world: ImageWorld
  readonly connect: () => PoolClient
  /** Undefined: it waits. */
  readonly now: (client: PoolClient, sql: string) => Promise<string | null | undefined>
}

async function desk(limits: Partial<PoolLimits> = {}, of = engine): Promise<Desk> {
  const folder = temporaryFolder()
  const world = new ImageWorld({
    engine: of,
    path: folder.path,
    limits: { slotsPerShard: 3, ...limits },
  })
  const name = world.newTenant('acme')
  return {
    world,
    connect: () => world.pool.connect(name),
    now: async (client, sql) => {
      const waits = Symbol('waits')
      const answer = ask(client, sql)
      answer.catch(() => {})
      await turns(world)
      const told = await Promise.race([answer, Promise.resolve(waits)])
      assert.notEqual(told, waits, `${sql} does not wait`)
      return told as string | null | undefined
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

test('readers beside an open transaction see what is committed, and its end at once', async () => {
  using d = await desk()
  const [a, b, c] = [d.connect(), d.connect(), d.connect()]
  await ask(a, 'create table t(n int primary key); insert into t values (1), (2)')
  await ask(a, 'begin; insert into t values (3); delete from t where n = 1')
  await ask(a, 'create table u(); alter table t add column more int; lock table t')
  const read = "select string_agg(n::text, ',' order by n) from t"
  for (let round = 0; round < 3; round++) {
    assert.equal(await d.now(b, read), '1,2')
    assert.equal(await d.now(c, read), '1,2')
    assert.equal(await d.now(c, "select to_regclass('u')"), null)
    assert.equal(
      await ask(a, 'insert into t values ($$4$$::int + (select count(*) from t))'),
      undefined,
    )
  }
  assert.equal(d.world.pool.statistics().forks.made, 1, 'they share it, and it lasts')
  assert.equal(d.world.pool.overview().slots.filter(({ isFork }) => isFork).length, 1)
  await ask(a, 'commit')
  assert.equal(await d.now(b, read), '2,3,6,7,8')
  assert.equal(await d.now(c, "select to_regclass('u')"), 'u')
  await turns(d.world)
  assert.equal(d.world.pool.statistics().forks.now, 0)
})

test('whoever does not only read waits, and what it does is done once', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(
    a,
    `create table t(n int); create sequence s; select nextval('s');
    create function hidden() returns int language plpgsql as $$
      begin begin insert into t values (7); exception when others then return 0; end;
      return 1; end $$;
    create function locks() returns bool language sql as $$ select pg_try_advisory_xact_lock(1) $$;
    create function prepares() returns void language plpgsql as $$
      begin execute 'prepare hidden as select 1'; end $$`,
  )
  const writing = [
    ['insert into t values (1)', undefined],
    ['select hidden()', '1'],
    ["select nextval('s')", '2'],
    ["select n from (select nextval('s')) as one(n)", '3'],
    ["do $$ begin perform nextval('s'); end $$", undefined],
    ["select setval('s', 10, false)", '10'],
    ['with one as (insert into t values (2) returning n) select n from one', '2'],
    ['select txid_current() > 0', 't'],
    ['select n from t where n = 2 for update', '2'],
    ["select pg_notify('c', 'x')", ''],
    ['select pg_try_advisory_lock(9) and pg_advisory_unlock(9)', 't'],
    ['select locks()', 't'],
    ['select prepares()', ''],
    ['select lo_create(0) > 0', 't'],
    ['select 1; begin; select 2; commit', undefined],
    ['begin; select 2', '2'],
    ['explain analyze insert into t values (3)', undefined],
    ['select 3; create temp table mine(n int); drop table mine', undefined],
    ['select pg_current_snapshot() is not null', 't'],
    ["select count(*) from pg_locks where locktype = 'advisory'", '0'],
    ['set work_mem = 9999; listen c; unlisten c', undefined],
    ['prepare p as select 4', undefined],
    ['execute p', '4'],
    ['vacuum t', undefined],
  ] as const
  for (const [sql, expected] of writing) {
    await ask(a, 'begin; select 1')
    const before = d.world.pool.statistics().forks.reads
    const answer = ask(b, sql)
    await turns(d.world)
    const { forks } = d.world.pool.statistics()
    const reads = sql === 'execute p' || sql.includes('; commit')
    assert.equal(forks.reads, before + (reads ? 1 : 0), `${sql} waits`)
    await ask(a, 'commit')
    const told = await answer
    if (b.transactionStatus !== 'idle') await ask(b, 'rollback')
    if (!sql.startsWith('explain') && !sql.startsWith('do')) assert.equal(told, expected, sql)
  }
  assert.equal(await ask(a, 'select string_agg(n::text, $$,$$ order by n) from t'), '1,2,3,7')
  assert.equal(await ask(a, "select nextval('s')"), '10')
})

test('a transaction that cannot float costs other readers nothing', async () => {
  using d = await desk()
  const [a, reader] = [d.connect(), d.connect()]
  await ask(
    a,
    `create table t(n int); create function set_to(text) returns text language sql
    as $$ select set_config('my.id', $1, true) $$`,
  )
  await ask(a, 'begin; insert into t values (1)')
  const lasting = [
    'set local my.id = 1',
    `select set_config('my.id', '1', true)`,
    `select set_to('1')`,
  ]
  assert.equal(await d.now(reader, 'select count(*) from t'), '0')
  const waiting = [...lasting, ...lasting].map((sql) => [d.connect(), sql] as const)
  const answers: Promise<unknown>[] = []
  for (const [client, sql] of waiting) {
    await d.now(client, 'begin')
    assert.ok(client.isFloating)
    answers.push(ask(client, sql).then(() => ask(client, 'commit')))
    await turns(d.world)
    assert.equal(await d.now(reader, 'select count(*) from t'), '0', sql)
  }
  const { forks } = d.world.pool.statistics()
  assert.deepEqual(
    [forks.made, forks.withheld],
    [1, 4],
    'each is tried once, those that SET are not',
  )
  await ask(a, 'commit')
  await Promise.all(answers)
})

test('a session goes on in a fork, and what it sets there goes on in the backend', async () => {
  using d = await desk()
  const [a, b, c] = [d.connect(), d.connect(), d.connect()]
  await ask(a, "set application_name = 'of a'; create table t(n int); insert into t values (5)")
  await ask(b, "set application_name = 'of b'; prepare old(int) as select n + $1 from t")
  await ask(a, "set work_mem = '9MB'; begin; insert into t values (6); set local work_mem = '7MB'")
  assert.equal(await d.now(b, 'show application_name'), 'of b')
  assert.equal(await d.now(b, 'execute old(1)'), '6')
  assert.equal(await d.now(b, 'show work_mem'), await d.now(c, 'show work_mem'))
  await d.now(c, "set time zone 'Asia/Tokyo'")
  await d.now(b, "set my.word = 'kept'; set application_name = 'new b'")
  assert.equal(await d.now(c, 'show time zone'), 'Asia/Tokyo')
  assert.equal(await d.now(b, 'show time zone'), 'UTC')
  await ask(a, 'commit')
  assert.equal(await d.now(c, 'show time zone'), 'Asia/Tokyo')
  assert.equal(await d.now(b, "select current_setting('my.word')"), 'kept')
  assert.equal(await d.now(b, 'show application_name'), 'new b')
  assert.equal(await d.now(a, 'show application_name'), 'of a')
  assert.equal(await d.now(a, 'show time zone'), 'UTC')
  assert.equal(await d.now(a, 'show work_mem'), '9MB')
  await ask(a, 'begin; insert into t values (7)')
  await d.now(b, 'reset application_name')
  await ask(a, 'rollback')
  assert.equal(await d.now(b, 'show application_name'), '')
})

test('whoever the one with the transaction acts as, others act as themselves', async () => {
  using d = await desk()
  const [a, b, c] = [d.connect(), d.connect(), d.connect()]
  await ask(a, 'create role mine; create role yours; create table t(n int)')
  await ask(b, 'set role yours')
  await ask(a, 'set role mine; begin')
  const who = "select session_user || ' ' || current_user"
  assert.equal(await d.now(b, who), 'postgres yours')
  assert.equal(await d.now(c, who), 'postgres postgres')
  await assert.rejects(d.now(b, 'select * from t'), /42501/)
  assert.equal(await d.now(c, 'select count(*) from t'), '0')
  await d.now(c, 'set role mine')
  await ask(a, 'set session authorization yours; commit')
  assert.equal(await ask(c, who), 'postgres mine')
  assert.equal(await ask(b, who), 'postgres yours')
  assert.equal(await ask(a, who), 'yours yours')
})

test('prepared statements of the protocol are the same in the fork and after it', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  const run = async (...messages: Uint8Array[]): Promise<string> => {
    const complete = messages.at(-1)?.[0] === 0x53
    const answer = b.run(concatBytes(messages), complete)
    await turns(d.world)
    const { error, result } = readAnswer(await answer)
    return error?.sqlState ?? String(result.rows[0]?.[0])
  }
  const use = (name: string, value: string): Promise<string> =>
    run(say.bind('', name, [value]), say.execute(''), say.sync())
  const parse = (name: string, sql: string): Promise<string> =>
    run(say.parse(name, sql), say.sync())
  await ask(a, 'create table t(n int); insert into t values (1)')
  await parse('kept', 'select n + 10 + $1 from t')
  await parse('closed', 'select n + $1 from t')
  await ask(a, 'begin; insert into t values (2)')
  await ask(a, 'delete from t where n = 2')
  await turns(d.world)
  const before = d.world.pool.statistics().forks.reads
  assert.equal(await use('kept', '1'), '12')
  await parse('s1', 'select n + 100 + $1 from t')
  await run(say.parse('s2', 'select n + 200 + $1 from t'), say.flush())
  assert.equal(await use('s2', '1'), '202', 'in two steps')
  await run(say.parse('', 'select n + 300 + $1 from t'), say.flush())
  assert.equal(await use('', '1'), '302')
  await run(say.close('closed'), say.sync())
  assert.equal(await parse('s1', 'select 1'), '42P05')
  assert.equal(await use('closed', '1'), '26000')
  assert.equal(d.world.pool.statistics().forks.reads - before, 9)
  await ask(a, 'commit')
  assert.equal(await use('', '2'), '303')
  assert.equal(await use('s1', '2'), '103')
  assert.equal(await use('s2', '2'), '203')
  assert.equal(await use('kept', '2'), '13')
  assert.equal(await use('closed', '2'), '26000')
  assert.equal(await run(say.query('select 1')), '1')
  assert.equal(await use('', '2'), '26000', 'a simple query drops it')
})

test('a transaction that floats prepares in one step and reads in the next', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  const run = async (...messages: Uint8Array[]): Promise<string> => {
    const complete = messages.at(-1)?.[0] === 0x53
    const answer = Promise.resolve(b.run(concatBytes(messages), complete))
    answer.catch(() => {})
    await turns(d.world)
    const told = await Promise.race([answer, Promise.resolve(undefined)])
    assert.ok(told, 'nothing of it waits')
    const { error, result } = readAnswer(told)
    return error?.sqlState ?? String(result.rows[0]?.[0])
  }
  const prepare = (name: string, sql: string): Promise<string> =>
    run(say.parse(name, sql), say.flush())
  const use = (name: string): Promise<string> =>
    run(say.bind('', name), say.execute(''), say.sync())
  await ask(a, 'create table t(n int); insert into t values (1)')
  await ask(a, 'begin; insert into t values (2)')
  assert.equal(await d.now(b, 'select count(*) from t'), '1')
  await d.now(b, 'begin')
  assert.ok(b.isFloating)
  // As asyncpg says everything: with or without a name, and the next one behind an error.
  for (const name of ['s1', '']) {
    await prepare(name, 'select count(*) from t')
    assert.equal(b.transactionStatus, 'transaction')
    assert.equal(await use(name), '1')
  }
  await prepare('fails', 'select 1 / (n - n) from t')
  assert.equal(await use('fails'), '22012')
  assert.equal(b.transactionStatus, 'failed')
  await d.now(b, 'rollback')
  assert.equal(await use('s1'), '1', 'what was prepared outlasts its transaction')
  await d.now(b, 'begin')
  await prepare('s2', 'select count(*) from t')
  assert.equal(d.world.pool.statistics().forks.withheld, 0)
  await ask(a, 'commit')
  assert.equal(await use('s2'), '2', 'the second step in the backend')
  assert.equal(b.transactionStatus, 'transaction')
  assert.ok(!b.isFloating)
})

test('the numbers of functions that are not for forks are those of Postgres', async () => {
  using d = await desk()
  const a = d.connect()
  const ids = Object.keys(NOT_FOR_FORKS)
  const found = await ask(
    a,
    `select string_agg(oid || ':' || proname, ' ' order by oid) from pg_proc
      where oid in (${ids.join()})`,
  )
  assert.equal(found, ids.map((id) => `${id}:${NOT_FOR_FORKS[Number(id)]}`).join(' '))
  const opens = `select proname from pg_proc where oid = ${LO_OPEN}`
  assert.equal(await ask(a, opens), 'lo_open')
  const families =
    "select count(*) from pg_proc where proname ~ 'advisory_(xact_)?lock|^nextval|^setval'"
  const named = Object.values(NOT_FOR_FORKS).filter((name) =>
    /advisory_(?:xact_)?lock|^nextval|^setval/.test(name),
  )
  assert.equal(await ask(a, families), String(named.length))
})

test('a fork ends with the transaction, whatever ends it', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'create table t(n int)')
  const count = 'select count(*) from t'
  const ends = [
    ['commit and chain', '1', 'commit'],
    ['commit; begin', '2', 'rollback'],
    ['rollback; begin; insert into t values (0); commit; begin', '3', 'rollback'],
  ] as const
  for (const [sql, expected, last] of ends) {
    await ask(a, 'begin; insert into t values (1)')
    assert.equal(await d.now(b, count), String(Number(expected) - 1))
    await ask(a, sql)
    assert.equal(await d.now(b, count), expected, sql)
    await ask(a, last)
  }
  await ask(a, 'begin; insert into t values (2)')
  assert.equal(await d.now(b, count), '3')
  a.close()
  assert.equal(await d.now(b, count), '3')
  assert.equal(await d.now(b, 'insert into t values (9); select 1'), '1')
  await turns(d.world)
  assert.equal(d.world.pool.statistics().forks.now, 0)
})

test('a failed transaction, one in a procedure, and a pipeline are open as well', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'create table t(n int)')
  await ask(a, 'begin; savepoint s; insert into t values (1)')
  await assert.rejects(ask(a, 'select 1/0'), /22012/)
  assert.equal(await d.now(b, 'select count(*) from t'), '0')
  await ask(a, 'rollback to s; insert into t values (2); commit')
  assert.equal(await d.now(b, 'select count(*) from t'), '1')
  const pipeline = [say.parse('', 'insert into t values (3)'), say.bind('', ''), say.execute('')]
  await a.run(concatBytes([...pipeline, say.flush()]), false)
  assert.equal(await d.now(b, 'select count(*) from t'), '1')
  await a.run(say.sync(), true)
  assert.equal(await d.now(b, 'select count(*) from t'), '2')
  await ask(a, 'begin; insert into t values (4)')
  await assert.rejects(d.now(b, 'select 1/0'), /22012/)
  await assert.rejects(d.now(b, 'select nothing'), /42703/)
  assert.equal(await d.now(b, 'select count(*) from t'), '2', 'an error is an answer')
  assert.equal(d.world.pool.statistics().forks.withheld, 0)
})

test('what a session keeps beside its transaction is not shown, and others wait', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'begin; declare c cursor with hold for select 1; commit; begin; select 1')
  const waits = ask(b, 'select 7')
  await turns(d.world)
  assert.equal(d.world.pool.statistics().forks.now, 0)
  await ask(a, 'commit; close all')
  assert.equal(await waits, '7')
  await ask(a, 'begin; create temp table mine(n int)')
  assert.equal(await d.now(b, "select to_regclass('mine')"), null, 'made in the transaction')
  await ask(a, 'rollback')
})

test('a nap in between: a reader wakes the tenant, and the transaction goes on', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'create table t(n int)')
  await ask(a, 'begin; insert into t values (1)')
  assert.equal(await d.now(b, 'select count(*) from t'), '0')
  d.world.pool.nap('acme' as TenantName)
  await turns(d.world)
  assert.equal(d.world.pool.phaseOf('acme' as TenantName), 'napping')
  assert.equal(d.world.pool.statistics().forks.now, 0)
  assert.equal(await d.now(b, 'select count(*) from t'), '0')
  await ask(a, 'insert into t values (2); commit')
  assert.equal(await d.now(b, 'select count(*) from t'), '2')
})

test('forks make room for tenants that wait, and come when somebody rests', async () => {
  using d = await desk({ slotsPerShard: 2, slotQuantumMs: 5 })
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'create table t(n int)')
  await ask(a, 'begin; insert into t values (1)')
  assert.equal(await d.now(b, 'select count(*) from t'), '0')
  const other = d.world.newTenant('other')
  const c = d.world.pool.connect(other)
  assert.equal(await d.now(c, 'select 1'), '1')
  assert.equal(d.world.pool.statistics().evictions.pressure, 0, 'a fork leaves first')
  assert.equal(d.world.pool.statistics().forks.now, 0)
  const read = ask(b, 'select count(*) from t')
  await turns(d.world, 10)
  await turns(d.world, 10)
  assert.equal(await read, '0')
  assert.equal(d.world.pool.phaseOf(other), 'napping')
  await ask(a, 'commit')
})

test('with one slot readers wait as they did, until the limit', async () => {
  using d = await desk({ slotsPerShard: 1, queryWaitMs: 1000 })
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'begin; savepoint s')
  const waits = ask(b, 'select 1')
  waits.catch(() => {})
  await turns(d.world)
  d.world.clock.advance(1000)
  await assert.rejects(waits, (error) => {
    assert.ok(error instanceof PgnapError)
    return error.code === 'QUERY_WAIT_TIMEOUT'
  })
})

test('a fork that breaks costs nobody anything but time', async () => {
  const small = await verifyingEngine({ dirtyBytesMax: 1_000_000 })
  using d = await desk({}, small)
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'create table t(n int, filler text)')
  await ask(a, `insert into t select n, repeat('x', 2000) from generate_series(1, 5000) n`)
  await ask(a, 'checkpoint')
  await ask(a, 'begin; insert into t values (0)')
  // It marks the rows as committed, and makes room for their pages: too many for this fork.
  const counted = ask(b, 'select count(*) from t')
  await turns(d.world)
  const { forks, slots } = d.world.pool.statistics()
  assert.deepEqual([forks.reads, forks.withheld, slots.lost], [0, 1, 1])
  await ask(a, 'insert into t values (0); commit')
  assert.equal(await counted, '5002')
})

test('functions that hide what they are by another name, and settings of the backend', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(
    a,
    `create sequence s; create function other(regclass) returns bigint language internal
    as 'nextval_oid' strict; create function twice(int) returns int language sql
    as 'select 2 * $1'`,
  )
  await ask(a, 'begin; select 1')
  assert.equal(await d.now(b, 'select twice(4)'), '8')
  for (const sql of [`select other('s')`, 'set seed = 0.5']) {
    const answer = ask(b, sql)
    await turns(d.world)
    const before = d.world.pool.statistics().forks.reads
    await ask(a, 'commit')
    await answer
    await ask(a, 'begin; select 1')
    assert.equal(d.world.pool.statistics().forks.reads, before, sql)
  }
  await ask(a, 'commit')
  assert.equal(await ask(a, `select nextval('s')`), '2')
})

test('a drain beside a fork ends', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'begin')
  assert.equal(await d.now(b, 'select 1'), '1')
  a.close()
  b.close()
  await d.world.pool.drain()
  assert.equal(d.world.pool.statistics().slots.total, 0)
})
