/** PAUSE, RESUME, RECONNECT, KILL and RELOAD of the shipped program, with clients at work. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, type Connection } from 'pg'
import { cancelRequestOf, connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { connect } from 'node:net'

type Connected = Awaited<ReturnType<typeof connectPg>>

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

/** One command, on a connection of its own. */
async function say(command: string, at: ServerProcess = server): Promise<unknown[]> {
  await using connection = await connectPg(at, 'pgnap')
  return (await connection.client.query(command)).rows
}

/** Whether a tenant is paused by its name. */
async function isPaused(name: string): Promise<boolean> {
  const rows = (await say('show databases')) as { name: string; paused: number }[]
  return rows.some((row) => row.name === name && row.paused === 1)
}

async function stateOf(name: string, at: ServerProcess = server): Promise<unknown> {
  const facts = (await (await at.request(`/v1/tenants/${name}`)).json()) as { state: string }
  return facts.state
}

/** What the facts about tenants say. */
function pausedOf(names: readonly string[]): Promise<unknown[]> {
  return Promise.all(
    names.map(async (name) => {
      const answer = await server.request(`/v1/tenants/${name}`)
      return ((await answer.json()) as { paused: boolean }).paused
    }),
  )
}

/** What the pool says, and which rows of SHOW TENANTS. */
async function shownPaused() {
  const answer = await server.request('/v1/pool')
  const { paused } = (await answer.json()) as { paused: { all: boolean; tenants: string[] } }
  const tenants = (await say('show tenants')) as { name: string; paused: string }[]
  return { ...paused, rows: tenants.filter((row) => row.paused === 'yes').map(({ name }) => name) }
}

/** A newcomer, whose settings are the first to wait: it is let in when the tenant is resumed. */
async function askNew(name: string, sql: string): Promise<unknown> {
  await using connection = await connectPg(server, name)
  return await connection.value(sql)
}

/** Until it is so; the server's own clocks decide when. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(10)
}

async function isWaiting(name: string): Promise<boolean> {
  const rows = (await say('show pools')) as { database: string; cl_waiting: number }[]
  return rows.some((row) => row.database === name && row.cl_waiting > 0)
}

async function filled(name: string, at: ServerProcess = server): Promise<Connected> {
  const connection = await connectPg(at, name)
  await connection.client.query('create table if not exists t(n int)')
  return connection
}

async function sendCancel(to: Connected): Promise<void> {
  const socket = connect(server.port, '127.0.0.1')
  socket.end(cancelRequestOf(to))
  await new Promise((resolve) => socket.once('close', resolve))
}

describe('PAUSE', () => {
  test('waits for the open transaction; others wait, neighbours do not', async () => {
    await using holder = await filled('acme')
    await using waiter = await connectPg(server, 'acme')
    await using neighbour = await filled('globex')
    await waiter.client.query('set application_name = kept')
    await holder.client.query('begin')
    await holder.client.query('insert into t values (1)')
    let isDone = false
    const pause = say('pause acme').then(() => (isDone = true))
    await until(() => isPaused('acme'))
    const waiting = waiter.value('select count(*)::int from t')
    const http = server.request('/v1/tenants/acme/query', {
      method: 'POST',
      body: JSON.stringify({ sql: 'select count(*)::int as n from t' }),
    })
    await until(() => isWaiting('acme'))
    assert.equal(await neighbour.value('select 1'), 1)
    await holder.client.query('insert into t values (2)')
    assert.equal(isDone, false, 'a transaction is open')
    await holder.client.query('commit')
    await pause
    assert.equal(await stateOf('acme'), 'napping')
    assert.deepEqual(await pausedOf(['acme', 'globex']), [true, false])
    assert.deepEqual(await shownPaused(), { all: false, tenants: ['acme'], rows: ['acme'] })
    assert.equal(await neighbour.value('select 2'), 2)
    const third = askNew('acme', 'select 3')
    await say('resume acme')
    assert.deepEqual([await waiting, await third], [2, 3])
    assert.equal(((await (await http).json()) as { rows: { n: number }[] }).rows[0]?.n, 2)
    assert.equal(await waiter.value('show application_name'), 'kept')
    assert.equal(await isPaused('acme'), false)
  })

  test('of all: new tenants too, on every shard; RESUME lets them go', async () => {
    await using one = await filled('all-1')
    await using two = await filled('all-2')
    await say('pause')
    assert.deepEqual((await say('show state'))[1], { key: 'paused', value: 'yes' })
    assert.deepEqual(await pausedOf(['all-1', 'all-2']), [true, true])
    assert.equal((await shownPaused()).all, true)
    const answers = [one, two].map((each) => each.value('select 5'))
    answers.push(askNew('all-new', 'select 5'))
    await until(() => isWaiting('all-new'))
    assert.deepEqual([await stateOf('all-1'), await stateOf('all-2')], ['napping', 'napping'])
    const again = await failureOf(say('pause'))
    assert.deepEqual([again.code, again.message], ['55000', 'already suspended/paused'])
    await say('resume')
    assert.deepEqual(await Promise.all(answers), [5, 5, 5])
  })

  test('errors in the words of PgBouncer', async () => {
    await using connection = await filled('words')
    assert.equal(await connection.value('select 1'), 1)
    for (const [command, code, message] of [
      ['resume', '55000', 'pooler is not paused/suspended'],
      ['resume words', '55000', 'database words is not paused'],
      ['pause nowhere', '3D000', 'no such database: nowhere'],
      ['pause "../x"', '3D000', 'no such database: ../x'],
      ['pause pgnap', '55000', 'cannot pause admin db: pgnap'],
      ['reconnect nowhere', '3D000', 'no such database: nowhere'],
      ['kill nowhere', '3D000', 'no such database: nowhere'],
    ] as const) {
      const failure = await failureOf(say(command))
      assert.deepEqual([failure.code, failure.message], [code, message], command)
    }
  })

  test('is taken back by who cancels it, and by who leaves while it waits', async () => {
    await using holder = await filled('back')
    await using other = await connectPg(server, 'back')
    await holder.client.query('begin')
    await holder.client.query('insert into t values (1)')
    const leave: ((admin: Connected) => Promise<void>)[] = [
      sendCancel,
      async ({ client }) =>
        void (client as Client & { connection: Connection }).connection.stream.destroy(),
      async ({ client }) =>
        void (client as Client & { connection: Connection }).connection.stream.end(),
    ]
    for (const how of leave) {
      const admin = await connectPg(server, 'pgnap')
      admin.client.on('error', () => {})
      const paused = admin.client.query('pause back').then(
        () => 'paused',
        (error: { code?: string }) => error.code ?? 'gone',
      )
      await until(() => isPaused('back'))
      await how(admin)
      assert.notEqual(await paused, 'paused')
      await until(async () => !(await isPaused('back')))
      await admin.client.end().catch(() => {})
    }
    await holder.client.query('commit')
    assert.equal(await other.value('select count(*)::int from t'), 1)
  })

  test('ends with a RESUME of somebody else', async () => {
    await using holder = await filled('resumed')
    await holder.client.query('begin')
    await holder.client.query('select 1')
    const paused = failureOf(say('pause resumed'))
    await until(() => isPaused('resumed'))
    await say('resume resumed')
    assert.equal((await paused).code, '57014')
    await holder.client.query('commit')
  })

  test('a tenant that is deleted while it is paused leaves nothing behind', async () => {
    {
      await using connection = await filled('gone')
      await say('pause gone')
      assert.equal((await server.request('/v1/tenants/gone', { method: 'DELETE' })).status, 204)
      connection.client.on('error', () => {})
    }
    await using anew = await connectPg(server, 'gone')
    assert.equal(await anew.value('select 1'), 1)
  })

  test('the wait has its limit, and a restart has none of it', async () => {
    using folder = temporaryFolder()
    const flags = ['--shards', '1', '--query-wait-timeout', '300']
    {
      await using first = await startServer({ data: folder.path, flags })
      await using connection = await filled('acme', first)
      await say('pause acme', first)
      const failure = await failureOf(connection.client.query('select 1'))
      assert.equal(failure.code, '57014')
      assert.match(failure.detail ?? '', /pause/)
      assert.equal((await first.stop()).status, 0)
    }
    await using second = await startServer({ data: folder.path, flags })
    await using connection = await connectPg(second, 'acme')
    assert.equal(await connection.value('select 1'), 1)
  })

  test('SIGTERM ends it, whoever waits', async () => {
    await using ending = await startServer({ flags: ['--shards', '1'] })
    await using holder = await filled('acme', ending)
    await using waiter = await connectPg(ending, 'acme')
    holder.client.on('error', () => {})
    waiter.client.on('error', () => {})
    // It has written: it cannot float, after which nobody would be waited for.
    await holder.client.query('begin')
    await holder.client.query('insert into t values (1)')
    const paused = failureOf(say('pause', ending))
    await until(async () => {
      const [, { value } = {}] = (await say('show state', ending)) as { value: string }[]
      return value === 'yes'
    })
    const waiting = waiter.client.query('select 1').catch(() => {})
    await holder.client.query('select 2')
    assert.equal((await ending.stop()).status, 0)
    assert.ok(['57P01', '57014'].includes((await paused).code ?? ''))
    await waiting
  })
})

test('RECONNECT: a new backend, the same sessions, an open transaction is waited for', async () => {
  await using one = await filled('anew')
  await using two = await connectPg(server, 'anew')
  const postmasterStart = 'select pg_postmaster_start_time()::text'
  await one.client.query("set application_name = 'kept'")
  await one.client.query("prepare p as select 'prepared'")
  const before = await one.value(postmasterStart)
  await one.client.query('begin')
  await one.client.query('insert into t values (1)')
  await say('reconnect anew')
  assert.equal(await one.value('select count(*)::int from t'), 1)
  assert.equal(await one.value(postmasterStart), before)
  await one.client.query('commit')
  assert.notEqual(await two.value(postmasterStart), before)
  assert.equal(await one.value('show application_name'), 'kept')
  assert.equal(await one.value('execute p'), 'prepared')
  const second = await one.value(postmasterStart)
  await server.request('/v1/tenants/anew/nap', { method: 'POST' })
  await say('reconnect')
  assert.notEqual(await one.value(postmasterStart), second)
  assert.equal(await one.value('show application_name'), 'kept')
})

test('RECONNECT waits for what cannot be carried over, and serves meanwhile', async () => {
  await using one = await filled('keeps')
  const postmasterStart = 'select pg_postmaster_start_time()::text'
  await one.client.query('create temp table mine as select 7 as n')
  const before = await one.value(postmasterStart)
  await say('reconnect keeps')
  assert.equal(await one.value('select n from mine'), 7)
  await server.request('/v1/tenants/keeps/nap', { method: 'POST' })
  assert.equal(await one.value('select n from mine'), 7)
  assert.equal(await one.value(postmasterStart), before)
  await say('pause keeps')
  assert.equal(await stateOf('keeps'), 'napping')
  await say('resume keeps')
  assert.equal(await one.value('select n from mine'), 7)
  await one.client.query('drop table mine')
  await until(async () => (await one.value(postmasterStart)) !== before)
})

test('KILL sends clients away and pauses; RESUME lets new ones go on', async () => {
  await using victim = await filled('killed')
  const told = new Promise<{ code?: string }>((resolve) => victim.client.once('error', resolve))
  await say('kill killed')
  assert.equal((await told).code, '57P01')
  assert.equal(await isPaused('killed'), true)
  const answer = askNew('killed', 'select count(*)::int from t')
  await until(() => isWaiting('killed'))
  await say('resume killed')
  assert.equal(await answer, 0)
})

test('RELOAD reads the password file anew for all shards; a bad one leaves the old', async () => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'users.txt')
  writeFileSync(file, '"ann" "secret"\n')
  const flags = ['--auth', 'scram', '--auth-file', file, '--shards', '2']
  await using guarded = await startServer({ flags })
  const ann = { user: 'ann', password: 'secret' }
  const bob = { user: 'bob', password: 'other' }
  await using admin = await connectPg(guarded, 'pgnap', ann)
  const tenants = ['one', 'two', 'three', 'four']
  for (const tenant of tenants) {
    await using connection = await connectPg(guarded, tenant, ann)
    assert.equal(await connection.value('select 1'), 1)
    assert.equal((await failureOf(connectPg(guarded, tenant, bob))).code, '28P01')
  }
  writeFileSync(file, 'no quotes\n')
  assert.equal((await failureOf(admin.client.query('reload'))).code, 'F0000')
  for (const tenant of tenants) await (await connectPg(guarded, tenant, ann)).client.end()
  writeFileSync(file, '"bob" "other"\n')
  await admin.client.query('reload')
  for (const tenant of [...tenants, 'pgnap']) {
    await (await connectPg(guarded, tenant, bob)).client.end()
    assert.equal((await failureOf(connectPg(guarded, tenant, ann))).code, '28P01')
  }
})
