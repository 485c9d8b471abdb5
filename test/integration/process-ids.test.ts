/**
 * Each client has a process id of its own: the one of its BackendKeyData, wherever Postgres says
 * it. As native Postgres does it, also where clients share a backend.
 */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { after, before, describe, test } from 'node:test'
import type { Connection } from 'pg'
import postgres from 'postgres'
import { setTimeout as delay } from 'node:timers/promises'
import {
  connectPg,
  type Failure,
  failureOf,
  type PgConnection,
  processIdOf,
} from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

/** Prepares a statement and nothing else, as node-postgres itself never does. */
function prepare({ client }: PgConnection, name: string, text: string): Promise<unknown> {
  return new Promise((handleReadyForQuery, handleError) => {
    const submit = (to: Connection): void => {
      to.parse({ name, text, types: [] }, true)
      to.sync()
    }
    client.query(Object.assign(new EventEmitter(), { submit, handleReadyForQuery, handleError }))
  })
}

/** Everything that says as whom a client goes. */
async function saidBy(one: PgConnection): Promise<unknown[]> {
  const { rows } = await one.client.query({
    text: `select pg_backend_pid(), (select array_agg(distinct pid) from pg_locks),
             (select pid from pg_stat_activity where pid = pg_backend_pid()),
             (select pg_stat_get_backend_pid(n) from pg_stat_get_backend_idset() n
               where pg_stat_get_backend_pid(n) = pg_backend_pid())`,
    rowMode: 'array',
  })
  return rows.flat(2)
}

const asOf = (one: PgConnection): unknown[] => Array.from({ length: 4 }, () => processIdOf(one))

test('each has its own, and everything says so', async () => {
  await using one = await connectPg(server, 'own')
  await using other = await connectPg(server, 'own')
  assert.notEqual(processIdOf(one), processIdOf(other))
  for (let turn = 0; turn < 3; turn++) {
    assert.deepEqual(await saidBy(one), asOf(one))
    assert.deepEqual(await saidBy(other), asOf(other))
    // A latch waits for its owner only.
    await one.client.query('select pg_sleep(0.001)')
  }
})

test('a transaction may change so much of the catalog that it has to signal itself', async () => {
  await using one = await connectPg(server, 'many-tables')
  const tables = Array.from(
    { length: 80 },
    (_, n) => `create table t${n} (a int primary key, b text)`,
  )
  await one.client.query('begin')
  await one.client.query(tables.join(';'))
  await one.client.query('commit')
  assert.equal(
    await one.value('select count(*)::int from pg_tables where tablename ~ $1', ['^t']),
    80,
  )
  assert.deepEqual(await saidBy(one), asOf(one))
})

for (const [how, setting] of [
  ['with an image', []],
  ['by a boot', ['alter system set work_mem = 5000']],
] as const) {
  test(`it outlives a nap ${how}`, async () => {
    const tenant = `nap-${setting.length}`
    await using one = await connectPg(server, tenant)
    await using other = await connectPg(server, tenant)
    await saidBy(other)
    for (const sql of setting) await one.client.query(sql)
    const answer = await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
    assert.equal(answer.status, 200)
    assert.deepEqual(await saidBy(one), asOf(one))
    assert.deepEqual(await saidBy(other), asOf(other))
  })
}

test('a notification says who notified, and listeners hear it whoever they are', async () => {
  await using one = await connectPg(server, 'notify')
  await using other = await connectPg(server, 'notify')
  await using third = await connectPg(server, 'notify')
  const heard = new Map<PgConnection, unknown[]>([one, other].map((each) => [each, []]))
  for (const [each, list] of heard) {
    each.client.on('notification', ({ processId, payload }) => list.push([processId, payload]))
    await each.client.query('listen c')
  }
  for (const each of [one, other, third]) {
    await each.client.query(`select pg_notify('c', 'by ' || pg_backend_pid())`)
  }
  const all = [one, other, third].map(processIdOf).map((id) => [id, `by ${id}`])
  for (const [each, list] of heard) {
    await each.value('select 1')
    assert.deepEqual(list, all)
  }
})

test('postgres.js, calls over HTTP and the console know the same', async () => {
  await using one = await connectPg(server, 'surfaces')
  const sql = postgres({ port: server.port, host: '127.0.0.1', database: 'surfaces', max: 3 })
  const ids = await Promise.all([1, 2, 3].map(() => sql`select pg_backend_pid() as id`))
  assert.equal(new Set(ids.map(([row]) => row?.['id'])).size, 3)
  await sql.end()
  const body = JSON.stringify({ sql: 'select pg_backend_pid() > 0 as positive' })
  const answer = await server.request('/v1/tenants/surfaces/query', { method: 'POST', body })
  assert.match(await answer.text(), /"positive":true/)
  await using administrator = await connectPg(server, 'pgnap')
  const { rows } = await administrator.client.query('show clients')
  const ours = rows.filter(({ database }) => database === 'surfaces').map(({ id }) => id)
  assert.deepEqual(ours, [await one.value('select pg_backend_pid()')])
})

/** What Postgres has noted beside an answer. */
function noticesOf({ client }: PgConnection): string[] {
  const notices: string[] = []
  client.on('notice', ({ severity, message }) => notices.push(`${severity}: ${message}`))
  return notices
}

const TERMINATED = {
  code: '57P01',
  severity: 'FATAL',
  message: 'terminating connection due to administrator command',
}

/** What its connection ends with. */
function endOf({ client }: PgConnection): Promise<Failure> {
  return new Promise((resolve) => client.once('error', (error: Failure) => resolve(error)))
}

describe('pg_cancel_backend', () => {
  test('of itself cancels its statement, and the session goes on', async () => {
    await using one = await connectPg(server, 'cancel')
    await using other = await connectPg(server, 'cancel')
    for (let turn = 0; turn < 3; turn++) {
      const { code, message } = await failureOf(
        one.client.query('select pg_cancel_backend(pg_backend_pid()), pg_sleep(10)'),
      )
      assert.equal(code, '57014')
      assert.equal(message, 'canceling statement due to user request')
      assert.equal(await other.value('select 1'), 1)
      assert.equal(await one.value('select 2'), 2)
    }
    await one.client.query('create table t (n int); begin; insert into t values (1)')
    await failureOf(one.client.query('select pg_cancel_backend(pg_backend_pid())'))
    assert.equal((await failureOf(one.client.query('select 1'))).code, '25P02')
    await one.client.query('rollback')
  })

  test('of one that is idle says yes, and nothing happens', async () => {
    await using one = await connectPg(server, 'cancel-idle')
    await using other = await connectPg(server, 'cancel-idle')
    assert.equal(await one.value('select pg_cancel_backend($1)', [processIdOf(other)]), true)
    assert.equal(await other.value('select 1'), 1)
  })

  test('of one that waits ends its wait', async () => {
    await using one = await connectPg(server, 'cancel-waiting')
    await using other = await connectPg(server, 'cancel-waiting')
    await one.client.query('begin; savepoint s')
    const waiting = failureOf(other.client.query('create table waits ()'))
    await delay(50)
    assert.equal(await one.value('select pg_cancel_backend($1)', [processIdOf(other)]), true)
    assert.equal((await waiting).code, '57014')
    await one.client.query('commit')
    assert.equal(await other.value('select 2'), 2)
  })

  test('of one that was answered before its turn says yes, and nothing happens', async () => {
    await using one = await connectPg(server, 'early')
    await using other = await connectPg(server, 'early')
    await one.client.query('begin; declare keeps cursor with hold for select 1; commit')
    await prepare(other, 'early', 'select 42')
    assert.equal(await one.value('select pg_cancel_backend($1)', [processIdOf(other)]), true)
    await one.client.query('close keeps')
    const rows = other.client.query({ text: 'execute early', rowMode: 'array' })
    assert.deepEqual((await rows).rows, [[42]])
  })

  test('of nobody, or of a client of another tenant, says no with a warning', async () => {
    await using one = await connectPg(server, 'cancel-nobody')
    await using stranger = await connectPg(server, 'cancel-stranger')
    await stranger.client.query('begin')
    const notices = noticesOf(one)
    for (const id of [processIdOf(stranger), 123, 0, -1, 42]) {
      for (const how of ['pg_cancel_backend', 'pg_terminate_backend']) {
        assert.equal(await one.value(`select ${how}($1)`, [id]), false)
        assert.equal(notices.pop(), `WARNING: PID ${id} is not a PostgreSQL backend process`)
      }
    }
    assert.equal(await stranger.value('select 1'), 1)
  })

  test('by whoever is no superuser is refused, as Postgres says it', async () => {
    await using one = await connectPg(server, 'cancel-role')
    await using other = await connectPg(server, 'cancel-role')
    await one.client.query('create role low; grant pg_signal_backend to low; set role low')
    for (const [how, verb] of [
      ['pg_cancel_backend', 'cancel query'],
      ['pg_terminate_backend', 'terminate process'],
    ]) {
      for (const each of [one, other]) {
        const failure = await failureOf(one.client.query(`select ${how}(${processIdOf(each)})`))
        assert.equal(failure.code, '42501')
        assert.equal(failure.message, `permission denied to ${verb}`)
      }
    }
    assert.deepEqual(await saidBy(one), asOf(one))
    assert.equal(await other.value('select 1'), 1)
  })
})

describe('pg_terminate_backend', () => {
  test('of itself ends its connection; what it had open is rolled back', async () => {
    await using other = await connectPg(server, 'end')
    await other.client.query('create table t (n int)')
    await using one = await connectPg(server, 'end')
    await one.client.query('begin; insert into t values (1)')
    const { code, severity, message } = await failureOf(
      one.client.query('select pg_terminate_backend(pg_backend_pid())'),
    )
    assert.deepEqual({ code, severity, message }, TERMINATED)
    assert.equal(await other.value('select count(*)::int from t'), 0)
  })

  test('keeps what was committed before it, and its notifications', async () => {
    await using other = await connectPg(server, 'end-late')
    await other.client.query('create table t (n int); listen c')
    const heard = new Promise((resolve) => other.client.once('notification', resolve))
    await using one = await connectPg(server, 'end-late')
    const sql = `begin; insert into t values (1); notify c; commit;
      select pg_terminate_backend(pg_backend_pid())`
    assert.equal((await failureOf(one.client.query(sql))).code, '57P01')
    assert.equal(await other.value('select count(*)::int from t'), 1)
    await heard
  })

  test('of one that is idle, and of one that waits, ends their connections', async () => {
    await using one = await connectPg(server, 'end-others')
    const idle = await connectPg(server, 'end-others')
    const waiting = await connectPg(server, 'end-others')
    await idle.client.query('set application_name = idle')
    await one.client.query('begin; savepoint s')
    const failure = failureOf(waiting.client.query('create table waits ()'))
    await delay(50)
    const ended = endOf(idle)
    for (const each of [idle, waiting]) {
      assert.equal(await one.value('select pg_terminate_backend($1)', [processIdOf(each)]), true)
    }
    const { code, severity, message } = await ended
    assert.deepEqual({ code, severity, message }, TERMINATED)
    assert.equal((await failure).code, '57P01')
    await one.client.query('commit')
    // It has gone.
    const again = 'select pg_terminate_backend($1, 1000)'
    assert.equal(await one.value(again, [processIdOf(idle)]), false)
  })

  test('of one that is idle in a transaction, by one that reads beside it', async () => {
    await using one = await connectPg(server, 'end-holder', { options: '-c timezone=Asia/Tokyo' })
    const holder = await connectPg(server, 'end-holder')
    await one.client.query('create table t (n int)')
    await holder.client.query('begin; insert into t values (1)')
    assert.equal(await one.value('select pg_backend_pid()'), processIdOf(one))
    const ended = endOf(holder)
    assert.equal(await one.value(`select pg_cancel_backend(${processIdOf(holder)})`), true)
    assert.equal(await one.value(`select pg_terminate_backend(${processIdOf(holder)})`), true)
    assert.equal((await ended).code, '57P01')
    assert.equal(await one.value('select count(*)::int from t'), 0)
    // What it gave when it connected is known in a fork and after it.
    assert.equal(await one.value('show timezone'), 'Asia/Tokyo')
    await one.client.query('reset all')
    assert.equal(await one.value('show timezone'), 'Asia/Tokyo')
  })

  test('with a timeout: that must not be negative', async () => {
    await using one = await connectPg(server, 'end-timeout')
    const other = await connectPg(server, 'end-timeout')
    const id = processIdOf(other)
    const failure = await failureOf(one.client.query(`select pg_terminate_backend(${id}, -1)`))
    assert.equal(failure.code, '22003')
    assert.equal(await other.value('select 1'), 1)
    const ended = endOf(other)
    assert.equal(await one.value(`select pg_terminate_backend(${id}, 5000)`), true)
    await ended
  })

  test('of all others, as tools do it before they drop a database', async () => {
    await using one = await connectPg(server, 'end-all')
    const others = await Promise.all([1, 2, 3].map(() => connectPg(server, 'end-all')))
    const ended = Promise.all(others.map(endOf))
    const ids = others.map(processIdOf)
    const sql = 'select bool_and(pg_terminate_backend(id)) from unnest($1::int[]) id'
    assert.equal(await one.value(sql, [ids]), true)
    await ended
  })

  test('over HTTP ends that call', async () => {
    const sql = 'select pg_terminate_backend(pg_backend_pid())'
    const body = JSON.stringify({ sql })
    const answer = await server.request('/v1/tenants/end-http/query', { method: 'POST', body })
    assert.match(await answer.text(), /57P01/)
  })
})
