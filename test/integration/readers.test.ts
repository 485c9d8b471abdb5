/**
 * Real drivers beside an open transaction, against the shipped server. Each test begins with what
 * native Postgres does: who only reads does not wait.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

/** Far beyond what a fork takes, and far below any limit of waiting. */
const BOUNDED_MS = 3_000
const WAIT_MS = 20_000
let server: ServerProcess
before(async () => {
  const wait = ['--query-wait-timeout', `${WAIT_MS}ms`, '--nap-after', '1s']
  server = await startServer({ flags: ['--shards', '1', '--slots', '3', ...wait] })
})
after(() => server[Symbol.asyncDispose]())

type Connection = Awaited<ReturnType<typeof connectPg>>

async function clients(tenant: string): Promise<readonly [Connection, Connection, Connection]> {
  const one = await connectPg(server, tenant)
  return [one, await connectPg(server, tenant), await connectPg(server, tenant)]
}

async function bounded<Result>(work: Promise<Result>): Promise<Result> {
  const late = delay(BOUNDED_MS, undefined, { ref: false }).then(() => assert.fail('it waits'))
  return Promise.race([work, late])
}

/** Whether a promise is not kept within a while. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  const token = Symbol('waits')
  work.catch(() => {})
  return (await Promise.race([work, delay(200, token)])) === token
}

async function forks(): Promise<{ now: number; made: number; reads: number; withheld: number }> {
  const answer = await server.request('/v1/pool')
  return ((await answer.json()) as { forks: Awaited<ReturnType<typeof forks>> }).forks
}

test('reads do not wait; writes do, and see the end of it', async () => {
  const [a, b, c] = await clients('plain')
  await a.client.query('create table t(n int); insert into t values (1)')
  await a.client.query('begin')
  await a.client.query('insert into t values (2)')
  await a.client.query('create table fresh(); lock table t')
  assert.equal(await bounded(b.value('select count(*) from t')), '1')
  assert.equal(await bounded(b.value('select $1::int + count(*) from t', [10])), '11')
  assert.equal(await bounded(c.value(`select to_regclass('fresh')`)), null)
  const written = b.client.query('insert into t values (3)')
  assert.ok(await waits(written))
  assert.equal(await bounded(c.value('select count(*) from t')), '1')
  await a.client.query('commit')
  assert.ok(Number(await bounded(c.value('select count(*) from t'))) >= 2)
  await bounded(written)
  assert.equal(await c.value('select count(*) from t'), '3')
  assert.ok((await forks()).reads >= 4)
  for (const each of [a, b, c]) await each[Symbol.asyncDispose]()
})

test('hidden writes, sequences, notifications, temporary tables are done once', async () => {
  const [a, b, c] = await clients('hidden')
  await a.client.query(`create table t(n int); create sequence s; create function f() returns int
    language plpgsql as $$ begin insert into t values (7); return 7; end $$`)
  const heard: string[] = []
  c.client.on('notification', ({ payload = '' }) => void heard.push(payload))
  await c.client.query('listen news')
  for (const [sql, expected] of [
    ['select f()', '7'],
    [`select nextval('s')`, '1'],
    [`select pg_notify('news', 'once')`, ''],
    ['select pg_try_advisory_xact_lock(1)', 'true'],
  ] as const) {
    await a.client.query('begin; insert into t values (1)')
    const answer = b.value(sql)
    assert.ok(await waits(answer), sql)
    await a.client.query('rollback')
    assert.equal(String(await bounded(answer)), expected)
  }
  await a.client.query('begin; lock table t')
  const temporary = b.client.query('create temp table mine(n int); insert into mine values (1)')
  assert.ok(await waits(temporary))
  await a.client.query('commit')
  await bounded(temporary)
  assert.equal(await b.value('select n from mine'), 1)
  await b.client.query('drop table mine')
  assert.equal(await a.value('select count(*) from t'), '1')
  assert.equal(await a.value(`select nextval('s')`), '2')
  assert.deepEqual(heard, ['once'])
  for (const each of [a, b, c]) await each[Symbol.asyncDispose]()
})

test('what a reader sets and prepares stays with it', async () => {
  const [a, b] = await clients('settings')
  const sql = postgres({ host: '127.0.0.1', port: server.port, database: 'settings', max: 1 })
  await a.client.query('create table t(n int); insert into t values (5)')
  await a.client.query('begin; insert into t values (6)')
  await bounded(b.client.query(`set timezone = 'Asia/Tokyo'`))
  const prepared = { name: 'of b', text: 'select n + $1::int as n from t', values: [1] }
  assert.deepEqual((await bounded(b.client.query(prepared))).rows, [{ n: 6 }])
  assert.deepEqual([...(await bounded(sql`select n + ${2}::int as n from t`))], [{ n: 7 }])
  assert.equal((await failureOf(b.client.query('select 1/0'))).code, '22012')
  await a.client.query('rollback')
  assert.equal(await b.value('show timezone'), 'Asia/Tokyo')
  assert.equal(await a.value('show timezone'), 'UTC')
  assert.deepEqual((await b.client.query(prepared)).rows, [{ n: 6 }])
  assert.deepEqual([...(await sql`select n + ${2}::int as n from t`)], [{ n: 7 }])
  await sql.end()
  for (const each of [a, b]) await each[Symbol.asyncDispose]()
})

test('a client that vanishes, a nap in between, a cancel and a limit of time', async () => {
  const [a, b, c] = await clients('ends')
  await a.client.query('create table t(n int)')
  await a.client.query('begin; insert into t values (1)')
  assert.equal(await bounded(b.value('select count(*) from t')), '0')
  await delay(1_500)
  assert.equal(await bounded(b.value('select count(*) from t')), '0', 'its tenant has napped')
  await b.client.query(`set statement_timeout = '300ms'`)
  assert.equal((await failureOf(bounded(b.client.query('select pg_sleep(60)')))).code, '57014')
  await b.client.query('reset statement_timeout')
  assert.equal(await bounded(b.value('select count(*) from t')), '0')
  const opened = c.client.query('begin isolation level repeatable read; select 1')
  assert.ok(await waits(opened), 'a transaction with a snapshot of its own waits')
  a.client.connection.stream.destroy()
  await bounded(opened)
  await c.client.query('rollback')
  assert.equal(await bounded(b.value('select count(*) from t')), '0')
  await bounded(b.client.query('insert into t values (2)'))
  assert.equal(await c.value('select count(*) from t'), '1')
  assert.equal((await forks()).now, 0)
  for (const each of [b, c]) await each[Symbol.asyncDispose]()
})

/** Seconds, on any machine. */
const LONG = 'select count(*) from generate_series(1, 4000) a, generate_series(1, 1000) b'

test('reads do not wait for a statement that takes its time; writes do', async () => {
  const [a, b, c] = await clients('midway')
  await a.client.query('create table t(n int); insert into t values (1)')
  let isOver = false
  const long = a.client
    .query(`insert into t select n from generate_series(2, 3) n where (${LONG}) > 0`)
    .then(() => (isOver = true))
  assert.equal(await bounded(b.value('select count(*) from t')), '1')
  const written = b.client.query('insert into t values (4)')
  let reads = 0
  while (!isOver && reads < 20) {
    assert.equal(await bounded(c.value('select $1 + count(*)::int from t', [reads])), reads++ + 1)
  }
  assert.ok(reads >= 20, `${reads} reads beside it`)
  await Promise.all([long, written])
  assert.equal(await c.value('select count(*) from t'), '4')
  for (const each of [a, b, c]) await each[Symbol.asyncDispose]()
})

test('who finds a long statement among the activities can cancel it, and end it', async () => {
  const [a, b] = await clients('found')
  await a.value('select 1')
  for (const [end, code] of [
    ['pg_cancel_backend', '57014'],
    ['pg_terminate_backend', '57P01'],
  ] as const) {
    const failed = failureOf(a.client.query('select pg_sleep(1000)'))
    const sql = `select ${end}(pid) from pg_stat_activity where query = 'select pg_sleep(1000)'
      and state = 'active'`
    const deadlineMs = performance.now() + BOUNDED_MS
    while ((await bounded(b.value(sql))) !== true) assert.ok(performance.now() < deadlineMs)
    assert.equal((await bounded(failed)).code, code)
  }
  for (const each of [a, b]) await each[Symbol.asyncDispose]()
})
