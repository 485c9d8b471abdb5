/**
 * A shard serves others while a statement takes its time, against the shipped program with one
 * shard. What is counted is what comes to pass before the statement ends, not milliseconds.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type ServerProcess, startServer } from '../support/server.ts'

/** Seconds, on any machine. */
const LONG = 'select count(*) from generate_series(1, 5000) a, generate_series(1, 1000) b'
const ENDLESS = 'select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b'
/** Of a neighbour, that are answered meanwhile; it would be one or none. */
const SERVED_MIN = 20
/** A drop takes some milliseconds; the statement that it ends would take ten minutes. */
const LATE_MS = 60_000

let server: ServerProcess

before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '4'] })
})

after(() => server[Symbol.asyncDispose]())

async function connected(tenant: string, at: ServerProcess = server): Promise<pg.Client> {
  const client = new pg.Client(at.url(tenant))
  client.on('error', () => {})
  await client.connect()
  await client.query('select 1')
  return client
}

/** Until a statement of `tenant` has paused: before, nobody hears of it. */
async function untilActive(tenant: string, at: ServerProcess): Promise<void> {
  const admin = new pg.Client(at.url('pgnap'))
  await admin.connect()
  const isActive = async (): Promise<boolean> => {
    const { rows } = await admin.query<{ database: string; state: string }>('show servers')
    return rows.some(({ database, state }) => database === tenant && state === 'active')
  }
  while (!(await isActive()));
  await admin.end()
}

/** What the console shows of everybody, for whoever has to find out why a test has failed. */
async function consoleSees(): Promise<string> {
  const admin = new pg.Client(server.url('pgnap'))
  await admin.connect()
  const seen: unknown[] = []
  for (const table of ['servers', 'clients', 'pools']) {
    seen.push(...(await admin.query<Record<string, unknown>>(`show ${table}`)).rows)
  }
  await admin.end()
  return seen.map((row) => JSON.stringify(row)).join('\n')
}

/** Runs it, and says when it has ended. */
function start(
  client: pg.Client,
  sql: string,
): { readonly ended: Promise<unknown>; isOver: boolean } {
  const state = { ended: Promise.resolve() as Promise<unknown>, isOver: false }
  state.ended = client.query(sql).then(
    ({ rows }: { rows: unknown[] }) => rows[0],
    (error: unknown) => error,
  )
  void state.ended.then(() => (state.isOver = true))
  return state
}

test('neighbours of two long statements are served all the time, also over HTTP', async () => {
  const [one, two, neighbour] = [
    await connected('long-1'),
    await connected('long-2'),
    await connected('neighbour'),
  ]
  await neighbour.query('create table t (n int)')
  const long = [start(one, LONG), start(two, `do $$ begin perform (${LONG}); end $$`)]
  let served = 0
  while (!long.some(({ isOver }) => isOver)) {
    await neighbour.query('insert into t values ($1)', [served++])
    if (served === 3) {
      const answer = await server.request('/v1/tenants/newcomer/query', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ sql: 'select 7 as n' }),
      })
      assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ n: 7 }])
    }
  }
  assert.ok(served >= SERVED_MIN, `${served} statements were served`)
  assert.deepEqual(await long[0]?.ended, { count: '5000000' })
  assert.equal(await long[1]?.ended, undefined)
  const { rows } = await neighbour.query('select count(*)::int as n from t')
  assert.deepEqual(rows, [{ n: served }])
  for (const client of [one, two, neighbour]) await client.end()
})

test('it ends by its timeout, by a cancel request and with its client', async () => {
  const [one, neighbour] = [await connected('ends'), await connected('ends-neighbour')]
  await one.query(`set statement_timeout = '200ms'`)
  const late = (await start(one, ENDLESS).ended) as pg.DatabaseError
  assert.match(late.message, /statement timeout/)
  await one.query('set statement_timeout = 0')
  const canceled = start(one, ENDLESS)
  await neighbour.query('select 1')
  const { processID, secretKey } = one as unknown as Record<'processID' | 'secretKey', number>
  const request = connect(server.port, '127.0.0.1')
  const words = Int32Array.of(16, 80_877_102, processID, secretKey)
  request.end(Buffer.from(words.buffer).swap32())
  assert.equal(((await canceled.ended) as pg.DatabaseError).code, '57014')
  const left = start(one, ENDLESS)
  await neighbour.query('select 1')
  ;(one as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  await left.ended
  const next = await connected('ends')
  assert.equal((await next.query('select 5 as n')).rows[0].n, 5)
  for (const client of [next, neighbour]) await client.end()
})

test('what can pause goes as deep as what cannot, and ends in an error of its own', async () => {
  const [one, neighbour] = [await connected('deep'), await connected('deep-neighbour')]
  await one.query(
    `create function deep(n int) returns int language plpgsql as $$ begin
       if n = 0 then perform pg_sleep(0.3); return 0; end if;
       return 1 + deep(n - 1);
     end $$`,
  )
  const deep = start(one, 'select deep(1000)')
  let served = 0
  while (!deep.isOver) {
    await neighbour.query('select 1')
    served++
  }
  assert.deepEqual(await deep.ended, { deep: 1000 })
  assert.ok(served >= SERVED_MIN, `${served} statements were served`)
  const deepest = (await start(one, 'select deep(5000)').ended) as pg.DatabaseError
  assert.equal(deepest.code, '54001')
  const { rows } = await one
    .query(`select length(repeat('[', 20000)::json::text)`)
    .catch((error: pg.DatabaseError) => ({ rows: [error.code] }))
  assert.deepEqual(rows, ['22P02'])
  const sum = await one.query(`select ${Array.from({ length: 3000 }, () => 1).join('+')} as n`)
  assert.deepEqual(sum.rows, [{ n: 3000 }])
  for (const client of [one, neighbour]) await client.end()
})

test('what reads pg_database in its own way pauses, and leaves them all in sight', async () => {
  const [one, neighbour] = [await connected('tidy'), await connected('tidy-neighbour')]
  const count = 'select count(*)::int as n from pg_database'
  const seen = (await one.query(count)).rows
  assert.ok(seen[0].n > 1, 'other tenants are in sight')
  await one.query('create table t as select i, md5(i::text) from generate_series(1, 300000) i')
  let served = 0
  for (const sql of ['analyze t', 'vacuum full t', 'analyze']) {
    const long = start(one, sql)
    for (; !long.isOver; served++) await neighbour.query('select 1')
    assert.equal(await long.ended, undefined)
  }
  assert.ok(served >= SERVED_MIN, `${served} statements were served`)
  const caught = `do $$ begin analyze nowhere; exception when undefined_table then null; end $$`
  for (const sql of ['analyze t', caught]) {
    const results = (await one.query(`${sql}; ${count}`)) as unknown as pg.QueryResult[]
    assert.deepEqual(results[1]?.rows, seen, sql)
  }
  for (const client of [one, neighbour]) await client.end()
})

test('one slot is always left for others: what would take it runs in one go', async () => {
  const flags = ['--shards', '1', '--slots', '2', '--neighbour-wait-timeout', '500ms']
  await using small = await startServer({ flags })
  const clients: pg.Client[] = []
  for (const tenant of ['first', 'second', 'third']) clients.push(await connected(tenant, small))
  const [first, second, third] = clients as [pg.Client, pg.Client, pg.Client]
  const paused = start(first, ENDLESS)
  // It may have to wait for a slot, and whoever begins before it would be the one to pause.
  await untilActive('first', small)
  await third.query('select 1')
  const refused = (await start(second, ENDLESS).ended) as pg.DatabaseError
  assert.equal(refused.code, '57014')
  assert.match(refused.message, /kept other tenants waiting/)
  assert.equal(paused.isOver, false)
  assert.equal((await third.query('select 5 as n')).rows[0].n, 5)
  first.end().catch(() => {})
  ;(first as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  for (const client of [second, third]) await client.end()
})

/** So much work, in units that are much longer than a slice on any machine. */
function unitsOfWork(count: number): string {
  return `select count(*) from generate_series(1, ${500 * count}) a, generate_series(1, 1000) b`
}

test('what has paused has its share beside what runs in one go', async () => {
  await using small = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
  const [one, other] = [await connected('pauses', small), await connected('in-one-go', small)]
  const units = 12
  const long = start(one, unitsOfWork(units))
  await untilActive('pauses', small)
  let served = 0
  // With as much of the thread for either, as many units of both are done at the same time.
  for (; !long.isOver && served < 3 * units; served++) await other.query(unitsOfWork(1))
  assert.ok(long.isOver, `it was behind ${served} statements, each of which is ${units} times less`)
  assert.ok(served >= units / 4, `${served} statements were served`)
  for (const client of [one, other]) await client.end()
})

test('its tenant can be dropped, by force, and others hear nothing of it', async () => {
  const [one, admin] = [await connected('doomed'), await connected('admin')]
  const long = start(one, ENDLESS)
  const drop = admin
    .query('select 1')
    .then(() => admin.query('drop database doomed with (force)'))
    .then(() => 'dropped')
  const late = sleep(LATE_MS, 'late', { ref: false })
  // To wait for its end, in some ten minutes, would tell nothing of what has held it up.
  const dropped = await Promise.race([drop, late])
  const ended = await Promise.race([long.ended, late])
  const silent = sleep(LATE_MS / 4, 'the console does not answer', { ref: false })
  const seen = ended === 'late' ? await Promise.race([consoleSees(), silent]) : ''
  assert.equal(dropped, 'dropped', seen)
  assert.equal((ended as pg.DatabaseError).code, '57P01', seen)
  const anew = await connected('doomed')
  assert.equal((await anew.query('select 5 as n')).rows[0].n, 5)
  for (const client of [anew, admin]) await client.end()
})

test('a server that is told to end does, whatever pauses in it', async () => {
  await using ending = await startServer({ flags: ['--shards', '1'] })
  const client = new pg.Client(ending.url('busy'))
  client.on('error', () => {})
  await client.connect()
  const long = start(client, 'select pg_sleep(1000)')
  await ending.request('/v1/tenants/other/query', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'select 1' }),
  })
  const { status } = await ending.stop()
  assert.equal(status, 0)
  assert.ok((await long.ended) instanceof Error)
})
