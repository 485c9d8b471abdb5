/** Who may ask the shipped Worker. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { test } from 'node:test'
import { LIMITS } from '../../src/base/limits.ts'
import { startPgnap } from './pgnap-worker.ts'

const USERS = '"ann" "correct horse"\n; a comment\n"bob" "battery staple"\n'
const TOKEN = 'a-token-of-more-than-sixteen-characters'

const basic = (user: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

test('without users, only loopback and the hosts that are named are served', async () => {
  await using worker = await startPgnap({ PGNAP_HOSTS: 'db.example.com, other.example.com' })
  // `fetch` does not let anybody say another name than that of the URL.
  const statusFor = async (host: string): Promise<number | undefined> => {
    const asked = request(new URL('/v1/tenants', worker.url), { headers: { host } })
    asked.end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    answer.resume()
    return answer.statusCode
  }
  assert.equal(await statusFor('localhost'), 200)
  assert.equal(await statusFor('db.example.com'), 200)
  assert.equal(await statusFor('rebound.example.net'), 403)
})

test('with users, a password opens tenants and the API, on any host', async () => {
  await using worker = await startPgnap({ PGNAP_USERS: USERS })
  const list = (headers: Record<string, string>): Promise<Response> =>
    worker.fetch('/v1/tenants', { headers })
  assert.equal((await list({})).status, 401)
  assert.equal((await list(basic('ann', 'wrong'))).status, 401)
  assert.equal((await list(basic('nobody', 'correct horse'))).status, 401)
  assert.equal((await list(basic('ann', 'correct horse'))).status, 200)
  const ask = (password: string): Promise<Response> =>
    worker.fetch('/sql', {
      method: 'POST',
      headers: { 'neon-connection-string': `postgres://bob:${password}@any.example.net/t` },
      body: JSON.stringify({ query: 'select 1 as n', params: [] }),
    })
  const wrong = await ask('wrong')
  assert.match(await wrong.text(), /28P01/)
  const answer = await ask('battery%20staple')
  assert.equal(answer.status, 200)
  assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ n: 1 }])
})

test('who is wrong too often has to wait, by where he comes from', async () => {
  await using worker = await startPgnap({ PGNAP_USERS: USERS })
  const list = (password: string, address: string): Promise<Response> =>
    worker.fetch('/v1/tenants', {
      headers: { ...basic('ann', password), 'CF-Connecting-IP': address },
    })
  for (let count = 0; count < LIMITS.loginFailuresPerAddressMax; count++) {
    assert.equal((await list(`guess-${count}`, '192.0.2.1')).status, 401)
  }
  const limited = await list('correct horse', '192.0.2.1')
  assert.equal(limited.status, 429)
  assert.match(await limited.text(), /LOGIN_LIMITED.*53400.*"hint":"try again in \d+ s"/s)
  assert.equal((await list('correct horse', '192.0.2.2')).status, 200)
})

test('a token opens the API, and is not shortened by anybody', async () => {
  await using worker = await startPgnap({ PGNAP_USERS: USERS, PGNAP_ADMIN_TOKEN: TOKEN })
  for (const path of ['/v1/tenants', '/v1/pool', '/metrics']) {
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await worker.fetch(path, { headers })).status
    assert.equal(await status(bearer(TOKEN)), 200)
    assert.equal(await status(bearer(TOKEN.slice(1))), 401)
    assert.equal(await status(basic('ann', 'correct horse')), 401)
  }
})

test('tenants that are not to be made by being asked are unknown', async () => {
  await using worker = await startPgnap({ PGNAP_CREATE_ON_CONNECT: 'off' })
  const refused = await worker.query('nobody', 'select 1')
  assert.equal(refused.status, 404)
  assert.match(await refused.text(), /TENANT_UNKNOWN/)
  const listed = await worker.fetch('/v1/tenants')
  assert.deepEqual(((await listed.json()) as { tenants: unknown[] }).tenants, [])
})

test('settings that cannot be meant are refused, and nobody is let in', async () => {
  await using worker = await startPgnap({ PGNAP_USERS: 'ann secret' })
  const answer = await worker.fetch('/v1/tenants')
  assert.equal(answer.status, 500)
  const text = await answer.text()
  assert.match(text, /^\{"error":\{"code":"CONFIG_INVALID","sqlState":"F0000"/)
  assert.doesNotMatch(text, /secret|stack|\.ts\b|worker\.js/)
})

test('a setting that is neither yes nor no is refused, and lets nobody make tenants', async () => {
  await using worker = await startPgnap({ PGNAP_CREATE_ON_CONNECT: 'no' })
  const answer = await worker.query('made-anyway', 'select 1')
  assert.equal(answer.status, 500)
  assert.match(await answer.text(), /PGNAP_CREATE_ON_CONNECT/)
})
