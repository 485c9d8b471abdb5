/** The tiers below memory, seen from outside: the shipped program, restarted and killed. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPg } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()

/** What `pgnap tenant show` and `list` say of each. */
async function statesOf(server: ServerProcess): Promise<Record<string, string>> {
  const shown: Record<string, string> = {}
  const response = await server.request('/v1/tenants')
  const list = (await response.json()) as { tenants: readonly { name: string; state: string }[] }
  for (const { name, state } of list.tenants) {
    const one = await server.request(`/v1/tenants/${name}`)
    assert.equal(((await one.json()) as { state: string }).state, state)
    shown[name] = state
  }
  return shown
}

interface Found {
  readonly tier: string | undefined
  readonly row: Record<string, unknown> | undefined
}

/** One statement, and where it found its tenant. */
async function query(server: ServerProcess, tenant: string, sql: string): Promise<Found> {
  const body = JSON.stringify({ sql })
  const response = await server.request(`/v1/tenants/${tenant}/query`, { method: 'POST', body })
  const text = await response.text()
  assert.equal(response.status, 200, text)
  const timing = response.headers.get('Server-Timing') ?? ''
  const { rows } = JSON.parse(text) as { rows: readonly Record<string, unknown>[] }
  return { tier: /wake;dur=[\d.]+;desc="(\w+)"/.exec(timing)?.[1], row: rows[0] }
}

const imagesOf = (server: ServerProcess): string[] => {
  const path = join(server.data, 'images')
  return existsSync(path) ? readdirSync(path) : []
}

const NAMES = ['acme', 'beta', 'gamma', 'delta']
const flags = ['--shards', '2', '--slots', '2']

test('after each restart tenants wake from their disk images', async () => {
  const data = join(folder, 'restart')
  for (let round = 0; round < 3; round++) {
    await using server = await startServer({ data, flags })
    const before = Object.fromEntries(NAMES.map((name) => [name, 'asleep']))
    assert.deepEqual(await statesOf(server), round === 0 ? {} : before)
    for (const name of NAMES) {
      if (round === 0) await query(server, name, 'create table t(n int)')
      else {
        const { tier, row } = await query(server, name, 'select count(*)::int as n from t')
        assert.deepEqual([tier, row], ['asleep', { n: round }])
      }
      await query(server, name, `insert into t values (${round})`)
    }
    await server.stop()
    assert.deepEqual(imagesOf(server).toSorted(), NAMES.map((name) => `${name}.img`).toSorted())
  }
})

test('after kill -9 no image is used that its tenant has gone on from', async () => {
  const data = join(folder, 'kill')
  {
    await using server = await startServer({ data, flags })
    for (const name of NAMES) {
      await query(server, name, 'create table t(n int)')
      await query(server, name, 'create sequence s')
      await query(server, name, `select nextval('s')::int as n`)
    }
    await server.stop()
  }
  {
    await using server = await startServer({ data, flags })
    await query(server, 'acme', 'insert into t values (1)')
    assert.deepEqual((await query(server, 'beta', `select nextval('s')::int as n`)).row, { n: 2 })
    await server.stop('SIGKILL')
    assert.deepEqual(imagesOf(server).toSorted(), ['delta.img', 'gamma.img'])
  }
  await using server = await startServer({ data, flags })
  const rows = await query(server, 'acme', 'select count(*)::int as n from t')
  assert.deepEqual([rows.tier, rows.row], ['cold', { n: 1 }])
  const next = await query(server, 'beta', `select nextval('s')::int as n`)
  assert.equal(next.tier, 'cold')
  assert.ok(Number(next.row?.['n']) > 2)
  assert.equal((await query(server, 'gamma', 'select 1 as n')).tier, 'asleep')
})

test('nothing of a client is there for the next one after a restart from an image', async () => {
  const data = join(folder, 'session')
  {
    await using server = await startServer({ data, flags })
    const leaver = await connectPg(server, 'acme')
    await leaver.client.query(`create table t(n int); set search_path = pg_catalog;
      set my.secret = 'x'; prepare question as select 1; listen gossip;
      create temp table mine(n int); select pg_advisory_lock(42)`)
    await leaver.client.query('set role pg_monitor')
    // It is connected when the server ends.
    await server.stop()
  }
  await using server = await startServer({ data, flags })
  await using next = await connectPg(server, 'acme')
  const facts = `select concat_ws(' ', current_user, current_setting('search_path'),
    nullif(current_setting('my.secret', true), ''), to_regclass('pg_temp.mine'),
    (select count(*) from pg_prepared_statements), (select count(*) from pg_locks
      where locktype = 'advisory'), (select count(*) from pg_listening_channels()))`
  assert.equal(await next.value(facts), 'postgres "$user", public 0 0 0')
})

test('nor of several clients, who had sessions beside each other in it', async () => {
  const data = join(folder, 'sessions')
  {
    // No room in memory: the image goes to disk while they are connected.
    await using server = await startServer({ data, flags: [...flags, '--image-cache', '1kB'] })
    const first = await connectPg(server, 'acme')
    const second = await connectPg(server, 'acme')
    await first.client.query('create table t(n int)')
    for (const [index, { client }] of [first, second, first].entries()) {
      await client.query(`set my.secret = 'x${index}'; set search_path = pg_catalog`)
      await client.query(`prepare question${index} as select 1; listen gossip${index}`)
    }
    await server.request('/v1/tenants/acme/nap', { method: 'POST' })
    while (imagesOf(server).length === 0) await sleep(10)
    for (const { client } of [first, second]) client.on('error', () => {})
    await server.stop('SIGKILL')
  }
  await using server = await startServer({ data, flags })
  // What was put aside for one of them could be found by nobody, and would stay for ever.
  assert.equal((await query(server, 'acme', 'select 1 as n')).tier, 'cold')
  await using next = await connectPg(server, 'acme')
  const facts = `select concat_ws(' ', current_setting('search_path'),
    nullif(current_setting('my.secret', true), ''),
    (select count(*) from pg_prepared_statements), (select count(*) from pg_listening_channels()))`
  assert.equal(await next.value(facts), '"$user", public 0 0')
})

test('a tenant that is deleted in its sleep leaves no image', async () => {
  const data = join(folder, 'deleted')
  for (const round of [0, 1]) {
    await using server = await startServer({ data, flags })
    if (round === 0) await query(server, 'acme', 'create table t(n int)')
    else await server.request('/v1/tenants/acme', { method: 'DELETE' })
    await server.stop()
    assert.deepEqual(imagesOf(server), round === 0 ? ['acme.img'] : [])
  }
})

test('--image-disk 0: nothing is written, and nothing left; tenants boot', async () => {
  const data = join(folder, 'no-disk')
  const without = [...flags, '--image-disk', '0']
  {
    await using server = await startServer({ data, flags })
    await query(server, 'beta', 'select 1')
    await server.stop()
    assert.deepEqual(imagesOf(server), ['beta.img'])
  }
  for (const tier of [undefined, 'cold']) {
    await using server = await startServer({ data, flags: without })
    while (imagesOf(server).length > 0) await sleep(10)
    assert.deepEqual(await statesOf(server), {
      ...(tier === undefined ? {} : { acme: 'cold' }),
      beta: 'cold',
    })
    if (tier === undefined) await query(server, 'acme', 'create table t(n int)')
    assert.equal((await query(server, 'acme', 'select count(*) from t')).tier, tier ?? 'awake')
    await server.request('/v1/tenants/acme/nap', { method: 'POST' })
    assert.equal((await query(server, 'acme', 'select 1 as n')).tier, 'napping')
    await server.stop()
    assert.deepEqual(imagesOf(server), [])
  }
})

test('--image-cache 0: no naps, tenants leave for their stores', async () => {
  await using server = await startServer({ flags: [...flags, '--image-cache', '0'] })
  await query(server, 'acme', 'create table t(n int)')
  await server.request('/v1/tenants/acme/nap', { method: 'POST' })
  assert.equal((await query(server, 'acme', 'select count(*) from t')).tier, 'cold')
  await server.stop()
  assert.deepEqual(imagesOf(server), [])
})

test('who only reads in a cold tenant writes nothing, who writes then loses nothing', async () => {
  const data = join(folder, 'read')
  const cold = [...flags, '--image-cache', '0', '--image-disk', '0']
  const file = join(data, 'tenants', 'acme.db')
  const stored = (): string => createHash('sha256').update(readFileSync(file)).digest('hex')
  {
    await using server = await startServer({ data, flags: cold })
    await query(server, 'acme', 'create table t(n int)')
    await server.stop()
  }
  const before = stored()
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await using server = await startServer({ data, flags: cold })
    const { tier, row } = await query(server, 'acme', 'select count(*)::int as n from t')
    assert.deepEqual([tier, row], ['cold', { n: 0 }])
    await server.request('/v1/tenants/acme/nap', { method: 'POST' })
    assert.equal((await query(server, 'acme', 'table t')).tier, 'cold')
    await server.stop(signal)
    assert.equal(stored(), before)
  }
  for (let round = 0; round < 3; round++) {
    await using server = await startServer({ data, flags: cold })
    const { row } = await query(server, 'acme', 'select count(*)::int as n from t')
    assert.deepEqual(row, { n: round })
    await query(server, 'acme', `insert into t values (${round})`)
    await server.stop('SIGKILL')
  }
})
