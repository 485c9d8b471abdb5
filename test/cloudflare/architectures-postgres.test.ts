/** `/traditional`, `/warm-proxy` and `/lazy-wasm` in workerd: what each of them promises. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
import { LIMITS } from '../../src/base/limits.ts'
import type { IsolatePoolFacts } from '../../src/host/cloudflare/isolate-facts.ts'
import type { LazyFacts } from '../../src/host/lazy-wasm.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type ArchitecturesUnderTest, startArchitecturesForTest } from './architectures-worker.ts'

let worker: ArchitecturesUnderTest
before(async () => {
  worker = await startArchitecturesForTest()
})
after(() => worker[Symbol.asyncDispose]())

async function jsonOf<Body>(answer: Response | Promise<Response>): Promise<Body> {
  const { status, ok } = await answer
  const body = (await (await answer).json()) as Body
  assert.ok(ok, `${status} ${JSON.stringify(body)}`)
  return body
}

interface TraditionalStatus {
  readonly isWarm: boolean
  readonly slotBytes: number
  readonly storeBytes: number
  readonly isolate: { readonly slots: number; readonly slotsMax: number }
  readonly requests: number
  readonly syncDelay: {
    readonly load: { readonly count: number; readonly last: { readonly ms: number } }
    readonly save: { count: number }
  }
}

const traditionalStatus = (tenant: string): Promise<TraditionalStatus> =>
  jsonOf(worker.get('/traditional/status', tenant))

test('traditional: each tenant has a slot of its own, made with its first request', async () => {
  const asleep = await traditionalStatus('own')
  assert.deepEqual([asleep.isWarm, asleep.slotBytes, asleep.requests], [false, 0, 0])
  const first = await worker.timing('traditional', 'own', 'create table t as select 1 as n')
  assert.equal(first['isCold'], true)
  const names = (first.timing?.phases ?? []).map(({ name }) => name)
  for (const name of ['instantiate', 'wake', 'execute', 'persist', 'rpc']) {
    assert.ok(names.includes(name), `${name} in ${names.join()}`)
  }
  const second = await worker.query('traditional', 'own', 'select n from t')
  assert.deepEqual([second['isCold'], second['wokenFrom']], [false, 'awake'])
  const { isWarm, slotBytes, isolate, syncDelay } = await traditionalStatus('own')
  assert.ok(isWarm && slotBytes > 10_000_000)
  assert.ok(isolate.slots >= 1 && isolate.slots <= isolate.slotsMax)
  assert.ok(syncDelay.load.count >= 1 && syncDelay.save.count >= 1)
  // The slot, and the engine of a fresh isolate, are what its user has waited for.
  const instantiateMs = first.timing?.phases.find(({ name }) => name === 'instantiate')?.ms ?? 0
  assert.ok(instantiateMs > 20, `${instantiateMs} ms for a slot`)
  const { ms } = syncDelay.load.last
  assert.ok(ms > instantiateMs / 2, `a load of ${ms} ms, after ${instantiateMs} for its slot`)
})

test('traditional: an isolate has room for a few slots, and tenants make room', async () => {
  const names = ['first', 'second', 'third', 'fourth']
  for (const name of names) {
    await worker.query('traditional', name, 'create table t as select $1::text as n', name)
  }
  const { isWarm, slotBytes, isolate } = await traditionalStatus('first')
  assert.deepEqual([isWarm, slotBytes, isolate.slots], [false, 0, isolate.slotsMax])
  // They are in the account of the isolate.
  const pool = await jsonOf<IsolatePoolFacts>(worker.get('/v1/pool', 'default'))
  const { ownSlotBytes = 0, accountedBytes = 0, memory } = pool.isolate ?? {}
  assert.ok(ownSlotBytes > isolate.slotsMax * 28_000_000, `${ownSlotBytes} bytes`)
  const kept = Object.values(memory ?? {}).reduce((sum, bytes) => sum + bytes, 0)
  assert.ok(accountedBytes >= kept + ownSlotBytes)
  for (const name of names) {
    assert.equal(await worker.ask('traditional', name, 'select n from t'), name)
  }
})

test('traditional: more tenants at once than there is room for are all answered', async () => {
  const names = Array.from({ length: 6 }, (_, index) => `crowd-${index}`)
  const answers = await Promise.all(
    [...names, ...names].map((name) => worker.ask('traditional', name, 'select $1::text', name)),
  )
  assert.deepEqual(answers, [...names, ...names])
})

test('traditional: a cold start is in a place of its own, and leaves nothing', async () => {
  await worker.query('traditional', 'cold', 'create table kept as select 1 as n')
  for (let round = 0; round < 2; round++) {
    const body = await jsonOf<{ rows: unknown; isCold: boolean; timing: { totalMs: number } }>(
      worker.post('/traditional/cold-start', 'cold', {
        sql: "select to_regclass('kept') as found",
      }),
    )
    assert.deepEqual([body.rows, body.isCold], [[{ found: null }], true])
    assert.ok(body.timing.totalMs >= 0)
  }
  assert.equal(await worker.ask('traditional', 'cold', 'select n from kept'), 1)
})

test('what objects have acknowledged is there after the runtime has ended', async () => {
  using folder = temporaryFolder()
  const shared = { durableObjectsPersist: folder.path, r2Persist: folder.path }
  const durable = ['traditional', 'lazy-wasm', 'pooled', 'thin', 'sqlite']
  {
    await using first = await startArchitecturesForTest({}, shared)
    for (const name of durable) {
      await first.query(name, 'kept', 'create table t (n int)')
      await first.query(name, 'kept', 'insert into t values (7)')
    }
  }
  await using second = await startArchitecturesForTest({}, shared)
  for (const name of durable) {
    assert.equal(await second.ask(name, 'kept', 'select n from t'), 7, name)
  }
})

test('warm-proxy: each answer says that nothing is durable, and whose memory it is', async () => {
  interface Memory {
    readonly id: string
    readonly sinceMs: number
  }
  const first = await worker.query('warm-proxy', 'one', 'create table t as select 1 as n')
  assert.equal(first['durable'], false)
  const second = await worker.query('warm-proxy', 'one', 'select n from t')
  assert.deepEqual(second.rows, [{ n: 1 }])
  assert.equal((second['memory'] as Memory).id, (first['memory'] as Memory).id)
  const other = await worker.query('warm-proxy', 'two', "select to_regclass('t') as found")
  assert.deepEqual(other.rows, [{ found: null }])
  assert.notEqual((other['memory'] as Memory).id, (first['memory'] as Memory).id)
  assert.equal(await worker.ask('warm-proxy', 'one', 'select n from t'), 1)
  // What a request has left behind in its session, or open, is not the next one's.
  await worker.query('warm-proxy', 'one', "set application_name = 'left'")
  await worker.query('warm-proxy', 'one', 'begin')
  assert.equal(await worker.ask('warm-proxy', 'one', 'show application_name'), '')
})

test('warm-proxy: the tenant that was asked least is gone when there are too many', async () => {
  await worker.query('warm-proxy', 'victim', 'create table t as select 1 as n')
  for (let index = 0; index < LIMITS.warmTenantsMax; index++) {
    await worker.query('warm-proxy', `crowd-${index}`, 'select 1')
  }
  assert.equal(await worker.ask('warm-proxy', 'victim', "select to_regclass('t')"), null)
  interface Status {
    readonly tenants: readonly unknown[]
    readonly isWarm: boolean
    readonly isolate: { readonly slotBytes: number }
  }
  const { tenants, isWarm, isolate } = await jsonOf<Status>(worker.get('/warm-proxy/status'))
  assert.ok(tenants.length <= LIMITS.warmTenantsMax)
  assert.ok(isWarm && isolate.slotBytes > 10_000_000)
})

test('warm-proxy: requests at the same time are all answered', async () => {
  await worker.query('warm-proxy', 'busy', 'create table t(n int)')
  await worker.query('warm-proxy', 'busy', 'insert into t values (0)')
  const updates = Array.from({ length: 30 }, () =>
    worker.query('warm-proxy', 'busy', 'update t set n = n + 1'),
  )
  await Promise.all(updates)
  assert.equal(await worker.ask('warm-proxy', 'busy', 'select n from t'), 30)
})

interface LazyStatus {
  readonly wasm: LazyFacts
  readonly delegatesTo: { readonly tenants: number }
}

const lazyStatus = (tenant: string): Promise<LazyStatus> =>
  jsonOf(worker.get('/lazy-wasm/status', tenant))

test('lazy-wasm: without code in the bucket it fails, says so, and delegates', async () => {
  assert.equal((await lazyStatus('none')).wasm.state, 'not_started')
  const first = await worker.query('lazy-wasm', 'none', 'create table t as select 1 as n')
  assert.equal(first.servedBy, 'compute-worker')
  const { wasm } = await jsonOf<LazyStatus>(worker.post('/lazy-wasm/force-load', 'none'))
  assert.equal(wasm.state, 'failed')
  assert.match(wasm.failure ?? '', /engine\/pglite\.wasm/)
  assert.equal(await worker.ask('lazy-wasm', 'none', 'select n from t'), 1)
})

test('lazy-wasm: with code in the bucket the platform refuses to compile, for ever', async () => {
  const code = (await engineFiles()).get('pglite.wasm')
  assert.ok(code)
  const bucket = await worker.miniflare.getR2Bucket('BUCKET', 'pgnap-architectures')
  await bucket.put('engine/pglite.wasm', code)
  const states: string[] = []
  for (let round = 0; round < 2; round++) {
    const body = await jsonOf<LazyStatus>(worker.post('/lazy-wasm/force-load', 'refused'))
    const { state, failure, source, codeBytes, phases, attempts } = body.wasm
    assert.match(failure ?? '', /CompileError: .*disallowed by embedder/)
    assert.deepEqual([state, codeBytes, attempts], ['failed', code.length, round + 1])
    assert.deepEqual(phases.at(-1)?.name, 'compiling')
    states.push(source ?? '')
  }
  assert.equal(states[0], 'bucket')
  const answer = await worker.query('lazy-wasm', 'refused', 'select 1 as n')
  assert.deepEqual(answer.rows, [{ n: 1 }])
  assert.equal(answer.servedBy, 'compute-worker')
  const wasm = answer['wasm'] as { state: string; delegatesForEver: boolean }
  assert.deepEqual([wasm.state, wasm.delegatesForEver], ['failed', true])
  // A request does not try again.
  assert.equal((await lazyStatus('refused')).wasm.attempts, 2)
  // Nor does another object of the isolate load it to be refused again.
  await worker.query('lazy-wasm', 'another', 'select 1 as n')
  const { wasm: other } = await lazyStatus('another')
  assert.deepEqual([other.state, other.codeBytes], ['failed', 0])
  assert.match(other.failure ?? '', /disallowed by embedder/)
})

test('lazy-wasm: the tenant may stand in the path', async () => {
  const path = '/multi-tenant/lazy-wasm/in-path/query'
  const body = await jsonOf<{ tenant: string; rows: unknown }>(
    worker.post(path, 'in-header', { sql: 'select 1 as n' }),
  )
  assert.deepEqual([body.tenant, body.rows], ['in-path', [{ n: 1 }]])
})
