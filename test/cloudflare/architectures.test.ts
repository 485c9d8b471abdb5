/** What all architectures have in common, in workerd: routes, shapes, errors, who may ask. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { after, before, test } from 'node:test'
import { LIMITS } from '../../src/base/limits.ts'
import { parseExposition } from '../support/exposition.ts'
import { type ArchitecturesUnderTest, startArchitecturesForTest } from './architectures-worker.ts'

/** Of the directory object, what is asked here. */
interface Directory {
  noteHeat(counts: readonly (readonly [name: string, count: number])[]): Promise<void>
  hottest(count: number): Promise<readonly unknown[]>
}

interface Overview {
  readonly architecture: string
  readonly what: string
  readonly durability: string
  readonly endpoints: readonly {
    readonly method: string
    readonly path: string
    readonly what: string
  }[]
}

let worker: ArchitecturesUnderTest
let all: readonly Overview[]
before(async () => {
  worker = await startArchitecturesForTest()
  const answer = await worker.get('/architectures')
  all = ((await answer.json()) as { architectures: Overview[] }).architectures
})
after(() => worker[Symbol.asyncDispose]())

test('each architecture says what it is and what a write survives', async () => {
  assert.ok(all.length > 0)
  for (const { architecture, what, durability, endpoints } of all) {
    assert.ok(what.length > 10 && durability.length > 10, architecture)
    // One has something else to say there.
    if (endpoints[0]?.what !== 'what this is') continue
    const one = (await (await worker.get(`/${architecture}`)).json()) as Overview
    assert.equal(one.what, what)
  }
})

test('each that runs statements runs them for the tenant that is named', async () => {
  const running = all.filter(({ architecture, endpoints }) =>
    endpoints.some(({ path }) => path === `/${architecture}/query`),
  )
  for (const { architecture: name } of running) {
    const { rows, servedBy, tenant, ...rest } = await worker.query(
      name,
      'one',
      'select 40 + 2 as n',
    )
    assert.deepEqual([rows, tenant, rest.architecture], [[{ n: 42 }], 'one', name])
    assert.ok(servedBy.length > 3, name)
    const path = `/multi-tenant/${name}/two/query`
    const other = (await (await worker.post(path, undefined, { sql: 'select 1 as n' })).json()) as {
      tenant: string
    }
    assert.equal(other.tenant, 'two', name)
    const nobody = (await (
      await worker.post(`/${name}/query`, undefined, { sql: 'select 1 as n' })
    ).json()) as { tenant: string }
    assert.equal(nobody.tenant, 'default', name)
  }
})

test('timing tells phases that add up to the request', async () => {
  const timed = all.filter(({ architecture, endpoints }) =>
    endpoints.some(({ path }) => path === `/${architecture}/timing`),
  )
  for (const { architecture: name } of timed) {
    const { timing, rows } = await worker.timing(name, 'one', 'select 1 as n')
    assert.deepEqual(rows, [{ n: 1 }], name)
    assert.ok(timing, name)
    const sumMs = timing.phases.reduce((sum, { ms }) => sum + ms, 0)
    assert.ok(sumMs >= timing.totalMs - 0.001, `${name}: ${JSON.stringify(timing)}`)
    assert.ok(timing.phases.length > 1, name)
  }
})

test('each that can be asked how it stands tells how long its loads and saves take', async () => {
  const standing = all.filter(({ architecture, endpoints }) =>
    endpoints.some(({ path }) => path === `/${architecture}/status`),
  )
  for (const { architecture: name } of standing) {
    await worker.query(name, 'delays', 'create table t (n integer)')
    await worker.query(name, 'delays', 'insert into t values (1)')
    const body = await (await worker.get(`/${name}/status`, 'delays')).text()
    assert.match(body, /"syncDelay":\{"load":\{"count":\d+/, name)
    // One keeps nothing, so it saves nothing.
    if (name !== 'warm-proxy') assert.match(body, /"save":\{"count":[1-9]/, name)
  }
})

test('Prometheus is told how long loads and saves take, wherever they are made', async () => {
  for (const name of ['thin', 'factory', 'ws', 'sqlite']) {
    await worker.query(name, 'measured', 'create table t (n integer)')
  }
  await worker.query('warm-proxy', 'measured', 'select 1')
  const families = parseExposition(await (await worker.get('/metrics')).text())
  const loads = families.get('pgnap_place_loads_total')?.samples ?? new Map<string, number>()
  const saves = families.get('pgnap_place_saves_total')?.samples ?? new Map<string, number>()
  const sumOf = (samples: ReadonlyMap<string, number>, place: string): number =>
    [...samples].reduce((sum, [key, n]) => sum + (key.includes(`place="${place}"`) ? n : 0), 0)
  for (const place of ['compute-worker', 'factory', 'compute-object', 'sqlite', 'warm-proxy']) {
    assert.ok(sumOf(loads, place) > 0, place)
    // One keeps nothing.
    if (place !== 'warm-proxy') assert.ok(sumOf(saves, place) > 0, place)
  }
  const alarms = families.get('pgnap_place_sync_alarm')?.samples
  assert.equal(alarms?.get('pgnap_place_sync_alarm{place="sqlite",kind="load"}'), 0)
})

test('what is wrong is said as by /v1, whatever the architecture', async () => {
  const wrong = await worker.post('/pooled/query', 'one', { sql: 'select 1/0' })
  assert.equal(wrong.status, 400)
  assert.match(await wrong.text(), /"22012"/)
  const name = await worker.post('/pooled/query', 'Not-A-Name', { sql: 'select 1' })
  assert.equal(name.status, 400)
  assert.match(await name.text(), /TENANT_NAME_INVALID/)
  const body = await worker.post('/pooled/query', 'one', { query: 'select 1' })
  assert.match(await body.text(), /REQUEST_INVALID.*\\"sql\\"/s)
  const unknown = await worker.get('/pooled/nothing')
  assert.equal(unknown.status, 404)
  assert.match(await unknown.text(), /POST \/pooled\/query/)
  const method = await worker.get('/pooled/query')
  assert.equal(method.status, 405)
  assert.equal(method.headers.get('allow'), 'POST')
  const none = await worker.get('/multi-tenant/none/one/query')
  assert.equal(none.status, 404)
  const inPath = await worker.get('/multi-tenant/lazy-wasm/one/query')
  assert.deepEqual([inPath.status, inPath.headers.get('allow')], [405, 'POST'])
  const timing = await worker.post('/multi-tenant/lazy-wasm/one/timing')
  assert.equal(timing.status, 404)
  assert.match(await timing.text(), /POST \/multi-tenant\/lazy-wasm\/TENANT\/query/)
  for (const path of ['/constructor', '/pooled/constructor', '/pooled/', '/multi-tenant']) {
    assert.equal((await worker.get(path)).status, 404, path)
  }
})

test('strategies that an architecture has not are refused, and none is ignored', async () => {
  const statusOf = async (path: string): Promise<number> =>
    (await worker.post(path, 'one', { sql: 'select 1 as n' })).status
  for (const name of ['pooled', 'traditional']) {
    assert.equal(await statusOf(`/${name}/query?load=lazy&write=sync&stale=refuse`), 200)
    for (const asked of ['load=image', 'write=async', 'write=cdc', 'stale=allow']) {
      assert.equal(await statusOf(`/${name}/query?${asked}`), 501, `${name} ${asked}`)
    }
    assert.equal(await statusOf(`/${name}/query?load=whatever`), 400)
  }
  assert.equal(await statusOf('/warm-proxy/query?write=sync'), 501)
  for (const path of ['/pooled/timing?write=async', '/traditional/cold-start?load=delta']) {
    assert.equal(await statusOf(path), 501, path)
  }
})

test('the tenants of /pooled are those of the default Worker, which is there too', async () => {
  await worker.query('pooled', 'both', 'create table t as select 7 as n')
  const answer = await worker.post('/v1/tenants/both/query', undefined, { sql: 'select n from t' })
  assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ n: 7 }])
  assert.equal((await worker.get('/healthz')).status, 200)
})

test('the scheduled event keeps compute, factory and the hottest tenants warm', async () => {
  await using fresh = await startArchitecturesForTest()
  const statusOf = async (path: string, tenant: string): Promise<Record<string, unknown>> =>
    (await (await fresh.get(path, tenant)).json()) as Record<string, unknown>
  await fresh.query('traditional', 'hot', 'select 1')
  await fresh.query('pooled', 'hot', 'select 1')
  const before = (await statusOf('/traditional/status', 'hot'))['requests']
  const event = { cron: '* * * * *' }
  assert.equal((await (await fresh.miniflare.getWorker()).scheduled(event)).outcome, 'ok')
  const after = (await statusOf('/traditional/status', 'hot'))['requests']
  assert.deepEqual([before, after], [1, 2])
  const { factory } = await statusOf('/factory/status', 'any')
  assert.ok((factory as { slotBytes: number }).slotBytes > 0, JSON.stringify(factory))
})

test('the scheduled event makes no tenant, whatever was asked before it', async () => {
  await using fresh = await startArchitecturesForTest()
  const tick = async (): Promise<void> => {
    const event = { cron: '* * * * *' }
    assert.equal((await (await fresh.miniflare.getWorker()).scheduled(event)).outcome, 'ok')
  }
  const jsonOf = async (path: string, tenant?: string): Promise<Record<string, unknown>> =>
    (await (await fresh.get(path, tenant)).json()) as Record<string, unknown>
  const doesExist = async (): Promise<Record<string, boolean>> => {
    const states: Record<string, boolean> = {}
    for (const name of ['traditional', 'hybrid', 'thin', 'lazy-wasm', 'factory', 'ws']) {
      const { exists, object, state, store } = await jsonOf(`/${name}/status`)
      const found = [{ exists }, object, state, store] as ({ exists?: boolean } | undefined)[]
      states[name] = found.some((each) => each?.exists === true)
    }
    return states
  }
  const nowhere = await doesExist()
  assert.deepEqual(new Set(Object.values(nowhere)), new Set([false]))
  const sql = 'select 1'
  for (const path of ['/factory/warmup', '/lazy-wasm/force-load', '/traditional/cold-start']) {
    assert.equal((await fresh.post(path, undefined, { sql })).status, 200)
  }
  await tick()
  assert.deepEqual(await doesExist(), nowhere)
  // Somebody is told to be hot of whom there is nothing.
  const names = [...Object.keys(nowhere), 'warm-proxy'].map((name) => `${name}/default`)
  const objects = await fresh.miniflare.getDurableObjectNamespace(
    'DIRECTORY',
    'pgnap-architectures',
  )
  const directory = objects.get(objects.idFromName('directory')) as unknown as Directory
  await directory.noteHeat([...names, 'default'].map((name) => [name, 5]))
  await tick()
  assert.deepEqual(await doesExist(), nowhere)
  assert.deepEqual((await jsonOf('/warm-proxy/status'))['tenants'], [])
  assert.deepEqual((await jsonOf('/v1/tenants'))['tenants'], [])
  assert.deepEqual(await directory.hottest(20), [])
})

test('where there is no room for all the hottest tenant is the one that is kept warm', async () => {
  await using fresh = await startArchitecturesForTest()
  for (const tenant of ['hot', 'hot', 'hot', 'hot', 'warm', 'warm', 'warm', 'mild', 'mild']) {
    await fresh.query('traditional', tenant, 'select 1')
  }
  for (let minute = 0; minute < 2; minute++) {
    await (await fresh.miniflare.getWorker()).scheduled({ cron: '* * * * *' })
    const status = await (await fresh.get('/traditional/status', 'hot')).json()
    assert.equal((status as { isWarm: boolean }).isWarm, true)
  }
})

test('settings that cannot be meant are told before anything is done', async () => {
  await using wrong = await startArchitecturesForTest({ PGNAP_KEEP_WARM_TENANTS: 'many' })
  const answer = await wrong.post('/sqlite/query', 'one', { sql: 'create table t(n)' })
  assert.equal(answer.status, 500)
  assert.match(await answer.text(), /^\{"error":\{"code":"CONFIG_INVALID".*KEEP_WARM_TENANTS/)
  const bucket = await wrong.miniflare.getR2Bucket('BUCKET', 'pgnap-architectures')
  assert.equal(await bucket.head('one/database.sqlite'), null)
})

test('who may not ask is not let in anywhere', async () => {
  await using guarded = await startArchitecturesForTest({
    PGNAP_USERS: '"ann" "correct horse"\n',
  })
  for (const { endpoints } of all) {
    for (const { method, path } of endpoints) {
      const answer = await guarded.fetch(path, {
        method,
        ...(method === 'POST' ? { body: '{"sql": "select 1"}' } : {}),
      })
      assert.equal(answer.status, 401, path)
    }
  }
  const password = Buffer.from('ann:correct horse').toString('base64')
  const headers = { authorization: `Basic ${password}` }
  assert.equal((await guarded.fetch('/architectures', { headers })).status, 200)
})

test('who may not ask is told so before anything of the body is there, or looked at', async () => {
  await using guarded = await startArchitecturesForTest({
    PGNAP_USERS: '"ann" "correct horse"\n',
  })
  // The body never comes: whoever waits for it does not answer.
  const statusFor = async (headers: Record<string, string>): Promise<number | undefined> => {
    const asked = request(new URL('/pooled/query', guarded.url), { method: 'POST', headers })
    asked.on('error', () => {})
    asked.flushHeaders()
    const [answer] = (await once(asked, 'response', { signal: AbortSignal.timeout(10_000) })) as [
      IncomingMessage,
    ]
    asked.destroy()
    return answer.statusCode
  }
  const tooLong = { 'content-length': String(LIMITS.httpRequestBytesMax + 1) }
  assert.equal(await statusFor(tooLong), 401)
  assert.equal(await statusFor({ 'transfer-encoding': 'chunked' }), 401)
  const password = Buffer.from('ann:correct horse').toString('base64')
  assert.equal(await statusFor({ ...tooLong, authorization: `Basic ${password}` }), 413)
})
