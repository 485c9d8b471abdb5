/**
 * The two drivers that most Node programs use, against the shipped program. They differ where it
 * matters here: node-postgres sends one batch at a time, postgres.js pipelines and names every
 * statement it prepares.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import postgres from 'postgres'
import { connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
})
after(() => server[Symbol.asyncDispose]())

/** Every byte value, many times. */
const BYTES = Buffer.from(Uint8Array.from({ length: 1_000_003 }, (_, index) => (index * 7) % 256))
const MEGABYTE = 1_048_576

describe('node-postgres', () => {
  test('values come back as they went', async () => {
    await using connection = await connectPg(server, 'values')
    const { rows } = await connection.client.query<Record<string, unknown>>(
      `select $1::text as text, $2::bytea as bytes, $3::jsonb as json, $4::int[] as numbers,
              $5::timestamptz as time, $6::bool as yes, null::int as nothing`,
      [
        'naïve \u{1F418} \u0001 \'"\\',
        BYTES,
        { a: [1, null, 'ü'] },
        [1, 2, 3],
        new Date('2026-01-02T03:04:05.678Z'),
        true,
      ],
    )
    const [row] = rows
    assert.ok(row)
    assert.equal(row['text'], 'naïve \u{1F418} \u0001 \'"\\')
    assert.ok(BYTES.equals(row['bytes'] as Buffer))
    assert.deepEqual(row['json'], { a: [1, null, 'ü'] })
    assert.deepEqual(row['numbers'], [1, 2, 3])
    assert.deepEqual(row['time'], new Date('2026-01-02T03:04:05.678Z'))
    assert.deepEqual([row['yes'], row['nothing']], [true, null])
  })

  test('20 MB of rows arrive whole, and 5 MB of a parameter too', async () => {
    await using connection = await connectPg(server, 'large')
    const { rows } = await connection.client.query<{ n: number; text: string }>(
      'select n, repeat(chr(97 + n % 26), 1024) as text from generate_series(1, 20480) n',
    )
    assert.equal(rows.length, 20_480)
    for (const { n, text } of rows)
      assert.equal(text, String.fromCharCode(97 + (n % 26)).repeat(1024))
    const large = Buffer.concat([BYTES, BYTES, BYTES, BYTES, BYTES])
    const md5 = createHash('md5').update(large).digest('hex')
    assert.equal(await connection.value('select md5($1::bytea)', [large]), md5)
    await connection.client.query('create table t(b bytea)')
    await connection.client.query('insert into t values ($1)', [large])
    assert.ok(large.equals((await connection.value('select b from t')) as Buffer))
  })

  test('errors have code, position, detail; notices a severity; the session goes on', async () => {
    await using connection = await connectPg(server, 'errors')
    const syntax = await failureOf(connection.client.query('select * fron t'))
    assert.deepEqual([syntax.code, syntax.position], ['42601', '10'])
    await connection.client.query('create table t(n int check (n > 0))')
    const check = await failureOf(connection.client.query('insert into t values ($1)', [-1]))
    assert.equal(check.code, '23514')
    assert.match(String(check.detail), /Failing row contains \(-1\)/)
    const notice = new Promise<{ severity?: string; message?: string }>((resolve) =>
      connection.client.once('notice', resolve),
    )
    await connection.client.query("do $$ begin raise warning 'careful'; end $$")
    assert.deepEqual([(await notice).severity, (await notice).message], ['WARNING', 'careful'])
    assert.equal(await connection.value('select 1'), 1)
  })

  test('an error in a transaction aborts it, a savepoint saves it', async () => {
    await using connection = await connectPg(server, 'transactions')
    const { client } = connection
    await client.query('create table t(n int primary key)')
    await client.query('begin')
    await client.query('insert into t values (1)')
    await client.query('savepoint s')
    assert.equal((await failureOf(client.query('insert into t values (1)'))).code, '23505')
    assert.equal((await failureOf(client.query('select 1'))).code, '25P02')
    await client.query('rollback to s')
    await client.query('insert into t values (2)')
    await client.query('commit')
    assert.deepEqual(await connection.column('select n from t order by n'), [1, 2])
  })

  test('a named statement is prepared once and follows its table', async () => {
    await using connection = await connectPg(server, 'named')
    const { client } = connection
    await client.query('create table t as select 1 as n')
    const ask = { name: 'ask', text: 'select n + $1::int as n from t' }
    for (let n = 0; n < 20; n++) {
      assert.deepEqual((await client.query({ ...ask, values: [n] })).rows, [{ n: n + 1 }])
    }
    assert.equal(await connection.value('select count(*)::int from pg_prepared_statements'), 1)
    await client.query('alter table t alter n type bigint')
    const changed = await failureOf(client.query({ ...ask, values: [1] }))
    assert.equal(changed.code, '0A000', 'cached plan must not change result type')
  })

  test('a nap does not take prepared statements and settings away', async () => {
    await using connection = await connectPg(server, 'carried')
    const { client } = connection
    const ask = { name: 'ask', text: 'select $1::int as n' }
    assert.deepEqual((await client.query({ ...ask, values: [1] })).rows, [{ n: 1 }])
    await client.query("set application_name = 'mine'")
    assert.equal((await server.request('/v1/tenants/carried/nap', { method: 'POST' })).status, 200)
    assert.equal(await connection.value('show application_name'), 'mine')
    assert.deepEqual((await client.query({ ...ask, values: [2] })).rows, [{ n: 2 }])
  })

  test('two clients of a tenant have settings and statements of their own', async () => {
    await using one = await connectPg(server, 'apart')
    await using two = await connectPg(server, 'apart')
    await one.client.query("set application_name = 'one'")
    await one.client.query({ name: 'ask', text: 'select 1 as n' })
    assert.deepEqual((await two.client.query({ name: 'ask', text: 'select 2 as n' })).rows, [
      { n: 2 },
    ])
    assert.notEqual(await two.value('show application_name'), 'one')
    assert.equal(await one.value('show application_name'), 'one')
  })

  test('a listener on its own connection hears what it says', async () => {
    await using connection = await connectPg(server, 'notices')
    const heard = new Promise<string | undefined>((resolve) =>
      connection.client.once('notification', ({ payload }) => resolve(payload)),
    )
    await connection.client.query('listen news')
    await connection.client.query("notify news, 'hello'")
    assert.equal(await heard, 'hello')
  })
})

describe('postgres.js', () => {
  const connect = (tenant: string, max = 1): postgres.Sql =>
    postgres({ host: '127.0.0.1', port: server.port, username: 'postgres', database: tenant, max })

  test('a pipeline of named statements answers in order', async () => {
    const sql = connect('pipeline')
    try {
      const answers = await Promise.all(
        Array.from({ length: 500 }, (_, n) => sql`select ${n}::int + ${n % 3}::int as n`),
      )
      assert.deepEqual(
        answers.map(([row]) => row?.['n'] as number),
        Array.from({ length: 500 }, (_, n) => n + (n % 3)),
      )
      const mixed = await Promise.allSettled([
        sql`select 1 as n`,
        sql`select 1 / ${0}::int as n`,
        sql`select 3 as n`,
      ])
      assert.deepEqual(
        mixed.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
    } finally {
      await sql.end()
    }
  })

  test('transactions, cursors, types', async () => {
    const sql = connect('cursors')
    try {
      await sql`create table t(n int, tags text[], data jsonb)`
      await sql.begin(async (transaction) => {
        const row = { n: 1, tags: ['a', 'b'], data: sql.json({ x: 1 }) }
        await transaction`insert into t ${sql([row])}`
        await transaction
          .savepoint(async (point) => {
            await point`insert into t(n) values (2)`
            throw new Error('changed my mind')
          })
          .catch(() => {})
      })
      assert.deepEqual(
        [...(await sql`select * from t`)],
        [{ n: 1, tags: ['a', 'b'], data: { x: 1 } }],
      )
      const sizes: number[] = []
      await sql`select generate_series(1, 1000) as n`.cursor(300, (rows) => {
        sizes.push(rows.length)
      })
      assert.deepEqual(sizes, [300, 300, 300, 100])
    } finally {
      await sql.end()
    }
  })

  test('COPY as streams, in and out', async () => {
    const sql = connect('streams')
    try {
      await sql`create table t(n int, text text)`
      const lines = Array.from({ length: 30_000 }, (_, n) => `${n}\tline ${n} ü\n`)
      await pipeline(Readable.from(lines), await sql`copy t from stdin`.writable())
      assert.deepEqual(
        [...(await sql`select count(*)::int, sum(n)::int from t`)],
        [{ count: 30_000, sum: 449_985_000 }],
      )
      const out = await sql`copy (select * from t order by n) to stdout`.readable()
      const parts: Buffer[] = []
      for await (const part of out) parts.push(part as Buffer)
      assert.equal(Buffer.concat(parts).toString('utf8'), lines.join(''))
    } finally {
      await sql.end()
    }
  })

  test('a pool of connections to one tenant: every transaction is whole', async () => {
    const sql = connect('pool', 8)
    try {
      await sql`create table account(id int primary key, balance int)`
      await sql`insert into account select n, 100 from generate_series(0, 9) n`
      await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          sql.begin(async (transaction) => {
            const [from, to] = [n % 10, (n * 3 + 1) % 10]
            await transaction`update account set balance = balance - 1 where id = ${from}`
            await transaction`update account set balance = balance + 1 where id = ${to}`
          }),
        ),
      )
      assert.equal((await sql`select sum(balance)::int from account`)[0]?.['sum'], 1000)
    } finally {
      await sql.end()
    }
  })

  test('20 MB in one row', async () => {
    const sql = connect('large-row')
    try {
      const [row] = await sql`select repeat('ü', ${10 * MEGABYTE}) as text`
      assert.equal(row?.['text'], 'ü'.repeat(10 * MEGABYTE))
    } finally {
      await sql.end()
    }
  })
})
