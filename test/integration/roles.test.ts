/**
 * Roles of tenants, against a server with passwords: made with their tenant, told once, good for
 * that tenant and nothing else, renewed and ended while people are connected.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Client as NeonClient, neon, neonConfig } from '@neondatabase/serverless'
import { Client } from 'pg'
import postgres from 'postgres'
import { failureOf } from '../support/clients.ts'
import { plainSocket, readBytes, readToEnd, startupPacket } from '../support/raw-tls.ts'
import { type ServerProcess, runProgram, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

interface Granted {
  readonly role: string
  readonly connectionString: string
}

const folder = temporaryFolder()
const users = join(folder.path, 'users')
const token = join(folder.path, 'token')
writeFileSync(users, '"admin" "admin-password"\n', { mode: 0o600 })
writeFileSync(token, `${'t0ken'.repeat(8)}\n`, { mode: 0o600 })
after(() => folder[Symbol.dispose]())
const BEARER = { Authorization: `Bearer ${'t0ken'.repeat(8)}` }
const FLAGS = ['--shards', '2', '--auth', 'scram', '--auth-file', users]

async function connect(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client(url)
  client.on('error', () => {})
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

/** What a client of `url` hears. */
async function answerOf(url: string): Promise<string> {
  try {
    await using client = await connect(url)
    await client.query('select 1')
    return 'let in'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

/** The same URL with another part. */
function changed(url: string, part: 'pathname' | 'password' | 'username', to: string): string {
  const other = new URL(url)
  other[part] = to
  return other.href
}

describe('over HTTP', () => {
  let server: ServerProcess
  before(async () => {
    server = await startServer({ flags: [...FLAGS, '--admin-token-file', token] })
    neonConfig.fetchEndpoint = `http://127.0.0.1:${server.httpPort}/sql`
    neonConfig.wsProxy = `127.0.0.1:${server.httpPort}/v2`
    neonConfig.useSecureWebSocket = false
  })
  after(() => server[Symbol.asyncDispose]())

  const post = (path: string, body?: object): Promise<Response> =>
    server.request(path, {
      method: 'POST',
      headers: BEARER,
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
  const create = async (name: string): Promise<Granted> => {
    const answer = await post('/v1/tenants', { name })
    assert.equal(answer.status, 201)
    assert.equal(answer.headers.get('Cache-Control'), 'no-store')
    return (await answer.json()) as Granted
  }
  const rotate = async (tenant: string, role: string): Promise<Granted> =>
    (await (await post(`/v1/tenants/${tenant}/roles/${role}/rotate`)).json()) as Granted

  test('a new tenant comes with a role that every driver can use', async () => {
    const { role, connectionString } = await create('acme')
    assert.equal(role, 'acme')
    assert.equal(new URL(connectionString).port, String(server.port))
    assert.equal(await answerOf(connectionString), 'let in')
    const sql = postgres(connectionString, { max: 1 })
    assert.deepEqual([...(await sql`select 1 as n`)], [{ n: 1 }])
    await sql.end()
    assert.deepEqual(await neon(connectionString).query('select 1 as n'), [{ n: 1 }])
    const client = new NeonClient(connectionString)
    await client.connect()
    assert.deepEqual((await client.query('select 2 as n')).rows, [{ n: 2 }])
    await client.end()
  })

  test('it opens its tenant and nothing else', async () => {
    const { connectionString } = await create('mine')
    await create('theirs')
    for (const other of ['theirs', 'nobodys', 'pgnap', 'template1']) {
      const url = changed(connectionString, 'pathname', other)
      assert.equal(await answerOf(url), '28P01', other)
      assert.equal((await failureOf(neon(url).query('select 1'))).code, '28P01', other)
    }
    const { password } = new URL(connectionString)
    const basic = { Authorization: `Basic ${btoa(`mine:${password}`)}` }
    for (const path of ['/v1/pool', '/v1/tenants', '/v1/tenants/mine', '/metrics']) {
      assert.equal((await server.request(path, { headers: basic })).status, 401, path)
    }
    assert.equal(await answerOf(changed(connectionString, 'password', 'wrong')), '28P01')
    assert.equal(await answerOf(changed(connectionString, 'username', 'mine2')), '28P01')
    const names = async (url: string): Promise<unknown[]> => {
      await using client = await connect(url)
      const { rows } = await client.query('select datname from pg_database where not datistemplate')
      return rows.map(({ datname }: { datname: string }) => datname)
    }
    assert.deepEqual(await names(connectionString), ['mine'])
    const administrator = `postgres://admin:admin-password@127.0.0.1:${server.port}/mine`
    assert.ok((await names(administrator)).includes('theirs'), 'who may make it sees it')
    assert.deepEqual(await names(connectionString), ['mine'])
  })

  test('administrators are let in everywhere, and not into /v1 without the token', async () => {
    await create('any')
    const url = `postgres://admin:admin-password@127.0.0.1:${server.port}`
    for (const database of ['any', 'pgnap']) {
      await using client = await connect(`${url}/${database}`)
      await client.query('show search_path')
    }
    const basic = { Authorization: `Basic ${btoa('admin:admin-password')}` }
    const refused = await server.request('/v1/pool', { headers: basic })
    assert.equal(refused.status, 401)
    assert.match(refused.headers.get('WWW-Authenticate') ?? '', /^Bearer/)
    assert.equal((await server.request('/v1/pool', { headers: BEARER })).status, 200)
  })

  test('rotate: the old password is refused, who is connected stays', async () => {
    const { connectionString } = await create('rotated')
    await using client = await connect(connectionString)
    const next = await rotate('rotated', 'rotated')
    assert.notEqual(next.connectionString, connectionString)
    assert.equal(await answerOf(connectionString), '28P01')
    assert.equal(await answerOf(next.connectionString), 'let in')
    assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }])
  })

  test('revoke: refused at once, and sent away in the middle of a transaction', async () => {
    await create('left')
    const { connectionString } = await rotate('left', 'guest')
    const { connectionString: stays } = await rotate('left', 'host')
    await using host = await connect(stays)
    const guest = await connect(connectionString)
    await guest.query('create table t as select 1 as n')
    await guest.query('begin; delete from t')
    const ended = once(guest, 'error')
    const revoked = await post('/v1/tenants/left/roles/guest/revoke')
    assert.equal(revoked.status, 204)
    const [error] = (await ended) as [{ code?: string }]
    assert.equal(error.code, '57P01')
    assert.equal(await answerOf(connectionString), '28P01')
    assert.deepEqual((await host.query('select n from t')).rows, [{ n: 1 }])
    assert.equal((await post('/v1/tenants/left/roles/guest/revoke')).status, 404)
    const { roles } = (await (
      await server.request('/v1/tenants/left/roles', { headers: BEARER })
    ).json()) as { roles: { role: string }[] }
    assert.deepEqual(
      roles.map(({ role }) => role),
      ['host', 'left'],
    )
  })

  test('a tenant that is deleted takes its roles along, also if it comes back', async () => {
    const { connectionString } = await create('phoenix')
    const deleted = await server.request('/v1/tenants/phoenix', {
      method: 'DELETE',
      headers: BEARER,
    })
    assert.equal(deleted.status, 204)
    assert.equal(await answerOf(connectionString), '28P01')
    const { connectionString: next } = await create('phoenix')
    assert.equal(await answerOf(connectionString), '28P01')
    assert.equal(await answerOf(next), 'let in')
    // The store is removed behind our back, and an administrator makes it anew by connecting.
    const { connectionString: left } = await create('ghost')
    rmSync(join(server.data, 'tenants', 'ghost.db'))
    assert.equal(await answerOf(left), '28P01', 'a role does not make its tenant')
    const admin = `postgres://admin:admin-password@127.0.0.1:${server.port}/ghost`
    assert.equal(await answerOf(admin), 'let in')
    assert.equal(await answerOf(left), '28P01')
  })

  test('who is in the middle of a login when its tenant is deleted makes no new one', async () => {
    await create('halfway')
    const socket = await plainSocket(server)
    socket.write(startupPacket('halfway', 'halfway'))
    assert.match(String(await readBytes(socket, 20)), /SCRAM-SHA-256/)
    const deleted = await server.request('/v1/tenants/halfway', {
      method: 'DELETE',
      headers: BEARER,
    })
    assert.equal(deleted.status, 204)
    assert.match(String(await readToEnd(socket)), /C3D000/)
    const facts = await server.request('/v1/tenants/halfway', { headers: BEARER })
    assert.equal(facts.status, 404)
  })

  test('names that no role may have, and tenants that are not there', async () => {
    await create('named')
    const statusOf = async (path: string): Promise<number> => (await post(path)).status
    assert.equal(await statusOf('/v1/tenants/named/roles/admin/rotate'), 400)
    assert.equal(await statusOf('/v1/tenants/named/roles/a.b/rotate'), 400)
    assert.equal(await statusOf('/v1/tenants/nowhere/roles/app/rotate'), 404)
    assert.equal(await statusOf('/v1/tenants/nowhere/roles/app/revoke'), 404)
  })

  test('no password is in a file or in the log', async () => {
    const { connectionString } = await create('secretive')
    const { password } = new URL(connectionString)
    assert.equal(await answerOf(connectionString), 'let in')
    for (const name of readdirSync(server.data).filter((each) => each.startsWith('control'))) {
      assert.ok(!readFileSync(join(server.data, name)).includes(password), name)
    }
    assert.ok(!server.log().includes(password))
  })
})

describe('on the command line', () => {
  const words = (verb: string[], data: string): string[] => ['tenant', ...verb, '--data', data]

  test('roles that were made offline open the server that comes after', async () => {
    using data = temporaryFolder()
    const made = await runProgram(words(['create', 'acme', '--json'], data.path))
    assert.equal(made.status, 0, made.stderr)
    const { connectionString } = JSON.parse(made.stdout) as Granted
    const rotated = await runProgram(
      words(['rotate', 'acme', '--role', 'app', '--json'], data.path),
    )
    const { connectionString: app } = JSON.parse(rotated.stdout) as Granted
    await using server = await startServer({
      data: data.path,
      flags: [...FLAGS, '--admin-token-file', token],
    })
    const at = (url: string): string => url.replace(':6432/', `:${server.port}/`)
    assert.equal(await answerOf(at(connectionString)), 'let in')
    assert.equal(await answerOf(at(app)), 'let in')
    // The folder is in use now: the verb asks the server, with the token.
    const withToken = ['--admin-token-file', token]
    const listed = await runProgram(words(['roles', 'acme', '--json', ...withToken], data.path))
    const roles = JSON.parse(listed.stdout) as { role: string }[]
    assert.deepEqual(
      roles.map(({ role }) => role),
      ['acme', 'app'],
    )
    const created = await runProgram(words(['create', 'beta', ...withToken], data.path))
    const shown = /connectionString +(\S+)/.exec(created.stdout)?.[1] ?? created.stderr
    assert.equal(await answerOf(shown), 'let in')
    const revoked = await runProgram(
      words(['revoke', 'acme', '--role', 'app', ...withToken], data.path),
    )
    assert.equal(revoked.status, 0, revoked.stderr)
    assert.equal(await answerOf(at(app)), '28P01')
    const without = await runProgram(words(['list'], data.path))
    assert.notEqual(without.status, 0)
    assert.match(without.stderr, /token/)
  })

  test('a server without passwords says that it has no roles', async () => {
    await using server = await startServer({ flags: ['--shards', '1'] })
    const answer = await server.request('/v1/tenants', {
      method: 'POST',
      body: JSON.stringify({ name: 'open' }),
    })
    assert.ok(!('connectionString' in ((await answer.json()) as object)))
    const refused = await server.request('/v1/tenants/open/roles/app/rotate', { method: 'POST' })
    assert.equal(refused.status, 501)
    assert.match(await refused.text(), /--auth scram/)
  })
})
