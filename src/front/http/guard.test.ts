import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Hono } from 'hono'
import { ManualClock } from '../../base/clock.ts'
import { silentLog } from '../../base/log.ts'
import { FakeControl } from '../../../test/support/fake-control.ts'
import { createHttp } from './app.ts'
import type { GuardOptions } from './guard.ts'

const KNOWN = 'alice:secret:acme alice:secret:pgnap bob:päss:word:acme \ufeffcy:secret:pgnap'.split(
  ' ',
)

const passwords: GuardOptions = {
  authenticate: async (user, password, tenant) => KNOWN.includes(`${user}:${password}:${tenant}`),
}

function open(options: GuardOptions = {}): { control: FakeControl; app: Hono } {
  const control = new FakeControl()
  control.names.add('acme')
  const common = { clock: new ManualClock(), log: silentLog, version: '1', serverVersion: '18' }
  return { control, app: createHttp({ control, ...common, ...options }) }
}

const get = async (
  app: Hono,
  headers: Record<string, string>,
  path = '/v1/pool',
): Promise<number> => (await app.request(path, { headers })).status

const basic = (user: string, password: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})

suite('guard: Host', () => {
  const trusted = [
    'localhost',
    'LOCALHOST:6480',
    'app.localhost:1',
    '127.0.0.1:6480',
    '10.0.0.7',
    '[::1]:6480',
    'pgnap:6480',
    'db.example.com',
    'db.example.com.:80',
  ]
  const refused = [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:6480',
    'db.example.com.evil.example',
    '1.2.3.4.5',
    'evil.example:80@localhost',
    '[::1].evil.example',
    '',
  ]
  const { app } = open({ allowedHosts: ['DB.example.com'] })
  for (const host of trusted) {
    test(`trusts ${host}`, async () => assert.equal(await get(app, { Host: host }), 200))
  }
  for (const host of refused) {
    test(`refuses ${JSON.stringify(host)}`, async () =>
      assert.equal(await get(app, { Host: host }), 403))
  }

  test('with passwords any name will do', async () => {
    const { app: closed } = open(passwords)
    assert.equal(await get(closed, { Host: 'evil.example', ...basic('alice', 'secret') }), 200)
  })
})

suite('guard: Origin', () => {
  const trusted = [
    'http://localhost:3000',
    'https://app.localhost',
    'http://127.0.0.1',
    'http://[::1]:8080',
    'http://10.0.0.7:6480',
    'https://app.example.com',
  ]
  const refused = [
    'https://evil.example',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'https://app.example.com.evil.example',
    'http://10.0.0.7:81',
    'null',
    'file://',
    'chrome-extension://localhost',
  ]
  const { control, app } = open({ allowedOrigins: ['https://app.example.com'] })
  const ask = async (origin: string, method: string): Promise<Response> =>
    app.request('/sql', {
      method,
      headers: {
        Host: '10.0.0.7:6480',
        Origin: origin,
        'Neon-Connection-String': 'postgres://a:b@c/acme',
      },
      ...(method === 'POST' ? { body: '{"query": "drop table users"}' } : {}),
    })
  for (const origin of trusted) {
    test(`lets pages of ${origin} in, and read`, async () => {
      for (const method of ['OPTIONS', 'POST']) {
        const answer = await ask(origin, method)
        assert.equal(answer.status, 200)
        assert.equal(answer.headers.get('Access-Control-Allow-Origin'), origin)
      }
    })
  }
  for (const origin of refused) {
    test(`keeps pages of ${origin} out, without a word of CORS`, async () => {
      const askedCount = control.asked.length
      for (const method of ['OPTIONS', 'POST']) {
        const answer = await ask(origin, method)
        assert.equal(answer.status, 403)
        assert.equal(answer.headers.get('Access-Control-Allow-Origin'), null)
      }
      assert.equal(control.asked.length, askedCount)
    })
  }

  test('simple requests of foreign pages never reach /v1', async () => {
    for (const options of [{}, passwords]) {
      const { control: other, app: asked } = open(options)
      const headers = { Origin: 'https://evil.example', ...basic('alice', 'secret') }
      const init = { method: 'POST', headers, body: '{"sql": "drop table users"}' }
      assert.equal((await asked.request('/v1/tenants/acme/query', init)).status, 403)
      assert.equal(other.asked.length, 0)
    }
  })
})

suite('guard: passwords', () => {
  test('/sql takes the password of the connection string, from any origin', async () => {
    const { control, app } = open(passwords)
    const status = async (connection: string): Promise<unknown[]> => {
      const headers = { Origin: 'https://app.example', 'Neon-Connection-String': connection }
      const answer = await app.request('/sql', { method: 'POST', headers, body: '{"query": "q"}' })
      return [answer.status, answer.headers.get('Access-Control-Allow-Origin')]
    }
    assert.deepEqual(await status('postgres://alice:secret@h/acme'), [200, '*'])
    assert.deepEqual(await status('postgres://alice:secret@h/other'), [400, '*'])
    assert.deepEqual(await status('postgres://alice@h/acme'), [400, '*'])
    assert.deepEqual(await status('postgres://bob:p%C3%A4ss%3Aword@h/acme'), [200, '*'])
    assert.equal(control.asked.length, 2)
  })

  test('/v1 and /metrics take basic authentication of administrators', async () => {
    const { app } = open(passwords)
    const challenge = (await app.request('/v1/pool')).headers.get('WWW-Authenticate')
    assert.match(challenge ?? '', /^Basic realm="pgnap"/)
    assert.equal(await get(app, {}), 401)
    assert.equal(await get(app, basic('alice', 'wrong')), 401)
    assert.equal(await get(app, basic('alice', 'secret')), 200)
    // Bob may use acme, and so its data; not its place on the server.
    for (const path of ['/v1/tenants/acme', '/v1/tenants/%61cme', '/v1/pool', '/metrics']) {
      assert.equal(await get(app, basic('bob', 'päss:word'), path), 401, path)
    }
    assert.notEqual(await get(app, basic('alice', 'secret'), '/metrics'), 401)
    assert.equal(await get(app, basic('\ufeffcy', 'secret')), 200)
    for (const header of ['Basic', 'Basic !', 'Basic YQ', 'Basic YQA', 'Bearer x', 'Basic a']) {
      assert.equal(await get(app, { Authorization: header }), 401, header)
    }
  })

  test('a header that is no basic authentication is a wrong password', async () => {
    const { app } = open(passwords)
    for (const words of [
      'Basic QQ=',
      'Basic QQ',
      'Basic Q',
      'Basic ====',
      'Basic',
      'Basic QTpi=',
    ]) {
      assert.equal(await get(app, { Authorization: words }), 401, words)
    }
  })

  test('with a token, /v1 and /metrics take that and nothing else', async () => {
    const isAdminToken = (token: string): boolean => token === 'the-token'
    for (const options of [{ isAdminToken }, { ...passwords, isAdminToken }]) {
      const { app } = open(options)
      const challenge = (await app.request('/v1/pool')).headers.get('WWW-Authenticate')
      assert.equal(challenge, 'Bearer realm="pgnap"')
      assert.equal(await get(app, basic('alice', 'secret')), 401)
      assert.equal(await get(app, basic('the-token', '')), 401)
      for (const header of ['Bearer', 'Bearer wrong', 'the-token', 'Bearer the-token x']) {
        assert.equal(await get(app, { Authorization: header }), 401, header)
        assert.equal(await get(app, { Authorization: header }, '/metrics'), 401, header)
      }
      assert.equal(await get(app, { Authorization: 'Bearer the-token' }), 200)
      assert.equal(await get(app, { Authorization: 'bearer the-token ' }), 200)
      assert.equal(await get(app, {}, '/healthz'), 200)
    }
  })

  test('health and the page ask for none', async () => {
    const { app } = open(passwords)
    for (const path of ['/', '/healthz', '/readyz']) assert.equal(await get(app, {}, path), 200)
  })
})

test('guard: nothing is read of the body of who has not proven who it is', async () => {
  const { app } = open(passwords)
  const wrong = { 'Neon-Connection-String': 'postgres://alice:wrong@localhost/acme' }
  for (const [path, headers] of [
    ['/sql', wrong],
    ['/v1/tenants', basic('alice', 'wrong')],
    ['/v1/tenants/acme/query', {}],
  ] as const) {
    let pulled = 0
    const chunk = new Uint8Array(1024).fill(0x20)
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
      if (++pulled > 100) controller.close()
      else controller.enqueue(chunk)
    }
    const body = new ReadableStream({ pull }, { highWaterMark: 0 })
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
    const answer = await app.request(new Request(`http://localhost${path}`, init))
    assert.equal(answer.ok, false)
    assert.equal(pulled, 0, path)
  }
})
