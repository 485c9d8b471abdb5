/** Every HTTP route of the shipped program, as fetch and as Neon's driver ask them. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ROUTES } from '../../src/front/http/routes.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
})
after(() => server[Symbol.asyncDispose]())

interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

/** One request whose answer must say where its time went. */
async function ask(path: string, init?: RequestInit): Promise<Answered> {
  const { status, headers, ...answer } = await server
    .request(path, init)
    .then(async (response) => ({
      status: response.status,
      headers: response.headers,
      text: await response.text(),
    }))
  assert.match(headers.get('Server-Timing') ?? '', /^(route|total);dur=[\d.]+/, path)
  const isJson = headers.get('Content-Type')?.startsWith('application/json')
  return { status, headers, body: isJson === true ? JSON.parse(answer.text) : answer.text }
}

const post = (path: string, body?: unknown, headers: HeadersInit = {}): Promise<Answered> =>
  ask(path, {
    method: 'POST',
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })

const errorOf = ({ body }: Answered): Record<string, unknown> =>
  (body as { error: Record<string, unknown> }).error

describe('/v1', () => {
  test('a tenant is made, shown, listed, put to sleep, woken, deleted', async () => {
    const made = await post('/v1/tenants', { name: 'acme' })
    assert.deepEqual([made.status, made.headers.get('Location')], [201, '/v1/tenants/acme'])
    const again = await post('/v1/tenants', { name: 'acme' })
    assert.deepEqual([again.status, errorOf(again)['code']], [409, 'TENANT_EXISTS'])
    await post('/v1/tenants', { name: 'beta' })
    const page = (await ask('/v1/tenants?limit=1')).body as {
      tenants: { name: string }[]
      next: string
    }
    assert.deepEqual([page.tenants.map(({ name }) => name), page.next], [['acme'], 'acme'])
    const rest = (await ask('/v1/tenants?limit=1&after=acme')).body as typeof page
    assert.deepEqual([rest.tenants.map(({ name }) => name), rest.next], [['beta'], null])

    const woken = await post('/v1/tenants/acme/wake')
    assert.deepEqual([woken.status, (woken.body as { state: string }).state], [200, 'awake'])
    const napped = await post('/v1/tenants/acme/nap')
    assert.equal(napped.status, 200)
    assert.notEqual((napped.body as { state: string }).state, 'awake')

    const gone = await ask('/v1/tenants/acme', { method: 'DELETE' })
    assert.deepEqual([gone.status, gone.body], [204, ''])
    for (const [method, path] of [
      ['GET', '/v1/tenants/acme'],
      ['DELETE', '/v1/tenants/acme'],
      ['POST', '/v1/tenants/acme/nap'],
      ['POST', '/v1/tenants/acme/wake'],
    ] as const) {
      const missing = await ask(path, { method })
      assert.deepEqual([missing.status, errorOf(missing)['code']], [404, 'TENANT_UNKNOWN'], path)
    }
  })

  test('a query has typed rows, and Server-Timing its phases', async () => {
    const sql = 'select $1::int + 1 as n, $2::text as s, null as x, array[1,2] as a'
    const answer = await post('/v1/tenants/beta/query', { sql, params: [41, 'ü'] })
    assert.equal(answer.status, 200)
    const { rows, command, rowCount } = answer.body as Record<string, unknown>
    assert.deepEqual(
      [rows, command, rowCount],
      [[{ n: 42, s: 'ü', x: null, a: [1, 2] }], 'SELECT', 1],
    )
    assert.match(
      answer.headers.get('Server-Timing') ?? '',
      /^route;dur=.*, queue;dur=.*, wake;dur=.*;desc="\w+", exec;dur=.*, persist;dur=/,
    )
    const arrays = await post('/v1/tenants/beta/query', {
      sql: 'select 1 as a, 2 as a',
      arrayMode: true,
    })
    assert.deepEqual((arrays.body as { rows: unknown }).rows, [[1, 2]])
  })

  test('what Postgres refuses is 400 with its words, what we refuse has our code', async () => {
    const syntax = await post('/v1/tenants/beta/query', { sql: 'select * fron t' })
    assert.equal(syntax.status, 400)
    const { code, sqlState, position } = errorOf(syntax)
    assert.deepEqual([code, sqlState, position], ['POSTGRES', '42601', '10'])
    const cases = [
      [await post('/v1/tenants/UPPER/query', { sql: 'select 1' }), 400, 'TENANT_NAME_INVALID'],
      [await post('/v1/tenants/template0/query', { sql: 'select 1' }), 400, 'TENANT_NAME_INVALID'],
      [await post('/v1/tenants/beta/query', {}), 400, 'REQUEST_INVALID'],
      [await post('/v1/tenants', { name: 7 }), 400, 'REQUEST_INVALID'],
      [await ask('/v1/tenants', { method: 'POST', body: '{' }), 400, 'REQUEST_INVALID'],
      [await ask('/v1/tenants?limit=0'), 400, 'REQUEST_INVALID'],
      [await ask('/v1/tenant'), 404, 'ROUTE_UNKNOWN'],
      [await ask('/v1/pool', { method: 'PUT' }), 405, 'METHOD_NOT_ALLOWED'],
      [await post('/v1/tenants', { name: 'x'.repeat(10_485_760) }), 413, 'MESSAGE_TOO_LARGE'],
      [
        await post('/v1/tenants/beta/query', { sql: "select repeat('x', 10500000)" }),
        507,
        'ANSWER_TOO_LARGE',
      ],
      [
        await ask('/v1/pool', { headers: { Origin: 'https://evil.example' } }),
        403,
        'REQUEST_REFUSED',
      ],
    ] as const
    for (const [answer, status, expected] of cases) {
      assert.deepEqual([answer.status, errorOf(answer)['code']], [status, expected])
      assert.ok(errorOf(answer)['hint'], `${expected} says what to do`)
    }
  })

  test('an answer far too large is refused by its bytes, before anybody reads it', async () => {
    const answer = await post('/v1/tenants/beta/query', { sql: "select repeat('x', 45000000)" })
    const { code, message, hint } = errorOf(answer)
    assert.deepEqual([answer.status, code], [507, 'ANSWER_TOO_LARGE'])
    assert.match(String(message), /^the backend answered 45\d{6} bytes/)
    assert.ok(hint)
  })

  test('the pool counts', async () => {
    const { body, status } = await ask('/v1/pool')
    assert.equal(status, 200)
    const pool = body as { shards: number; requests: number; slots: { total: number } }
    assert.equal(pool.shards, 2)
    assert.ok(pool.requests > 0 && pool.slots.total > 0)
  })
})

describe('/sql', () => {
  const connection = { 'Neon-Connection-String': 'postgres://me:x@localhost/neon?sslmode=require' }

  test('answers in the format of Neon’s driver, typed, raw and as arrays', async () => {
    const query = 'select $1::int as n, $2::text as s'
    const plain = await post('/sql', { query, params: ['7', 'x'] }, connection)
    assert.equal(plain.status, 200)
    const { rows, fields, command, rowCount, rowAsArray } = plain.body as Record<string, unknown>
    assert.deepEqual(
      [rows, command, rowCount, rowAsArray],
      [[{ n: 7, s: 'x' }], 'SELECT', 1, false],
    )
    assert.deepEqual(
      (fields as { name: string; dataTypeID: number }[]).map((each) => [
        each.name,
        each.dataTypeID,
      ]),
      [
        ['n', 23],
        ['s', 25],
      ],
    )
    const headers = { ...connection, 'Neon-Raw-Text-Output': 'true', 'Neon-Array-Mode': 'true' }
    const raw = await post('/sql', { query, params: [7, 'x'] }, headers)
    assert.deepEqual((raw.body as { rows: unknown }).rows, [['7', 'x']])
  })

  test('errors have the fields of Postgres', async () => {
    const failed = await post('/sql', { query: 'select nothing' }, connection)
    assert.equal(failed.status, 400)
    const { code, severity, position } = failed.body as Record<string, unknown>
    assert.deepEqual([code, severity, position], ['42703', 'ERROR', '8'])
    const nowhere = await post('/sql', { query: 'select 1' })
    assert.equal(nowhere.status, 400)
    assert.match(String((nowhere.body as { hint: string }).hint), /Neon-Connection-String/)
    const settings = { 'Neon-Connection-String': 'postgres://localhost/sql?options=-c' }
    const options = await post('/sql', { query: 'select 1' }, settings)
    assert.deepEqual([options.status, (options.body as { code: string }).code], [501, '0A000'])
  })
})

test('health, readiness, the page, and every route of the table are there', async () => {
  assert.equal(((await ask('/healthz')).body as { status: string }).status, 'ok')
  assert.deepEqual((await ask('/readyz')).body, { ready: true })
  const page = await ask('/')
  assert.match(page.headers.get('Content-Type') ?? '', /^text\/html/)
  assert.match(String(page.body), /pgnap/)
  for (const [route, methods] of Object.entries(ROUTES)) {
    for (const method of methods) {
      const { status, body } = await ask(route.replace(':name', 'nobody-at-all'), { method })
      assert.notEqual(status, 405, `${method} ${route}`)
      const code = (body as { error?: { code: string } }).error?.code
      assert.notEqual(code, 'ROUTE_UNKNOWN', `${method} ${route}`)
    }
  }
})
