/** The architectures in which Postgres and the tenant's store are in different places. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { LIMITS } from '../../src/base/limits.ts'
import type { SyncDelayFacts } from '../../src/base/sync-delay.ts'
import {
  type ArchitecturesUnderTest,
  type QueryBody,
  startFailingArchitectures,
} from './architectures-worker.ts'

/** workerd puts an object away after ten seconds without an event. */
const HIBERNATES_MS = 12_500

let worker: ArchitecturesUnderTest
before(async () => {
  worker = await startFailingArchitectures()
})
after(() => worker[Symbol.asyncDispose]())

async function jsonOf<Body>(answer: Response): Promise<Body> {
  const text = await answer.text()
  assert.ok(answer.ok, `${answer.status} ${text}`)
  return JSON.parse(text) as Body
}

const phasesOf = ({ timing }: Pick<QueryBody, 'timing'>): string[] =>
  timing?.phases.map(({ name }) => name) ?? []

interface HybridStatus {
  readonly object: {
    readonly phase: string
    readonly ran: { readonly compute: number; readonly local: number }
    readonly syncDelay?: SyncDelayFacts
  }
}

const hybridStatus = async (tenant: string): Promise<HybridStatus['object']> =>
  (await jsonOf<HybridStatus>(await worker.get('/hybrid/status', tenant))).object

/** Asks until its own Postgres answers, and tells how often that took. */
async function untilLocal(tenant: string, sql: string): Promise<number> {
  for (let count = 1; count < 200; count++) {
    const { servedBy } = await worker.query('hybrid', tenant, sql)
    if (servedBy === 'tenant-object') return count
  }
  throw new Error(`${tenant} is still cold`)
}

test('hybrid: the compute Worker answers first, the object when it is warm', async () => {
  const first = await worker.query('hybrid', 'warms', 'create table t(n int)')
  assert.equal(first.servedBy, 'compute-worker')
  for (let n = 0; n < 5; n++) await worker.query('hybrid', 'warms', `insert into t values (${n})`)
  assert.ok((await untilLocal('warms', 'insert into t values (5)')) >= 1)
  const found = await worker.timing('hybrid', 'warms', 'select max(n) as n from t')
  assert.deepEqual([found.servedBy, found.rows], ['tenant-object', [{ n: 5 }]])
  assert.ok(phasesOf(found).includes('execute') && !phasesOf(found).includes('compute'))
  const { phase, ran, syncDelay } = await hybridStatus('warms')
  assert.equal(phase, 'local')
  assert.ok((syncDelay?.load.count ?? 0) >= 1 && (syncDelay?.save.count ?? 0) >= 1)
  assert.ok(ran.compute >= 1 && ran.local >= 2)
})

test('hybrid: nothing is lost or done twice while it changes hands', async () => {
  let made = 0
  // Ten at a time, each followed by the next: some before, some while, some after.
  const makeSome = async (): Promise<void> => {
    while (made < 80) await worker.query('hybrid', 'hands', `create table t${made++}()`)
  }
  await Promise.all(Array.from({ length: 10 }, makeSome))
  const count = "select count(*)::int from pg_class where relname like 't%' and relnatts = 0"
  await untilLocal('hands', 'select 1')
  assert.equal(await worker.ask('hybrid', 'hands', `${count} and relkind = 'r'`), made)
  const { ran } = await hybridStatus('hands')
  assert.ok(ran.compute >= 1 && ran.local >= 10, JSON.stringify(ran))
})

test('hybrid: what was acknowledged ahead is at home before it goes on by itself', async () => {
  const asked = (sql: string): Promise<Response> =>
    worker.post('/hybrid/query?write=async', 'early', { sql })
  await jsonOf(await asked('create table t(n int)'))
  await jsonOf(await asked('insert into t values (1)'))
  await untilLocal('early', 'select 1')
  assert.equal(await worker.ask('hybrid', 'early', 'select n from t'), 1)
})

test('hybrid: an object that goes on by itself takes nothing from a compute any more', async () => {
  await worker.query('hybrid', 'closed', 'create table t as select 1 as n')
  await untilLocal('closed', 'select 1')
  for (const sql of ['update t set n = 2', 'select n from t']) {
    const answer = await worker.post('/delegated/closed', 'closed', { sql })
    assert.match(await answer.text(), /STORE_FENCED/, sql)
  }
  assert.equal(await worker.ask('hybrid', 'closed', 'select n from t'), 1)
})

test('hybrid: an object that has to make room goes on by the compute Worker', async () => {
  for (const tenant of ['room-0', 'room-1', 'room-2', 'room-3']) {
    await worker.query('hybrid', tenant, 'create table t as select 1 as n')
    await untilLocal(tenant, 'update t set n = n + 1')
  }
  const { servedBy, rows } = await worker.query('hybrid', 'room-0', 'select n > 1 as n from t')
  assert.deepEqual([servedBy, rows], ['compute-worker', [{ n: true }]])
  await untilLocal('room-0', 'select n from t')
})

test('factory: it is there, is warmed, answers, and tells how it stands', async () => {
  const { pong } = await jsonOf<{ pong: boolean }>(await worker.get('/factory/ping'))
  assert.equal(pong, true)
  const warmed = await jsonOf<{ factory: { warm: boolean } }>(await worker.post('/factory/warmup'))
  assert.equal(warmed.factory.warm, true)
  await worker.query('factory', 'one', 'create table t as select 1 as n')
  await worker.query('factory', 'other', 'create table t as select 2 as n')
  assert.equal(await worker.ask('factory', 'one', 'select n from t'), 1)
  const timed = await worker.timing('factory', 'other', 'select n from t')
  assert.deepEqual([timed.servedBy, timed.rows], ['compute-object', [{ n: 2 }]])
  for (const name of ['rpc', 'load', 'execute']) assert.ok(phasesOf(timed).includes(name))
  const status = await jsonOf<{ factory: { tenants: number }; state: { exists: boolean } }>(
    await worker.get('/factory/status', 'one'),
  )
  assert.ok(status.factory.tenants >= 2 && status.state.exists)
  // A tenant of another architecture is another one.
  assert.equal(await worker.ask('thin', 'one', "select to_regclass('t')"), null)
})

test('factory: a cold start makes an object, finds the tenant, and leaves nothing', async () => {
  const cold = await jsonOf<QueryBody & { readonly rowCount: number }>(
    await worker.post('/factory/cold-start', 'one', { sql: 'select n from t' }),
  )
  assert.deepEqual([cold.rowCount, cold.servedBy], [1, 'compute-object'])
  assert.deepEqual([cold.architecture, cold.tenant, cold.rows], ['factory', 'one', [{ n: 1 }]])
  assert.ok(phasesOf(cold).includes('instantiate'))
  await jsonOf(await worker.post('/factory/cold-start', 'one', { sql: 'update t set n = 5' }))
  assert.equal(await worker.ask('factory', 'one', 'select n from t'), 5)
})

test('consumer: its own object and the factory, warm, cold and beside each other', async () => {
  interface Ran extends QueryBody {
    readonly rowCount: number
  }
  const ran = async (path: string, sql: string): Promise<Ran> =>
    jsonOf<Ran>(await worker.post(`/consumer/${path}`, 'buyer', { sql }))
  await ran('direct', 'create table t as select 1 as n')
  const direct = await ran('direct', 'select n from t')
  assert.deepEqual([direct.servedBy, direct.rows], ['consumer-object', [{ n: 1 }]])
  await ran('factory', 'create table t as select 2 as n')
  const made = await ran('factory', 'select n from t')
  assert.deepEqual([made.servedBy, made.rows], ['compute-object', [{ n: 2 }]])
  for (const path of ['cold-direct', 'cold-factory']) {
    const cold = await ran(path, 'select 3 as n')
    assert.deepEqual(cold.rows, [{ n: 3 }])
    assert.ok(phasesOf(cold).includes('instantiate'), `${path}: ${phasesOf(cold).join(' ')}`)
  }
  const answer = await worker.post('/consumer/compare', 'buyer', { sql: 'select n from t' })
  assert.match(answer.headers.get('server-timing') ?? '', /^direct;dur=[\d.]+, factory;dur=/)
  const compared = await jsonOf<{ direct: Ran; factory: Ran; difference: { faster: string } }>(
    answer,
  )
  assert.deepEqual([compared.direct.rows, compared.factory.rows], [[{ n: 1 }], [{ n: 2 }]])
  assert.match(compared.difference.faster, /^(direct|factory)$/)
  const missing = await worker.post('/consumer/query', 'buyer', { sql: 'select 1' })
  assert.equal(missing.status, 404)
})

interface WsStatus {
  readonly router: {
    readonly connected: boolean
    readonly counters: {
      readonly opened: number
      readonly bySocket: number
      readonly byCall: number
    }
    readonly compute: { readonly sockets: number; readonly lives: number }
  }
}

test('ws: one socket serves all requests and tenants', async () => {
  await worker.query('ws', 'wired', 'create table t as select 1 as n')
  const { rows, ...body } = await worker.timing('ws', 'wired', 'select n from t')
  assert.deepEqual([rows, body['way']], [[{ n: 1 }], 'socket'])
  for (const name of ['router', 'socket', 'execute']) assert.ok(phasesOf(body).includes(name))
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => worker.ask('ws', `wired-${index % 4}`, 'select 1')),
  )
  const { router } = await jsonOf<WsStatus>(await worker.get('/ws/status', 'wired'))
  assert.deepEqual(
    [router.connected, router.counters.opened, router.counters.byCall, router.compute.sockets],
    [true, 1, 0, 1],
  )
})

test('ws: when the socket drops a call takes its place, and nothing is done twice', async () => {
  await worker.query('ws', 'dropped', 'create table t as select 0 as n')
  for (const [index, drop] of ['unheard', 'unanswered', 'unanswered', 'unheard'].entries()) {
    await worker.get(`/drop/${drop}`)
    const body = await worker.query('ws', 'dropped', 'update t set n = n + 1 returning n')
    assert.deepEqual([body['way'], body.rows], ['call', [{ n: index + 1 }]])
    const next = await worker.query('ws', 'dropped', 'select n from t')
    assert.deepEqual([next['way'], next.rows], ['socket', [{ n: index + 1 }]])
  }
})

test('ws: what does not fit a message goes by a call', async () => {
  const long = 'x'.repeat(1_200_000)
  const asked = await worker.query('ws', 'large', 'select length($1::text)::int as n', long)
  assert.deepEqual([asked['way'], asked.rows], ['call', [{ n: 1_200_000 }]])
  const answered = await worker.query('ws', 'large', "select repeat('x', 1200000) as text")
  assert.equal(answered['way'], 'call')
  assert.equal(String(answered.rows[0]?.['text']).length, 1_200_000)
})

test('factory and ws: what was acknowledged ahead comes home by an alarm', async () => {
  for (const name of ['factory', 'ws']) {
    const ask = (sql: string): Promise<Response> =>
      worker.post(`/${name}/query?write=async`, 'ahead', { sql })
    await jsonOf(await ask('create table t(n int)'))
    const { mayLose } = await jsonOf<{ mayLose: { commits: number } }>(
      await ask('insert into t values (1)'),
    )
    assert.ok(mayLose.commits >= 1)
    await sleep(LIMITS.flushMs + 500)
    // Asked where it is at home, and not of the compute.
    const { state } = await jsonOf<{ state: { home: { version: number } } }>(
      await worker.get(`/${name}/status`, 'ahead'),
    )
    assert.ok(state.home.version >= 2, `${name}: version ${state.home.version}`)
    const after = await jsonOf<{ mayLose: { commits: number } }>(await ask('select n from t'))
    assert.equal(after.mayLose.commits, 0)
  }
})

test('ws: the compute sleeps while nobody asks, and its socket wakes it as it was', async () => {
  await worker.query('ws', 'sleepy', 'create table t as select 1 as n')
  const before = await jsonOf<WsStatus>(await worker.get('/ws/status', 'sleepy'))
  await sleep(HIBERNATES_MS)
  const woken = await worker.query('ws', 'sleepy', 'update t set n = n + 1 returning n')
  assert.deepEqual([woken['way'], woken.rows], ['socket', [{ n: 2 }]])
  const after = await jsonOf<WsStatus>(await worker.get('/ws/status', 'sleepy'))
  assert.equal(after.router.counters.opened, before.router.counters.opened)
  assert.ok(after.router.compute.lives > before.router.compute.lives, 'it was put away')
})

test('errors of Postgres and of pgnap come through, whatever is in between', async () => {
  for (const name of ['hybrid', 'thin', 'factory', 'ws']) {
    const wrong = await worker.post(`/${name}/query`, 'errors', { sql: 'select 1/0' })
    assert.equal(wrong.status, 400, name)
    assert.match(await wrong.text(), /"22012"/)
    const refused = await worker.post(`/${name}/query?load=lazy`, 'errors', { sql: 'select 1' })
    assert.match(await refused.text(), /NOT_SUPPORTED|"select"|\?column\?/, name)
  }
})
