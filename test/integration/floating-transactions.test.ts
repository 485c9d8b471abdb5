/**
 * A transaction of several batches in which a client only reads does not wait for another client's.
 * Where it cannot be told from native Postgres, the test says nothing of it; where it waits, that
 * is what is tested.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { cancelPg, connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { COUNT, twoClients } from '../support/two-clients.ts'

let server: ServerProcess
before(async () => {
  const flags = ['--shards', '1', '--slots', '4', '--query-wait-timeout', '60s']
  server = await startServer({ flags })
})
after(() => server[Symbol.asyncDispose]())

interface Scene extends AsyncDisposable {
  /** In a transaction that has written a row. */
  readonly writer: PgConnection
  readonly reader: PgConnection
}

async function scene(tenant: string, setup = ''): Promise<Scene> {
  const both = await twoClients(server, tenant, { setup, begin: 'begin; insert into t values (2)' })
  const { first: writer, second: reader } = both
  return { writer, reader, [Symbol.asyncDispose]: () => both[Symbol.asyncDispose]() }
}

/** Of SQL that has to wait for the writer: it is still there when others have been answered. */
async function waits(
  sql: string,
  { writer, reader }: Scene,
): Promise<{ readonly answer: Promise<unknown> }> {
  let settled = false
  const answer = reader.client.query(sql).finally(() => (settled = true))
  answer.catch(() => {})
  const waiting = `select count(*) from pg_class, generate_series(1, 20)`
  for (let round = 0; round < 5; round++) await writer.client.query(waiting)
  assert.equal(settled, false, `${sql} waits`)
  return { answer }
}

describe('who only reads', () => {
  test('sees what is committed when each statement begins, at one time', async () => {
    await using both = await scene('reads')
    const { writer, reader } = both
    await reader.client.query('begin')
    const now = await reader.value('select now()::text')
    assert.equal(await reader.value(COUNT), 1)
    await writer.client.query('commit')
    assert.equal(await reader.value(COUNT), 2)
    assert.equal(await reader.value('select now()::text'), now)
    const later = await reader.value('select statement_timestamp() > now()')
    assert.equal(later, true)
    await reader.client.query('commit')
    assert.notEqual(await reader.value('select now()::text'), now)
  })

  test('in a transaction that is READ ONLY, however it began', async () => {
    await using both = await scene('read-only')
    const { reader } = both
    await reader.client.query('start transaction read only, deferrable')
    const modes = `select current_setting('transaction_read_only') || ' '
      || current_setting('transaction_deferrable')`
    assert.equal(await reader.value(modes), 'on on')
    assert.equal(await reader.value(modes, []), 'on on')
    await reader.client.query('commit and chain')
    assert.equal(await reader.value(modes), 'on on')
    await reader.client.query('rollback')
    assert.equal(await reader.value(modes), 'off off')
  })

  test('in one that a function has made READ ONLY, and cannot write in it', async () => {
    await using both = await scene('made-read-only')
    const { writer, reader } = both
    await reader.client.query('begin')
    const mode = `select set_config('transaction_read_only', 'on', true)`
    assert.equal(await reader.value(mode), 'on')
    assert.equal(await reader.value('show transaction_read_only'), 'on')
    const { answer } = await waits('insert into t values (3)', both)
    const refused = failureOf(answer)
    await writer.client.query('commit')
    assert.equal((await refused).code, '25006')
    await reader.client.query('rollback')
  })

  test('and fails has a transaction that has failed', async () => {
    await using both = await scene('fails')
    const { reader } = both
    await reader.client.query('begin')
    assert.equal((await failureOf(reader.value('select 1/0'))).code, '22012')
    assert.equal((await failureOf(reader.value(COUNT))).code, '25P02')
    assert.equal((await failureOf(reader.client.query('insert into t values (3)'))).code, '25P02')
    const { command } = await reader.client.query('commit')
    assert.equal(command, 'ROLLBACK')
    assert.equal(await reader.value(COUNT), 1)
  })

  test('prepares and uses statements, which stay', async () => {
    await using both = await scene('prepares')
    const { writer, reader } = both
    await reader.client.query('begin')
    const count = { name: 'count', text: COUNT }
    assert.equal((await reader.client.query<{ count: number }>(count)).rows[0]?.count, 1)
    assert.equal((await reader.client.query<{ count: number }>(count)).rows[0]?.count, 1)
    await reader.client.query('commit')
    await writer.client.query('commit')
    assert.equal((await reader.client.query<{ count: number }>(count)).rows[0]?.count, 2)
  })

  test('ends the one who is in its way', async () => {
    await using both = await scene('terminates')
    const { writer, reader } = both
    const ended = new Promise((resolve) => writer.client.once('error', resolve))
    const id = (writer.client as unknown as { processID: number }).processID
    await reader.client.query('begin')
    assert.equal(await reader.value('select pg_terminate_backend($1)', [id]), true)
    await ended
    await reader.client.query('insert into t values (3); commit')
    assert.equal(await reader.value('select sum(n)::int from t'), 4)
  })

  test('over HTTP: a batch of queries', async () => {
    await using both = await scene('by-http')
    const { reader } = both
    const answer = await server.request('/sql', {
      method: 'POST',
      headers: {
        'Neon-Connection-String': server.url('by-http'),
        'Neon-Batch-Read-Only': 'true',
      },
      body: JSON.stringify({ queries: [{ query: COUNT }, { query: 'select 1 as one' }] }),
    })
    assert.equal(answer.status, 200)
    const { results } = (await answer.json()) as { results: { rows: object[] }[] }
    assert.deepEqual(results[0]?.rows, [{ count: 1 }])
    assert.equal(await reader.value(COUNT), 1)
  })

  test('and goes without a word leaves nothing', async () => {
    await using both = await scene('leaves')
    const { writer, reader } = both
    await reader.client.query('begin')
    await reader.value(COUNT)
    await using other = await connectPg(server, 'leaves')
    await other.client.query('begin')
    await other.value(COUNT)
    await other.client.end()
    await writer.client.query('commit')
    assert.equal(await reader.value(COUNT), 2)
  })

  test('for too long between two statements is sent away', async () => {
    await using both = await scene('idle')
    const { reader } = both
    await reader.client.query(`set idle_in_transaction_session_timeout = '50ms'`)
    const lost = new Promise<Error>((resolve) => reader.client.once('error', resolve))
    await reader.client.query('begin')
    const failure = (await lost) as Error & { code?: string }
    assert.equal(failure.code, '25P03')
  })
})

describe('who writes', () => {
  test('waits, and goes on in the same transaction', async () => {
    await using both = await scene('writes')
    const { writer, reader } = both
    await reader.client.query('begin')
    const now = await reader.value('select now()::text')
    assert.equal(await reader.value(COUNT), 1)
    const { answer: inserted } = await waits('insert into t values (3)', both)
    await writer.client.query('commit')
    await inserted
    assert.equal(await reader.value(COUNT), 3)
    assert.equal(await reader.value('select now()::text'), now)
    await reader.client.query('rollback')
    assert.equal(await reader.value(COUNT), 2)
  })

  test('in a transaction that is READ ONLY is told so in the end', async () => {
    await using both = await scene('writes-not')
    const { writer, reader } = both
    await reader.client.query('begin read only')
    assert.equal(await reader.value(COUNT), 1)
    const { answer } = await waits('insert into t values (3)', both)
    const refused = failureOf(answer)
    await writer.client.query('commit')
    assert.equal((await refused).code, '25006')
    await reader.client.query('rollback')
  })

  test('or notifies, also in a function, waits and is heard', async () => {
    const setup = `create function notifies() returns void language plpgsql
      as $$ begin perform pg_notify('c', 'of a function'); end $$`
    await using both = await scene('notifies', setup)
    const { writer, reader } = both
    await using other = await connectPg(server, 'notifies')
    await writer.client.query('commit')
    await other.client.query('listen c')
    for (const [sql, payload] of [
      [`select pg_notify('c', 'x')`, 'x'],
      ['select notifies()', 'of a function'],
    ] as const) {
      await writer.client.query('begin; insert into t values (2)')
      const heard = once(other.client, 'notification', { signal: AbortSignal.timeout(10_000) })
      await reader.client.query('begin')
      const { answer } = await waits(sql, both)
      await writer.client.query('commit')
      await answer
      await reader.client.query('commit')
      assert.equal(((await heard)[0] as { payload?: string }).payload, payload)
    }
  })

  const tooLate: readonly (readonly [begin: string, change: string])[] = [
    ['begin', 'set transaction isolation level serializable'],
    ['begin', `set local transaction_isolation = 'repeatable read'`],
    ['begin read only', 'set transaction read write'],
    ['begin read only', `select set_config('transaction_read_only', 'off', true)`],
    ['begin', 'set transaction deferrable'],
    ['begin', 'begin isolation level serializable'],
  ]
  test('or would change its modes behind a query is told that it is too late', async () => {
    await using both = await scene('too-late')
    const { writer, reader } = both
    for (const [begin, change] of tooLate) {
      await reader.client.query(begin)
      await reader.client.query('show work_mem')
      await reader.value(COUNT)
      const refused = failureOf(reader.client.query(change))
      await writer.client.query('commit')
      assert.equal((await refused).code, '25001', change)
      await reader.client.query('rollback')
      await writer.client.query('begin; insert into t values (2)')
    }
  })

  test('may change them before it, wherever it has begun', async () => {
    await using both = await scene('in-time')
    const { writer, reader } = both
    await reader.client.query('begin read only')
    await reader.client.query('show work_mem')
    await reader.client.query('set transaction isolation level serializable, read write')
    assert.equal(await showLevel(reader), 'serializable')
    const { answer } = await waits('insert into t values (3)', both)
    await writer.client.query('commit')
    await answer
    assert.equal(await showLevel(reader), 'serializable')
    await reader.client.query('commit')
  })

  test('is cancelled while it waits, and only its transaction has failed', async () => {
    await using both = await scene('canceled')
    const { writer, reader } = both
    await reader.client.query('begin')
    await reader.value(COUNT)
    const waiting = failureOf(reader.client.query('insert into t values (3)'))
    await cancelPg(server, reader)
    assert.equal((await waiting).code, '57014')
    assert.equal((await failureOf(reader.value(COUNT))).code, '25P02')
    await reader.client.query('rollback')
    assert.equal(await reader.value(COUNT), 1)
    await writer.client.query('commit')
  })

  test('is cancelled before that has shown, and its transaction has failed too', async () => {
    await using both = await scene('canceled-early', 'create sequence s')
    const { reader } = both
    await reader.client.query(`set statement_timeout = '50ms'`)
    await reader.client.query('begin')
    const failure = await failureOf(reader.client.query(`select nextval('s'), pg_sleep(5)`))
    assert.equal(failure.code, '57014')
    assert.equal((await failureOf(reader.value(COUNT))).code, '25P02')
    const { command } = await reader.client.query('commit')
    assert.equal(command, 'ROLLBACK')
  })

  test('is cancelled in the batch that began it, and has failed', async () => {
    await using both = await scene('canceled-begin')
    const { reader } = both
    const sql = `begin; set local statement_timeout = '50ms'; select pg_sleep(5)`
    assert.equal((await failureOf(reader.client.query(sql))).code, '57014')
    assert.equal((await failureOf(reader.value(COUNT))).code, '25P02')
    assert.equal((await reader.client.query('commit')).command, 'ROLLBACK')
    assert.equal(await reader.value(COUNT), 1)
  })

  test('gives up after its lock_timeout', async () => {
    await using both = await scene('lock')
    const { writer, reader } = both
    await reader.client.query(`set lock_timeout = '50ms'`)
    await reader.client.query('begin')
    await reader.value(COUNT)
    const failure = await failureOf(reader.client.query('insert into t values (3)'))
    assert.equal(failure.code, '55P03')
    assert.equal((await failureOf(reader.value(COUNT))).code, '25P02')
    await reader.client.query('rollback')
    await writer.client.query('commit')
    assert.equal(await reader.value(COUNT), 2)
  })
})

async function showLevel({ client }: PgConnection): Promise<unknown> {
  const { rows } = await client.query<{ transaction_isolation: string }>(
    'show transaction_isolation',
  )
  return rows[0]?.transaction_isolation
}

describe('what has to last until the transaction ends waits', () => {
  const lasting: Readonly<Record<string, [sql: string, then: string, value: unknown]>> = {
    setting: [`set local application_name = 'mine'`, 'show application_name', 'mine'],
    'setting by a function': [
      `select set_config('my.name', 'mine', true)`,
      `select current_setting('my.name')`,
      'mine',
    ],
    savepoint: ['savepoint s', 'rollback to s', undefined],
    cursor: ['declare c cursor for select n from t order by n', 'fetch 1 from c', 1],
    'cursor of a function': [`select opens('c')`, 'fetch 1 from c', 1],
    'large object': ['select lo_open(4711, 262144)', `select loread(0, 4)::text`, '\\x68657265'],
    lock: ['select n from t for share', COUNT, 2],
  }
  const setup = `create function opens(c refcursor) returns refcursor language plpgsql
    as $$ begin open c for select n from t order by n; return c; end $$;
    select lo_from_bytea(4711, 'here')`
  for (const [name, [sql, then, value]] of Object.entries(lasting)) {
    test(name, async () => {
      await using both = await scene(`lasting-${name.replaceAll(' ', '-')}`, setup)
      const { writer, reader } = both
      await reader.client.query('begin')
      const { answer } = await waits(sql, both)
      await writer.client.query('commit')
      await answer
      assert.equal(await reader.value(then), value)
      await reader.client.query('commit')
    })
  }

  test('a level above READ COMMITTED, from the first query on', async () => {
    await using both = await scene('levels')
    const { writer, reader } = both
    const { client } = reader
    for (const begin of [
      ['begin isolation level repeatable read, read only'],
      ['begin', 'set transaction isolation level serializable, deferrable'],
      [`set default_transaction_isolation = 'repeatable read'`, 'begin'],
    ]) {
      for (const sql of begin) await client.query(sql)
      assert.match(String(await showLevel(reader)), /serializable|repeatable read/)
      const { answer } = await waits(COUNT, both)
      await writer.client.query('commit')
      const { rows } = (await answer) as { rows: { count: number }[] }
      const seen = rows[0]?.count
      assert.equal(seen, await writer.value(COUNT), 'what is committed when it first asks')
      assert.match(String(await showLevel(reader)), /serializable|repeatable read/)
      const written = writer.client.query('begin; insert into t values (3)')
      assert.equal(await reader.value(COUNT), seen, 'and the same ever after')
      await client.query('commit')
      await written
    }
  })

  test('such a one that ends before it has asked for anything, or fails', async () => {
    await using both = await scene('levels-empty')
    const { client } = both.reader
    await client.query('begin isolation level serializable')
    assert.equal((await client.query('commit')).command, 'COMMIT')
    await client.query('begin isolation level repeatable read')
    assert.equal((await failureOf(client.query('show nothing_of_that_name'))).code, '42704')
    assert.equal((await failureOf(client.query(COUNT))).code, '25P02')
    await client.query('rollback and chain')
    assert.equal(await showLevel(both.reader), 'read committed', 'as in a server')
    assert.equal((await client.query('commit')).command, 'COMMIT')
  })
})
