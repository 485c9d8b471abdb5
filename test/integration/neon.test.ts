/**
 * Neon's serverless driver, unmodified, pointed at pgnap: Pool and Client over WebSockets, neon()
 * over HTTP, and Drizzle on both.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { Client, type NeonQueryFunction, Pool, neon, neonConfig } from '@neondatabase/serverless'
import { eq } from 'drizzle-orm'
import { drizzle as drizzleHttp } from 'drizzle-orm/neon-http'
import { drizzle as drizzleServerless } from 'drizzle-orm/neon-serverless'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
  pointAt(server)
})
after(() => server[Symbol.asyncDispose]())
afterEach(() => {
  neonConfig.pipelineConnect = 'password'
  pointAt(server)
})

/** As docs/http-api.md shows it. */
function pointAt({ httpPort }: ServerProcess): void {
  neonConfig.fetchEndpoint = `http://127.0.0.1:${httpPort}/sql`
  neonConfig.wsProxy = `127.0.0.1:${httpPort}/v2`
  neonConfig.useSecureWebSocket = false
}

const urlOf = (tenant: string, user = 'postgres', password = 'secret'): string =>
  `postgres://${user}:${password}@localhost/${tenant}`

async function connect(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client(url)
  client.on('error', () => {})
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

describe('over WebSockets', () => {
  test('a pool and its clients, parameters and types', async () => {
    const pool = new Pool({ connectionString: urlOf('types') })
    const { rows, fields } = await pool.query(
      `select $1::int + 1 as n, $2::text as s, $3::jsonb as j, $4::timestamptz as t,
         $5::bytea as b, array[1, 2] as a, null as x, 9007199254740993::int8 as big`,
      [41, 'ü', { a: [1] }, new Date(0), Buffer.from([0, 255])],
    )
    assert.deepEqual(rows, [
      {
        n: 42,
        s: 'ü',
        j: { a: [1] },
        t: new Date(0),
        b: Buffer.from([0, 255]),
        a: [1, 2],
        x: null,
        big: '9007199254740993',
      },
    ])
    assert.deepEqual(
      fields.slice(0, 2).map(({ dataTypeID }) => dataTypeID),
      [23, 25],
    )
    await pool.end()
  })

  for (const pipelineConnect of ['password', false] as const) {
    for (const url of [urlOf('hello'), 'postgres://postgres@localhost/hello']) {
      test(`under trust, pipelineConnect ${pipelineConnect}: ${url}`, async () => {
        neonConfig.pipelineConnect = pipelineConnect
        await using client = await connect(url)
        assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }])
        assert.deepEqual((await client.query('select 2 as n')).rows, [{ n: 2 }])
      })
    }
  }

  test('every write in a frame of its own', async () => {
    neonConfig.coalesceWrites = false
    try {
      await using client = await connect(urlOf('hello'))
      assert.deepEqual((await client.query('select $1::int as n', [1])).rows, [{ n: 1 }])
    } finally {
      neonConfig.coalesceWrites = true
    }
  })

  test('transactions: what is rolled back was not, what is committed is', async () => {
    const pool = new Pool({ connectionString: urlOf('transactions') })
    await pool.query('create table t (n int primary key)')
    const client = await pool.connect()
    await client.query('begin')
    await client.query('insert into t values (1)')
    await client.query('rollback')
    await client.query('begin')
    await client.query('insert into t values (2)')
    await client.query('commit')
    client.release()
    assert.deepEqual((await pool.query('select n from t')).rows, [{ n: 2 }])
    await pool.end()
    await using other = await connectPg(server, 'transactions')
    assert.deepEqual(await other.column('select n from t'), [2])
  })

  test('errors have all their fields, and the connection goes on', async () => {
    await using client = await connect(urlOf('errors'))
    await client.query('create table t (n int constraint positive check (n > 0))')
    const syntax = await failureOf(client.query('select * from nowhere'))
    assert.deepEqual([syntax.code, syntax.severity, syntax.position], ['42P01', 'ERROR', '15'])
    const check = (await failureOf(client.query('insert into t values (0)'))) as unknown as Record<
      string,
      unknown
    >
    assert.deepEqual(
      [check['code'], check['table'], check['constraint'], check['detail']],
      ['23514', 't', 'positive', 'Failing row contains (0).'],
    )
    assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }])
  })

  test('notifications', async () => {
    await using client = await connect(urlOf('notes'))
    await client.query('listen news')
    const heard = new Promise((resolve) => client.once('notification', resolve))
    await using other = await connect(urlOf('notes'))
    await other.query(`notify news, 'hello'`)
    const { channel, payload } = (await heard) as { channel: string; payload: string }
    assert.deepEqual([channel, payload], ['news', 'hello'])
  })

  test('large results and large parameters', async () => {
    await using client = await connect(urlOf('large'))
    const sql = `select n, repeat('x', 10000) as s from generate_series(1, 3000) n`
    const { rows } = await client.query<{ n: number; s: string }>(sql)
    assert.equal(rows.length, 3000)
    assert.ok(rows.every(({ n, s }, at) => n === at + 1 && s.length === 10_000))
    const long = 'ü'.repeat(8_000_000)
    const answer = await client.query<{ n: number }>('select octet_length($1) as n', [long])
    assert.deepEqual(answer.rows, [{ n: 16_000_000 }])
  })

  test('many clients of many tenants at once', async () => {
    await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        await using client = await connect(urlOf(`many-${at % 8}`))
        for (let n = 0; n < 5; n++) {
          const { rows } = await client.query('select $1::int as n, $2::int as m', [at, n])
          assert.deepEqual(rows, [{ n: at, m: n }])
        }
      }),
    )
  })

  test('a client whose tenant naps in between keeps its session', async () => {
    await using client = await connect(urlOf('napper'))
    await client.query('create table t (n int); insert into t values (7)')
    await client.query(`set application_name = 'mine'`)
    const { status } = await server.request('/v1/tenants/napper/nap', { method: 'POST' })
    assert.equal(status, 200)
    const { rows } = await client.query(`select n, current_setting('application_name') as a from t`)
    assert.deepEqual(rows, [{ n: 7, a: 'mine' }])
  })

  test('a query is cancelled by a request on another WebSocket', async () => {
    await using client = await connect(urlOf('sleeper'))
    let isOver = false
    const failure = failureOf(client.query('select pg_sleep(60)')).finally(() => (isOver = true))
    // One that comes before the query runs cancels nothing.
    while (!isOver) {
      const { processID, secretKey } = client as unknown as Record<string, number>
      const request = Buffer.alloc(16)
      for (const [at, word] of [16, 80_877_102, processID, secretKey].entries()) {
        request.writeInt32BE(word ?? 0, at * 4)
      }
      const other = new WebSocket(`ws://127.0.0.1:${server.httpPort}/v2`)
      await once(other, 'open')
      other.send(request)
      await once(other, 'close')
      await wait(300)
    }
    assert.equal((await failure).code, '57014')
    assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }])
  })

  test('the admin console', async () => {
    await using client = await connect(urlOf('pgnap'))
    const { rows } = await client.query('show version')
    assert.equal(rows.length, 1)
  })

  test('a name that no tenant may have', async () => {
    const failure = await failureOf(connect(urlOf('No')).then((client) => client.query('select 1')))
    assert.equal(failure.code, '3D000')
  })

  test('a server that ends tells its clients, and ends at once', async () => {
    await using ending = await startServer()
    pointAt(ending)
    const client = await connect(urlOf('acme'))
    await client.query('select 1')
    const told = new Promise((resolve) => client.once('error', resolve))
    const silent = new WebSocket(`ws://127.0.0.1:${ending.httpPort}/v2`)
    await once(silent, 'open')
    const startMs = performance.now()
    const { status } = await ending.stop()
    assert.equal(status, 0)
    assert.ok(performance.now() - startMs < 8_000, 'nobody is waited for')
    assert.equal(((await told) as { code: string }).code, '57P01')
  })

  test('no more clients than connectionsMax', async () => {
    await using small = await startServer({ flags: ['--max-connections', '2'] })
    pointAt(small)
    await using one = await connect(urlOf('acme'))
    await using two = await connect(urlOf('acme'))
    await Promise.all([one.query('select 1'), two.query('select 1')])
    const refused = connect(urlOf('acme')).then((client) => client.query('select 1'))
    assert.equal((await failureOf(refused)).code, '53300')
    assert.deepEqual((await one.query('select 1 as n')).rows, [{ n: 1 }])
  })
})

describe('with passwords', () => {
  const folder = temporaryFolder()
  after(() => folder[Symbol.dispose]())
  let guarded: ServerProcess
  before(async () => {
    const file = join(folder.path, 'users')
    writeFileSync(file, '"ann" "right"\n')
    guarded = await startServer({ flags: ['--auth', 'scram', '--auth-file', file] })
  })
  after(() => guarded[Symbol.asyncDispose]())

  for (const pipelineConnect of ['password', false] as const) {
    test(`pipelineConnect ${pipelineConnect}: right, wrong, unknown, none`, async () => {
      pointAt(guarded)
      neonConfig.pipelineConnect = pipelineConnect
      {
        await using client = await connect(urlOf('acme', 'ann', 'right'))
        assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }])
      }
      for (const url of [
        urlOf('acme', 'ann', 'wrong'),
        urlOf('acme', 'bob', 'right'),
        urlOf('pgnap', 'ann', 'wrong'),
        'postgres://ann@localhost/acme',
      ]) {
        const client = new Client(url)
        client.on('error', () => {})
        const failure = await failureOf(client.connect().then(() => client.query('select 1')))
        assert.equal(failure.code, '28P01', url)
      }
    })
  }
})

describe('neon() over HTTP', () => {
  const sqlOf = (tenant: string): NeonQueryFunction<false, false> => neon(urlOf(tenant))

  test('tagged template, plain function, arrayMode, fullResults', async () => {
    const sql = sqlOf('http')
    assert.deepEqual(await sql`select ${41}::int + 1 as n, ${'ü'} as s`, [{ n: 42, s: 'ü' }])
    assert.deepEqual(await sql.query('select $1::int as n', [1]), [{ n: 1 }])
    const arrays = await sql.query('select 1 as n, 2 as m', [], { arrayMode: true })
    assert.deepEqual(arrays, [[1, 2]])
    const full = await sql.query('select 1 as n', [], { fullResults: true })
    assert.deepEqual([full.rows, full.command, full.rowCount], [[{ n: 1 }], 'SELECT', 1])
  })

  test('a transaction: its results in order, and its modes', async () => {
    const sql = sqlOf('batch')
    await sql`create table t (n int)`
    const [inserted, levels] = await sql.transaction(
      [
        sql`insert into t values (${1}), (2) returning n`,
        sql`select current_setting('transaction_isolation') as level`,
      ],
      { isolationLevel: 'Serializable' },
    )
    assert.deepEqual(inserted, [{ n: 1 }, { n: 2 }])
    assert.deepEqual(levels, [{ level: 'serializable' }])
    const arrays = await sql.transaction([sql`select n from t order by n`], { arrayMode: true })
    assert.deepEqual(arrays, [[[1], [2]]])
    const modes = await sql.transaction(
      (tx) => [
        tx`select current_setting('transaction_isolation') as level,
          current_setting('transaction_read_only') as ro,
          current_setting('transaction_deferrable') as d`,
      ],
      { isolationLevel: 'RepeatableRead', readOnly: true, deferrable: true, fullResults: true },
    )
    assert.deepEqual(modes[0]?.rows, [{ level: 'repeatable read', ro: 'on', d: 'on' }])
    assert.deepEqual(await sql.transaction([]), [])
  })

  test('a transaction of which one query fails leaves nothing behind', async () => {
    const sql = sqlOf('batch-fails')
    await sql`create table t (n int unique deferrable initially deferred)`
    const one = await failureOf(
      sql.transaction([sql`insert into t values (1)`, sql`select 1 / 0`, sql`select 2`]),
    )
    assert.deepEqual([one.name, one.code], ['NeonDbError', '22012'])
    // An error that comes with the commit only.
    const late = await failureOf(sql.transaction([sql`insert into t values (1), (1)`]))
    assert.equal(late.code, '23505')
    const write = sql.transaction([sql`insert into t values (3)`], { readOnly: true })
    assert.equal((await failureOf(write)).code, '25006')
    assert.deepEqual(await sql`select n from t`, [])
  })

  test('a batch that ends its own transaction is told so', async () => {
    const sql = sqlOf('batch-ends')
    const failure = await failureOf(sql.transaction([sql`select 1`, sql`commit`, sql`select 2`]))
    assert.match(failure.message, /query 2 of the batch ended its transaction/)
  })

  test('a batch that is given up leaves nothing behind', async () => {
    const sql = sqlOf('batch-given-up')
    await sql`create table t (n int)`
    const leaving = new AbortController()
    const batch = sql.transaction(
      [sql`insert into t values (1)`, sql`select pg_sleep(30)`, sql`insert into t values (2)`],
      { fetchOptions: { signal: leaving.signal } },
    )
    setTimeout(() => leaving.abort(), 300)
    await failureOf(batch)
    const startMs = performance.now()
    assert.deepEqual(await sql`select n from t`, [])
    assert.ok(performance.now() - startMs < 10_000, 'the sleep was ended')
  })
})

describe('Drizzle', () => {
  const users = pgTable('users', {
    id: integer().primaryKey().generatedAlwaysAsIdentity(),
    name: text().notNull(),
  })
  const CREATE =
    'create table users (id int primary key generated always as identity, name text not null)'

  test('on neon-serverless, with a transaction', async () => {
    const pool = new Pool({ connectionString: urlOf('drizzle-ws') })
    await pool.query(CREATE)
    const db = drizzleServerless({ client: pool })
    await db.transaction(async (tx) => {
      await tx.insert(users).values([{ name: 'ann' }, { name: 'bob' }])
    })
    const found = await db.select().from(users).where(eq(users.name, 'bob'))
    assert.deepEqual(found, [{ id: 2, name: 'bob' }])
    await pool.end()
  })

  test('on neon-http, with a batch', async () => {
    const client = neon(urlOf('drizzle-http'))
    await client.query(CREATE)
    const db = drizzleHttp({ client })
    const [inserted, all] = await db.batch([
      db.insert(users).values({ name: 'ann' }).returning(),
      db.select().from(users),
    ])
    assert.deepEqual([inserted, all], [[{ id: 1, name: 'ann' }], [{ id: 1, name: 'ann' }]])
  })
})
