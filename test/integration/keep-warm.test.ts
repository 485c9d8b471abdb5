/**
 * Pinned tenants of the shipped program: over HTTP, by the command line, over a restart; and that
 * their images are brought back into memory by nobody's request.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { runProgram, type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

interface TenantAnswer {
  readonly state: string
  readonly pinned: boolean
}

const BROUGHT_BACK_MS_MAX = 20_000

async function ask<Body>(server: ServerProcess, path: string, method = 'GET'): Promise<Body> {
  const answer = await server.request(path, { method })
  return (await answer.json()) as Body
}

const show = (server: ServerProcess, tenant: string): Promise<TenantAnswer> =>
  ask(server, `/v1/tenants/${tenant}`)

/** Asks until it is so: nothing tells when a tenant is brought back. */
async function until(server: ServerProcess, tenant: string, state: string): Promise<void> {
  const untilMs = performance.now() + BROUGHT_BACK_MS_MAX
  for (;;) {
    const now = await show(server, tenant)
    if (now.state === state) return
    assert.ok(performance.now() < untilMs, `${tenant} is ${now.state}, not ${state}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function query(server: ServerProcess, tenant: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(server.url(tenant))
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

test('a pinned tenant is in memory after a restart, before anybody asks for it', async () => {
  using folder = temporaryFolder()
  const start = (): Promise<ServerProcess> =>
    startServer({ data: folder.path, flags: ['--shards', '2', '--slots', '2'] })
  {
    await using server = await start()
    await query(server, 'acme', 'create table t as select 7 as n')
    await query(server, 'plain', 'create table t as select 8 as n')
    const pinned = await ask<TenantAnswer>(server, '/v1/tenants/acme/pin', 'POST')
    assert.equal(pinned.pinned, true)
    assert.equal((await show(server, 'plain')).pinned, false)
    const rows = (await query(server, 'pgnap', 'show tenants')) as Record<string, string>[]
    assert.equal(rows.find((row) => row['name'] === 'acme')?.['pinned'], 'yes')
  }
  {
    await using server = await start()
    await until(server, 'acme', 'napping')
    assert.notEqual((await show(server, 'plain')).state, 'napping')
    const before = await ask<{ keepWarm: Record<string, number> }>(server, '/v1/pool')
    assert.equal(before.keepWarm['pinned'], 1)
    assert.equal(before.keepWarm['warmed'], 1)
    assert.deepEqual(await query(server, 'acme', 'select n from t'), [{ n: 7 }])
    const after = await ask<{ keepWarm: Record<string, number> }>(server, '/v1/pool')
    assert.equal(after.keepWarm['hits'], 1)
    const told = await runProgram([
      'tenant',
      'unpin',
      'acme',
      '--json',
      '--url',
      `http://127.0.0.1:${server.httpPort}`,
    ])
    assert.equal((JSON.parse(told.stdout) as TenantAnswer).pinned, false)
    const unknown = await server.request('/v1/tenants/nobody/pin', { method: 'POST' })
    assert.equal(unknown.status, 404)
  }
})

test('without an image it is booted and naps; deleted, it is not pinned any more', async () => {
  using folder = temporaryFolder()
  const start = (): Promise<ServerProcess> =>
    startServer({ data: folder.path, flags: ['--shards', '1', '--image-disk', '0'] })
  {
    await using server = await start()
    await query(server, 'acme', 'create table t as select 1 as n')
    await ask(server, '/v1/tenants/acme/pin', 'POST')
  }
  await using server = await start()
  await until(server, 'acme', 'napping')
  const { evictions } = await ask<{ evictions: Record<string, number> }>(server, '/v1/pool')
  assert.equal(evictions['warmed'], 1)
  await server.request('/v1/tenants/acme', { method: 'DELETE' })
  await query(server, 'acme', 'select 1')
  assert.equal((await show(server, 'acme')).pinned, false)
})

test('a list of pins that somebody broke is told by name, and nothing starts', async () => {
  using folder = temporaryFolder()
  writeFileSync(join(folder.path, 'pins.json'), 'acme\n')
  const { status, stderr } = await runProgram(['serve', '--data', folder.path, '--port', '0'])
  assert.equal(status, 2)
  assert.match(stderr, /pins\.json is not a list of pinned tenants/)
})
