/**
 * What pools of connections say to make a session as new before they lend it again, beside an open
 * transaction of another client that has written: it touches nobody else, so it waits for nobody.
 * Each test begins with what native Postgres answers.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectPg, type PgConnection } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { frame, WireClient, type WireMessage } from '../support/wire-client.ts'

/** Far beyond what a fork takes, and far below any limit of waiting. */
const BOUNDED_MS = 3_000
let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '3', '--nap-after', '1h'] })
})
after(() => server[Symbol.asyncDispose]())

/** As asyncpg's `Connection.get_reset_query()` says it. */
const ASYNCPG = 'SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;'

async function bounded<Result>(work: Promise<Result>, what: string): Promise<Result> {
  const done = new AbortController()
  const late = delay(BOUNDED_MS, undefined, { ref: false, signal: done.signal })
  const failed = late.then(() => assert.fail(`it waits: ${what}`))
  failed.catch(() => {})
  try {
    return await Promise.race([work, failed])
  } finally {
    done.abort()
  }
}

/** Types of messages, with the tags of commands and values of rows. */
function told(messages: readonly WireMessage[]): string[] {
  return messages
    .filter(({ type }) => type !== 'S' && type !== 'N')
    .map(({ type, body }) => {
      if (type === 'C') return body.toString('latin1').slice(0, -1)
      if (type === 'E') return /\0C(\w+)\0/.exec(body.toString('latin1'))?.[1] ?? 'E'
      return type === 'Z' ? `Z${body.toString('latin1')}` : type
    })
}

/** A client in a transaction that has written. */
async function holder(tenant: string): Promise<PgConnection> {
  const one = await connectPg(server, tenant)
  await one.client.query('create table t(n int); create sequence s')
  return one
}

const begin = (one: PgConnection): Promise<unknown> =>
  one.client.query('begin; insert into t values (1)')

test('the answers are those of Postgres, and come at once', async () => {
  await using one = await holder('answers')
  await begin(one)
  await using other = await WireClient.connect(server, 'answers')
  const expected: [string, string[]][] = [
    ['DISCARD ALL', ['DISCARD ALL', 'ZI']],
    ['DISCARD PLANS', ['DISCARD PLANS', 'ZI']],
    ['DISCARD TEMP', ['DISCARD TEMP', 'ZI']],
    ['DISCARD SEQUENCES', ['DISCARD SEQUENCES', 'ZI']],
    ['CLOSE ALL', ['CLOSE CURSOR ALL', 'ZI']],
    ['UNLISTEN *', ['UNLISTEN', 'ZI']],
    ['UNLISTEN nothing', ['UNLISTEN', 'ZI']],
    ['DEALLOCATE ALL', ['DEALLOCATE ALL', 'ZI']],
    ['DEALLOCATE missing', ['26000', 'ZI']],
    ['RESET ALL', ['RESET', 'ZI']],
    ['SELECT pg_advisory_unlock_all()', ['T', 'D', 'SELECT 1', 'ZI']],
    ['SELECT pg_advisory_unlock(1)', ['T', 'D', 'SELECT 1', 'ZI']],
    [ASYNCPG, ['T', 'D', 'SELECT 1', 'CLOSE CURSOR ALL', 'UNLISTEN', 'RESET', 'ZI']],
    ['DISCARD ALL; SELECT 1', ['25001', 'ZI']],
  ]
  for (const [sql, answer] of expected) {
    for (let times = 0; times < 4; times++) {
      assert.deepEqual(told(await bounded(other.query(sql), sql)), answer, sql)
    }
  }
  const extended = [
    frame('P', '\0DISCARD ALL\0', Buffer.alloc(2)),
    frame('B', '\0\0', Buffer.alloc(6)),
    frame('E', '\0', Buffer.alloc(4)),
    frame('S'),
  ]
  const answer = await bounded(other.say(...extended), 'extended')
  assert.deepEqual(told(answer), ['1', '2', 'DISCARD ALL', 'ZI'])
  assert.equal(await other.value('select count(*) from t'), '0')
  await one.client.query('rollback')
})

for (const [name, reset] of [
  ['asyncpg', ASYNCPG],
  ['DISCARD ALL', 'DISCARD ALL'],
] as const) {
  test(`a session is as new after the reset of ${name}, then and later`, async () => {
    const tenant = `new-${name === 'asyncpg' ? name : 'discard'}`
    await using one = await holder(tenant)
    await using other = await connectPg(server, tenant)
    await using third = await connectPg(server, tenant)
    await third.client.query('listen shared')
    const heard: string[] = []
    other.client.on('notification', ({ channel }) => void heard.push(channel))
    await other.client.query(`set timezone = 'Asia/Tokyo'; listen own; listen shared`)
    await other.client.query(`select pg_advisory_lock(7), pg_advisory_lock_shared(8)`)
    await other.client.query(`select nextval('s')`)
    await other.client.query('prepare sql_made as select 1')
    const prepared = { name: 'driver_made', text: 'select 2' }
    await other.client.query(prepared)
    await begin(one)
    await bounded(other.client.query(reset), reset)
    const isAll = reset === 'DISCARD ALL'
    const check = async (when: string): Promise<void> => {
      assert.equal(await bounded(other.value('show timezone'), when), 'UTC', when)
      const names = 'select name from pg_prepared_statements order by 1'
      const left = isAll ? [] : ['driver_made', 'sql_made']
      assert.deepEqual(await bounded(other.column(names), when), left, when)
      const execution = other.client.query('execute sql_made')
      if (isAll) await assert.rejects(bounded(execution, when), { code: '26000' }, when)
      else assert.equal((await bounded(execution, when)).rows.length, 1, when)
      const known = bounded(other.value(`select currval('s')`), when)
      if (isAll) await assert.rejects(known, { code: '55000' }, when)
      else assert.equal(await known, '1', when)
    }
    await check('beside the transaction')
    await one.client.query('commit')
    await check('after it')
    await third.client.query(`select pg_notify('own', ''), pg_notify('shared', '')`)
    await other.client.query('select 1')
    assert.deepEqual(heard, [])
    assert.equal(await third.value('select pg_try_advisory_lock(7)'), true)
    await other.client.query('listen own')
    await third.client.query('notify own')
    await other.client.query('select 1')
    assert.deepEqual(heard, ['own'])
    assert.deepEqual(await other.column('select pg_listening_channels() order by 1'), [
      'own',
      'shared',
    ])
  })
}

test('a lock that is given back beside a transaction is for whoever waits for it', async () => {
  await using one = await holder('locks')
  await using other = await connectPg(server, 'locks')
  await using third = await connectPg(server, 'locks')
  await other.client.query('select pg_advisory_lock(1), pg_advisory_lock(2), pg_advisory_lock(2)')
  const waits = third.value('select pg_advisory_lock(1)')
  await begin(one)
  assert.equal(await bounded(other.value('select pg_advisory_unlock(1)'), 'unlock'), true)
  assert.equal(await bounded(other.value('select pg_advisory_unlock(1)'), 'unlock'), false)
  assert.equal(await bounded(other.value('select pg_advisory_unlock(2)'), 'unlock'), true)
  await one.client.query('commit')
  await bounded(waits, 'the lock')
  assert.equal(await third.value('select pg_try_advisory_lock(2)'), false, 'it was taken twice')
  assert.equal(await other.value('select pg_advisory_unlock(2)'), true)
  assert.equal(await third.value('select pg_try_advisory_lock(2)'), true)
})

test('statements are forgotten by name, one after the other, and made again', async () => {
  await using one = await holder('names')
  await using other = await connectPg(server, 'names')
  await other.client.query('prepare a as select 1; prepare b as select 2')
  await begin(one)
  await bounded(other.client.query('deallocate a'), 'a')
  await assert.rejects(bounded(other.client.query('execute a'), 'a'), { code: '26000' })
  await bounded(other.client.query({ name: 'c', text: 'select 3' }), 'c')
  await bounded(other.client.query('deallocate all'), 'all')
  await bounded(other.client.query({ name: 'd', text: 'select 4' }), 'd')
  await one.client.query('rollback')
  const names = 'select name from pg_prepared_statements order by 1'
  assert.deepEqual(await other.column(names), ['d'])
})

test('what is said in a transaction that is rolled back was not said', async () => {
  await using one = await holder('undone')
  await using other = await connectPg(server, 'undone')
  const heard: string[] = []
  other.client.on('notification', ({ channel }) => void heard.push(channel))
  await other.client.query('listen own; prepare a as select 1')
  await begin(one)
  await bounded(other.client.query('begin; deallocate a; rollback'), 'deallocate')
  const undone = other.client.query('begin; unlisten own; rollback')
  await bounded(undone, 'unlisten')
  await one.client.query('notify own; commit')
  await other.client.query('select 1')
  assert.deepEqual(heard, ['own'])
  await assert.rejects(other.client.query('execute a'), { code: '26000' })
})
