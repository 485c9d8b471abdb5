import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { PgnapError } from '../base/errors.ts'
import { type WebTokenOptions, webTokenCheck } from './web-tokens.ts'

const AUDIENCE = 'pgnap'
const NOW_S = 1_800_000_000
const { privateKey, publicKey } = await generateKeyPair('ES256')
const published = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }
const keys = { keys: [published] }

function checkWith(changes: Partial<WebTokenOptions> = {}) {
  const now = (): Date => new Date(NOW_S * 1000)
  return webTokenCheck({ keys, audience: AUDIENCE, tenantClaim: 'tenant', now, ...changes })
}

const sign = (claims: Readonly<Record<string, unknown>>, key = privateKey): Promise<string> =>
  new SignJWT({ tenant: 'acme', aud: AUDIENCE, exp: NOW_S + 60, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'one' })
    .sign(key)

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

test('a token opens the tenant that it names, and no other', async () => {
  const check = checkWith()
  const token = await sign({})
  assert.equal(await check(token, 'acme'), true)
  assert.equal(await check(token, 'beta'), false)
  assert.equal(await check(token, ''), false)
  const custom = checkWith({ tenantClaim: 'https://example.com/db' })
  assert.equal(await custom(token, 'acme'), false)
  assert.equal(await custom(await sign({ 'https://example.com/db': 'beta' }), 'beta'), true)
})

test('claims that do not count', async () => {
  const check = checkWith()
  const wrong: [string, Readonly<Record<string, unknown>>][] = [
    ['past', { exp: NOW_S - 60 }],
    ['without an end', { exp: undefined }],
    ['not yet', { nbf: NOW_S + 60 }],
    ['for somebody else', { aud: 'another' }],
    ['for nobody', { aud: undefined }],
    ['no tenant', { tenant: undefined }],
    ['a list of tenants', { tenant: ['acme'] }],
    ['another case', { tenant: 'ACME' }],
  ]
  for (const [what, claims] of wrong) {
    assert.equal(await check(await sign(claims), 'acme'), false, what)
  }
  assert.equal(await check(await sign({ aud: ['other', AUDIENCE] }), 'acme'), true)
  assert.equal(await check(await sign({ exp: NOW_S - 3 }), 'acme'), true, 'clocks differ')
})

test('signatures that do not count', async () => {
  const check = checkWith()
  const stranger = await generateKeyPair('ES256')
  const claims = { tenant: 'acme', aud: AUDIENCE, exp: NOW_S + 60 }
  const [head = '', body = '', signature = ''] = (await sign({})).split('.')
  // What a server takes that does not say which algorithms it means: the public key as a secret.
  const withSecret = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256', kid: 'one' })
    .sign(Buffer.from(JSON.stringify(published)))
  const wrong: [string, string][] = [
    ['by another key', await sign({}, stranger.privateKey)],
    ['none', `${part({ alg: 'none' })}.${body}.`],
    ['shared secret', withSecret],
    ['body changed', `${head}.${part({ ...claims, tenant: 'beta' })}.${signature}`],
    ['cut', `${head}.${body}.`],
    ['no token', 'x'],
    ['empty', ''],
  ]
  for (const [what, token] of wrong) {
    for (const tenant of ['acme', 'beta']) assert.equal(await check(token, tenant), false, what)
  }
})

test('a shared secret among the keys is no key', async () => {
  const secret = new Uint8Array(32).fill(7)
  const shared = { kty: 'oct', k: Buffer.from(secret).toString('base64url'), kid: 'two' }
  const check = checkWith({ keys: { keys: [published, shared] } })
  const token = await new SignJWT({ tenant: 'acme', aud: AUDIENCE, exp: NOW_S + 60 })
    .setProtectedHeader({ alg: 'HS256', kid: 'two' })
    .sign(secret)
  assert.equal(await check(token, 'acme'), false)
})

test('keys are fetched when they are needed; if they cannot be, nobody is let in', async () => {
  let asked = 0
  let status = 500
  const server = createServer((_, answer) => {
    asked++
    answer.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(keys))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as AddressInfo
    const check = checkWith({ keys: new URL(`http://127.0.0.1:${port}/keys`) })
    const token = await sign({})
    await assert.rejects(check(token, 'acme'), (error) => {
      return error instanceof PgnapError && error.code === 'TOKEN_KEYS_UNREACHABLE'
    })
    status = 200
    assert.equal(await check(token, 'acme'), true)
    const before = asked
    assert.equal(await check(token, 'acme'), true)
    assert.equal(asked, before, 'they are kept')
  } finally {
    server.close()
  }
})

test('what is no set of keys is refused at once', () => {
  assert.throws(() => checkWith({ keys: {} as WebTokenOptions['keys'] }))
})
