/**
 * What a client gives when it connects is what RESET and DISCARD ALL go back to, as in native
 * Postgres: in the startup packet, in `options`, for each client its own.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import postgres from 'postgres'
import { connectPg, type PgConnection } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

const OPTIONS =
  '-c timezone=Asia/Tokyo -c work_mem=5MB -c search_path=one,"$user" -c my.own=it\'s\\ mine'
const GIVEN = { timezone: 'Asia/Tokyo', work_mem: '5MB', search_path: 'one,"$user"' }
const NAMES = [...Object.keys(GIVEN), 'application_name', 'my.own']

const nap = async (tenant: string): Promise<void> => {
  const answer = await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
  assert.equal(answer.status, 200)
}

const connect = (tenant: string): Promise<PgConnection> =>
  connectPg(server, tenant, { options: OPTIONS, application_name: 'mine' })

async function settingsOf(one: PgConnection): Promise<unknown[]> {
  const values: unknown[] = []
  for (const name of NAMES) values.push(await one.value(`show ${name}`))
  return values
}

const EXPECTED = [...Object.values(GIVEN), 'mine', `it's mine`]
const OWN = ['UTC', '4MB', '"$user", public', '', '']

for (const reset of ['reset all', 'discard all', 'RESET timezone; set work_mem to default']) {
  test(`${reset}`, async () => {
    const tenant = `reset-${reset.slice(0, 5).toLowerCase().trim()}-${reset.length}`
    await using one = await connect(tenant)
    await using other = await connectPg(server, tenant)
    assert.deepEqual(await settingsOf(one), EXPECTED)
    for (let turn = 0; turn < 3; turn++) {
      await one.client.query(`set timezone = 'Europe/Berlin'; set work_mem = '9MB'`)
      await other.client.query(`set timezone = 'America/Lima'`)
      for (const sql of reset.split(';')) await one.client.query(sql)
      assert.deepEqual(await settingsOf(one), EXPECTED)
      assert.equal(await other.value('show timezone'), 'America/Lima')
      await other.client.query('reset all')
      assert.deepEqual(await settingsOf(other), OWN)
      assert.deepEqual(await settingsOf(one), EXPECTED)
      await nap(tenant)
    }
    assert.deepEqual(await settingsOf(one), EXPECTED)
    assert.deepEqual(await settingsOf(other), OWN)
  })
}

test('in the middle of a query, of a transaction, and when that is rolled back', async () => {
  await using one = await connect('inside')
  await one.client.query(`set timezone = 'Europe/Berlin'`)
  const answers = (await one.client.query(
    'begin; reset timezone; show timezone; rollback; show timezone',
  )) as unknown as { rows: { TimeZone?: string }[] }[]
  assert.deepEqual(
    answers.flatMap(({ rows }) => rows.map((row) => row.TimeZone)),
    ['Asia/Tokyo', 'Europe/Berlin'],
  )
  assert.equal(
    await one.value(`select reset_val from pg_settings where name = 'TimeZone'`),
    'Asia/Tokyo',
  )
})

test('a boot in between changes nothing of that', async () => {
  await using one = await connect('boot')
  await using other = await connectPg(server, 'boot')
  await one.client.query(`alter system set maintenance_work_mem = '60MB'`)
  await nap('boot')
  for (const each of [one, other, one, other]) {
    await each.client.query('reset all')
    assert.deepEqual(await settingsOf(each), each === one ? EXPECTED : OWN)
  }
})

test('who leaves takes them along; the next one, after a restart too, has its own', async () => {
  for (const how of ['awake', 'asleep']) {
    const one = await connect('leaves')
    await one.client.query('reset all')
    if (how === 'asleep') await nap('leaves')
    await one.client.end()
    await using other = await connectPg(server, 'leaves')
    assert.deepEqual(await settingsOf(other), OWN)
  }
})

test('an image that a client with settings has left on disk is nobody’s', async () => {
  await using first = await startServer({ flags: ['--shards', '1', '--image-cache', '0MB'] })
  const one = await connectPg(first, 'left', { options: OPTIONS })
  await one.client.query('create table public.t (n int)')
  const body = { method: 'POST' }
  assert.equal((await first.request('/v1/tenants/left/nap', body)).status, 200)
  await first.stop('SIGKILL')
  await using second = await startServer({ data: first.data })
  await using other = await connectPg(second, 'left')
  assert.equal(await other.value('show timezone'), 'UTC')
  assert.equal(await other.value('show work_mem'), '4MB')
})

test('postgres.js: its settings outlive a DISCARD ALL', async () => {
  const sql = postgres({
    port: server.port,
    host: '127.0.0.1',
    database: 'driver',
    max: 2,
    connection: { application_name: 'mine', statement_timeout: 4_000 },
  })
  for (let turn = 0; turn < 3; turn++) {
    await sql`set statement_timeout = 0`
    await sql`discard all`
    const [row] = await sql`select current_setting('statement_timeout') as limit,
      current_setting('application_name') as name`
    assert.deepEqual({ ...row }, { limit: '4s', name: 'mine' })
  }
  await sql.end()
})
