/** JSON Web Tokens on `/sql`, sent by Neon's driver; and what they must not open. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { neon, neonConfig } from '@neondatabase/serverless'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { failureOf } from '../support/clients.ts'
import { type ServerProcess, runProgram, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const folder = temporaryFolder()
const users = join(folder.path, 'users')
const jwks = join(folder.path, 'keys.json')
const { privateKey, publicKey } = await generateKeyPair('RS256')
writeFileSync(users, '"admin" "admin-password"\n', { mode: 0o600 })
writeFileSync(jwks, JSON.stringify({ keys: [await exportJWK(publicKey)] }))

const SCRAM = ['--auth', 'scram', '--auth-file', users]
let server: ServerProcess
before(async () => {
  const tokens = ['--jwks', jwks, '--jwt-audience', 'pgnap']
  server = await startServer({ flags: ['--shards', '2', ...SCRAM, ...tokens] })
  neonConfig.fetchEndpoint = `http://127.0.0.1:${server.httpPort}/sql`
})
after(async () => {
  await server[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const sign = (claims: Record<string, unknown>): Promise<string> =>
  new SignJWT({ aud: 'pgnap', ...claims })
    .setProtectedHeader({ alg: 'RS256' })
    .setExpirationTime('1 minute')
    .sign(privateKey)

test('a token opens its tenant; the driver needs no password', async () => {
  const authToken = await sign({ tenant: 'acme' })
  const sql = neon('postgres://anybody@localhost/acme', { authToken })
  assert.deepEqual(await sql`select ${41}::int + 1 as n`, [{ n: 42 }])
  const [rows] = await sql.transaction([sql`select 1 as n`])
  assert.deepEqual(rows, [{ n: 1 }])
})

test('another tenant, another audience, a password beside a bad token', async () => {
  const acme = await sign({ tenant: 'acme' })
  const foreign = await sign({ tenant: 'acme', aud: 'somebody' })
  for (const [authToken, url] of [
    [acme, 'postgres://anybody@localhost/beta'],
    [acme, 'postgres://anybody.beta@localhost/postgres'],
    [foreign, 'postgres://anybody@localhost/acme'],
    [foreign, 'postgres://admin:admin-password@localhost/acme'],
    ['nonsense', 'postgres://admin:admin-password@localhost/acme'],
  ] as const) {
    const failure = await failureOf(neon(url, { authToken }).query('select 1'))
    assert.match(failure.message, /HTTP status 401|web token/, url)
  }
  const sql = neon('postgres://admin:admin-password@localhost/acme')
  assert.deepEqual(await sql`select 1 as n`, [{ n: 1 }])
})

test('a token is no administrator', async () => {
  const headers = { Authorization: `Bearer ${await sign({ tenant: 'pgnap' })}` }
  assert.equal((await server.request('/v1/pool', { headers })).status, 401)
  const failure = await failureOf(
    neon('postgres://a@localhost/pgnap', { authToken: await sign({ tenant: 'pgnap' }) }).query(''),
  )
  assert.match(failure.message, /reserved|HTTP status 4/)
})

test('settings that would let too many in do not start', async () => {
  const start = (flags: string[]): Promise<{ status: number | null; stderr: string }> =>
    runProgram([
      'serve',
      '--data',
      join(folder.path, 'd'),
      '--port',
      '0',
      '--http-port=0',
      ...flags,
    ])
  for (const [flags, reason] of [
    [[...SCRAM, '--jwks', jwks], /jwks without jwt-audience/],
    [[...SCRAM, '--jwt-audience', 'x'], /jwt-audience without jwks/],
    [['--jwks', jwks, '--jwt-audience', 'x'], /trust/],
    [[...SCRAM, '--jwks', users, '--jwt-audience', 'x'], /cannot be used/],
    [[...SCRAM, '--jwks', 'http://a.example/', '--jwt-audience', 'x'], /in the clear/],
    [[...SCRAM, '--jwks', 'http://127.a.example/', '--jwt-audience', 'x'], /in the clear/],
  ] as const) {
    const { status, stderr } = await start([...flags])
    assert.equal(status, 2, stderr)
    assert.match(stderr, reason)
  }
})
