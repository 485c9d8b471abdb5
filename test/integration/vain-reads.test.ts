/**
 * What looks like a read and is none, beside another client's open transaction: it waits, and
 * keeps nobody else from reading, from connecting, and from ending what has failed.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

/** Far beyond what a fork takes, and far below any limit of waiting. */
const BOUNDED_MS = 3_000
let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '3', '--nap-after', '1h'] })
})
after(() => server[Symbol.asyncDispose]())

async function bounded<Result>(work: Promise<Result>, what: string): Promise<Result> {
  const timer = new AbortController()
  const late = delay(BOUNDED_MS, undefined, { ref: false, signal: timer.signal }).then(
    () => assert.fail(`it waits: ${what}`),
    () => assert.fail('nobody listens'),
  )
  try {
    return await Promise.race([work, late])
  } finally {
    late.catch(() => {})
    timer.abort()
  }
}

async function forks(): Promise<{ made: number; withheld: number }> {
  const answer = await server.request('/v1/pool')
  return ((await answer.json()) as { forks: Awaited<ReturnType<typeof forks>> }).forks
}

/** Ends by its own limit, as it would in a server whose row or lock is taken. */
const KINDS: readonly string[] = [
  'select * from t for update',
  'select * from t for no key update of t skip locked',
  `select nextval('s')`,
  'select pg_try_advisory_xact_lock(1)',
  `select pg_notify('news', 'once')`,
  'select count(*) from pg_locks',
  'select pg_current_snapshot()',
  'select writes($1::int)',
  'select * from hidden_locks',
]

const SETUP = `create table t(n int); insert into t values (1); create sequence s;
  create view hidden_locks as select * from pg_locks;
  create function writes(n int) returns int language plpgsql as
    $$ begin insert into t values (n); return n; end $$`

test('four of each, and others still read, connect, and end what has failed', async () => {
  await using one = await connectPg(server, 'vain')
  await one.client.query(SETUP)
  await one.client.query('begin; insert into t values (2)')
  for (const kind of KINDS) {
    await using other = await connectPg(server, 'vain')
    // Of a slow machine longer than a fork takes, for which those that do read wait.
    await other.client.query(`set lock_timeout = '150ms'`)
    const before = await forks()
    for (let times = 0; times < 4; times++) {
      const values = kind.includes('$1') ? [times] : []
      const failure = await failureOf(bounded(other.client.query(kind, values), kind))
      assert.equal(failure.code, '55P03', kind)
      assert.equal(await bounded(other.value('select count(*) from t'), `after ${kind}`), '1')
    }
    const { made, withheld } = await forks()
    assert.ok(withheld - before.withheld <= 1, `${kind}: ${withheld - before.withheld} in vain`)
    assert.ok(made - before.made <= 2, `${kind}: ${made - before.made} forks`)
    await using newcomer = await bounded(connectPg(server, 'vain'), `to connect after ${kind}`)
    assert.equal(await bounded(newcomer.value('select count(*) from t'), 'a newcomer'), '1')
  }
  await one.client.query('rollback')
  assert.equal(await one.value('select count(*) from t'), '1')
})

test('what is so for one client alone is not held against the words', async () => {
  await using one = await connectPg(server, 'alone')
  await using own = await connectPg(server, 'alone')
  await using other = await connectPg(server, 'alone')
  await one.client.query('create table t(n int)')
  // Each COMMIT of what has to do with it empties it anew.
  await own.client.query(`create temp table t(n int) on commit delete rows`)
  await own.client.query(`set lock_timeout = '30ms'`)
  await one.client.query('begin; insert into t values (1)')
  const failure = await failureOf(bounded(own.value('select count(*) from t'), 'its own'))
  assert.equal(failure.code, '55P03')
  assert.equal(await bounded(other.value('select count(*) from t'), 'the same words'), '0')
  await one.client.query('rollback')
})

test('whoever does it again and again, in other words each time, is not in the way', async () => {
  await using one = await connectPg(server, 'again')
  await one.client.query(SETUP)
  await one.client.query('begin; insert into t values (2)')
  await using nuisances = beNuisances(2)
  await using reader = await connectPg(server, 'again')
  const startMs = performance.now()
  const times: number[] = []
  while (performance.now() - startMs < 1_500) {
    const sinceMs = performance.now()
    assert.equal(await bounded(reader.value('select count(*) from t'), 'a reader'), '1')
    times.push(performance.now() - sinceMs)
  }
  // How many forks are made in vain for them, `pool-state.test.ts` shows.
  assert.ok(Math.max(...times) < 1_500, `${Math.max(...times)} ms`)
  await using newcomer = await bounded(connectPg(server, 'again'), 'a newcomer')
  assert.equal(await newcomer.value('select 1'), 1)
  await nuisances[Symbol.asyncDispose]()
  await one.client.query('rollback')
})

/** Clients that try to write, in other words each time, until they are disposed of. */
function beNuisances(count: number): AsyncDisposable {
  let isOver = false
  const nuisance = async (): Promise<void> => {
    await using other = await connectPg(server, 'again')
    await other.client.query(`set lock_timeout = '5ms'`)
    for (let times = 0; !isOver; times++) {
      await failureOf(other.client.query(`select writes(${times})`))
    }
  }
  const all = Promise.all(Array.from({ length: count }, nuisance))
  return {
    [Symbol.asyncDispose]: async () => {
      isOver = true
      await all
    },
  }
}

test('a transaction that has failed while it waited is ended at once', async () => {
  await using one = await connectPg(server, 'failed')
  // There is no fork for a tenant with such a table.
  await one.client.query('create unlogged table t(n int)')
  await using other = await connectPg(server, 'failed')
  await other.client.query(`set lock_timeout = '30ms'`)
  const ends = ['rollback', 'ROLLBACK;', 'abort work', 'commit', { text: 'rollback', values: [] }]
  for (const end of ends) {
    await other.client.query('begin')
    await other.client.query('select 1')
    await one.client.query('begin; insert into t values (2)')
    const failure = await failureOf(bounded(other.client.query('select 2'), 'its limit'))
    assert.equal(failure.code, '55P03')
    const ended = await bounded(other.client.query(end), JSON.stringify(end))
    assert.equal(ended.command, 'ROLLBACK')
    await one.client.query('rollback')
    assert.equal(await bounded(other.value('select count(*) from t'), 'afterwards'), '0')
  }
})
