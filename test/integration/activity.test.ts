/** `pg_stat_activity`: a row for each client of the tenant, as far as docs/limits.md promises. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connectPg, type PgConnection, processIdOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '3'] })
})
after(() => server[Symbol.asyncDispose]())

interface Row {
  readonly pid: number
  readonly datname: string
  readonly usename: string
  readonly application_name: string
  readonly state: string
  readonly query: string
  readonly backend_type: string
  readonly backend_start: Date
  readonly xact_start: Date | null
  readonly query_start: Date | null
  readonly state_change: Date | null
}

async function activity({ client }: PgConnection): Promise<Row[]> {
  const sql = 'select * from pg_stat_activity order by backend_start, pid'
  return (await client.query<Row>(sql)).rows
}

test('there is a row for each client, and none of another tenant', async () => {
  const startMs = Date.now() - 1000
  await using one = await connectPg(server, 'rows', { application_name: 'first' })
  await using two = await connectPg(server, 'rows', { application_name: 'zwei, ü' })
  await using other = await connectPg(server, 'elsewhere')
  await one.client.query('create table t (n int)')
  assert.equal((await activity(other)).length, 1)
  for (const asking of [one, two, one]) {
    const rows = await activity(asking)
    assert.deepEqual(
      rows.map(({ pid, application_name }) => [pid, application_name]),
      [
        [processIdOf(one), 'first'],
        [processIdOf(two), String.raw`zwei, \xc3\xbc`],
      ],
    )
    for (const row of rows) {
      const isOwn = row.pid === processIdOf(asking)
      assert.deepEqual(
        [row.datname, row.usename, row.backend_type, row.state],
        ['rows', 'postgres', 'client backend', isOwn ? 'active' : 'idle'],
      )
      assert.ok(row.backend_start.getTime() > startMs && row.backend_start.getTime() <= Date.now())
    }
  }
})

test('who is in a transaction, since when, with what; who floats in one, who waits', async () => {
  await using writer = await connectPg(server, 'busy')
  await writer.client.query('create table t (n int)')
  await writer.client.query('begin; insert into t values (1)')
  const begun = await writer.value('select now()')
  await using reader = await connectPg(server, 'busy')
  await reader.client.query('begin')
  const read = await reader.value('select now()')
  await using waiting = await connectPg(server, 'busy')
  const inserted = waiting.client.query('insert into t values (2)')
  await using asking = await connectPg(server, 'busy')
  const rows = await activity(asking)
  assert.deepEqual(
    rows.map(({ state }) => state),
    ['idle in transaction', 'idle in transaction', 'active', 'active'],
  )
  assert.equal(rows[2]?.query, 'insert into t values (2)')
  assert.deepEqual(rows[2]?.query_start, rows[2]?.state_change)
  assert.deepEqual([rows[0]?.xact_start, rows[1]?.xact_start], [begun, read])
  assert.equal(rows[0]?.query, 'select now()')
  await writer.client.query('commit')
  await inserted
  assert.deepEqual(
    (await activity(asking)).map(({ state }) => state),
    ['idle', 'idle in transaction', 'idle', 'active'],
  )
})

test('what each has asked last, and nothing of what pgnap asks in between', async () => {
  await using one = await connectPg(server, 'asked', { application_name: 'one' })
  await using two = await connectPg(server, 'asked', { application_name: 'two' })
  await using three = await connectPg(server, 'asked', { application_name: 'three' })
  await using four = await connectPg(server, 'asked', { application_name: 'four' })
  const queries = async (): Promise<string[]> => {
    const rows = await activity(one)
    return rows.slice(1).map(({ query }) => query)
  }
  assert.deepEqual(await queries(), ['', '', ''])
  const [never] = (await activity(one)).slice(1)
  assert.deepEqual([never?.query_start, never?.state], [null, 'idle'])
  assert.ok(never?.state_change)
  await two.client.query('create table x (n int); drop table x')
  await three.client.query({ name: 's', text: 'select 3 as prepared' })
  await three.client.query({ name: 's', text: 'select 3 as prepared' })
  assert.deepEqual(await queries(), [
    'create table x (n int); drop table x',
    'select 3 as prepared',
    '',
  ])
  await two.client.query('begin; create table t (n int)')
  await two.client.query('set local work_mem = 4096')
  // These read in a fork, and in a transaction that floats.
  await three.client.query('begin')
  await four.client.query('select 4')
  assert.deepEqual(await queries(), ['set local work_mem = 4096', 'begin', 'select 4'])
  await three.client.query('select 5')
  await three.client.query('rollback')
  await two.client.query('commit')
  assert.deepEqual(await queries(), ['commit', 'rollback', 'select 4'])
  const rows = await activity(one)
  for (const row of rows.slice(1)) {
    assert.ok(row.query_start && row.state_change && row.query_start <= row.state_change)
    assert.equal(row.xact_start, null)
  }
})

test('a transaction that has failed has no start any more, as in a server', async () => {
  await using one = await connectPg(server, 'failed')
  await using two = await connectPg(server, 'failed')
  await two.client.query('begin')
  await two.client.query('select 1/0').catch(() => {})
  const row = (await activity(one))[1]
  const { state, query, xact_start: startedAt } = row ?? {}
  assert.deepEqual([state, query, startedAt], ['idle in transaction (aborted)', 'select 1/0', null])
})

test('the function of the view, and what is asked about one of them', async () => {
  await using one = await connectPg(server, 'function')
  await using two = await connectPg(server, 'function')
  await two.client.query('select 1')
  const pid = processIdOf(two)
  const count = 'select count(*)::int from pg_stat_get_activity($1)'
  assert.equal(await one.value(count, [pid]), 1)
  assert.equal(await one.value(count, [null]), 2)
  assert.equal(await one.value(count, [1]), 0)
  const kill = `select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle'`
  const ended = new Promise((resolve) => two.client.once('error', resolve))
  assert.equal(await one.value(kill), true)
  await ended
  assert.equal((await activity(one)).length, 1)
})

test('with more clients than Postgres has places for, and nothing stays in them', async () => {
  await using one = await connectPg(server, 'many')
  const others = await Promise.all(
    Array.from({ length: 200 }, () => connectPg(server, 'many', { application_name: 'x' })),
  )
  const count = await one.value('select count(*)::int from pg_stat_activity')
  assert.ok(Number(count) > 100 && Number(count) <= 201, `${String(count)} rows`)
  await Promise.all(others.map(({ client }) => client.end()))
  assert.equal((await activity(one)).length, 1)
})

test('a role that is no superuser sees that others are there, and no more', async () => {
  await using one = await connectPg(server, 'role')
  await using two = await connectPg(server, 'role')
  await two.client.query('create role plain')
  await one.client.query('set role plain')
  const rows = await activity(one)
  assert.deepEqual(new Set(rows.map(({ query }) => query)), new Set(['<insufficient privilege>']))
  assert.equal(rows.length, 2)
})
