/** `/sqlite` in workerd: the JSON of seed 004, and what happens at its edges. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { sqlJs } from '../support/sql-js.ts'
import { type ArchitecturesUnderTest, startArchitecturesForTest } from './architectures-worker.ts'

let worker: ArchitecturesUnderTest
before(async () => {
  worker = await startArchitecturesForTest()
})
after(() => worker[Symbol.asyncDispose]())

interface Delay {
  readonly ms: number
  readonly status: string
  readonly action: string
}

interface Look {
  readonly success: boolean
  readonly delay_analysis: { load: Delay; save: Delay; thresholds: Record<string, number> }
  readonly timing_breakdown: {
    load: Record<string, number>
    query_ms: number
    save: Record<string, number>
  }
  readonly db_info: { size_kb: number; size_bytes: number; tables: string[] }
}

async function look(user?: string): Promise<Look> {
  const answer = await worker.get(user === undefined ? '/sqlite' : `/sqlite?user=${user}`)
  const body = (await answer.json()) as Look
  assert.ok(answer.ok, JSON.stringify(body))
  return body
}

const bucket = (): ReturnType<ArchitecturesUnderTest['miniflare']['getR2Bucket']> =>
  worker.miniflare.getR2Bucket('BUCKET', 'pgnap-architectures')

test('a cold start of an empty database has the shape of the seed', async () => {
  const body = await look('cold')
  assert.equal(body.success, true)
  assert.deepEqual(body.delay_analysis.thresholds, {
    optimal_ms: 100,
    acceptable_ms: 300,
    warning_ms: 500,
    critical_ms: 1000,
  })
  for (const { ms, status, action } of [body.delay_analysis.load, body.delay_analysis.save]) {
    assert.ok(Number.isInteger(ms))
    assert.match(`${status} ${action}`, /^\w+ (none|log_warning|consider_archiving|show_user_w)/)
  }
  assert.deepEqual(Object.keys(body.timing_breakdown), ['load', 'query_ms', 'save'])
  assert.deepEqual(Object.keys(body.timing_breakdown.load), [
    'total_ms',
    'wasm_init_ms',
    'download_ms',
    'parse_ms',
  ])
  assert.deepEqual(Object.keys(body.timing_breakdown.save), [
    'total_ms',
    'serialize_ms',
    'upload_ms',
  ])
  assert.deepEqual(Object.keys(body.db_info), ['size_kb', 'size_bytes', 'tables'])
  assert.deepEqual(body.db_info.tables, [])
  assert.ok(await (await bucket()).head('cold/database.sqlite'))
  // What is told is what is counted: the code of SQLite is started first.
  const { syncDelay } = (await (await worker.get('/sqlite/status')).json()) as {
    syncDelay: { load: { count: number; last: { ms: number } } }
  }
  const { count, last } = syncDelay.load
  assert.equal(count, 1)
  const toldMs = body.delay_analysis.load.ms
  const initMs = body.timing_breakdown.load['wasm_init_ms'] ?? 0
  assert.ok(Math.abs(last.ms - toldMs) <= 1 && last.ms >= initMs, `${last.ms}, ${toldMs} told`)
  assert.ok(initMs > 0, 'it takes its time')
})

test('a database that is there already is loaded, looked at and saved as it is', async () => {
  const { Database } = await sqlJs()
  const database = new Database()
  database.run(
    'create table raw_clips(n); create table projects(n); insert into projects values (5)',
  )
  await (await bucket()).put('a/database.sqlite', database.export())
  database.close()
  const { db_info: info } = await look('a')
  assert.deepEqual(info.tables, ['raw_clips', 'projects'])
  assert.equal(info.size_kb, Math.round((info.size_bytes / 1024) * 100) / 100)
  assert.equal(await worker.ask('sqlite', 'a', 'select n from projects'), 5)
})

test('who names nobody is the user of the seed', async () => {
  await look()
  assert.ok(await (await bucket()).head('test/database.sqlite'))
})

test('a write is in the bucket before it is answered, and a read is not written', async () => {
  const made = await worker.query('sqlite', 'writer', 'create table t(n)')
  assert.equal(made['saved'], true)
  const insert = await worker.query('sqlite', 'writer', 'insert into t values (1), (2)')
  assert.deepEqual([insert['saved'], insert['loaded'], insert['rowCount']], [true, false, 2])
  const stored = await (await bucket()).get('writer/database.sqlite')
  const { Database } = await sqlJs()
  const database = new Database(new Uint8Array((await stored?.arrayBuffer()) ?? []))
  assert.deepEqual(database.exec('select count(*) from t')[0]?.values, [[2]])
  database.close()
  const read = await worker.query('sqlite', 'writer', 'select count(*) as n from t')
  assert.deepEqual([read['saved'], read['loaded'], read.rows], [false, false, [{ n: 2 }]])
})

test('an object that somebody else has written is loaded again', async () => {
  await worker.query('sqlite', 'moved', 'create table t as select 1 as n')
  const { Database } = await sqlJs()
  const database = new Database()
  database.run('create table t as select 2 as n')
  await (await bucket()).put('moved/database.sqlite', database.export())
  database.close()
  const read = await worker.query('sqlite', 'moved', 'select n from t')
  assert.deepEqual([read['loaded'], read.rows], [true, [{ n: 2 }]])
})

test('of writers at the same time each is in or is told, and none is lost', async () => {
  await worker.query('sqlite', 'many', 'create table t(n)')
  const sql = 'insert into t values (1)'
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => worker.post('/sqlite/query', 'many', { sql })),
  )
  const done = answers.filter(({ ok }) => ok).length
  for (const answer of answers.filter(({ ok }) => !ok)) {
    assert.equal(answer.status, 503)
    assert.match(await answer.text(), /STORE_FENCED/)
  }
  assert.ok(done > 0)
  assert.equal(await worker.ask('sqlite', 'many', 'select count(*) as n from t'), done)
})

test('corrupted data is an error that says so, and stays as it is', async () => {
  const garbage = new Uint8Array(8192).fill(66)
  await (await bucket()).put('broken/database.sqlite', garbage)
  for (const answer of [
    await worker.get('/sqlite?user=broken'),
    await worker.post('/sqlite/query', 'broken', { sql: 'create table t(n)' }),
  ]) {
    assert.equal(answer.status, 500)
    assert.match(await answer.text(), /STORE_CORRUPT/)
  }
  const stored = await (await bucket()).get('broken/database.sqlite')
  assert.deepEqual(new Uint8Array((await stored?.arrayBuffer()) ?? []), garbage)
})

test('a statement that fails leaves nothing behind, not even what came before it', async () => {
  await worker.query('sqlite', 'failing', 'create table t(n)')
  const sql = 'insert into t values (1); insert into nowhere values (1)'
  const failed = await worker.post('/sqlite/query', 'failing', { sql })
  assert.equal(failed.status, 400)
  assert.equal(await worker.ask('sqlite', 'failing', 'select count(*) as n from t'), 0)
})

test('what a request leaves open is not acknowledged', async () => {
  await worker.query('sqlite', 'open', 'create table t(n)')
  const answer = await worker.post('/sqlite/query', 'open', {
    sql: 'begin; insert into t values (1)',
  })
  assert.equal(answer.status, 400)
  assert.match(await answer.text(), /REQUEST_INVALID.*22023.*COMMIT/s)
  assert.equal(await worker.ask('sqlite', 'open', 'select count(*) as n from t'), 0)
  await worker.query('sqlite', 'open', 'begin; insert into t values (1); commit')
  assert.equal(await worker.ask('sqlite', 'open', 'select count(*) as n from t'), 1)
})

test('no user reaches another one’s database', async () => {
  await worker.query('sqlite', 'secret', 'create table t as select 42 as n')
  const sql = "attach 'secret/database.sqlite' as other"
  const refused = await worker.post('/sqlite/query', 'spy', { sql })
  assert.equal(refused.status, 501)
  const name = await worker.get(`/sqlite?user=${encodeURIComponent('../secret')}`)
  assert.equal(name.status, 400)
})

test('what only the header of the file shows is in the bucket, too', async () => {
  const set = await worker.query('sqlite', 'header', 'pragma user_version = 7')
  assert.equal(set['saved'], true)
  assert.ok(await (await bucket()).head('header/database.sqlite'))
})

test('no user ends everybody’s databases', async () => {
  const sql = 'pragma hard_heap_limit = 1000'
  assert.equal((await worker.post('/sqlite/query', 'spy', { sql })).status, 501)
  assert.equal(await worker.ask('sqlite', 'anybody', 'select 1'), 1)
})

test('parameters keep their types', async () => {
  const sql = 'select typeof(?1) || typeof(?2) || typeof(?3) || typeof(?4)'
  assert.equal(
    await worker.ask('sqlite', 'typed', sql, 7, true, null, '7'),
    'integerintegernulltext',
  )
})

test('who names two users is told', async () => {
  const body = { sql: 'select 1' }
  for (const [path, tenant] of [
    ['/multi-tenant/sqlite/alice/query?user=bob', undefined],
    ['/sqlite/query?user=bob', 'alice'],
  ] as const) {
    const answer = await worker.post(path, tenant, body)
    assert.equal(answer.status, 400, path)
  }
  const same = await worker.post('/multi-tenant/sqlite/alice/query?user=alice', 'alice', body)
  assert.equal(same.status, 200)
})

test('its status tells what is in memory and how long loads and saves take', async () => {
  const answer = (await (await worker.get('/sqlite/status')).json()) as {
    keptDatabases: number
    syncDelay: { load: { count: number }; save: { count: number; byStatus: object } }
  }
  assert.ok(answer.keptDatabases > 0 && answer.keptDatabases <= 8)
  assert.ok(answer.syncDelay.load.count > 0 && answer.syncDelay.save.count > 0)
})
