/**
 * Loading and writing between the shipped Workers: Postgres in one, the tenant's store in an object
 * of another, calls between them that get lost. The scenarios are those of seed 000, section 3.2.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { LIMITS } from '../../src/base/limits.ts'
import {
  type ArchitecturesUnderTest,
  type QueryBody,
  startFailingArchitectures,
} from './architectures-worker.ts'

const PAIRS = ['snapshot', 'delta', 'image'].flatMap((load) =>
  ['sync', 'cdc', 'async'].map((write) => ({ load, write })),
)

let worker: ArchitecturesUnderTest
before(async () => {
  worker = await startFailingArchitectures()
})
after(() => worker[Symbol.asyncDispose]())

/** Asks `/thin` with strategies; what it answers, whatever that is. */
async function thin(tenant: string, sql: string, query = ''): Promise<Response> {
  return worker.post(`/thin/query${query}`, tenant, { sql })
}

async function rowsOf(answer: Response): Promise<QueryBody['rows']> {
  const body = (await answer.json()) as QueryBody
  assert.equal(answer.status, 200, JSON.stringify(body))
  return body.rows
}

const valueOf = async (answer: Response): Promise<unknown> =>
  Object.values((await rowsOf(answer))[0] ?? {})[0]

/** The next calls of a tenant's home fail. */
async function fail(tenant: string, faults: string): Promise<void> {
  await worker.get(`/fail/thin/${tenant}?${faults}`)
}

interface Told {
  readonly code: string
  readonly sqlState: string
  readonly hint: string
}

async function errorIn(answer: Response): Promise<Told> {
  const { error } = (await answer.json()) as { error: Told }
  assert.ok(error, 'it is an error')
  return error
}

/** Another compute asks, in its own isolate. */
async function second(tenant: string, sql: string): Promise<Record<string, unknown>> {
  const answer = await worker.post(`/second/thin/${tenant}`, tenant, { sql })
  return (await answer.json()) as Record<string, unknown>
}

for (const [index, { load, write }] of PAIRS.entries()) {
  test(`load ${load}, write ${write}: what is written is there, and elsewhere too`, async () => {
    const tenant = `pair-${index}`
    const query = `?load=${load}&write=${write}`
    await rowsOf(await thin(tenant, 'create table t(n int)', query))
    for (let n = 1; n <= 3; n++) {
      await rowsOf(await thin(tenant, `insert into t values (${n})`, query))
      // Others take the slot in between.
      assert.equal(await valueOf(await thin('bystander', 'select 1', query)), 1)
    }
    assert.equal(await valueOf(await thin(tenant, 'select sum(n)::int from t', query)), 6)
    if (write === 'async') await sleep(LIMITS.flushMs + 500)
    await worker.get(`/end/thin/${tenant}`)
    const found = await second(tenant, 'select sum(n)::int from t')
    assert.match(JSON.stringify(found), /\[\["6"\]\]/)
  })
}

test('what is loaded is what must be, and the answer says so', async () => {
  const loaded = async (query: string): Promise<unknown> => {
    const body = (await (await thin('loads', 'select 1', query)).json()) as QueryBody
    return (body['loaded'] as { how: string }).how
  }
  const takeSlot = async (): Promise<unknown> => valueOf(await thin('bystander', 'select 1'))
  await rowsOf(await thin('loads', 'create table t(n int)'))
  for (const query of ['?load=image', '?load=delta', '?load=snapshot']) {
    assert.equal(await loaded(query), 'none', 'who is in the slot is asked at once')
  }
  for (const load of ['image', 'delta']) {
    await second('loads', 'insert into t values (1)')
    assert.equal(await loaded(`?load=${load}`), 'changes')
    await takeSlot()
    assert.equal(await loaded(`?load=${load}`), 'none')
  }
  await second('loads', 'insert into t values (1)')
  assert.equal(await loaded('?load=snapshot'), 'whole')
  await takeSlot()
  assert.equal(await loaded('?load=snapshot'), 'whole')
  const refused = await errorIn(await thin('loads', 'select 1', '?load=lazy'))
  assert.deepEqual([refused.code, refused.sqlState], ['NOT_SUPPORTED', '0A000'])
  const unknown = await errorIn(await thin('loads', 'select 1', '?write=never'))
  assert.equal(unknown.code, 'REQUEST_INVALID')
})

test('a transaction that is not over when its statement is leaves nothing behind', async () => {
  await rowsOf(await thin('open', 'create table t as select 1 as n'))
  await rowsOf(await thin('open', 'begin'))
  await rowsOf(await thin('open', 'update t set n = 2'))
  await rowsOf(await thin('open', 'rollback'))
  assert.equal(await valueOf(await thin('open', 'select n from t')), 2)
})

test('a client that goes away in the middle keeps nobody waiting', async () => {
  await rowsOf(await thin('left', 'create table t as select 1 as n'))
  await fail('left', 'call=deliver&what=no-answer')
  const leaving = new AbortController()
  const asking = worker.fetch('/thin/query', {
    method: 'POST',
    headers: { 'X-Tenant-Id': 'left' },
    body: JSON.stringify({ sql: 'update t set n = 2' }),
    signal: leaving.signal,
  })
  await sleep(500)
  leaving.abort()
  await assert.rejects(asking)
  const startMs = performance.now()
  // Whether it was stored nobody has said; it was not.
  assert.equal(await valueOf(await thin('left', 'select n from t')), 1)
  assert.ok(performance.now() - startMs < 2 * LIMITS.homeAnswerMs)
})

test('scenario 1: of a compute that ends in the middle nobody knows', async () => {
  await rowsOf(await thin('midway', 'create table t as select 1 as n'))
  for (const [what, found] of [
    ['request-lost', 1],
    ['answer-lost', 2],
  ] as const) {
    await worker.get(`/lose/${what}`)
    const error = await errorIn(await thin('midway', 'update t set n = n + 1'))
    assert.deepEqual([error.code, error.sqlState], ['OUTCOME_UNKNOWN', '08007'], what)
    assert.match(error.hint, /look whether it is there/)
    assert.equal(await valueOf(await thin('midway', 'select n from t')), found, what)
  }
})

test('scenario 2: what cannot be stored is an error, and what follows starts clean', async () => {
  await rowsOf(await thin('unstored', 'create table t as select 1 as n'))
  await fail('unstored', 'call=deliver&what=storage')
  const error = await errorIn(await thin('unstored', 'update t set n = 2'))
  assert.equal(error.code, 'STORE_IO')
  assert.equal(await valueOf(await thin('unstored', 'select n from t')), 1)
  assert.equal(await valueOf(await thin('unstored', 'update t set n = 3 returning n')), 3)
})

test('scenario 3: without a way home it fails, and soon; stale reads are asked for', async () => {
  const query = '?load=image&stale=allow'
  await rowsOf(await thin('cut', 'create table t as select 1 as n'))
  await rowsOf(await thin('cut', 'select n from t'))
  // Somebody else has written, so what this compute has is not what the home has.
  await second('cut', 'update t set n = 2')
  for (const what of ['request-lost', 'no-answer']) {
    await fail('cut', `call=fetchRows&what=${what}`)
    const startMs = performance.now()
    const error = await errorIn(await thin('cut', 'select n from t'))
    assert.deepEqual([error.code, error.sqlState], ['SERVER_UNREACHABLE', '08001'])
    assert.match(error.hint, /stale=allow/)
    assert.ok(performance.now() - startMs < 2 * LIMITS.homeAnswerMs)
  }
  await fail('cut', 'call=fetchRows&what=request-lost&times=2')
  const stale = (await (await thin('cut', 'select n from t', query)).json()) as QueryBody
  assert.deepEqual(stale.rows, [{ n: 1 }])
  assert.ok((stale['stale'] as { ageMs: number }).ageMs >= 0)
  const refused = await thin('cut', 'update t set n = 9', query)
  assert.match(await refused.text(), /25006/)
  await fail('cut', '')
  const fresh = (await (await thin('cut', 'select n from t', query)).json()) as QueryBody
  assert.deepEqual([fresh.rows, fresh['stale']], [[{ n: 2 }], undefined])
})

test('scenario 3: a commit of which nothing is heard is not acknowledged by sync', async () => {
  await rowsOf(await thin('unheard', 'create table t(n int)'))
  await fail('unheard', 'call=deliver&what=answer-lost')
  const error = await errorIn(await thin('unheard', 'insert into t values (1)'))
  assert.deepEqual([error.code, error.sqlState], ['OUTCOME_UNKNOWN', '08007'])
  assert.equal(await valueOf(await thin('unheard', 'select count(*)::int from t')), 1)
})

test('scenario 3: by cdc it is brought again until it is heard, and is there once', async () => {
  await rowsOf(await thin('again', 'create table t(n int)', '?write=cdc'))
  for (const what of ['answer-lost', 'request-lost']) {
    await fail('again', `call=deliver&what=${what}&times=3`)
    await rowsOf(await thin('again', 'insert into t values (1)', '?write=cdc'))
  }
  assert.equal(await valueOf(await thin('again', 'select count(*)::int from t')), 2)
})

test('scenario 4: of two computes that write one tenant exactly one wins', async () => {
  await rowsOf(await thin('contested', 'create table t(n int primary key)'))
  let fenced = 0
  for (let round = 0; round < 12; round++) {
    const both = await Promise.all([
      thin('contested', `insert into t values (${2 * round})`).then((answer) => answer.text()),
      second('contested', `insert into t values (${2 * round + 1})`).then((told) =>
        JSON.stringify(told),
      ),
    ])
    const refused = both.filter((text) => text.includes('STORE_FENCED'))
    for (const text of refused) assert.match(text, /STORE_FENCED/)
    assert.ok(refused.length <= 1, both.join(' '))
    fenced += refused.length
    // Who was refused finds what the other one has written, and nothing of its own.
    const expected = 2 * (round + 1) - fenced
    assert.equal(await valueOf(await thin('contested', 'select count(*)::int from t')), expected)
    const other = JSON.stringify(await second('contested', 'select count(*)::int from t'))
    assert.match(other, new RegExp(`\\[\\["${expected}"\\]\\]`))
  }
})

test('async says what it may lose, and what it has lost', async () => {
  const query = '?write=async'
  await rowsOf(await thin('ahead', 'create table t(n int)', query))
  const answer = await thin('ahead', 'insert into t values (1)', query)
  const { mayLose } = (await answer.json()) as { mayLose: { commits: number; bytes: number } }
  assert.ok(mayLose.commits >= 1 && mayLose.bytes > 0)
  await sleep(LIMITS.flushMs + 500)
  const flushed = (await (await thin('ahead', 'select 1', query)).json()) as QueryBody
  assert.equal((flushed['mayLose'] as { commits: number }).commits, 0)
  await rowsOf(await thin('ahead', 'insert into t values (2)', query))
  // It is not at home yet when somebody else writes.
  await second('ahead', 'insert into t values (3)')
  const after = (await (
    await thin('ahead', 'select array_agg(n) from t', query)
  ).json()) as QueryBody
  const rows = JSON.stringify(after.rows)
  const lost = (after['lost'] as { commits: number }).commits
  // Either the flush came first, or the other one did, and then it is told.
  if (lost === 0) assert.match(rows, /1,2,3/)
  else assert.match(rows, /1,3/)
})

test('async: nothing is lost to the same compute, however it is asked next', async () => {
  let inserted = 0
  const insert = async (query: string): Promise<void> => {
    await rowsOf(await thin('mixed', `insert into t values (${inserted})`, query))
    inserted++
  }
  await rowsOf(await thin('mixed', 'create table t(n int)'))
  for (const { load, write } of [...PAIRS, ...PAIRS.toReversed()]) {
    await insert('?load=image&write=async')
    await insert(`?load=${load}&write=${write}`)
    await insert('?load=delta&write=async')
    const query = `?load=${load}&write=${write}`
    assert.equal(await valueOf(await thin('mixed', 'select count(*)::int from t', query)), inserted)
  }
  // All ways at once.
  await Promise.all(
    [...PAIRS, ...PAIRS].map(({ load, write }) => insert(`?load=${load}&write=${write}`)),
  )
  const answer = await thin('mixed', 'select count(*)::int as n from t', '?write=async')
  const { rows, lost } = (await answer.json()) as QueryBody
  assert.deepEqual([rows, lost], [[{ n: inserted }], { commits: 0, bytes: 0 }])
})

test('async: by sync nothing is answered before what was acknowledged is at home', async () => {
  await rowsOf(await thin('order', 'create table t(n int)', '?write=async'))
  await sleep(LIMITS.flushMs + 500)
  await rowsOf(await thin('order', 'insert into t values (1)', '?write=async'))
  await fail('order', 'call=deliver&what=request-lost')
  const error = await errorIn(await thin('order', 'insert into t values (2)'))
  assert.equal(error.code, 'SERVER_UNREACHABLE')
  assert.equal(await valueOf(await thin('order', 'select array_agg(n)::text from t')), '{1}')
  const known = await second('order', 'select array_agg(n)::text from t')
  assert.match(JSON.stringify(known), /\{1\}/)
})

test('what is written and deleted again and again fits, however much it was', async () => {
  await rowsOf(await thin('busy', 'create table t(n int, text text)'))
  // Each time 2 MB of write-ahead log, which computes would load: a checkpoint lets it go.
  for (let round = 0; round < 12; round++) {
    const rows = 'select n, md5(n::text) from generate_series(1, 15000) n'
    await rowsOf(await thin('busy', `insert into t ${rows}`))
    await rowsOf(await thin('busy', 'truncate t'))
  }
  await second('busy', 'insert into t values (1)')
  const body = (await (await thin('busy', 'select count(*)::int from t')).json()) as QueryBody
  assert.deepEqual(body.rows, [{ count: 1 }])
  assert.equal(await valueOf(await thin('bystander', 'select 1')), 1)
  const { byteLength } = (await (
    await thin('busy', 'select 1', '?load=snapshot')
  )
    .json()
    .then((answer) => (answer as { loaded: { byteLength: number } }).loaded)) as {
    byteLength: number
  }
  assert.ok(byteLength > 0 && byteLength < 6_000_000, `${byteLength} bytes are loaded`)
})

test('a compute keeps the tenants that fit, and loads the others when they are asked', async () => {
  const tenants = Array.from({ length: 24 }, (_, index) => `crowd-${index}`)
  const rows = 'select n, md5(n::text) as text from generate_series(1, 6000) n'
  for (const tenant of tenants) await rowsOf(await thin(tenant, `create table t as ${rows}`))
  for (const [index, tenant] of tenants.entries()) {
    await rowsOf(await thin(tenant, `update t set n = n + ${index} where n = 6000`))
  }
  const { compute } = (await (await worker.get('/thin/status', 'crowd-0')).json()) as {
    compute: { tenants: number; rowBytes: number; lost: { commits: number } }
  }
  assert.ok(compute.rowBytes <= LIMITS.computeRowBytes, `${compute.rowBytes} bytes of rows`)
  assert.ok(compute.tenants < tenants.length, `${compute.tenants} tenants are kept`)
  for (const [index, tenant] of tenants.entries()) {
    assert.equal(await valueOf(await thin(tenant, 'select max(n) from t')), 6000 + index)
  }
})

test('requests at the same time run one after the other, and none is lost', async () => {
  await rowsOf(await thin('counter', 'create table t as select 0 as n'))
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => thin('counter', 'update t set n = n + 1')),
  )
  for (const answer of answers) await rowsOf(answer)
  assert.equal(await valueOf(await thin('counter', 'select n from t')), 30)
})

test('timing tells the phases, status how it stands', async () => {
  const { timing } = await worker.timing('thin', 'counter', 'select n from t')
  const names = timing?.phases.map(({ name }) => name) ?? []
  for (const name of ['rpc', 'store', 'compute', 'turn', 'load', 'execute', 'persist']) {
    assert.ok(names.includes(name), `${name} in ${names.join(' ')}`)
  }
  const status = (await (await worker.get('/thin/status', 'counter')).json()) as {
    state: { exists: boolean; home: { version: number } }
    compute: { tenants: number; rowBytes: number; syncDelay: { save: { count: number } } }
  }
  assert.ok(status.state.exists && status.state.home.version > 30)
  assert.ok(status.compute.tenants > 1 && status.compute.rowBytes > 0)
  assert.ok(status.compute.syncDelay.save.count > 30)
})
