/**
 * Clients of one tenant that mean harm to one another's sessions, or only type it. Every test says
 * what native Postgres does, where one session never touches another.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { concatBytes } from '../../src/base/bytes.ts'
import { connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { say } from '../support/messages.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  const flags = ['--shards', '1', '--slots', '1', '--query-wait-timeout', '1500ms']
  server = await startServer({ flags })
})
after(() => server[Symbol.asyncDispose]())

/** Two clients of a tenant that nobody has used before. */
async function two(tenant: string): Promise<readonly [PgConnection, PgConnection]> {
  return [await connectPg(server, tenant), await connectPg(server, tenant)]
}

async function end(...connections: PgConnection[]): Promise<void> {
  for (const { client } of connections) await client.end()
}

async function nap(tenant: string): Promise<void> {
  const { status } = await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
  assert.equal(status, 200)
}

async function clientCountOf(tenant: string): Promise<number> {
  const facts = await (await server.request(`/v1/tenants/${tenant}`)).json()
  return (facts as { readonly clients: number }).clients
}

/** A client without a driver: says messages, and answers with all that came until it is ready. */
async function rawClient(tenant: string): Promise<(...messages: Uint8Array[]) => Promise<string>> {
  const socket = connect(server.port, '127.0.0.1')
  after(() => socket.destroy())
  // Whoever waits for an answer hears of it.
  socket.on('error', () => {}).on('end', () => socket.destroy(new Error('the server has left')))
  const answer = async (): Promise<string> => {
    let heard = ''
    // ReadyForQuery of an idle session.
    while (!heard.endsWith('Z\0\0\0\x05I')) heard += String((await once(socket, 'data'))[0])
    return heard
  }
  socket.write(say.startup({ user: 'postgres', database: tenant }))
  await answer()
  return (...messages) => {
    socket.write(concatBytes(messages))
    return answer()
  }
}

/** What a client hears until it next asks. */
function heardBy({ client }: PgConnection): string[] {
  const heard: string[] = []
  client.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`))
  return heard
}

describe('nobody acts as another', () => {
  test('whoever’s backend ends is told, and goes on with no other role', async () => {
    const [one, other] = await two('ended')
    await one.client.query('create role reader; create table secret as select 1 as n')
    await other.client.query('set role reader')
    const third = await connectPg(server, 'ended')
    await one.client.query('set exit_on_error = on')
    assert.equal((await failureOf(one.client.query('select 1 / 0'))).code, '57P01')
    await assert.rejects(other.client.query('table secret'))
    await end(third)
    await using again = await connectPg(server, 'ended')
    assert.equal(await again.value('select n from secret'), 1)
  })

  test('a role that is renamed, and another one that gets its name', async () => {
    const [one, other] = await two('renamed')
    await one.client.query('create role guest; create role chief; create table t as select 1 as n')
    await one.client.query('grant select on t to chief; set role guest')
    await other.client.query('alter role guest rename to old; alter role chief rename to guest')
    assert.equal((await failureOf(one.client.query('table t'))).code, '57P01')
    await end(other)
  })

  test('a role that is dropped keeps nobody from the slot, also without an image', async () => {
    const [one, other] = await two('dropped-said')
    await one.client.query('create extension citext; create table c (t citext)')
    await one.client.query('create role gone; set role gone')
    await other.client.query('drop role gone')
    await using neighbour = await connectPg(server, 'neighbour')
    assert.equal(await neighbour.value('select 1'), 1)
    assert.equal((await failureOf(one.client.query('table c'))).code, '57P01')
    assert.equal(await other.value('select current_user'), 'postgres')
    await end(other)
  })
})

describe('settings', () => {
  test('a search path with other things under Postgres’s names', async () => {
    const [one, other] = await two('shadows')
    await one.client.query(`create schema evil; create table evil.pg_depend (refclassid oid,
      refobjid oid); create table evil.pg_class (relnamespace oid);
      create function evil.set_config(text, text, boolean) returns text return 'evil'`)
    await one.client.query(`set search_path = evil, pg_catalog; set work_mem = '9MB'`)
    for (let turn = 0; turn < 2; turn++) {
      assert.equal(await other.value('show work_mem'), '4MB')
      assert.equal(await one.value('show work_mem'), '9MB')
      assert.equal(await one.value('show search_path'), 'evil, pg_catalog')
    }
    await one.client.query('create temporary table mine (n int)')
    assert.equal((await failureOf(other.client.query('table mine'))).code, '42P01')
    await end(one, other)
  })

  for (const [setting, shown] of [
    [`transaction_isolation = 'serializable'`, 'read committed'],
    ['transaction_read_only = on', 'off'],
    ['transaction_deferrable = on', 'off'],
  ] as const) {
    test(`SET ${setting} ends with its transaction and is nobody’s`, async () => {
      const tenant = `set-${setting.split(' ')[0]?.replaceAll('_', '-')}`
      const [one, other] = await two(tenant)
      await one.client.query(`set ${setting}`)
      for (const each of [other, one, other]) {
        assert.equal(await each.value(`show ${setting.split(' ')[0]}`), shown)
      }
      await end(one, other)
    })
  }
})

describe('what keeps the backend', () => {
  test('who leaves beside it takes nothing of it along', async () => {
    const [one, other] = await two('beside')
    await one.client.query(`prepare x as select 'one'`)
    await other.client.query(`create temporary table mine as select 5 as n;
      select pg_advisory_lock(3); prepare x as select 'other'`)
    await one.client.end()
    for (let turn = 0; turn < 3; turn++) {
      assert.equal(await other.value('select n from mine'), 5)
      // A neighbour that wants the slot makes the tenant do what it has put off.
      await using neighbour = await connectPg(server, 'neighbour')
      assert.equal(await neighbour.value('select 1'), 1)
    }
    assert.equal(
      await other.value(`select count(*) from pg_locks where locktype = 'advisory'`),
      '1',
    )
    await other.client.query('drop table mine; select pg_advisory_unlock(3)')
    await using third = await connectPg(server, 'beside')
    assert.equal(await third.value('select count(*) from pg_prepared_statements'), '0')
    assert.equal(await other.value('execute x'), 'other')
    await end(other)
  })

  test('a client that is cut off in a transaction: all of it goes', async () => {
    const [one, other] = await two('cut-off')
    await one.client.query('create table t (n int); create temporary table mine (n int)')
    const waiting = other.value('select count(*) from t')
    await one.client.query('begin; insert into t values (1); select pg_advisory_lock(1)')
    const { stream } = one.client.connection
    stream.destroy()
    assert.equal(await waiting, '0')
    assert.equal(await other.value(`select to_regclass('mine') is null`), true)
    assert.equal(
      await other.value(`select count(*) from pg_locks where locktype = 'advisory'`),
      '0',
    )
    await end(other)
  })
})

describe('statements and memory', () => {
  test('the unnamed statement, over another client’s, a DISCARD ALL, and a nap', async () => {
    const [one, other] = [await rawClient('unnamed'), await rawClient('unnamed')]
    await one(say.parse('', `select 'first'`), say.sync())
    await other(say.parse('', `select 'second'`), say.sync())
    await other(say.query('discard all'))
    for (let turn = 0; turn < 2; turn++) {
      assert.match(await one(say.bind('', ''), say.execute(''), say.sync()), /first/)
      assert.match(await other(say.bind('', ''), say.execute(''), say.sync()), /26000/)
      await nap('unnamed')
    }
  })

  test('sessions that come and go leave nothing on the heap', async () => {
    await using keeper = await connectPg(server, 'heap')
    await keeper.client.query('create table t (n int)')
    const bytes = async (): Promise<number> =>
      Number(await keeper.value('select sum(total_bytes) from pg_backend_memory_contexts'))
    const wave = async (): Promise<void> => {
      const clients = await Promise.all(Array.from({ length: 40 }, () => connectPg(server, 'heap')))
      await Promise.all(clients.map(({ client }) => client.query({ name: 's', text: 'table t' })))
      await end(...clients)
    }
    await wave()
    const before = await bytes()
    for (let count = 0; count < 5; count++) await wave()
    // A table of statements takes 8 KiB.
    assert.ok((await bytes()) - before < 20 * 8192)
  })
})

describe('a COPY FROM STDIN whose data nobody sends fails alone', () => {
  async function post(path: string, body: object): Promise<number> {
    const headers = { 'Neon-Connection-String': 'postgres://me@localhost/no-data' }
    const init = { method: 'POST', headers, body: JSON.stringify(body) }
    return (await server.request(path, init)).status
  }

  test('over HTTP, in a batch too', async () => {
    const [one, other] = await two('no-data')
    await one.client.query(`create table t (n int); set work_mem = '7MB'`)
    const copy = { query: 'copy t from stdin' }
    assert.equal(await post('/sql', copy), 400)
    assert.equal(await post('/sql', { queries: [{ query: 'select 1' }, copy] }), 400)
    assert.equal(await post('/v1/tenants/no-data/query', { sql: copy.query }), 400)
    assert.equal(await one.value('show work_mem'), '7MB')
    assert.equal(await other.value('select count(*)::int from t'), 0)
    await end(one, other)
  })

  test('where a text hides it from who reads it first', async () => {
    const [other] = await two('hidden-copy')
    await other.client.query(`create table t (n int); set work_mem = '7MB'`)
    const one = await rawClient('hidden-copy')
    await one(say.query('set standard_conforming_strings = off'))
    const hidden = String.raw`select 'a\''; copy t from stdin; select ''`
    assert.match(await one(say.query(hidden)), /57014.*no data was sent/)
    assert.match(await one(say.query('select 1')), /SELECT 1/)
    assert.equal(await other.value('show work_mem'), '7MB')
    await other.client.end()
  })
})

describe('channels', () => {
  test('LISTEN in a transaction, to what another one listens to', async () => {
    const [one, other] = await two('listen-late')
    const heard = heardBy(one)
    await other.client.query('listen news')
    await one.client.query('begin')
    await one.client.query('listen news')
    await one.client.query('commit')
    await other.client.query(`notify news, 'x'`)
    await one.client.query('select 1')
    assert.deepEqual(heard, ['news x'])
    await end(one, other)
  })

  test('what only somebody wanted who has left', async () => {
    const [one, other] = await two('listen-left')
    const heard = heardBy(one)
    await other.client.query('listen news')
    await one.client.query('begin')
    await other.client.end()
    while ((await clientCountOf('listen-left')) > 1) await one.client.query('select 1')
    await one.client.query(`notify news, 'x'`)
    await one.client.query('commit')
    await one.client.query('select 1')
    assert.deepEqual(heard, [])
    await end(one)
  })
})
