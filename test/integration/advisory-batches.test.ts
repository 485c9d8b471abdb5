/**
 * Batches of which a part cannot have an advisory lock: nothing of them is done twice, nothing is
 * lost, and nobody goes on without the lock. Native Postgres waits in each of them but where it is
 * said.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type ServerProcess, startServer } from '../support/server.ts'
import { errorOf, frame, valuesOf, WireClient } from '../support/wire-client.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

const LOCK = 'select pg_advisory_lock(7)'
const SYNC = frame('S')
const FLUSH = frame('H')
const query = (sql: string): Buffer => frame('Q', `${sql}\0`)
/** A statement of a pipeline. @param rowsMax 0: all */
const step = (sql: string, rowsMax = 0): Buffer =>
  Buffer.concat([
    frame('P', `\0${sql}\0`, Buffer.alloc(2)),
    frame('B', '\0\0', Buffer.alloc(6)),
    frame('E', '\0', Buffer.from([0, 0, 0, rowsMax])),
  ])

interface Players extends AsyncDisposable {
  readonly holder: WireClient
  readonly other: WireClient
  readonly third: WireClient
}

/** The first one holds the lock. */
async function players(tenant: string): Promise<Players> {
  const [holder, other, third] = await Promise.all([
    WireClient.connect(server, tenant),
    WireClient.connect(server, tenant),
    WireClient.connect(server, tenant),
  ])
  await holder.query(`create table t (n int); create sequence s; ${LOCK}`)
  const all = [holder, other, third]
  return {
    holder,
    other,
    third,
    [Symbol.asyncDispose]: async () => {
      for (const each of all) await each[Symbol.asyncDispose]()
    },
  }
}

/** So that what it sends next comes to the backend as one batch. */
async function trust(client: WireClient): Promise<void> {
  const count = 300
  client.send(...Array.from({ length: count }, () => [step('select 1'), SYNC]).flat())
  for (let n = 0; n < count; n++) await client.answer()
}

const TRIES = 'select pg_try_advisory_lock(7)'

for (const listens of [false, true]) {
  test(`a pipeline waits at its lock${listens ? ', where others listen' : ''}`, async () => {
    await using game = await players(`pipeline-${listens}`)
    const { holder, other, third } = game
    await trust(other)
    if (listens) await third.query('listen y')
    const steps = ['insert into t values (1)', "select nextval('s')"].map((sql) => step(sql))
    other.send(...steps.flatMap((each) => [each, SYNC]), step(LOCK, 1), SYNC, step('select 1/0'))
    other.send(SYNC)
    await delay(200)
    assert.equal(await third.value('select count(*) from t'), '1', 'what came before is done')
    assert.equal(await third.value(TRIES), 'f')
    await holder.query('select pg_advisory_unlock_all()')
    for (const _ of [...steps, LOCK]) assert.equal(errorOf(await other.answer()), undefined)
    assert.match(errorOf(await other.answer()) ?? '', /22012/)
    assert.equal(await third.value(TRIES), 'f', 'it has it')
    assert.equal(await third.value('select count(*) from t'), '1', 'it was done once')
    assert.equal(await third.value('select last_value from s'), '1')
  })
}

test('of a pipeline that waited in vain the rest is run', async () => {
  await using game = await players('vain')
  const { other } = game
  await trust(other)
  await other.query('set lock_timeout = 100')
  other.send(step('select 1'), SYNC, step(LOCK), SYNC, step('insert into t values (5)'), SYNC)
  assert.deepEqual(valuesOf(await other.answer()), ['1'])
  assert.match(errorOf(await other.answer()) ?? '', /55P03/)
  assert.equal(errorOf(await other.answer()), undefined)
  assert.equal(await other.value('select n from t'), '5')
})

test('what has come before a Flush is not lost: it fails, where a server waits', async () => {
  await using game = await players('flush')
  const { other, third } = game
  other.send(step('insert into t values (1)'), FLUSH)
  await delay(150)
  assert.match(errorOf(await other.say(step(LOCK), SYNC)) ?? '', /55P03/)
  assert.equal(await third.value('select count(*) from t'), '0')
})

test('a row that the lock is wanted for is not written before', async () => {
  await using game = await players('rows')
  const { holder, other, third } = game
  const answer = other.query('insert into t select 1 from (select pg_advisory_lock(7)) as x')
  await delay(150)
  assert.equal(await third.value(TRIES), 'f')
  await holder.query('select pg_advisory_unlock_all()')
  assert.equal(errorOf(await answer), undefined)
  assert.equal(await third.value('select count(*) from t'), '1')
})

test('who catches that it was ended costs nobody the backend', async () => {
  await using game = await players('caught')
  const { holder, other, third } = game
  const caught = `do $$ begin perform pg_advisory_lock(7);
    exception when query_canceled then insert into t values (3); end $$`
  assert.equal(errorOf(await other.query(caught)), undefined)
  assert.equal(await third.value('select n from t'), '3')
  assert.equal(await holder.value('select pg_advisory_unlock(7)'), 't')
})

test('who has a cursor WITH HOLD keeps it to itself, and cannot wait', async () => {
  await using game = await players('cursor')
  const { other, third } = game
  for (const sql of [LOCK, `begin; declare d cursor with hold for select 6; commit; ${LOCK}`]) {
    await other.query('declare c cursor with hold for select 5 from generate_series(1, 9)')
    assert.match(errorOf(await other.query(sql)) ?? '', /55P03/)
    const theirs = third.value('fetch c')
    assert.equal(await other.value('fetch c'), '5')
    await other.query('close all')
    assert.match(await theirs, /34000/)
  }
})

test('what a query has prepared or closed cannot be done anew', async () => {
  await using game = await players('prepared')
  const { other } = game
  assert.match(errorOf(await other.query(`prepare p as select 1; ${LOCK}`)) ?? '', /55P03/)
  assert.equal(await other.value('execute p'), '1', 'as in a server')
  assert.match(errorOf(await other.query(`deallocate p; ${LOCK}`)) ?? '', /55P03/)
})

test('limits that are set where the lock is wanted count', async () => {
  await using game = await players('limits')
  const { other } = game
  for (const sql of [
    `set lock_timeout = 100; ${LOCK}`,
    `begin; set local lock_timeout = 100; ${LOCK}; commit`,
  ]) {
    other.send(query(sql))
    assert.match(errorOf(await other.answer()) ?? '', /55P03/)
    await other.query('rollback')
    assert.equal(await other.value('show lock_timeout'), '0')
  }
})
