/**
 * Each client has a process id of its own: the one of its BackendKeyData, wherever Postgres says
 * it. As native Postgres does it, also where clients share a backend.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import postgres from 'postgres'
import { connectPg, type PgConnection, processIdOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

/** Everything that says as whom a client goes. */
async function saidBy(one: PgConnection): Promise<unknown[]> {
  const { rows } = await one.client.query({
    text: `select pg_backend_pid(), (select array_agg(distinct pid) from pg_locks),
             (select pid from pg_stat_activity),
             (select pg_stat_get_backend_pid(n) from pg_stat_get_backend_idset() n)`,
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
