/**
 * A transaction that has only read, or has failed, keeps nobody from the backend while its client
 * thinks, and goes on where it was.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { COUNT, twoClients } from '../support/two-clients.ts'

let server: ServerProcess
before(async () => {
  // No room for forks: whoever waits, waits for the backend.
  const flags = ['--shards', '1', '--slots', '1', '--query-wait-timeout', '400ms']
  server = await startServer({ flags })
})
after(() => server[Symbol.asyncDispose]())

interface Scene extends AsyncDisposable {
  readonly holder: PgConnection
  readonly other: PgConnection
}

async function scene(tenant: string, setup = ''): Promise<Scene> {
  const both = await twoClients(server, tenant, { setup })
  const { first: holder, second: other } = both
  return { holder, other, [Symbol.asyncDispose]: () => both[Symbol.asyncDispose]() }
}

describe('who has begun a transaction and thinks does not keep others waiting', () => {
  const reading: Readonly<Record<string, readonly string[]>> = {
    'that has only begun': [],
    'that has read': [COUNT, 'select 1', 'show work_mem', `select upper('a')`],
    'that has called functions of its owner': ['select f()'],
    'that has failed': ['select 1/0'],
    'that has written and failed': ['insert into t values (9)', 'select 1/0'],
    'that has said nothing that can be read': ['nonsense'],
  }
  for (const [index, [name, said]] of Object.entries(reading).entries()) {
    test(name, async () => {
      const setup = `create function f() returns bigint language plpgsql
        as $$ begin return (select count(*) from t); end $$`
      await using both = await scene(`reads-${index}`, setup)
      const { holder, other } = both
      await holder.client.query('begin')
      for (const sql of said) await holder.client.query(sql).catch(() => {})
      await other.client.query('insert into t values (2)')
      await other.client.query('begin; insert into t values (3); commit')
      const hasFailed = /fail|nothing/.test(name)
      if (hasFailed) assert.equal((await failureOf(holder.value(COUNT))).code, '25P02')
      else assert.equal(await holder.value(COUNT), 3)
      const { command } = await holder.client.query('commit')
      assert.equal(command, hasFailed ? 'ROLLBACK' : 'COMMIT')
      assert.equal(await other.value(COUNT), 3)
    })
  }

  test('and is in the same one as before, in time, mode and what is prepared', async () => {
    await using both = await scene('same')
    const { holder, other } = both
    await holder.client.query('begin read only')
    const prepared = { name: 'mine', text: COUNT }
    const now = await holder.value('select now()::text')
    const { rows } = await holder.client.query<{ count: number }>(prepared)
    assert.equal(rows[0]?.count, 1)
    await other.client.query('insert into t values (2)')
    assert.equal(await holder.value('select now()::text'), now)
    await other.client.query('insert into t values (2)')
    assert.equal(await holder.value('select now()::text'), now, 'also the second time')
    await other.client.query('delete from t where ctid = (select max(ctid) from t)')
    assert.equal((await holder.client.query<{ count: number }>(prepared)).rows[0]?.count, 2)
    await other.client.query('insert into t values (3)')
    const late = failureOf(holder.client.query('set transaction read write'))
    assert.equal((await late).code, '25001')
    await holder.client.query('rollback')
  })

  test('at a level that keeps its snapshot: until its first query', async () => {
    await using both = await scene('level')
    const { holder, other } = both
    await holder.client.query('begin isolation level repeatable read')
    await holder.client.query('show work_mem')
    await other.client.query('insert into t values (2)')
    assert.equal(await holder.value(COUNT), 2)
    const late = other.client.query('insert into t values (3)')
    assert.equal(await holder.value(COUNT), 2)
    assert.equal(await holder.value('show transaction_isolation'), 'repeatable read')
    await holder.client.query('insert into t values (4); commit')
    await late
    assert.equal(await holder.value(COUNT), 4)
  })

  test('and who writes after that is in one transaction with what it writes', async () => {
    await using both = await scene('writes')
    const { holder, other } = both
    await holder.client.query('begin')
    assert.equal(await holder.value(COUNT), 1)
    await other.client.query('insert into t values (2)')
    await holder.client.query('insert into t values (3)')
    await holder.client.query('rollback')
    assert.equal(await other.value(COUNT), 2)
  })

  test('nor when it goes without a word', async () => {
    await using both = await scene('goes')
    const { holder, other } = both
    await using third = await connectPg(server, 'goes')
    await third.client.query('begin')
    assert.equal(await third.value(COUNT), 1)
    await other.client.query('insert into t values (2)')
    await third.client.end()
    assert.equal(await holder.value(COUNT), 2)
  })
})

describe('who has done more keeps the backend', () => {
  const setup = `create function opens(c refcursor) returns refcursor language plpgsql
    as $$ begin open c for select n from t order by n; return c; end $$;
    create function sets(text, text, bool) returns text language internal as 'set_config_by_name';
    create sequence s; select lo_from_bytea(4711, 'here')`
  const lasting: Readonly<Record<string, [sql: string, then: string, value: unknown]>> = {
    row: ['insert into t values (2)', COUNT, 2],
    setting: [`set local application_name = 'mine'`, 'show application_name', 'mine'],
    'setting by a function': [
      `select set_config('my.name', 'mine', true)`,
      `select current_setting('my.name')`,
      'mine',
    ],
    savepoint: ['savepoint s', 'rollback to s', undefined],
    cursor: ['declare c cursor for select n from t order by n', 'fetch 1 from c', 1],
    'cursor of a function': [`select opens('c')`, 'fetch 1 from c', 1],
    'large object': ['select lo_open(4711, 262144)', 'select loread(0, 4)::text', '\\x68657265'],
    lock: ['select n from t for share', COUNT, 1],
    'advisory lock': [
      'select pg_advisory_xact_lock(1)',
      `select count(*)::int from pg_locks where locktype = 'advisory'`,
      1,
    ],
    table: ['lock table t in share mode', COUNT, 1],
    constraints: ['set constraints all deferred', COUNT, 1],
    notification: ['notify c', COUNT, 1],
    'prepared statement': ['prepare p as select 5', 'execute p', 5],
    'function by another name': [`select sets('my.name', 'mine', true)`, `show my.name`, 'mine'],
  }
  for (const [name, [sql, then, value]] of Object.entries(lasting)) {
    test(name, async () => {
      await using both = await scene(`lasting-${name.replaceAll(' ', '-')}`, setup)
      const { holder, other } = both
      await holder.client.query('begin')
      await holder.client.query(sql)
      const insert = failureOf(other.client.query('insert into t values (5)'))
      assert.match((await insert).message, /timeout|waited/)
      assert.equal(await holder.value(then), value)
      await holder.client.query('commit')
      await other.client.query('insert into t values (6)')
    })
  }
})
