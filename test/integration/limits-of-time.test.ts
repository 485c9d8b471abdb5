/**
 * Whatever ends a statement or a session before its time: a cancel request, the timeouts of its
 * session. As native Postgres does it, also where clients share a backend.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { concatBytes } from '../../src/base/bytes.ts'
import { cancelPg, connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { say } from '../support/messages.ts'
import { NOTHING_PAUSES, type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

/** What holds a backend for ever if nobody ends it. */
const ENDLESS: Readonly<Record<string, string>> = {
  'a sleep': 'select pg_sleep(1000)',
  'a computing loop': 'select count(*) from generate_series(1, 100000000000)',
  'a plpgsql loop': 'do $$ begin loop null; end loop; end $$',
  'a join': 'select count(*) from pg_attribute a, pg_attribute b, pg_attribute c',
  'a sort in memory':
    'select count(*) from (select 1 from pg_proc a, pg_proc b order by a.oid, b.oid) x',
}

describe('a cancel request', () => {
  for (const [what, sql] of Object.entries(ENDLESS)) {
    test(`ends ${what}, and the session goes on`, async () => {
      await using one = await connectPg(server, 'cancel')
      const running = failureOf(one.client.query(sql))
      await delay(100)
      await cancelPg(server, one)
      const { code, message } = await running
      assert.equal(code, '57014')
      assert.equal(message, 'canceling statement due to user request')
      assert.equal(await one.value('select 1'), 1)
    })
  }

  test('in a transaction fails that', async () => {
    await using one = await connectPg(server, 'cancel-open')
    await one.client.query('create table t (n int)')
    await one.client.query('begin; insert into t values (1)')
    const running = failureOf(one.client.query('select pg_sleep(1000)'))
    await delay(100)
    await cancelPg(server, one)
    assert.equal((await running).code, '57014')
    assert.equal((await failureOf(one.client.query('select 1'))).code, '25P02')
    await one.client.query('rollback')
    assert.equal(await one.value('select count(*)::int from t'), 0)
  })

  test('with a wrong key, or for somebody else, does nothing', async () => {
    await using one = await connectPg(server, 'cancel-wrong')
    await using other = await connectPg(server, 'cancel-other')
    const running = one.value('select pg_sleep(1)::text')
    await delay(100)
    await cancelPg(server, one, { wrong: 1 })
    await cancelPg(server, other)
    assert.equal(await running, '')
    assert.equal(await other.value('select 1'), 1)
  })

  test('reaches a client that waits for another one of its tenant', async () => {
    await using one = await connectPg(server, 'cancel-waiting')
    await using other = await connectPg(server, 'cancel-waiting')
    await one.client.query('begin; savepoint s')
    const waiting = failureOf(other.client.query('create table late()'))
    await delay(50)
    await cancelPg(server, other)
    assert.equal((await waiting).code, '57014')
    await one.client.query('commit')
    assert.equal(await other.value('select 2'), 2)
  })

  test('reaches a client that waits for its thread, when its turn has come', async () => {
    await using held = await startServer({ flags: NOTHING_PAUSES })
    await using one = await connectPg(held, 'cancel-turn-one')
    await using other = await connectPg(held, 'cancel-turn-other')
    await other.value('select 1')
    const before = one.value('select pg_sleep(0.7)::text')
    await delay(100)
    // Sent while the shard is held, so that it begins before anything else is heard there.
    const running = failureOf(other.client.query('select pg_sleep(1000)'))
    await delay(100)
    await cancelPg(held, other)
    assert.equal(await before, '')
    assert.equal((await running).code, '57014')
  })

  test('reaches what its thread reads later, and what then has to wait', async () => {
    await using held = await startServer({ flags: NOTHING_PAUSES })
    await using one = await connectPg(held, 'cancel-held-one')
    await one.value('select 1')
    const other = await Promise.all([1, 2, 3].map((n) => connectPg(held, `cancel-new-${n}`)))
    const before = one.value('select pg_sleep(0.7)::text')
    await delay(100)
    // Their tenants have yet to be made.
    const running = other.map((each) => failureOf(each.client.query('select pg_sleep(1000)')))
    await Promise.all(other.map((each) => cancelPg(held, each)))
    assert.equal(await before, '')
    for (const each of running) assert.equal((await each).code, '57014')
    for (const each of other) await each[Symbol.asyncDispose]()
  })

  test('does not reach what is sent after it, however late both are heard', async () => {
    await using held = await startServer({ flags: NOTHING_PAUSES })
    await using one = await connectPg(held, 'cancel-later-one')
    await using warm = await connectPg(held, 'cancel-later-warm')
    await using fresh = await connectPg(held, 'cancel-later-fresh')
    await Promise.all([one.value('select 1'), warm.value('select 1')])
    const before = one.value('select pg_sleep(0.7)::text')
    await delay(100)
    await Promise.all([warm, fresh].map((each) => cancelPg(held, each)))
    const later = [warm, fresh].map((each) => each.value('select pg_sleep(0.3)::text'))
    assert.equal(await before, '')
    assert.deepEqual(await Promise.all(later), ['', ''])
  })

  test('ends what began as a read beside a transaction, and turned out to write', async () => {
    await using one = await connectPg(server, 'cancel-fork')
    await using other = await connectPg(server, 'cancel-fork')
    await one.client.query('create table t (n int)')
    await one.client.query(
      `create function write_and_sleep() returns void language plpgsql as
       'begin insert into t values (1); perform pg_sleep(1000); end'`,
    )
    const withheld = async (): Promise<number> => {
      const answer = await server.request('/v1/pool')
      return ((await answer.json()) as { forks: { withheld: number } }).forks.withheld
    }
    const before = await withheld()
    await one.client.query('begin; savepoint s')
    const running = failureOf(other.client.query('select write_and_sleep()'))
    await delay(200)
    await cancelPg(server, other)
    const { code, message } = await running
    assert.deepEqual([code, message], ['57014', 'canceling statement due to user request'])
    assert.equal(await withheld(), before + 1, 'it ran in a copy')
    await one.client.query('commit')
    assert.equal(await other.value('select count(*)::int from t'), 0)
  })

  test('is what a client of HTTP means that goes away', async () => {
    const leaving = new AbortController()
    const body = JSON.stringify({ sql: ENDLESS['a plpgsql loop'] })
    const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
    const asked = server.request('/v1/tenants/http/query', { ...post, signal: leaving.signal })
    await delay(300)
    leaving.abort()
    await assert.rejects(asked, { name: 'AbortError' })
    await using one = await connectPg(server, 'http')
    assert.equal(await one.value('select 1'), 1, 'nobody holds the backend')
  })

  test('never meets another statement than its own', async () => {
    await using victim = await connectPg(server, 'cancel-storm')
    await using beside = await connectPg(server, 'cancel-storm')
    await using elsewhere = await connectPg(server, 'cancel-storm-elsewhere')
    const counts = { cancelled: 0, done: 0 }
    let over = false
    const busy = async ({ client }: PgConnection): Promise<void> => {
      while (!over) await client.query('select count(*) from generate_series(1, 2000)')
    }
    const hit = async (): Promise<void> => {
      while (!over) {
        try {
          await victim.client.query('select count(*) from generate_series(1, 2000)')
          counts.done++
        } catch (error) {
          assert.equal((error as { code?: string }).code, '57014')
          counts.cancelled++
        }
      }
    }
    const storm = async (): Promise<void> => {
      for (let count = 0; count < 300; count++) await cancelPg(server, victim)
      over = true
    }
    await Promise.all([busy(beside), busy(elsewhere), hit(), storm()])
    assert.ok(counts.done > 0, 'not all of them are too late')
  })
})

describe('statement_timeout', () => {
  for (const [what, sql] of Object.entries(ENDLESS)) {
    test(`ends ${what}, and the session goes on`, async () => {
      await using one = await connectPg(server, 'statement')
      await one.client.query(`set statement_timeout = '200ms'`)
      const { code, message } = await failureOf(one.client.query(sql))
      assert.equal(code, '57014')
      assert.equal(message, 'canceling statement due to statement timeout')
      assert.equal(await one.value('select 1'), 1)
    })
  }

  test('counts for each statement of a query, from where it is set on', async () => {
    await using one = await connectPg(server, 'statement-each')
    const sql = `set statement_timeout = '700ms'; select pg_sleep(0.4); select pg_sleep(0.4)`
    await one.client.query(sql)
    const { code } = await failureOf(one.client.query('select pg_sleep(0.4); select pg_sleep(9)'))
    assert.equal(code, '57014')
    await one.client.query(`begin; set local statement_timeout = 0; select pg_sleep(0.8); commit`)
  })

  test('is the session’s own, and comes from options too', async () => {
    await using one = await connectPg(server, 'statement-own', { statement_timeout: 150 })
    await using other = await connectPg(server, 'statement-own')
    assert.equal((await failureOf(one.client.query('select pg_sleep(9)'))).code, '57014')
    await other.client.query('select pg_sleep(0.4)')
    assert.equal((await failureOf(one.client.query('select pg_sleep(9)'))).code, '57014')
  })

  test('a user’s cancel after it is a user’s cancel', async () => {
    await using one = await connectPg(server, 'statement-then')
    await one.client.query(`set statement_timeout = '100ms'`)
    assert.equal((await failureOf(one.client.query('select pg_sleep(9)'))).code, '57014')
    await one.client.query('set statement_timeout = 0')
    const running = failureOf(one.client.query('select pg_sleep(1000)'))
    await delay(100)
    await cancelPg(server, one)
    assert.equal((await running).message, 'canceling statement due to user request')
  })

  test('and lock_timeout count while another client keeps the backend', async () => {
    await using one = await connectPg(server, 'waiting')
    await using other = await connectPg(server, 'waiting')
    await other.client.query(`set statement_timeout = '200ms'`)
    await one.client.query('begin; savepoint s')
    const late = await failureOf(other.client.query('create table late()'))
    assert.deepEqual(
      [late.code, late.message],
      ['57014', 'canceling statement due to statement timeout'],
    )
    await one.client.query('commit')
    await other.client.query(`set lock_timeout = '100ms'`)
    await one.client.query('begin; savepoint s')
    const locked = await failureOf(other.client.query('create table late()'))
    assert.deepEqual(
      [locked.code, locked.message],
      ['55P03', 'canceling statement due to lock timeout'],
    )
    await one.client.query('commit')
    assert.equal(await other.value('select 1'), 1)
  })
})

const LOOP = 'do $$ begin loop end loop; end $$'
const CATCHING = `do $$ begin
  begin perform pg_sleep(1000); exception when query_canceled then null; end;
  perform pg_sleep(1000);
end $$`

type Ended = (Error & { readonly code?: string }) | undefined

/** Asks for the FATAL error with which a connection was sent away; undefined if it is there. */
function endOf({ client }: PgConnection): () => Ended {
  let end: Ended
  client.on('error', (error) => (end ??= error))
  return () => end
}

describe('sessions', () => {
  test('idle_in_transaction_session_timeout: rolled back and sent away, others go on', async () => {
    const one = await connectPg(server, 'idle-open')
    await using other = await connectPg(server, 'idle-open')
    const end = endOf(one)
    await one.client.query(`set idle_in_transaction_session_timeout = '300ms'`)
    await one.client.query('create table t (n int)')
    await one.client.query('begin; insert into t values (1)')
    await delay(200)
    await one.client.query('insert into t values (2)')
    await delay(200)
    assert.equal(end(), undefined, 'the time begins with each batch anew')
    assert.equal(await other.value('select count(*)::int from t'), 0)
    const waited = 'insert into t select count(*) from t returning n'
    assert.equal(await other.value(waited), 0, 'it has waited')
    await delay(50)
    assert.equal(end()?.code, '25P03')
    assert.match(end()?.message ?? '', /due to idle-in-transaction timeout/)
  })

  test('idle_session_timeout, also while the tenant naps', async () => {
    await using idle = await connectPg(server, 'idle')
    await using busy = await connectPg(server, 'idle')
    const end = endOf(idle)
    await idle.client.query(`set idle_session_timeout = '400ms'`)
    await busy.client.query(`set idle_session_timeout = '400ms'`)
    const nap = await server.request('/v1/tenants/idle/nap', { method: 'POST' })
    assert.equal(nap.status, 200)
    for (let turn = 0; turn < 8; turn++) {
      await delay(100)
      await busy.client.query('select 1')
    }
    assert.equal(end()?.code, '57P05')
    assert.equal(await busy.value('show idle_session_timeout'), '400ms')
  })

  test('transaction_timeout: while it is idle, and while it runs something', async () => {
    await using one = await connectPg(server, 'transaction')
    const end = endOf(one)
    await one.client.query(`set transaction_timeout = '400ms'; create table t (n int)`)
    await one.client.query('begin; insert into t values (1)')
    for (let turn = 0; turn < 20 && !end(); turn++) {
      await delay(100)
      if (!end()) await one.client.query('select 1').catch(() => {})
    }
    assert.equal(end()?.code, '25P04')

    await using other = await connectPg(server, 'transaction')
    const ended = endOf(other)
    assert.equal(await other.value('select count(*)::int from t'), 0)
    await other.client.query(`set transaction_timeout = '200ms'`)
    await other.client.query('begin; insert into t values (1)')
    assert.equal((await failureOf(other.client.query('select pg_sleep(9)'))).code, '25P04')
    await delay(100)
    assert.ok(ended())
    await using third = await connectPg(server, 'transaction')
    assert.equal(await third.value('select count(*)::int from t'), 0)
  })

  test('a pipeline between Flush and Sync is not idle, and is a transaction', async () => {
    for (const [setting, end] of [
      ['idle_session_timeout', 'Z'],
      ['idle_in_transaction_session_timeout', 'Z'],
      ['transaction_timeout', '25P04'],
    ] as const) {
      const socket = connect(server.port, '127.0.0.1').on('error', () => {})
      let heard = ''
      socket.on('data', (bytes) => (heard += String(bytes)))
      socket.write(say.startup({ user: 'postgres', database: 'flushed', [setting]: '200ms' }))
      while (!heard.includes('Z\0')) await delay(20)
      heard = ''
      const select = [say.parse('', 'select 1'), say.bind('', ''), say.execute('')]
      socket.write(concatBytes([...select, say.flush()]))
      await delay(600)
      socket.write(say.sync())
      while (!heard.includes(end) && !socket.closed) await delay(20)
      assert.equal(heard.includes('FATAL'), end !== 'Z', setting)
      socket.destroy()
    }
  })

  for (const [what, sql] of [
    ['one statement', `set transaction_timeout = '200ms'; select pg_sleep(9)`],
    ['a block that has set it itself', `begin; set local transaction_timeout = '200ms'; ${LOOP}`],
    ['a function that catches it once', `set transaction_timeout = '200ms'; ${CATCHING}`],
  ] as const) {
    test(`transaction_timeout ends the session, and so the transaction: ${what}`, async () => {
      await using one = await connectPg(server, 'transaction-ends')
      await using other = await connectPg(server, 'transaction-ends')
      await other.client.query('create table if not exists t (n int)')
      const end = endOf(one)
      const failure = await failureOf(one.client.query(sql))
      assert.deepEqual([failure.code, failure.severity], ['25P04', 'FATAL'])
      await assert.rejects(one.client.query('select 1'))
      assert.ok(end())
      await other.client.query(`set lock_timeout = '900ms'; insert into t values (1)`)
    })
  }
})
