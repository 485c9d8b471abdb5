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
      assert.equal(row.query !== '', isOwn)
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
  assert.deepEqual([rows[0]?.xact_start, rows[1]?.xact_start], [begun, read])
  assert.equal(rows[0]?.query, 'select now()')
  await writer.client.query('commit')
  await inserted
  assert.deepEqual(
    (await activity(asking)).map(({ state }) => state),
    ['idle', 'idle in transaction', 'idle', 'active'],
  )
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
