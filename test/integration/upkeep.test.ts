/** What is done for tenants that nobody asks, in the real program, and at nobody's cost. */
import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectPg } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

const RETENTION_MS = 3_000
/** Far more than anything here takes; what never happens fails then. */
const PATIENCE_MS = 60_000
const ROWS = 10_000
const FILL = `create table t (id int primary key, pad text);
  insert into t select i, repeat(md5(i::text), 30) from generate_series(1, ${ROWS}) i`

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Bytes of a tenant's files. */
function storedBytes({ data }: ServerProcess, tenant: string): number {
  const path = join(data, 'tenants', `${tenant}.db`)
  const bytesOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0
  // An open store keeps 4 MiB of its log.
  return bytesOf(path) + bytesOf(`${path}-wal`)
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS
  while (!(await isSo())) {
    assert.ok(performance.now() < endMs, what)
    await pause(50)
  }
}

/** How often requests found their tenants where, or how many are in each state. */
async function counted(
  server: ServerProcess,
  what: 'found' | 'tenants',
): Promise<Record<string, number>> {
  const pool = await server.request('/v1/pool')
  return ((await pool.json()) as Record<typeof what, Record<string, number>>)[what]
}

/** A tenant from which everything has been deleted. @returns bytes of its files */
async function fillAndDelete(server: ServerProcess, tenant: string): Promise<number> {
  await using connection = await connectPg(server, tenant)
  await connection.client.query(FILL)
  await connection.client.query('delete from t')
  return storedBytes(server, tenant)
}

async function countRows(server: ServerProcess, tenant: string): Promise<unknown> {
  await using connection = await connectPg(server, tenant)
  const { rows } = await connection.client.query('select count(*)::int as count from t')
  return rows[0]?.count
}

const FLAGS = [
  '--shards',
  '1',
  '--slots',
  '3',
  '--no-keep-warm',
  '--retention',
  `${RETENTION_MS}ms`,
]

for (const [where, flags, tier] of [
  ['while it naps', ['--nap-after', '1s'], 'napping'],
  ['while its store is closed', ['--nap-after', '1s', '--image-cache', '0MB'], 'cold'],
] as const) {
  test(`a tenant gives room back ${where}, and nobody wakes it for that`, async () => {
    await using server = await startServer({ flags: [...FLAGS, ...flags] })
    const filledBytes = await fillAndDelete(server, 'acme')
    const before = await counted(server, 'found')
    await until('the file becomes smaller', () => {
      return storedBytes(server, 'acme') < filledBytes / 3
    })
    assert.deepEqual(await counted(server, 'found'), before, 'nobody came')
    // On a slow machine its file may have become smaller before that.
    await until(
      'it has left its slot',
      async () => (await counted(server, 'tenants'))['awake'] === 0,
    )
    assert.equal(await countRows(server, 'acme'), 0)
    const after = await counted(server, 'found')
    assert.equal((after[tier] ?? 0) - (before[tier] ?? 0), 1, 'it is where it was')
    assert.doesNotMatch(server.log(), /"level":"(warn|error)".*tidied/)
  })
}

test('who only reads brings about what an earlier server has left', async () => {
  let server = await startServer({ flags: [...FLAGS, '--nap-after', '5min'] })
  const { data } = server
  await using _ = server
  const filledBytes = await fillAndDelete(server, 'acme')
  // Its VACUUM comes before, or there is nothing to give back.
  await until('the rows are gone', async () => {
    await using connection = await connectPg(server, 'acme')
    const { rows } = await connection.client.query(`select pg_relation_size('t')::int as bytes`)
    await pause(400)
    return rows[0]?.bytes === 0
  })
  assert.ok(storedBytes(server, 'acme') > filledBytes / 3, 'history is kept')
  await server.stop()
  await pause(RETENTION_MS)
  server = await startServer({ data, flags: [...FLAGS, '--nap-after', '500ms'] })
  await using __ = server
  assert.equal(await countRows(server, 'acme'), 0)
  await until('the file becomes smaller', () => storedBytes(server, 'acme') < filledBytes / 3)
})

/** Large enough for its VACUUM to be felt, with an index that has to be gone through. */
const LARGE = `create table t (id int primary key, pad text); create index on t (pad);
  insert into t select i, repeat('x', 200) || i from generate_series(1, 60000) i`
const HALVE = 'delete from t where id % 2 = 0'

/** How long a client holds the thread that vacuums such a table. */
async function vacuumMs(server: ServerProcess): Promise<number> {
  await using connection = await connectPg(server, 'measured')
  const { client } = connection
  await client.query(LARGE)
  await client.query('alter table t set (autovacuum_enabled = off)')
  await client.query(HALVE)
  const startMs = performance.now()
  await client.query('vacuum (analyze) t')
  return performance.now() - startMs
}

test('a VACUUM of upkeep gives way to a neighbour, and is done in the end', async (context) => {
  await using server = await startServer({ flags: [...FLAGS, '--nap-after', '1min'] })
  const wholeMs = await vacuumMs(server)
  await using large = await connectPg(server, 'large')
  await large.client.query(LARGE)
  await using neighbour = await connectPg(server, 'neighbour')
  await neighbour.client.query('select 1')
  await large.client.query(HALVE)
  const seen = server.log().length
  let longestMs = 0
  await until('upkeep gives way', async () => {
    const startMs = performance.now()
    await neighbour.client.query('select 1')
    longestMs = Math.max(longestMs, performance.now() - startMs)
    // So much that upkeep finds a moment to begin in, and so little that it does not end in it.
    await pause(300)
    return /"tenant":"large".*upkeep gave way/.test(server.log().slice(seen))
  })
  context.diagnostic(`a VACUUM of ${wholeMs.toFixed(0)} ms, a wait of ${longestMs.toFixed(0)} ms`)
  assert.ok(longestMs < wholeMs / 2, 'the neighbour does not wait for all of it')
  await until('it is done in the end', async () => {
    // Who asks ends it, too.
    await pause(2 * wholeMs + 500)
    const { rows } = await large.client.query(
      `select last_vacuum is not null as done from pg_stat_user_tables where relname = 't'`,
    )
    return rows[0]?.done === true
  })
  assert.doesNotMatch(server.log(), /"level":"(warn|error)"[^\n]*upkeep/)
  await large.client.query('select count(*) from t where pad is not null')
})
