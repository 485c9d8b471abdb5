/**
 * A quiet tenant beside a neighbour that takes all it can get, in one shard of the real program.
 *
 * What counts is not how long the quiet tenant waits, which is the machine's business as much as
 * the server's (`npm run bench -- neighbour` measures it), but for how many: as many answers of
 * the neighbour as fall into a request's latency went before it, whatever the machine's speed.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { TenantName } from '../../src/base/ids.ts'
import { shardOf } from '../../src/router/assignment.ts'
import { Connection } from '../../bench/wire/connection.ts'
import { queryMessage } from '../../bench/wire/messages.ts'
import { connectPg, failureOf } from '../support/clients.ts'
import { type Neighbour, startNeighbour } from '../../bench/neighbour.ts'
import { NOTHING_PAUSES, type ServerProcess, startServer } from '../support/server.ts'
import { WireClient } from '../torture/wire-client.ts'

/** All of them ask at any time: first come, first served would let as many go before. */
const CONNECTION_COUNT = 300
/** Of a neighbour's {@link CONNECTION_COUNT}, how many may go before one request in a hundred. */
const AHEAD_MAX = CONNECTION_COUNT / 3
const ROUND_COUNT = 9
const ROUND_MS = 400
/** Many times as long as a long statement. */
const LONG_MS = 3_000
const NEIGHBOUR_WAIT_MS = 1_000

const SETUP = `create table item as select i as id, i as amount from generate_series(1, 1000) i;
  create unique index on item (id)`
const POINT = 'select amount from item where id = 7'
/** A tenth of a millisecond: so cheap for its client, that the server is what is busy. */
const CHEAP = 'select sum(amount) from item'

const NAMES = Array.from({ length: 20 }, (_, index) => `tenant-${index}` as TenantName)
const [QUIET = '', HOSTILE = ''] = NAMES.filter((name) => shardOf(name, 2) === 0)

let server: ServerProcess

before(async () => {
  const flags = ['--shards', '2', '--no-rebalance', '--slots', '4']
  server = await startServer({
    flags: [...flags, '--neighbour-wait-timeout', `${NEIGHBOUR_WAIT_MS}ms`],
  })
  for (const tenant of [QUIET, HOSTILE]) {
    await using connection = await connectPg(server, tenant)
    await connection.client.query(SETUP)
  }
})
after(() => server[Symbol.asyncDispose]())

const median = (values: readonly number[]): number => quantile(values, 0.5)

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** Latencies of one client that asks again as soon as it has its answer. */
async function latencies(client: Connection, forMs: number = ROUND_MS): Promise<number[]> {
  const message = queryMessage(POINT)
  const taken: number[] = []
  const endMs = performance.now() + forMs
  for (let startMs = performance.now(); startMs < endMs;) {
    await client.exchange(message)
    const nowMs = performance.now()
    taken.push(nowMs - startMs)
    startMs = nowMs
  }
  return taken
}

const openQuiet = (): Promise<Connection> =>
  Connection.open({ port: server.port, user: 'postgres', database: QUIET })

const startHostile = (connectionCount: number, sql: string): Promise<Neighbour> =>
  startNeighbour({ port: server.port, user: 'postgres', tenant: HOSTILE, connectionCount, sql })

for (const [what, sql] of [
  ['point selects', POINT],
  ['cheap aggregates', CHEAP],
] as const) {
  test(`300 connections of a neighbour with ${what}: few go before`, async (context) => {
    await using client = await openQuiet()
    await latencies(client)
    await using neighbour = await startHostile(CONNECTION_COUNT, sql)
    await neighbour.rest()
    const ahead: number[] = []
    for (let round = 0; round < ROUND_COUNT; round++) {
      const before = await neighbour.goOn()
      const startMs = performance.now()
      const p99Ms = quantile(await latencies(client), 0.99)
      const answers = (await neighbour.rest()) - before
      const rate = answers / (performance.now() - startMs)
      ahead.push(rate * p99Ms)
    }
    const says = `${median(ahead).toFixed(0)} of ${CONNECTION_COUNT} go before the p99`
    context.diagnostic(says)
    assert.ok(median(ahead) <= AHEAD_MAX, says)
    assert.ok(median(ahead) > 0, 'the neighbour gets its share, too')
  })
}

test('20 connections with long statements: one at a time is in the way', async (context) => {
  const rowCount = await rowsFor(30)
  const long = `select count(*) from generate_series(1, ${rowCount})`
  await using client = await openQuiet()
  await latencies(client)
  await using neighbour = await startHostile(20, long)
  const startMs = performance.now()
  const beside = await latencies(client, LONG_MS)
  const answers = await neighbour.stop()
  const rate = answers / (performance.now() - startMs)
  // Whoever comes while a statement runs waits for it: the longest wait is one of them.
  const [usualMs, longestMs] = [quantile(beside, 0.5), quantile(beside, 0.999)]
  const says = `median ${usualMs.toFixed(2)} ms, longest ${longestMs.toFixed(0)} ms`
  context.diagnostic(`${says}; neighbour ${(rate * 1000).toFixed(1)}/s`)
  // What has begun cannot be interrupted: p99 may be such a statement. The median may not.
  assert.ok(usualMs * rate < 1, says)
  // About half of the time; how many statements that is, is the machine's business.
  assert.ok(answers * longestMs > LONG_MS / 5, 'the neighbour gets its share, too')
})

/** How many rows a statement counts in so many milliseconds here. */
async function rowsFor(durationMs: number): Promise<number> {
  await using connection = await connectPg(server, HOSTILE)
  const rowCount = 100_000
  const timesMs: number[] = []
  for (let round = 0; round < 5; round++) {
    const startMs = performance.now()
    await connection.client.query(`select count(*) from generate_series(1, ${rowCount})`)
    timesMs.push(performance.now() - startMs)
  }
  return Math.round((rowCount * durationMs) / median(timesMs))
}

const RUNAWAY = `do $$ begin loop perform 1; end loop; end $$`

test('one without end that cannot pause is cancelled, and its client told why', async () => {
  const wait = ['--neighbour-wait-timeout', `${NEIGHBOUR_WAIT_MS}ms`]
  await using held = await startServer({ flags: [...NOTHING_PAUSES, ...wait] })
  await using quiet = await connectPg(held, QUIET)
  await using hostile = await connectPg(held, HOSTILE)
  await quiet.client.query('select 1')
  await hostile.client.query('create table kept as select 1 as n')
  const runaway = failureOf(hostile.client.query(RUNAWAY))
  const startMs = performance.now()
  await quiet.client.query('select 1')
  const waitedMs = performance.now() - startMs
  assert.ok(waitedMs < 20 * NEIGHBOUR_WAIT_MS, `waited ${waitedMs} ms`)
  const failure = await runaway
  assert.equal(failure.code, '57014')
  assert.match(failure.message, /kept other tenants waiting/)
  assert.match(failure.hint ?? '', /--neighbour-wait-timeout/)
  const kept = await hostile.client.query('table kept')
  assert.deepEqual(kept.rows, [{ n: 1 }], 'its session goes on')
})

test('without neighbours a statement may take its time', async () => {
  await using hostile = await connectPg(server, HOSTILE)
  const sql = `do $$ declare start timestamptz := clock_timestamp(); begin
    while clock_timestamp() < start + interval '${2 * NEIGHBOUR_WAIT_MS} ms' loop perform 1;
    end loop; end $$`
  await hostile.client.query(sql)
})

test('one connection with hundreds of statements under way lets others in', async () => {
  await using quiet = await openQuiet()
  const hostile = await WireClient.open(server.port, HOSTILE)
  let answerCount = 0
  const count = (): number => answerCount++
  const sql = `select count(*) from generate_series(1, ${await rowsFor(3)})`
  const many = Array.from({ length: 300 }, () => hostile.ask(sql).then(count))
  await many[0]
  for (let turn = 0; turn < 20; turn++) await quiet.exchange(queryMessage(POINT))
  const before = answerCount
  await Promise.all(many)
  hostile.close()
  assert.ok(before < many.length, 'nobody had to wait for all of them')
})
