import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { resultOf } from '../../../test/support/fake-control.ts'
import {
  codeOf,
  CONNECTION,
  json,
  type Json,
  neon,
  open,
  post,
} from '../../../test/support/http-app.ts'
import { PostgresError } from '../wire/result.ts'
import type { MetricsPage } from './app.ts'
import { ROUTES, nearestRoutes } from './routes.ts'

suite('http: /sql', () => {
  test('runs one statement of the tenant in the connection string', async () => {
    const { control, app } = open()
    control.answer = resultOf(
      [
        ['n', 23],
        ['t', 20],
      ],
      [['41', '7']],
    )
    const answer = await app.request(
      '/sql',
      neon({ query: 'q', params: [1, null, [true], { a: 1 }] }),
    )
    assert.equal(answer.status, 200)
    const column = {
      tableID: 0,
      columnID: 0,
      dataTypeSize: -1,
      dataTypeModifier: -1,
      format: 'text',
    }
    assert.deepEqual(await json(answer), {
      fields: [
        { name: 'n', dataTypeID: 23, ...column },
        { name: 't', dataTypeID: 20, ...column },
      ],
      rows: [{ n: 41, t: '7' }],
      command: 'SELECT',
      rowCount: 1,
      rowAsArray: false,
    })
    const [asked] = control.asked
    assert.equal(asked?.tenant, 'acme')
    assert.deepEqual(asked?.statement, {
      sql: 'q',
      parameters: ['1', null, '{"true"}', '{"a":1}'],
      answerBytesMax: 4 * LIMITS.httpAnswerBytesMax,
    })
  })

  test('raw text and array mode, by header and by body', async () => {
    const { control, app } = open()
    control.answer = resultOf([['n', 23]], [['1'], [null]])
    const raw = { 'Neon-Raw-Text-Output': 'true', 'Neon-Array-Mode': 'true' }
    const rowsOf = async (init: RequestInit): Promise<unknown> =>
      (await json(await app.request('/sql', init)))['rows']
    assert.deepEqual(await rowsOf(neon({ query: 'q' }, raw)), [['1'], [null]])
    assert.deepEqual(await rowsOf(neon({ query: 'q', arrayMode: false }, raw)), [
      { n: '1' },
      { n: null },
    ])
    assert.deepEqual(await rowsOf(neon({ query: 'q', arrayMode: true })), [[1], [null]])
    const almost = { 'Neon-Raw-Text-Output': '1' }
    assert.deepEqual(await rowsOf(neon({ query: 'q' }, almost)), [{ n: 1 }, { n: null }])
  })

  test('numbers that JavaScript would change arrive as they were written', async () => {
    const { control, app } = open()
    const numbers =
      '[9007199254740993, 0.12345678901234567890, 1.50, 1.0, 1e3, -0, [12345678901234567890],' +
      '1e400, -1E-400, 1.2345678901234567890e5, 12.50e+2, 0e9, 0.00, {"n": 1e400}]'
    await app.request('/sql', neon(`{"query": "q", "params": ${numbers}}`))
    const expected = ['9007199254740993', '0.12345678901234567890', '1.5', '1', '1000', '-0']
    const exponents = ['1e400', '-1E-400', '1.2345678901234567890e5', '1250', '0', '0']
    assert.deepEqual(control.asked[0]?.statement.parameters, [
      ...expected,
      '{"12345678901234567890"}',
      ...exponents,
      '{"n":1e400}',
    ])
  })

  test('a number of millions of digits is no more work than a text', async () => {
    const { control, app } = open()
    const zeros = '0'.repeat(2_000_000)
    const numbers = [`0.${zeros}1`, `1${zeros}1`, `1.5e${zeros}1`]
    await app.request('/sql', neon(`{"query": "q", "params": [${numbers.join()}]}`))
    assert.deepEqual(control.asked[0]?.statement.parameters, numbers)
  })

  test('what is no text is refused, not changed', async () => {
    const { control, app } = open()
    const head = '{"query": "q", "params": ["'
    const bytes = Buffer.concat([Buffer.from(head), Buffer.of(0xe4), Buffer.from('"]}')])
    const headers = { 'Neon-Connection-String': CONNECTION }
    const broken = await app.request('/sql', { method: 'POST', body: bytes, headers })
    assert.deepEqual(
      [broken.status, (await json(broken))['message']],
      [400, 'the body is not UTF-8'],
    )
    const half = await app.request('/sql', neon(`${head}\\ud83d"]}`))
    assert.equal(half.status, 400)
    assert.equal(control.asked.length, 0)
    const whole = await app.request('/sql', neon(`\ufeff${head}\\ud83d\\ude00"]}`))
    assert.equal(whole.status, 200)
    assert.deepEqual(control.asked[0]?.statement.parameters, ['\u{1f600}'])
  })

  test('an error of Postgres is 400 with every field, null where there is none', async () => {
    const { control, app } = open()
    control.answer = new PostgresError({ V: 'ERROR', C: '42P01', M: 'no table', P: '15', n: 'key' })
    const answer = await app.request('/sql', neon({ query: 'q' }))
    assert.equal(answer.status, 400)
    const body = await json(answer)
    assert.deepEqual(
      [body['message'], body['code'], body['position'], body['constraint'], body['detail']],
      ['no table', '42P01', '15', 'key', null],
    )
  })

  test('errors of pgnap are 400 where the caller has to fix something', async () => {
    const { control, app } = open()
    const statusOf = async (): Promise<unknown[]> => {
      const answer = await app.request('/sql', neon({ query: 'q' }))
      return [answer.status, (await json(answer))['code']]
    }
    control.answer = new PgnapError('TENANT_UNKNOWN', 'no')
    assert.deepEqual(await statusOf(), [400, '3D000'])
    control.answer = new PgnapError('QUEUE_FULL', 'no')
    assert.deepEqual(await statusOf(), [503, '53300'])
    control.answer = new Error('secret path')
    assert.deepEqual(await statusOf(), [500, 'XX000'])
  })

  const wrong: readonly (readonly [string, RequestInit, number])[] = [
    ['no connection string', post({ query: 'q' }), 400],
    ['another scheme', neon({ query: 'q' }, { 'Neon-Connection-String': 'http://a/b' }), 400],
    ['no database', neon({ query: 'q' }, { 'Neon-Connection-String': 'postgres://a:b@c' }), 400],
    ['a wrong % sequence', neon({}, { 'Neon-Connection-String': 'postgres://h/%zz' }), 400],
    ['session settings', neon({}, { 'Neon-Connection-String': 'postgres://h/a?options=-c' }), 501],
    ['a body that is not JSON', neon('select 1'), 400],
    ['a list as body', neon([]), 400],
    ['no query', neon({ params: [] }), 400],
    ['params that are no list', neon({ query: 'q', params: {} }), 400],
    ['queries that are no list', neon({ queries: {} }), 400],
    ['a batch of what is no query', neon({ queries: ['select 1'] }), 400],
    ['a batch with a number', neon('{"queries": [12345678901234567890]}'), 400],
    ['a query without text in a batch', neon({ queries: [{ query: 'q' }, {}] }), 400],
    [
      'a batch with an unknown isolation level',
      neon({ queries: [] }, { 'Neon-Batch-Isolation-Level': 'toString' }),
      400,
    ],
    [
      'a batch of too many queries',
      neon({ queries: Array(LIMITS.httpBatchQueriesMax + 1).fill({ query: '' }) }),
      400,
    ],
  ]
  for (const [name, init, status] of wrong) {
    test(`refuses ${name}`, async () => {
      const { control, app } = open()
      const answer = await app.request('/sql', init)
      assert.equal(answer.status, status)
      assert.equal(typeof (await json(answer))['hint'], 'string')
      assert.equal(control.asked.length, 0)
    })
  }

  test('a connection string is never repeated, since it holds a password', async () => {
    const { app } = open()
    const init = neon({ query: 'q' }, { 'Neon-Connection-String': 'redis://u:hunter2@h/a' })
    assert.ok(!(await (await app.request('/sql', init)).text()).includes('hunter2'))
  })
})

suite('http: batches on /sql', () => {
  test('each query has its own form; modes come by header, and are echoed', async () => {
    const { control, app } = open()
    control.answer = resultOf([['n', 23]], [['1']])
    const queries = [
      { query: 'a', params: [1] },
      { query: 'b', arrayMode: true },
    ]
    const modes = {
      'Neon-Batch-Isolation-Level': 'RepeatableRead',
      'Neon-Batch-Read-Only': 'true',
      'Neon-Batch-Deferrable': 'yes',
    }
    const answer = await app.request('/sql', neon({ queries }, modes))
    const { results } = (await json(answer)) as { results: Json[] }
    assert.deepEqual(
      results.map(({ rows, rowAsArray, command }) => [rows, rowAsArray, command]),
      [
        [[{ n: 1 }], false, 'SELECT'],
        [[[1]], true, 'SELECT'],
      ],
    )
    assert.deepEqual(control.batches, [
      {
        statements: [
          { sql: 'a', parameters: ['1'] },
          { sql: 'b', parameters: [] },
        ],
        answerBytesMax: 4 * LIMITS.httpAnswerBytesMax,
        isolationLevel: 'repeatableRead',
        readOnly: true,
        deferrable: false,
      },
    ])
    for (const [name, value] of Object.entries(modes)) {
      assert.equal(answer.headers.get(name), value)
    }
    assert.match(answer.headers.get('Server-Timing') ?? '', /^route;dur=0.5/)
  })

  test('an error is the answer to all of it', async () => {
    const { control, app } = open()
    control.answer = new PostgresError({ C: '22012', M: 'division by zero', V: 'ERROR' })
    const answer = await app.request('/sql', neon({ queries: [{ query: 'q' }] }))
    assert.equal(answer.status, 400)
    assert.equal((await json(answer))['code'], '22012')
  })
})

test('http: /v2 without a WebSocket says what it is for', async () => {
  const { app } = open()
  const answer = await app.request('/v2')
  assert.equal(answer.headers.get('Upgrade'), 'websocket')
  assert.deepEqual(await codeOf(answer), [426, 'UPGRADE_REQUIRED'])
})

suite('http: /v1', () => {
  test('the life of a tenant', async () => {
    const { app } = open()
    const made = await app.request('/v1/tenants', post({ name: 'acme' }))
    assert.deepEqual([made.status, made.headers.get('Location')], [201, '/v1/tenants/acme'])
    const again = await app.request('/v1/tenants', post({ name: 'acme' }))
    assert.deepEqual(await codeOf(again), [409, 'TENANT_EXISTS'])
    const woken = await app.request('/v1/tenants/acme/wake', { method: 'POST' })
    assert.equal((await json(woken))['state'], 'awake')
    assert.equal((await app.request('/v1/tenants/acme/nap', { method: 'POST' })).status, 200)
    for (const [verb, pinned] of [
      ['pin', true],
      ['unpin', false],
    ] as const) {
      const answer = await app.request(`/v1/tenants/acme/${verb}`, { method: 'POST' })
      assert.equal((await json(answer))['pinned'], pinned)
    }
    assert.equal((await app.request('/v1/tenants/acme', { method: 'DELETE' })).status, 204)
    assert.deepEqual(await codeOf(await app.request('/v1/tenants/acme')), [404, 'TENANT_UNKNOWN'])
  })

  test('pages of tenants', async () => {
    const { control, app } = open()
    for (const name of ['a', 'b', 'c']) control.names.add(name)
    const page = async (query: string): Promise<unknown[]> => {
      const { tenants, next } = await json(await app.request(`/v1/tenants?${query}`))
      return [(tenants as Json[]).map(({ name }) => name), next]
    }
    assert.deepEqual(await page('limit=2'), [['a', 'b'], 'b'])
    assert.deepEqual(await page('limit=2&after=b'), [['c'], null])
    assert.deepEqual(await page('limit=3'), [['a', 'b', 'c'], null])
    control.leaving.add('a')
    assert.deepEqual(await page('limit=2'), [['b'], 'b'], 'a tenant that goes away ends no list')
    for (const limit of ['0', '-1', 'x', '1001', '1e3']) {
      assert.equal((await app.request(`/v1/tenants?limit=${limit}`)).status, 400, limit)
    }
  })

  test('queries: rows as objects, arrays or raw text; the signal of the request', async () => {
    const { control, app } = open()
    control.answer = resultOf(
      [
        ['a', 23],
        ['a', 23],
      ],
      [['1', '2']],
    )
    const rowsOf = async (more: Json): Promise<unknown> => {
      const init = post({ sql: 'q', params: ['x'], ...more })
      return (await json(await app.request('/v1/tenants/acme/query', init)))['rows']
    }
    assert.deepEqual(await rowsOf({}), [{ a: 2 }])
    assert.deepEqual(await rowsOf({ arrayMode: true }), [[1, 2]])
    assert.deepEqual(await rowsOf({ arrayMode: true, rawText: true }), [['1', '2']])
    assert.ok(control.asked[0]?.signal instanceof AbortSignal)
    const wrong = await app.request('/v1/tenants/acme/query', post({ sql: 'q', arrayMode: 'yes' }))
    assert.deepEqual(await codeOf(wrong), [400, 'REQUEST_INVALID'])
  })

  test('an error of Postgres has its SQLSTATE and its fields', async () => {
    const { control, app } = open()
    control.answer = new PostgresError({ C: '23505', M: 'twice', D: 'key (1)', n: 'pk' })
    const answer = await app.request('/v1/tenants/acme/query', post({ sql: 'q' }))
    const error = (await json(answer))['error'] as Json
    const { code, sqlState, message, detail, hint, constraint } = error
    assert.deepEqual(
      [answer.status, code, sqlState, message, detail, hint, constraint],
      [400, 'POSTGRES', '23505', 'twice', 'key (1)', null, 'pk'],
    )
  })
})

suite('http: clients that leave', () => {
  test('end their query, and nothing is logged as a bug', async () => {
    const logged: string[] = []
    const log = { ...silentLog, error: (message: string) => void logged.push(message) }
    const { control, app } = open({ log })
    const leaving = new AbortController()
    control.query = async (_tenant, _statement, signal) => {
      leaving.abort()
      signal?.throwIfAborted()
      throw new Error('the signal did not arrive')
    }
    const init = { ...post({ sql: 'q' }), signal: leaving.signal }
    const request = new Request('http://localhost/v1/tenants/acme/query', init)
    assert.deepEqual(await codeOf(await app.request(request)), [400, 'QUERY_CANCELED'])
    assert.deepEqual(logged, [])
  })

  test('whereas a bug is logged', async () => {
    const logged: string[] = []
    const log = { ...silentLog, error: (message: string) => void logged.push(message) }
    const { control, app } = open({ log })
    control.answer = new TypeError('undefined is not a function')
    const answer = await app.request('/v1/tenants/acme/query', post({ sql: 'q' }))
    assert.deepEqual(await codeOf(answer), [500, 'INTERNAL'])
    assert.equal(logged.length, 1)
  })
})

suite('http: every answer', () => {
  test('has Server-Timing: phases of a query, else the total', async () => {
    const { control, app } = open()
    const timing = async (path: string, init?: RequestInit): Promise<string | null> =>
      (await app.request(path, init)).headers.get('Server-Timing')
    assert.equal(
      await timing('/v1/tenants/acme/query', post({ sql: 'q' })),
      'route;dur=0.5, queue;dur=0, wake;dur=9.25;desc="cold", exec;dur=1, persist;dur=0',
    )
    control.answer = new PostgresError({ M: 'no' })
    for (const path of [
      '/',
      '/sql',
      '/healthz',
      '/readyz',
      '/nowhere',
      '/v1/pool',
      '/v1/tenants/x',
    ]) {
      assert.equal(await timing(path), 'total;dur=0', path)
    }
    assert.equal(await timing('/sql', neon({ query: 'q' })), 'total;dur=0')
    assert.equal(await timing('/', { headers: { Host: 'evil.example' } }), 'total;dur=0')
  })

  test('bookmarks are named and gone back to; who keeps none says so', async () => {
    const { control, app } = open()
    const status = async (path: string, init: RequestInit = {}): Promise<number> =>
      (await app.request(path, init)).status
    assert.equal(await status('/v1/tenants/x/bookmark'), 501)
    assert.equal(await status('/v1/tenants/x/restore', post({ bookmark: 'b' })), 501)
    const asked: unknown[] = []
    control.bookmarks = {
      bookmarkOf: async (...parameters) => {
        asked.push(parameters)
        return { bookmark: 'then' }
      },
      restoreTenant: async (...parameters) => {
        asked.push(parameters)
        return { bookmark: 'before' }
      },
    }
    const path = '/v1/tenants/x/bookmark?at=1970-01-01T01:00:01%2B01:00'
    assert.deepEqual(await json(await app.request(path)), { bookmark: 'then' })
    const restored = await app.request('/v1/tenants/x/restore', post({ bookmark: 'then' }))
    assert.deepEqual(await json(restored), { restored: 'then', undo: 'before' })
    assert.deepEqual(asked, [
      ['x', '1970-01-01T01:00:01+01:00'],
      ['x', 'then'],
    ])
    assert.equal(await status('/v1/tenants/x/restore', post({})), 400)
  })

  test('every route of the table exists, and no other method on it', async () => {
    const metrics = async (): Promise<MetricsPage> => ({ contentType: 'text/plain', text: '' })
    const { control, app } = open({ metrics })
    control.names.add(':name')
    for (const [path, methods] of Object.entries(ROUTES)) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS']) {
        const { status, headers } = await app.request(path, { method })
        assert.equal(
          status !== 405 && status !== 404,
          methods.includes(method),
          `${method} ${path}`,
        )
        if (status === 405) assert.equal(headers.get('Allow'), methods.join(', '))
        control.names.add(':name')
      }
    }
  })

  test('an unknown route names the nearest ones', async () => {
    const { app } = open()
    const answer = await app.request('/v1/pools')
    assert.equal(answer.status, 404)
    assert.match(String(((await json(answer))['error'] as Json)['hint']), /GET \/v1\/pool/)
    assert.equal(nearestRoutes('/v1/tenant')[0], 'GET|POST /v1/tenants')
    assert.equal(nearestRoutes('/'.repeat(1_000_000)).length, 3)
  })

  test('health, readiness and the page', async () => {
    const { control, app } = open()
    const health = await json(await app.request('/healthz'))
    assert.deepEqual(health, { status: 'ok', version: '1.2.3', serverVersion: '18.1' })
    assert.equal((await app.request('/readyz')).status, 200)
    control.isReady = false
    assert.equal((await app.request('/readyz')).status, 503)
    const page = await app.request('/')
    assert.match(page.headers.get('Content-Type') ?? '', /text\/html/)
    const text = await page.text()
    assert.match(text, /A Postgres for every tenant/)
    assert.match(text, /curl http:\/\/localhost\/v1\/tenants\/acme\/query/)
    assert.doesNotMatch(text, /psql/, 'nobody speaks it here')
    const asked = await open({ wirePort: 7432 }).app.request('http://127.0.0.1:7480/')
    const shown = await asked.text()
    assert.match(shown, /psql postgres:\/\/127\.0\.0\.1:7432\/acme/)
    assert.match(shown, /curl http:\/\/127\.0\.0\.1:7480\/v1/)
    const proxied = await open({ allowedHosts: ['pg.example'] }).app.request('http://evil/', {
      headers: { Host: 'pg.example:7480' },
    })
    assert.match(await proxied.text(), /curl http:\/\/pg\.example:7480\/v1/)
  })
})
