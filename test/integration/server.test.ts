/**
 * The server as a whole: who may connect to what, what a client is greeted with, what its leaving
 * leaves behind, naps, and starts and ends of the program.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { REPORTED_SETTINGS } from '../../src/front/wire/greeting.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { makeVerifier, verifierText } from '../../src/router/scram-verifier.ts'
import { Client, type Connection } from 'pg'
import { type PgConnection, connectPg, failureOf } from '../support/clients.ts'
import { plainSocket } from '../support/raw-tls.ts'
import { type ServerProcess, runProgram, serveWords, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('tenants', () => {
  let server: ServerProcess
  before(async () => {
    server = await startServer({ flags: ['--shards', '2'] })
  })
  after(() => server[Symbol.asyncDispose]())

  test('the first connection makes the tenant; its store is in the data folder', async () => {
    const store = join(server.data, 'tenants', 'first.db')
    assert.ok(!existsSync(store))
    await using connection = await connectPg(server, 'first')
    assert.match(String(await connection.value('select version()')), /^PostgreSQL 18\./)
    assert.ok(existsSync(store))
  })

  test('two tenants do not see each other, whichever shard they live on', async () => {
    const names = ['blue', 'red', 'green', 'black']
    await Promise.all(
      names.map(async (name) => {
        await using connection = await connectPg(server, name)
        await connection.client.query(`create table own_${name} as select '${name}' as who`)
      }),
    )
    for (const name of names) {
      await using connection = await connectPg(server, name)
      assert.deepEqual(
        await connection.column("select relname from pg_class where relname like 'own\\_%'"),
        [`own_${name}`],
      )
      assert.equal(await connection.value(`select who from own_${name}`), name)
    }
    const listed = (await (await server.request('/v1/tenants')).json()) as Listing
    const shards = new Set(
      listed.tenants.filter((each) => names.includes(each.name)).map((each) => each.shard),
    )
    assert.equal(shards.size, 2, 'these names are spread over both shards')
  })

  test('names that are no tenants are refused with the reason', async () => {
    const refused = async (name: string): Promise<[string | undefined, string]> => {
      const { code, message, hint } = await failureOf(connectPg(server, name))
      assert.ok(hint, 'a refusal tells what to do')
      return [code, message]
    }
    assert.deepEqual(await refused('No-Capitals'), [
      '3D000',
      'database name "No-Capitals" is not valid',
    ])
    assert.deepEqual(await refused('../escape'), [
      '3D000',
      'database name "../escape" is not valid',
    ])
    assert.deepEqual(await refused('a'.repeat(64)), [
      '3D000',
      `database name "${'a'.repeat(63)}" is not valid`,
    ])
    assert.deepEqual(await refused('template1'), ['3D000', 'database name "template1" is reserved'])
    assert.deepEqual(await refused('first@feature'), [
      '0A000',
      'connecting to a branch is not supported yet',
    ])
    assert.ok(!existsSync(join(server.data, 'escape.db')))
  })

  test('the greeting says what SHOW says', async () => {
    await using connection = await connectPg(server, 'greeted', { application_name: 'me' })
    const { session_authorization: user, ...settings } = REPORTED_SETTINGS
    for (const [name, value] of Object.entries(settings)) {
      assert.equal(await connection.value(`show "${name}"`), value, name)
    }
    // A backend without a postmaster leaves this one setting empty, although it has the user.
    assert.equal(await connection.value('select session_user'), user)
    const greeted = await greetingOf(server, 'greeted')
    assert.equal(greeted.get('server_version'), await connection.value('show server_version'))
    assert.equal(greeted.get('search_path'), '"$user", public')
    assert.equal(greeted.get('application_name'), 'me')
    // Every setting that Postgres would report is in the greeting, and nothing else.
    assert.deepEqual(
      [...greeted.keys()].filter((name) => name !== 'server_version').toSorted(),
      [...Object.keys(REPORTED_SETTINGS), 'application_name'].toSorted(),
    )
  })

  test('nothing of a session is left to the next client', async () => {
    {
      await using leaver = await connectPg(server, 'inherited')
      await leaver.client.query(`
        create schema hidden;
        set search_path = hidden;
        set statement_timeout = '7s';
        set role pg_monitor;
        create temp table mine(n int);
        prepare question as select 1;
        listen gossip`)
      await leaver.client.query('reset role; select pg_advisory_lock(42)')
      await leaver.client.query("select set_config('custom.secret', 'x', false)")
      await leaver.client.query('declare open cursor with hold for select 1')
    }
    await using next = await connectPg(server, 'inherited')
    assert.equal(await next.value('show search_path'), '"$user", public')
    assert.equal(await next.value('show statement_timeout'), '0')
    assert.equal(await next.value('select current_user'), 'postgres')
    assert.equal(await next.value("select to_regclass('pg_temp.mine')"), null)
    assert.equal(await next.value('select count(*)::int from pg_prepared_statements'), 0)
    assert.equal(await next.value('select count(*)::int from pg_cursors'), 0)
    assert.equal(
      await next.value("select count(*)::int from pg_locks where locktype = 'advisory'"),
      0,
    )
    assert.equal(await next.value('select count(*)::int from pg_listening_channels()'), 0)
    assert.equal(
      await next.value("select nullif(current_setting('custom.secret', true), '')"),
      null,
    )
  })
})

test('without create-on-connect an unknown tenant is refused, a made one let in', async () => {
  await using server = await startServer({ flags: ['--shards', '1', '--no-create-on-connect'] })
  const { code, severity, message, hint } = await failureOf(connectPg(server, 'acme'))
  assert.deepEqual([code, severity], ['3D000', 'FATAL'])
  assert.equal(message, 'database "acme" does not exist')
  assert.match(String(hint), /pgnap tenant create acme/)
  const body = JSON.stringify({ name: 'acme' })
  assert.equal((await server.request('/v1/tenants', { method: 'POST', body })).status, 201)
  await using connection = await connectPg(server, 'acme')
  assert.equal(await connection.value('select 1'), 1)
})

describe('scram', () => {
  let folder: ReturnType<typeof temporaryFolder>
  let server: ServerProcess
  before(async () => {
    folder = temporaryFolder()
    const users = join(folder.path, 'users.txt')
    const verifier = verifierText(await makeVerifier('pa"ss', systemRandom))
    writeFileSync(users, `"plain" "secret"\n"verified" "${verifier}"\n`, { mode: 0o600 })
    server = await startServer({
      flags: ['--shards', '1', '--auth', 'scram', '--auth-file', users],
    })
  })
  after(async () => {
    await server[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })
  const login = (user: string, password: string): Promise<PgConnection> =>
    connectPg(server, 'acme', { user, password })

  test('a right password is let in, whether the file holds it plain or as a verifier', async () => {
    await using plain = await login('plain', 'secret')
    assert.equal(await plain.value('select 1'), 1)
    await using verified = await login('verified', 'pa"ss')
    assert.equal(await verified.value('select 1'), 1)
  })

  test('a wrong password and an unknown user hear the same, and make nothing', async () => {
    for (const [user, password] of [
      ['plain', 'Secret'],
      ['verified', 'secret'],
      ['nobody', 'secret'],
    ] as const) {
      const failure = await failureOf(connectPg(server, 'untouched', { user, password }))
      assert.equal(failure.code, '28P01')
      assert.equal(failure.message, `password authentication failed for user "${user}"`)
    }
    assert.ok(!existsSync(join(server.data, 'tenants', 'untouched.db')))
  })

  test('HTTP asks for the same passwords', async () => {
    const basic = (text: string): RequestInit => ({
      headers: { Authorization: `Basic ${btoa(text)}` },
    })
    assert.equal((await server.request('/v1/pool')).status, 401)
    assert.equal((await server.request('/v1/pool', basic('plain:wrong'))).status, 401)
    assert.equal((await server.request('/v1/pool', basic('nobody:secret'))).status, 401)
    assert.equal((await server.request('/v1/pool', basic('plain:secret'))).status, 200)
    const sql = (user: string): Promise<Response> =>
      server.request('/sql', {
        method: 'POST',
        headers: { 'Neon-Connection-String': `postgres://${user}@localhost/acme` },
        body: JSON.stringify({ query: 'select 1 as n' }),
      })
    const refused = await sql('plain:wrong')
    assert.equal(((await refused.json()) as { code: string }).code, '28P01')
    assert.equal((await sql('plain:secret')).status, 200)
    assert.equal((await server.request('/healthz')).status, 200, 'health is nobody’s secret')
  })
})

describe('naps', () => {
  let server: ServerProcess
  before(async () => {
    const flags = ['--shards', '2', '--slots', '2', '--nap-after', '200ms']
    server = await startServer({ flags })
  })
  after(() => server[Symbol.asyncDispose]())

  test('a connection outlives the naps of its tenant', async () => {
    await using connection = await connectPg(server, 'sleeper')
    await connection.client.query('create table t(n int)')
    for (let round = 1; round <= 3; round++) {
      await connection.client.query('insert into t values ($1)', [round])
      const napped = await server.request('/v1/tenants/sleeper/nap', { method: 'POST' })
      assert.equal(napped.status, 200)
      assert.notEqual(((await napped.json()) as Tenant).state, 'awake')
      assert.equal(await connection.value('select count(*)::int from t'), round)
    }
  })

  test('an open transaction is put to sleep, goes on and commits', async () => {
    await using connection = await connectPg(server, 'thinker')
    await connection.client.query('create table t(n int)')
    await connection.client.query('begin; insert into t values (1)')
    const napped = await server.request('/v1/tenants/thinker/nap', { method: 'POST' })
    assert.equal(((await napped.json()) as Tenant).state, 'napping')
    await connection.client.query('commit')
    assert.equal(await connection.value('select count(*)::int from t'), 1)
  })

  test('who is idle for nap-after naps by itself, and wakes with its data', async () => {
    await using connection = await connectPg(server, 'drowsy')
    await connection.client.query('create table t as select 7 as n')
    await until(async () => {
      const facts = (await (await server.request('/v1/tenants/drowsy')).json()) as Tenant
      return facts.state !== 'awake'
    })
    assert.equal(await connection.value('select n from t'), 7)
  })

  test('60 tenants share 4 slots, and each has exactly its own rows', async () => {
    const tenants = Array.from({ length: 60 }, (_, index) => `crowd-${index}`)
    await Promise.all(
      tenants.map(async (tenant, index) => {
        await using connection = await connectPg(server, tenant)
        await connection.client.query('create table t(owner int, n int)')
        // A different order of work for each: some write in transactions, some read in between.
        for (let step = 0; step < 2; step++) {
          switch ((index * 7 + step * 3) % 4) {
            case 0:
              await connection.client.query('begin')
              await connection.client.query('insert into t values ($1, $2)', [index, step])
              await connection.client.query('commit')
              break
            case 1:
              await connection.client.query('insert into t values ($1, $2)', [index, step])
              break
            case 2:
              await connection.client.query(`insert into t values (${index}, ${step})`)
              assert.equal(await connection.value('select max(n) from t'), step)
              break
            default:
              await connection.client.query('begin; insert into t values (-1, -1)')
              await connection.client.query('rollback')
              await connection.client.query('insert into t values ($1, $2)', [index, step])
          }
        }
        assert.deepEqual(
          await connection.column("select owner || ':' || n from t order by n"),
          [0, 1].map((step) => `${index}:${step}`),
        )
      }),
    )
    const pool = (await (await server.request('/v1/pool')).json()) as Pool
    assert.ok(pool.slots.total <= 4)
    assert.ok((pool.evictions['pressure'] ?? 0) >= 56, 'the tenants have taken turns')
  })
})

for (const transport of ['ring', 'descriptor'] as const) {
  test(`by ${transport}: queries, large answers, errors, many connections`, async () => {
    await using server = await startServer({ flags: ['--shards', '2', '--transport', transport] })
    await using connection = await connectPg(server, 'acme')
    assert.equal(await connection.value('select $1::int + 1', [41]), 42)
    const large = String(await connection.value("select repeat('x', 5000000)"))
    assert.equal(large.length, 5_000_000)
    assert.equal(await connection.value('select length($1::text)', [large]), 5_000_000)
    assert.equal((await failureOf(connection.client.query('select 1/0'))).code, '22012')
    assert.equal(await connection.value('select 2'), 2)
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        await using each = await connectPg(server, `tenant-${index % 5}`)
        return await each.value('select $1::int', [index])
      }),
    )
    assert.deepEqual(answers, [...answers.keys()])
  })
}

describe('starts and ends', () => {
  test('half a request over HTTP does not hold up the end', async () => {
    await using server = await startServer()
    const halves = [
      'POST /v1/tenants HTTP/1.1\r\nHost: localhost\r\nContent-Le',
      'POST /v1/tenants HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{',
    ]
    const sockets = await Promise.all(halves.map(() => plainSocket({ port: server.httpPort })))
    sockets.forEach((socket, index) => socket.write(halves[index] ?? ''))
    // When it is answered, what was sent before has been read.
    await server.request('/healthz')
    assert.equal((await server.stop()).status, 0)
    for (const socket of sockets) socket.destroy()
  })

  test('SIGTERM drains: who is in a transaction is told, the exit code is 0', async () => {
    using folder = temporaryFolder()
    const data = folder.path
    await using server = await startServer({ data, flags: ['--shards', '2'] })
    await using idle = await connectPg(server, 'idle')
    await using busy = await connectPg(server, 'busy')
    await busy.client.query('create table t as select 1 as n')
    await busy.client.query('begin; insert into t values (2)')
    const told = new Promise<{ code?: string }>((resolve) => busy.client.once('error', resolve))
    const idleTold = new Promise<{ code?: string }>((resolve) => idle.client.once('error', resolve))
    assert.deepEqual(await server.stop(), { status: 0, signal: null })
    assert.equal((await told).code, '57P01')
    assert.equal((await idleTold).code, '57P01')
    await using again = await startServer({ data })
    await using reader = await connectPg(again, 'busy')
    assert.deepEqual(await reader.column('select n from t'), [1])
  })

  test('a second server on the same folder is refused, also after a crash it is free', async () => {
    using folder = temporaryFolder()
    const data = folder.path
    await using first = await startServer({ data, flags: ['--shards', '1'] })
    await using connection = await connectPg(first, 'acme')
    await connection.client.query('create table t as select 1 as n')
    const second = await runProgram(serveWords(data))
    assert.equal(second.status, 1)
    const { error } = JSON.parse(second.stderr) as Refusal
    assert.equal(error.code, 'DATA_FOLDER_IN_USE')
    assert.match(error.message, new RegExp(`in use by process ${first.pid}, started 20`))
    assert.equal(await connection.value('select n from t'), 1, 'the first one did not notice')
    await first.stop('SIGKILL')
    await using third = await startServer({ data, flags: ['--shards', '1'] })
    await using survivor = await connectPg(third, 'acme')
    assert.equal(await survivor.value('select n from t'), 1)
  })

  test('a port that is taken, a data folder that is a file: told, with what to do', async () => {
    using folder = temporaryFolder()
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as AddressInfo
    try {
      for (const flag of ['port', 'http-port']) {
        const data = join(folder.path, flag)
        const { status, stderr } = await runProgram(serveWords(data, [`--${flag}`, String(port)]))
        const { error } = JSON.parse(
          stderr.split('\n').find((line) => line.includes('"error"')) ?? '',
        ) as Refusal
        assert.equal(status, 2)
        assert.match(error.message, new RegExp(`cannot listen on 127.0.0.1:${port}: another`))
        assert.match(String(error.hint), new RegExp(`--${flag}$`))
      }
    } finally {
      other.close()
    }
    const file = join(folder.path, 'file')
    writeFileSync(file, 'precious')
    const { status, stderr } = await runProgram(serveWords(file))
    assert.equal(status, 2)
    assert.match((JSON.parse(stderr) as Refusal).error.message, /is not a folder/)
    assert.equal(readFileSync(file, 'utf8'), 'precious')
  })

  test('trust where others can reach it is refused, unless it is said to be meant', async () => {
    using folder = temporaryFolder()
    const { status, stderr } = await runProgram(serveWords(folder.path, ['--host', '0.0.0.0']))
    assert.equal(status, 2)
    const { error } = JSON.parse(stderr) as Refusal
    assert.match(error.message, /auth trust on 0\.0\.0\.0 would let anybody in/)
    assert.match(String(error.hint), /--auth scram/)
    await using server = await startServer({
      flags: ['--shards', '1', '--host', '0.0.0.0', '--insecure'],
    })
    await using connection = await connectPg(server, 'acme')
    assert.equal(await connection.value('select 1'), 1)
  })

  test('wrong flags are named', async () => {
    using folder = temporaryFolder()
    const wrong = await runProgram(serveWords(folder.path, ['--nap-after', 'soon']))
    assert.equal(wrong.status, 2)
    assert.match(wrong.stderr, /nap-after/)
    const unknown = await runProgram(serveWords(folder.path, ['--no-such-flag']))
    assert.equal(unknown.status, 2)
    assert.match(unknown.stderr, /no-such-flag/)
  })
})

interface Tenant {
  readonly name: string
  readonly state: string
  readonly shard: number
}

interface Listing {
  readonly tenants: readonly Tenant[]
}

interface Refusal {
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string }
}

interface Pool {
  readonly slots: { readonly total: number }
  readonly evictions: Readonly<Record<string, number>>
}

/** Settings that the server reports to a newcomer. */
async function greetingOf(
  target: { readonly port: number },
  tenant: string,
): Promise<Map<string, string>> {
  const client = new Client({
    host: '127.0.0.1',
    port: target.port,
    user: 'postgres',
    database: tenant,
    application_name: 'me',
  })
  const settings = new Map<string, string>()
  // The types of node-postgres keep its connection, the only one to see these messages, to itself.
  const { connection } = client as unknown as { readonly connection: Connection }
  connection.on('parameterStatus', (message: Record<'parameterName' | 'parameterValue', string>) =>
    settings.set(message.parameterName, message.parameterValue),
  )
  await client.connect()
  await client.end()
  return settings
}

/** Asks until the answer is yes: for what happens by itself, after a time of its own. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (!(await condition())) {
    assert.ok(performance.now() < deadlineMs, 'it should have happened by now')
    await delay(10)
  }
}
