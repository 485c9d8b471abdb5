/**
 * The four ways to say which tenant one means, by the drivers that use them: database name, user,
 * the server's name (TLS, WebSocket, connection string), `options=endpoint`. What is said twice
 * must agree; a client is never let into another tenant than it named.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, afterEach, before, describe, test } from 'node:test'
import { Client as NeonClient, neon, neonConfig } from '@neondatabase/serverless'
import type { ClientConfig } from 'pg'
import postgres from 'postgres'
import { WebSocket } from 'ws'
import { connectPg, failureOf, missing, runClient } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { ROOT, ROOT_PATH, tlsFlags } from '../support/tls-files.ts'

/** The certificate of the tests is one for localhost, which is enough of a name here. */
const DOMAIN = 'db.localhost'
const TENANTS = ['acme', 'beta', 'postgres']

/** What each of these tenants answers to the question who it is. */
async function mark(server: ServerProcess, config: ClientConfig = {}): Promise<void> {
  for (const tenant of TENANTS) {
    await using connection = await connectPg(server, tenant, config)
    await connection.client.query(`create table whoami as select '${tenant}' as tenant`)
  }
}
const WHO = 'select tenant from whoami'

describe('with TLS and a domain', () => {
  let server: ServerProcess
  const ssl = (servername: string): ClientConfig => ({
    ssl: { ca: ROOT, servername, checkServerIdentity: () => undefined },
  })
  before(async () => {
    server = await startServer({ flags: ['--shards', '2', '--domain', DOMAIN, ...tlsFlags()] })
    await mark(server)
  })
  after(() => server[Symbol.asyncDispose]())

  test('the first label of the server name is the tenant', async () => {
    for (const database of ['postgres', 'acme', 'bob']) {
      // The user is bob: a database of his name is what libpq sends when it is told none.
      const config = { ...ssl(`acme.${DOMAIN}`), user: 'bob' }
      await using connection = await connectPg(server, database, config)
      assert.equal(await connection.value(WHO), 'acme')
    }
    await using connection = await connectPg(server, 'beta', ssl(DOMAIN))
    assert.equal(await connection.value(WHO), 'beta')
  })

  test('a database that is another one is refused, with both names', async () => {
    const failure = await failureOf(connectPg(server, 'beta', ssl(`acme.${DOMAIN}`)))
    assert.equal(failure.code, '3D000')
    assert.match(failure.message, /two databases: "beta" and "acme"/)
    assert.match(failure.detail ?? '', /the server name/)
    assert.match(failure.hint ?? '', /name one database/)
  })

  test('the admin console is no tenant to be slipped into', async () => {
    const failure = await failureOf(connectPg(server, 'pgnap', ssl(`acme.${DOMAIN}`)))
    assert.equal(failure.code, '3D000')
    await using connection = await connectPg(server, 'pgnap', ssl(`pgnap.${DOMAIN}`))
    assert.ok((await connection.client.query('show version')).rows.length > 0)
  })

  test('psql sends the name that it connects to', { skip: missing('psql') }, async () => {
    const url = `host=acme.${DOMAIN} hostaddr=127.0.0.1 sslmode=require sslrootcert=${ROOT_PATH}`
    // Without a database of its own it sends the user's name, which libpq calls the default.
    const words = ['-XAtc', WHO, `${url} user=bob dbname=bob`]
    const { stdout, stderr } = await runClient('psql', words, server, 'bob')
    assert.equal(stdout.trim(), 'acme', stderr)
  })
})

describe('without TLS', () => {
  let server: ServerProcess
  before(async () => {
    server = await startServer({ flags: ['--shards', '2', '--domain', DOMAIN] })
    await mark(server)
  })
  after(() => server[Symbol.asyncDispose]())
  afterEach(() => {
    neonConfig.webSocketConstructor = undefined
    neonConfig.pipelineConnect = 'password'
  })

  test('user.tenant, with any of the databases that tools add', async () => {
    for (const database of ['postgres', 'bob.acme', 'acme']) {
      await using connection = await connectPg(server, database, { user: 'bob.acme' })
      assert.equal(await connection.value(WHO), 'acme')
    }
    const sql = postgres(`postgres://bob.beta@127.0.0.1:${server.port}`, { max: 1 })
    assert.deepEqual([...(await sql`select tenant from whoami`)], [{ tenant: 'beta' }])
    await sql.end()
    const failure = await failureOf(connectPg(server, 'beta', { user: 'bob.acme' }))
    assert.equal(failure.code, '3D000')
  })

  test('options=endpoint and options=project', async () => {
    for (const options of ['endpoint=acme', 'project=acme', 'endpoint=acme -c work_mem=5MB']) {
      await using connection = await connectPg(server, 'postgres', { options })
      assert.equal(await connection.value(WHO), 'acme')
    }
    for (const options of ['endpoint=acme project=beta', 'endpoint=beta']) {
      const failure = await failureOf(connectPg(server, 'acme', { options }))
      assert.equal(failure.code, '3D000')
      assert.match(failure.message, /two databases/)
    }
  })

  test('SHOW CLIENTS has the tenant and the user without it', async () => {
    await using connection = await connectPg(server, 'postgres', { user: 'carol.acme' })
    await connection.value('select 1')
    await using admin = await connectPg(server, 'pgnap')
    const { rows } = await admin.client.query<{ user: string; database: string }>('show clients')
    const carol = rows.find(({ user }) => user === 'carol')
    assert.equal(carol?.database, 'acme')
  })

  test('/sql: database, user, host and endpoint of the connection string', async () => {
    neonConfig.fetchEndpoint = `http://127.0.0.1:${server.httpPort}/sql`
    const ask = (rest: string): Promise<unknown> => neon(`postgres://${rest}`).query(WHO)
    for (const rest of [
      'bob:x@localhost/acme',
      'bob.acme:x@localhost/postgres',
      `bob:x@acme.${DOMAIN}/postgres`,
      `acme:x@acme.${DOMAIN}/acme`,
      'bob:x@localhost/postgres?options=endpoint%3Dacme',
    ]) {
      assert.deepEqual(await ask(rest), [{ tenant: 'acme' }], rest)
    }
    const failure = await failureOf(ask(`bob:x@acme.${DOMAIN}/beta`))
    assert.equal(failure.code, '3D000')
    const setting = await failureOf(ask('bob:x@localhost/acme?options=-c%20work_mem%3D5MB'))
    assert.match(setting.message, /HTTP status 501.*connection string over HTTP/)
  })

  test('/v2: the name in the header Host', async () => {
    class NamedSocket extends WebSocket {
      constructor(url: string) {
        super(url, { headers: { Host: `acme.${DOMAIN}` } })
      }
    }
    neonConfig.wsProxy = `127.0.0.1:${server.httpPort}/v2`
    neonConfig.useSecureWebSocket = false
    neonConfig.webSocketConstructor = NamedSocket as unknown as typeof globalThis.WebSocket
    const client = new NeonClient('postgres://bob:x@localhost/postgres')
    await client.connect()
    assert.deepEqual((await client.query(WHO)).rows, [{ tenant: 'acme' }])
    await client.end()
    neonConfig.pipelineConnect = false
    const wrong = new NeonClient('postgres://bob:x@localhost/beta')
    wrong.on('error', () => {})
    assert.equal((await failureOf(wrong.connect())).code, '3D000')
  })

  test('a Host under another domain than ours opens nothing', async () => {
    const headers = { Host: `acme.${DOMAIN}.attacker.example` }
    const socket = new WebSocket(`ws://127.0.0.1:${server.httpPort}/v2`, { headers })
    const [error] = (await once(socket, 'error')) as [Error]
    assert.match(error.message, /403/)
  })
})
