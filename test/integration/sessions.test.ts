/**
 * Several clients of one tenant, each with a session of its own in the one backend that they share.
 * Every test begins with what native Postgres does.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

const WAIT_MS = 1_500
let server: ServerProcess
before(async () => {
  const wait = ['--query-wait-timeout', `${WAIT_MS}ms`]
  server = await startServer({ flags: ['--shards', '1', '--slots', '2', ...wait] })
})
after(() => server[Symbol.asyncDispose]())

type Connection = Awaited<ReturnType<typeof connectPg>>

/** Two clients of a tenant that nobody has used before. */
async function two(tenant: string): Promise<readonly [Connection, Connection]> {
  return [await connectPg(server, tenant), await connectPg(server, tenant)]
}

const nap = async (tenant: string): Promise<void> => {
  const answer = await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
  assert.equal(answer.status, 200)
}

describe('each its own', () => {
  test('settings, time zone, search path, the name of the application', async () => {
    const [one, other] = await two('settings')
    await one.client.query(`set timezone = 'Asia/Tokyo'; set search_path = "Odd, name", public`)
    await one.client.query(`set my.own = 'it''s'; set statement_timeout = '90s'`)
    await other.client.query(
      `set timezone = 'Europe/Berlin'; set default_transaction_read_only = on`,
    )
    for (let turn = 0; turn < 3; turn++) {
      assert.equal(await one.value('show timezone'), 'Asia/Tokyo')
      assert.equal(await other.value('show timezone'), 'Europe/Berlin')
      assert.equal(await one.value('show search_path'), '"Odd, name", public')
      assert.equal(await other.value('show search_path'), '"$user", public')
      assert.equal(await one.value('show my.own'), `it's`)
      assert.equal(await one.value('show statement_timeout'), '90s')
      assert.equal(await other.value('show statement_timeout'), '0')
      assert.equal(await one.value('show default_transaction_read_only'), 'off')
      assert.equal((await failureOf(other.client.query('create table t()'))).code, '25006')
    }
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('what a transaction sets and takes back, or keeps to itself, is nobody’s', async () => {
    const [one, other] = await two('local')
    await one.client.query(`begin; set work_mem = '9MB'; rollback`)
    await one.client.query(`begin; set local work_mem = '8MB'; commit`)
    assert.equal(await other.value('show work_mem'), '4MB')
    await one.client.query(`select set_config('work_mem', '7MB', false)`)
    assert.equal(await other.value('show work_mem'), '4MB')
    assert.equal(await one.value('show work_mem'), '7MB')
    await one.client.query('reset all')
    assert.equal(await one.value('show work_mem'), '4MB')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('role and user: nobody acts as another', async () => {
    const [one, other] = await two('roles')
    await one.client.query('create role reader; create role writer; create table t(n int)')
    await one.client.query('set role reader')
    await other.client.query('set session authorization writer')
    for (let turn = 0; turn < 3; turn++) {
      assert.equal(await one.value(`select session_user || ' ' || current_user`), 'postgres reader')
      assert.equal(await other.value(`select session_user || ' ' || current_user`), 'writer writer')
      assert.equal((await failureOf(one.client.query('table t'))).code, '42501')
      assert.equal((await failureOf(other.client.query('table t'))).code, '42501')
    }
    await using third = await connectPg(server, 'roles')
    assert.equal(await third.value('select current_user'), 'postgres')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('a role that was dropped: its client is told, and nothing runs as another', async () => {
    const [one, other] = await two('dropped')
    one.client.on('error', () => {})
    await one.client.query('create role gone; create table t(n int); set role gone')
    await other.client.query('drop role gone')
    assert.equal((await failureOf(one.client.query('insert into t values (1)'))).code, '57P01')
    assert.equal(await other.value('select count(*) from t'), '0')
    await other[Symbol.asyncDispose]()
  })

  test('a function of a client is not asked on the way to the session of another', async () => {
    const [one, other] = await two('impostor')
    await other.client.query(`set search_path = public; set work_mem = '8MB'`)
    await one.client.query(`create table calls (who text); create schema fake;
      create function fake.set_config(text, text, boolean) returns text language plpgsql as
        $$ begin insert into public.calls values (current_user); return ''; end $$`)
    await one.client.query(`set search_path = fake, pg_catalog, public`)
    assert.equal(await other.value('show work_mem'), '8MB')
    assert.equal(await other.value('select count(*) from calls'), '0')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('prepared statements of SQL, of the protocol, and the unnamed one', async () => {
    const [one, other] = await two('statements')
    await one.client.query(`prepare x as select 'one'`)
    await other.client.query(`prepare x as select 'other'`)
    for (const [connection, word] of [
      [one, 'one'],
      [other, 'other'],
    ] as const) {
      const named = { name: 'same', text: `select '${word}'::text as word` }
      assert.deepEqual((await connection.client.query(named)).rows, [{ word }])
    }
    assert.equal(await one.value('execute x'), 'one')
    assert.equal(await other.value('execute x'), 'other')
    assert.equal(await one.value('select count(*) from pg_prepared_statements'), '2')
    await one.client.query('deallocate all')
    assert.equal(await one.value('select count(*) from pg_prepared_statements'), '0')
    assert.equal(await other.value('execute x'), 'other')
    await one.client.query('discard all')
    assert.equal(await other.value('execute x'), 'other')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('what sequences gave', async () => {
    const [one, other] = await two('sequences')
    await one.client.query('create sequence s')
    assert.equal(await one.value(`select nextval('s')`), '1')
    assert.equal((await failureOf(other.client.query(`select currval('s')`))).code, '55000')
    assert.equal(await other.value(`select nextval('s')`), '2')
    assert.equal(await one.value(`select currval('s') || ' ' || lastval()`), '1 1')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('a pool of ten connections that names its statements as each likes', async () => {
    const sql = postgres({
      port: server.port,
      host: '127.0.0.1',
      user: 'postgres',
      db: 'pooled',
      max: 10,
    })
    await sql`create table t (id int primary key, n int)`
    await Promise.all(
      Array.from({ length: 400 }, (_, id) => sql`insert into t values (${id}, ${id % 7})`),
    )
    const sums = await Promise.all(
      Array.from({ length: 200 }, (_, n) => sql`select sum(n)::int as sum from t where id <= ${n}`),
    )
    for (const [n, [row]] of sums.entries()) {
      let expected = 0
      for (let id = 0; id <= n; id++) expected += id % 7
      assert.equal(row?.['sum'], expected)
    }
    await sql.end()
  })
})

describe('over naps and departures', () => {
  for (const [how, setup] of [
    ['in an image', ''],
    ['read out and said again', 'create extension citext; create table c(t citext)'],
  ] as const) {
    test(`sessions outlive a nap, ${how}`, async () => {
      const tenant = setup ? 'napping-said' : 'napping-image'
      const [one, other] = await two(tenant)
      if (setup) await one.client.query(setup)
      await one.client.query(`set timezone = 'Asia/Tokyo'`)
      await one.client.query({ name: 'ask', text: 'select 1 as n' })
      await other.client.query(`set timezone = 'Europe/Berlin'`)
      await other.client.query({ name: 'ask', text: 'select 2 as n' })
      for (let turn = 0; turn < 3; turn++) {
        await nap(tenant)
        assert.deepEqual((await one.client.query({ name: 'ask', text: 'select 1 as n' })).rows, [
          { n: 1 },
        ])
        assert.equal(await other.value('show timezone'), 'Europe/Berlin')
        assert.equal(await one.value('show timezone'), 'Asia/Tokyo')
        assert.deepEqual((await other.client.query({ name: 'ask', text: 'select 2 as n' })).rows, [
          { n: 2 },
        ])
      }
      for (const each of [one, other]) await each[Symbol.asyncDispose]()
    })
  }

  test('a role that was dropped: nothing runs without it after a refused nap either', async () => {
    const [one, other] = await two('dropped-said')
    one.client.on('error', () => {})
    await one.client.query('create extension citext; create table t(n citext)')
    await one.client.query('create role gone; set role gone')
    await other.client.query('drop role gone')
    await nap('dropped-said').catch(() => {})
    assert.equal((await failureOf(one.client.query('insert into t values (1)'))).code, '57P01')
    assert.equal(await other.value('select count(*) from t'), '0')
    await other[Symbol.asyncDispose]()
  })

  test('what came with a PREPARE is not done again after a nap', async () => {
    const [one, other] = await two('prepared-in-a-row')
    await one.client.query('create extension citext; create table t(n citext)')
    await one.client.query(`insert into t values ('once'); prepare x as select 1`)
    await nap('prepared-in-a-row').catch(() => {})
    assert.equal(await one.value('execute x'), 1)
    assert.equal(await other.value('select count(*) from t'), '1')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('who leaves takes its session along, and only that', async () => {
    const [one, other] = await two('leaving')
    await one.client.query(`prepare x as select 'one'; set work_mem = '9MB'; listen news`)
    await other.client.query(`prepare x as select 'other'; listen news`)
    const heard = nextNotification(other)
    await one[Symbol.asyncDispose]()
    await using third = await connectPg(server, 'leaving')
    assert.equal(await third.value('select count(*) from pg_prepared_statements'), '0')
    assert.equal(await third.value('show work_mem'), '4MB')
    assert.equal(await other.value('execute x'), 'other')
    await third.client.query(`notify news, 'still here'`)
    assert.equal(await heard, 'news: still here')
    await other[Symbol.asyncDispose]()
  })

  test('who leaves while the tenant naps is forgotten at its next wake', async () => {
    const [one, other] = await two('leaving-asleep')
    await one.client.query(`prepare x as select 'one'`)
    await other.client.query(`prepare x as select 'other'`)
    await nap('leaving-asleep')
    await one[Symbol.asyncDispose]()
    assert.equal(await other.value('execute x'), 'other')
    await nap('leaving-asleep')
    await other[Symbol.asyncDispose]()
    await using third = await connectPg(server, 'leaving-asleep')
    assert.equal(await third.value('select count(*) from pg_prepared_statements'), '0')
  })
})

function nextNotification({ client }: Connection): Promise<string> {
  return new Promise((resolve) => {
    client.once('notification', ({ channel, payload }) => resolve(`${channel}: ${payload}`))
  })
}

describe('notifications', () => {
  test('idle clients hear what they listen to, after the commit, in order', async () => {
    const [one, other] = await two('news')
    const heard: string[] = []
    other.client.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`))
    await other.client.query('listen a')
    await one.client.query('listen b')
    one.client.on('notification', ({ channel }) => heard.push(`wrong ${channel}`))
    await one.client.query(`begin; notify a, '1'; notify a, '2'`)
    await delay(50)
    assert.deepEqual(heard, [], 'not before the commit')
    await one.client.query('commit')
    await one.client.query(`begin; notify a, 'never'; rollback`)
    await nap('news')
    await one.client.query(`notify a, '3'`)
    await other.client.query('select 1')
    assert.deepEqual(heard, ['a 1', 'a 2', 'a 3'])
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('who is in a transaction hears of it when that has ended', async () => {
    const [one, other] = await two('news-later')
    const heard: string[] = []
    other.client.on('notification', ({ payload }) => heard.push(String(payload)))
    await other.client.query('listen a')
    for (const end of ['commit', 'rollback']) {
      await other.client.query('begin')
      await one.client.query(`notify a, '1'`)
      await one.client.query(`notify a, '2'`)
      await other.client.query('select 1')
      if (end === 'rollback') await failureOf(other.client.query('select 1 / 0'))
      await delay(50)
      assert.deepEqual(heard, [], `not before the ${end}`)
      await other.client.query(end)
      assert.deepEqual(heard.splice(0), ['1', '2'])
    }
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('however LISTEN is said, also where another one listens already', async () => {
    const [one, other] = await two('ways')
    const heard: string[] = []
    one.client.on('notification', ({ channel }) => heard.push(channel))
    const long = 'é'.repeat(40)
    for (const [index, [channel, ways]] of [
      ['a', [['listen a']]],
      ['a', [['begin', 'listen A', 'commit']]],
      ['a', [['/* app */ listen"a" -- it']]],
      ['a', [['listen U&"\\0061"']]],
      ['a', [['do $$ begin listen a; end $$'], [`do $$ begin execute 'listen a'; end $$`]]],
      ['cafÉ', [['listen cafÉ']]],
      ['é'.repeat(31), [[`listen ${long}`], [`listen "${long}"`]]],
    ].entries() as Iterable<[number, [string, string[][]]]>) {
      await other.client.query(`unlisten *; listen "${channel}"`)
      for (const way of ways) {
        for (const sql of way) await one.client.query(sql)
        await other.client.query(`notify "${channel}", '${index}'`)
        await one.client.query('select 1')
        assert.deepEqual(heard.splice(0), [channel], way.join('; '))
        await one.client.query('unlisten *')
      }
    }
    for (const sql of ['begin; listen a', 'rollback', `select '; listen a;'`]) {
      await one.client.query(sql)
    }
    await other.client.query(`listen a; notify a`)
    await one.client.query('select 1')
    assert.deepEqual(heard, [])
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('a prepared LISTEN; and what one discards others hear at once again', async () => {
    const [one, other] = await two('prepared-listen')
    const heard: string[] = []
    other.client.on('notification', ({ payload }) => heard.push(payload ?? ''))
    await one.client.query('listen a')
    await other.client.query({ name: 'l', text: 'listen a' })
    const both = [one.client.query('discard all'), one.client.query(`notify a, 'x'`)]
    await Promise.all(both)
    await one.client.query(`notify a, 'y'`)
    await other.client.query('select 1')
    assert.deepEqual(heard, ['x', 'y'])
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('one stops listening, the other goes on', async () => {
    const [one, other] = await two('unlisten')
    await one.client.query('listen a')
    await other.client.query('listen A; listen "Odd ""one"""')
    await one.client.query('unlisten *')
    const heard = nextNotification(other)
    one.client.on('notification', () => assert.fail('it does not listen any more'))
    await one.client.query(`notify a, 'x'`)
    assert.equal(await heard, 'a: x')
    const again = nextNotification(other)
    await one.client.query(`select pg_notify('Odd "one"', 'y')`)
    assert.equal(await again, 'Odd "one": y')
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })
})

describe('what cannot be put aside keeps the backend', () => {
  for (const [what, take, give] of [
    ['a cursor WITH HOLD', 'begin; declare c cursor with hold for select 1; commit', 'close c'],
  ] as const) {
    test(`${what}: others wait, and go on when it is gone`, async () => {
      const tenant = `pinned-${what.replaceAll(' ', '-').toLowerCase()}`
      const [one, other] = await two(tenant)
      await one.client.query(take)
      assert.equal((await failureOf(other.client.query('select 1'))).code, '57014', 'bounded')
      const waiting = other.value('select 2')
      await nap(tenant).catch(() => {})
      await delay(100)
      assert.equal(await one.value('select 1'), 1, 'it is not held up itself')
      await one.client.query(give)
      assert.equal(await waiting, 2)
      for (const each of [one, other]) await each[Symbol.asyncDispose]()
    })
  }

  test('a cursor of one that was alone; it goes with its client', async () => {
    await using alone = await connectPg(server, 'alone')
    await alone.client.query('begin; declare c cursor with hold for select 5; commit')
    await nap('alone')
    const waiting = connectPg(server, 'alone')
    await delay(100)
    assert.equal(await alone.value('fetch c'), 5)
    await alone.client.end()
    await using other = await waiting
    assert.equal(await other.value('select count(*)::int from pg_cursors'), 0)
  })
})

describe('temporary tables', () => {
  const mine = `select coalesce(to_regclass('mine')::text, 'none')`

  test('are each client’s own, over naps, and go with it', async () => {
    const [one, other] = await two('temporary')
    await one.client.query('create temporary table mine as select 1 as n')
    assert.equal(await other.value(mine), 'none')
    await other.client.query('create temporary table mine (n text primary key)')
    await using third = await connectPg(server, 'temporary')
    for (let turn = 0; turn < 3; turn++) {
      await other.client.query('insert into mine values ($1)', [`turn ${turn}`])
      assert.equal(await one.value('select n from mine'), 1)
      assert.equal(await third.value(mine), 'none')
      assert.equal(await other.value('select count(*)::int from mine'), turn + 1)
      await nap('temporary')
    }
    const everybodys = `select count(*)::int from pg_class where relname = 'mine'`
    assert.equal(await third.value(everybodys), 2)
    await one.client.end()
    assert.equal(await third.value(everybodys), 1)
    assert.equal(await other.value('select count(*)::int from mine'), 3)
    await other.client.query('discard all')
    assert.equal(await third.value(everybodys), 0)
    await other.client.end()
  })

  test('a schema that somebody has dropped is nobody’s afterwards', async () => {
    const [one, other] = await two('temporary-dropped')
    await one.client.query('create temporary table gone (n int) on commit delete rows')
    const schema = String(await one.value('select pg_my_temp_schema()::regnamespace::text'))
    await other.client.query(`drop schema ${schema} cascade`)
    await one.client.end()
    // Until it has been put aside, what is left is nobody's to take over.
    assert.equal(await other.value('select 1'), 1)
    await using next = await connectPg(server, 'temporary-dropped')
    assert.equal(await next.value('select pg_my_temp_schema()'), 0)
    await next.client.query('create temporary table mine as select 1 as n')
    assert.equal(await next.value('select pg_my_temp_schema()::regnamespace::text'), schema)
    assert.equal(await next.value('select n from mine'), 1)
    await other.client.end()
  })

  test('each sets and shows buffers of its own, and none fails for want of them', async () => {
    const [one, other] = await two('temporary-buffers')
    const fill = `create temporary table mine as
      select n, repeat('x', 1000) from generate_series(1, 10000) n`
    await one.client.query(`set temp_buffers = '800kB'`)
    await one.client.query(fill)
    assert.equal(await other.value('show temp_buffers'), '8MB')
    await other.client.query(`set temp_buffers = '80MB'; set effective_io_concurrency = 1000`)
    await other.client.query(fill)
    for (const [each, buffers] of [
      [one, '800kB'],
      [other, '80MB'],
    ] as const) {
      assert.equal(await each.value('select count(*)::int from mine'), 10_000)
      assert.equal(await each.value('show temp_buffers'), buffers)
    }
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('beside a transaction: others read their own, and write them later', async () => {
    const [one, other] = await two('temporary-readers')
    for (const [each, n] of [
      [one, 1],
      [other, 2],
    ] as const) {
      await each.client.query(`create temporary table mine as select ${n} as n`)
    }
    await one.client.query('begin; update mine set n = 10; create temporary table more (n int)')
    assert.equal(await other.value('select n from mine'), 2)
    assert.equal(await other.value(`select to_regclass('more') is null`), true)
    const written = other.client.query('update mine set n = 20')
    await delay(50)
    assert.equal(await one.value('select n from mine'), 10)
    await one.client.query('rollback')
    await written
    assert.equal(await one.value('select n from mine'), 1)
    assert.equal(await other.value('select n from mine'), 20)
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })

  test('functions and types in pg_temp are each client’s own', async () => {
    const [one, other] = await two('temporary-functions')
    for (const [each, n] of [
      [one, 1],
      [other, 2],
    ] as const) {
      await each.client.query(`create function pg_temp.mine() returns int return ${n};
        create type pg_temp.mood as enum ('mood ${n}')`)
    }
    for (let turn = 0; turn < 2; turn++) {
      assert.equal(await one.value('select pg_temp.mine()'), 1)
      assert.equal(await other.value('select pg_temp.mine()'), 2)
      assert.equal(await one.value('select enum_first(null::pg_temp.mood)::text'), 'mood 1')
      assert.equal(await other.value('select enum_first(null::pg_temp.mood)::text'), 'mood 2')
    }
    for (const each of [one, other]) await each[Symbol.asyncDispose]()
  })
})
