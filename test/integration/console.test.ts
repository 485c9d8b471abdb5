/**
 * The admin console of the shipped program, through the clients that people and exporters use, and
 * through bytes that nobody should send.
 */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, type Connection } from 'pg'
import postgres from 'postgres'
import { LIMITS } from '../../src/base/limits.ts'
import {
  cancelRequestOf,
  type Target,
  connectPg,
  failureOf,
  missing,
  psql,
} from '../support/clients.ts'
import { summarize } from '../support/fake-gateway.ts'
import { say } from '../support/messages.ts'
import { type ServerProcess, runProgram, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

const byText = (a: unknown, b: unknown): number => (String(a) < String(b) ? -1 : 1)

type Row = Readonly<Record<string, unknown>>

/** Rows of one SHOW, on a connection of its own. */
async function show(command: string): Promise<Row[]> {
  await using connection = await connectPg(server, 'pgnap')
  return (await connection.client.query<Row>(`SHOW ${command}`)).rows
}

/** Tells what happens, again and again until it is so: the server's own timers decide when. */
async function eventually<Result>(
  look: () => Promise<Result>,
  isSo: (seen: Result) => boolean,
): Promise<Result> {
  for (;;) {
    const seen = await look()
    if (isSo(seen)) return seen
    await delay(10)
  }
}

describe('what it shows', () => {
  test('a tenant at work: pools, clients, slots, tenants', async () => {
    await using holder = await connectPg(server, 'acme', { application_name: 'holder' })
    await using waiter = await connectPg(server, 'acme', { application_name: 'waiter' })
    await holder.client.query('create table t(n int)')
    await holder.client.query('begin')
    await holder.client.query('insert into t values (1)')
    const waiting = waiter.client.query('insert into t values (2) returning n')
    const poolOf = async (): Promise<Row> => {
      const pool = (await show('POOLS')).find(({ database }) => database === 'acme')
      assert.ok(pool)
      return pool
    }
    const pool = await eventually(poolOf, ({ cl_waiting }) => cl_waiting === 1)
    const { cl_active, sv_active, sv_idle, pool_mode, user } = pool
    assert.deepEqual(
      { cl_active, sv_active, sv_idle, pool_mode, user },
      { cl_active: 1, sv_active: 1, sv_idle: 0, pool_mode: 'transaction', user: 'postgres' },
    )
    const clients = await show('CLIENTS')
    const states = clients.map(({ database, application_name: name, state }) => [
      database,
      name,
      state,
    ])
    assert.deepEqual(states.filter(([database]) => database === 'acme').toSorted(byText), [
      ['acme', 'holder', 'active'],
      ['acme', 'waiter', 'waiting'],
    ])
    const held = clients.find(({ application_name: name }) => name === 'holder')
    const { addr, local_port: port, id } = held ?? {}
    const holding = holder.client as Client & { processID?: number }
    assert.deepEqual([addr, port, id], ['127.0.0.1', server.port, holding.processID])
    assert.ok(
      clients.some(({ database }) => database === 'pgnap'),
      'the console shows itself',
    )
    const open = clients.filter(({ database }) => database === 'acme')
    const transactions = open.map((row) => [row['application_name'], row['transaction']])
    assert.deepEqual(transactions.toSorted(byText), [
      ['holder', 'transaction'],
      ['waiter', 'idle'],
    ])
    for (const row of open) {
      assert.ok(Date.parse(String(row['request_time'])) >= Date.parse(String(row['connect_time'])))
    }
    const servers = await show('SERVERS')
    assert.ok(servers.some(({ database, state }) => database === 'acme' && state === 'active'))
    const [tenant] = await show("TENANTS AFTER 'acmd' LIMIT 1")
    assert.deepEqual(
      [tenant?.['name'], tenant?.['state'], tenant?.['clients']],
      ['acme', 'awake', 2],
    )
    assert.ok(Number(tenant?.['store_bytes']) > 10_000)
    await holder.client.query('commit')
    assert.deepEqual((await waiting).rows, [{ n: 2 }])
  })

  test('a client by the name that it has given itself since', async () => {
    await using one = await connectPg(server, 'renamed', { application_name: 'before' })
    const namesOf = async (): Promise<unknown[]> => {
      const clients = (await show('CLIENTS')).filter(({ database }) => database === 'renamed')
      return clients.map(({ application_name: name, request_time: at }) => [name, at === null])
    }
    assert.deepEqual(await namesOf(), [['before', false]], 'its settings were a request')
    await one.client.query(`set application_name = 'after'`)
    assert.deepEqual(await namesOf(), [['after', false]])
    await one.client.query('begin')
    await failureOf(one.client.query('select nonsense'))
    const [row] = (await show('CLIENTS')).filter(({ database }) => database === 'renamed')
    assert.deepEqual([row?.['state'], row?.['transaction']], ['active', 'failed'])
  })

  test('sums: stats, lists, slots, metrics, shards, settings, version', async () => {
    await using connection = await connectPg(server, 'counted')
    await connection.client.query('select 1')
    const [stats] = await show('STATS')
    assert.equal(stats?.['database'], '*')
    assert.ok(Number(stats?.['total_query_count']) > 0 && Number(stats?.['total_query_time']) > 0)
    const lists = new Map((await show('LISTS')).map(({ list, items }) => [list, items]))
    assert.ok(Number(lists.get('used_servers')) > 0)
    const slots = await show('SLOTS')
    assert.deepEqual(
      slots.map(({ shard, max }) => [shard, max]),
      [
        [0, 2],
        [1, 2],
      ],
    )
    const metrics = new Map((await show('METRICS')).map(({ name, value }) => [name, value]))
    const first = [metrics.get('found_new'), metrics.get('wakes_new_p50_ms')]
    assert.ok(
      first.every((value) => Number(value) > 0),
      'a new tenant is a wake of its own',
    )
    const tiers = (await show('TIERS')).map(({ tier }) => tier)
    assert.deepEqual(tiers, ['awake', 'napping', 'asleep', 'cold', 'new'])
    assert.deepEqual(
      (await show('SHARDS')).map(({ shard, state }) => [shard, state]),
      [
        [0, 'running'],
        [1, 'running'],
      ],
    )
    const settings = new Map((await show('CONFIG')).map(({ key, value }) => [key, value]))
    assert.deepEqual([settings.get('slots'), settings.get('max_client_conn')], ['2', '10000'])
    assert.match(String((await show('VERSION'))[0]?.['version']), /^pgnap .* \(PostgreSQL 18\./)
  })

  test('what a PgBouncer exporter asks, one after the other on one connection', async () => {
    await using connection = await connectPg(server, 'pgnap')
    const commands = ['STATS', 'STATS_TOTALS', 'POOLS', 'DATABASES', 'LISTS', 'CONFIG', 'VERSION']
    for (const command of commands) {
      const { rows, fields } = await connection.client.query(`SHOW ${command};`)
      assert.ok(rows.length > 0 && fields.length > 0, command)
    }
  })
})

describe('drivers', () => {
  test('node-postgres, prepared and named', async () => {
    await using connection = await connectPg(server, 'pgnap')
    const named = { name: 'pools', text: 'show pools', values: [] }
    for (let turn = 0; turn < 3; turn++) {
      const { rows, command } = await connection.client.query(named)
      assert.equal(command, 'SHOW')
      assert.ok(rows.some(({ database }) => database === 'pgnap'))
    }
    const failure = await failureOf(connection.client.query('select $1::int', [1]))
    assert.equal(failure.code, '0A000')
    assert.match(failure.hint ?? '', /SHOW HELP/)
    assert.equal((await connection.client.query('show state')).rows.length, 3)
  })

  test('postgres.js', async () => {
    const sql = postgres(server.url('pgnap'), { max: 1, fetch_types: false, onnotice: () => {} })
    try {
      const pools = await sql`show pools`
      assert.ok(pools.some(({ database }) => database === 'pgnap'))
      assert.equal((await sql.unsafe('show slots')).length, 2)
      assert.equal((await failureOf(sql`show nothing`)).code, '42601')
      assert.equal((await sql`show state`).length, 3)
    } finally {
      await sql.end()
    }
  })

  test(
    'psql: its start, several commands, \\l and garbage',
    { skip: missing('psql') },
    async () => {
      const { status, stdout, stderr } = await psql(
        server,
        'pgnap',
        `show version; SHOW STATE;
       \\l
       \\d
       suspend;
       gibberish;
       show tenants limit 1;
       \\conninfo
      `,
      )
      assert.equal(status, 0)
      assert.match(stdout, /^pgnap .*\nactive\|yes\npaused\|no\nsuspended\|no\n/)
      assert.match(stdout, /database "pgnap"/)
      assert.equal(stderr.match(/ERROR: {2}the admin console runs no SQL\nHINT: /g)?.length, 2)
      assert.match(stderr, /ERROR: {2}SUSPEND is not supported by pgnap\nHINT: /)
      assert.match(stderr, /ERROR: {2}invalid command "gibberish"\nHINT: {2}SHOW HELP/)
      assert.match(stderr, /NOTICE: {2}\d+ more: SHOW TENANTS AFTER '/)
    },
  )
})

describe('a reserved name', () => {
  test('is refused wherever a tenant could be made or used', async () => {
    const created = await server.request('/v1/tenants', {
      method: 'POST',
      body: JSON.stringify({ name: 'pgnap' }),
    })
    assert.equal(created.status, 400)
    const { error } = (await created.json()) as { error: Record<string, string> }
    assert.deepEqual([error['code'], error['sqlState']], ['TENANT_NAME_INVALID', '3D000'])
    assert.match(error['hint'] ?? '', /admin console/)
    const url = `http://127.0.0.1:${server.httpPort}`
    const program = await runProgram(['tenant', 'create', 'pgnap', '--url', url])
    assert.notEqual(program.status, 0)
    assert.match(program.stderr, /reserved/)
    const branch = await failureOf(connectPg(server, 'pgnap@main'))
    assert.equal(branch.code, '3D000')
    await using connection = await connectPg(server, 'pgnap')
    await failureOf(connection.client.query('create table t(n int)'))
    assert.ok(!existsSync(join(server.data, 'tenants', 'pgnap.db')))
  })

  test('a file of that name is passed over, whole, and the others are listed', async () => {
    using folder = temporaryFolder()
    const data = folder.path
    {
      await using first = await startServer({ data, flags: ['--shards', '1'] })
      await using connection = await connectPg(first, 'acme')
      await connection.client.query('create table t as select 7 as n')
      await connection.client.end()
      await first.stop()
    }
    const stray = join(data, 'tenants', 'pgnap.db')
    copyFileSync(join(data, 'tenants', 'acme.db'), stray)
    await using second = await startServer({ data, flags: ['--shards', '1'] })
    const { tenants } = (await (await second.request('/v1/tenants')).json()) as {
      tenants: { name: string }[]
    }
    assert.deepEqual(
      tenants.map(({ name }) => name),
      ['acme'],
    )
    await using connection = await connectPg(second, 'pgnap')
    assert.equal((await connection.client.query('show state')).rows.length, 3)
    assert.equal((await second.request('/v1/tenants/pgnap', { method: 'DELETE' })).status, 400)
    assert.ok(existsSync(stray))
  })
})

/** Sends `bytes` on a connection of their own and returns all that comes until it ends. */
async function exchange({ port }: Target, ...bytes: Uint8Array[]): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.write(Buffer.concat(bytes))
  await new Promise<void>((resolve, reject) => {
    socket.once('close', resolve)
    socket.once('error', reject)
  })
  return Buffer.concat(chunks)
}

describe('hostile', () => {
  const STARTUP = say.startup({ user: 'eve', database: 'pgnap' })

  /** What was answered after the greeting. */
  async function answered(...bytes: Uint8Array[]): Promise<string> {
    return summarize(await exchange(server, STARTUP, ...bytes)).replace(/^R (?:S )+K ZI ?/, '')
  }

  test('a thousand commands sent ahead, then Terminate', async () => {
    const commands = Array.from({ length: 1000 }, () => say.query('show state'))
    const answer = await answered(...commands, say.terminate())
    assert.equal(answer, Array.from({ length: 1000 }, () => 'T D D D C(SHOW) ZI').join(' '))
  })

  test('Terminate at once; Terminate in the middle of a batch', async () => {
    assert.equal(await answered(say.terminate()), '')
    assert.match(await answered(say.parse('', 'show state'), say.terminate()), /^(1)?$/)
  })

  test('bytes that are no message', async () => {
    assert.equal(await answered(Buffer.from('GET / HTTP/1.1\r\n\r\n')), 'FATAL:08P01')
    const short = Buffer.from([0x51, 0, 0, 0, 1])
    assert.equal(await answered(say.query('show version'), short), 'T D C(SHOW) ZI FATAL:08P01')
  })

  test('COPY, functions, parameters, unknown names: errors, and the session goes on', async () => {
    const answer = await answered(
      say.query('copy t from stdin'),
      say.copyData('1\n'),
      say.copyDone(),
      say.execute('nowhere'),
      say.sync(),
      say.query(''),
      say.query(`show "${'x'.repeat(10_000)}"`),
      say.query('show version'),
      say.terminate(),
    )
    assert.equal(answer, 'ERROR:0A000 ZI ERROR:08P01 ZI I ZI ERROR:42601 ZI T D C(SHOW) ZI')
  })

  test('a cancel request for nothing, and one with a wrong key', async () => {
    await using connection = await connectPg(server, 'pgnap')
    for (const wrong of [0, 1]) {
      assert.equal((await exchange(server, cancelRequestOf(connection, wrong))).length, 0)
    }
    assert.equal((await connection.client.query('show state')).rows.length, 3)
  })

  test('as many connections as there may be, one more, and none left behind', async () => {
    await using admin = await connectPg(server, 'pgnap')
    const others = await Promise.all(
      Array.from({ length: LIMITS.consoleConnectionsMax - 1 }, () =>
        connectPg(server, 'pgnap', { user: 'many' }),
      ),
    )
    const failure = await failureOf(connectPg(server, 'pgnap'))
    assert.equal(failure.code, '53300')
    assert.match(failure.detail ?? '', /consoleConnectionsMax/)
    const count = async (): Promise<number> => {
      const { rows } = await admin.client.query<Row>('show clients')
      return rows.filter(({ user }) => user === 'many').length
    }
    assert.equal(await count(), others.length)
    for (const { client } of others) {
      ;(client as Client & { connection: Connection }).connection.stream.destroy()
    }
    await eventually(count, (left) => left === 0)
  })
})

describe('who and when', () => {
  test('with scram a password is asked for', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'users.txt')
    writeFileSync(file, '"ann" "secret"\n')
    const flags = ['--auth', 'scram', '--auth-file', file, '--shards', '1']
    await using guarded = await startServer({ flags })
    const ann = { user: 'ann', password: 'secret' }
    {
      await using connection = await connectPg(guarded, 'pgnap', ann)
      const { rows } = await connection.client.query('show lists')
      assert.deepEqual(rows[1], { list: 'users', items: 1 })
    }
    for (const wrong of [
      { ...ann, password: 'x' },
      { user: 'bob', password: 'secret' },
    ]) {
      assert.equal((await failureOf(connectPg(guarded, 'pgnap', wrong))).code, '28P01')
    }
  })

  test('is reached when the connections of tenants are used up', async () => {
    const flags = ['--shards', '1', '--max-connections', '1']
    await using full = await startServer({ flags })
    await using one = await connectPg(full, 'acme')
    assert.equal((await failureOf(connectPg(full, 'acme'))).code, '53300')
    await using admin = await connectPg(full, 'pgnap')
    const { rows } = await admin.client.query("show tenants after 'acm'")
    assert.equal(rows[0]?.name, 'acme')
    assert.equal(await one.value('select 1'), 1)
  })

  test('a shard in a long statement: SHARDS answers, POOLS says so, a cancel ends it', async () => {
    await using busy = await startServer({ flags: ['--shards', '1'] })
    await using worker = await connectPg(busy, 'acme')
    await worker.client.query('select 1')
    const done = worker.client.query(
      'select count(*)::int as n from generate_series(1, 4000) a, generate_series(1, 4000) b',
    )
    await using admin = await connectPg(busy, 'pgnap')
    const { rows } = await admin.client.query('show shards')
    assert.deepEqual([rows[0]?.shard, rows[0]?.state], [0, 'running'])
    const pools = failureOf(admin.client.query('show pools'))
    await exchange(busy, cancelRequestOf(admin))
    assert.equal((await pools).code, '57014')
    assert.equal((await admin.client.query('show version')).rows.length, 1)
    assert.deepEqual((await done).rows, [{ n: 16_000_000 }])
    assert.ok((await admin.client.query('show pools')).rows.length > 0)
  })

  test('SIGTERM sends its clients away', async () => {
    await using ending = await startServer({ flags: ['--shards', '1'] })
    await using admin = await connectPg(ending, 'pgnap')
    const told = new Promise<Error>((resolve) => admin.client.once('error', resolve))
    const { status } = await ending.stop()
    assert.equal(status, 0)
    assert.equal(((await told) as Error & { code?: string }).code, '57P01')
  })
})
