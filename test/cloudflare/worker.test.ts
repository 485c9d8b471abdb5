/** The shipped Worker in workerd, asked over HTTP. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { neon, neonConfig } from '@neondatabase/serverless'
import { SeededRandom } from '../../src/base/random.ts'
import { LIMITS } from '../../src/base/limits.ts'
import type { IsolateFacts, IsolatePoolFacts } from '../../src/host/cloudflare/isolate-facts.ts'
import { sizeOf } from '../../scripts/cloudflare/bundle.ts'
import { parseExposition } from '../support/exposition.ts'
import { startPgnap, workerFiles, type WorkerUnderTest } from './pgnap-worker.ts'

const MB = 1_000_000

let worker: WorkerUnderTest
before(async () => {
  worker = await startPgnap()
})
after(() => worker[Symbol.asyncDispose]())

const get = (path: string, init?: RequestInit): Promise<Response> => worker.fetch(path, init)

async function isolateOf(tenant: string): Promise<IsolateFacts> {
  const answer = await get(`/v1/tenants/${tenant}`)
  return ((await answer.json()) as { isolate: IsolateFacts }).isolate
}

test('the Worker is within the limits of the platform', async () => {
  const { gzipBytes } = sizeOf(await workerFiles())
  assert.ok(gzipBytes < 7 * MB, `${gzipBytes} bytes under gzip, of 10 MB`)
})

test('docs/cloudflare.md says how large the Worker is', async () => {
  const files = await workerFiles()
  const { bytes, gzipBytes } = sizeOf(files)
  const text = readFileSync(new URL('../../docs/cloudflare.md', import.meta.url), 'utf8')
  const said =
    /takes these files: (\d+) modules, ([\d.]+) MB compressed.* of which this is ([\d.]+)/s
  const [, modules, gzipMb, mb] = said.exec(text) ?? []
  assert.equal(Number(modules), files.size)
  // Each commit changes some bytes of it.
  for (const [told, is] of [
    [gzipMb, gzipBytes],
    [mb, bytes],
  ] as const) {
    assert.ok(Math.abs(Number(told) * MB - is) < 0.03 * is, `${told} MB, it is ${is} bytes`)
  }
})

test('a statement is answered as on Node, with where its time went', async () => {
  const answer = await worker.query('basics', 'select $1::int + 1 as n, $2::text as t', 41, 'ü€')
  assert.equal(answer.status, 200)
  assert.match(
    answer.headers.get('server-timing') ?? '',
    /^route;dur=[\d.]+, queue;dur=[\d.]+, wake;dur=[\d.]+;desc="new", exec;dur=[\d.]+, persist/,
  )
  assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ n: 42, t: 'ü€' }])
})

test('what goes wrong has a SQLSTATE, and what pgnap refuses a hint', async () => {
  const wrong = await worker.query('basics', 'select 1/0')
  assert.equal(wrong.status, 400)
  assert.match(await wrong.text(), /"22012"/)
  const refused = await worker.query('Not-A-Name', 'select 1')
  assert.equal(refused.status, 400)
  assert.match(await refused.text(), /TENANT_NAME_INVALID.*"hint"/s)
  const missing = await get('/v1/tenants/nobody')
  assert.equal(missing.status, 404)
  const pinned = await get('/v1/tenants/basics/pin', { method: 'POST' })
  assert.equal(pinned.status, 501)
})

test('workerd keeps no bookmarks, and that is said', async () => {
  const asked = await get('/v1/tenants/basics/bookmark')
  assert.equal(asked.status, 501)
  assert.match(await asked.text(), /NOT_SUPPORTED.*"hint".*point-in-time/s)
  assert.equal((await get('/v1/tenants/basics/bookmark?at=2026-01-01')).status, 400)
  const bookmark = '00000001-00000002-00000003-00000000000000000000000000000004'
  const init = { method: 'POST', body: JSON.stringify({ bookmark }) }
  assert.equal((await get('/v1/tenants/basics/restore', init)).status, 501)
  assert.equal(await worker.ask('basics', 'select 1'), 1)
})

test('tenants are made, listed, put to sleep, woken and removed', async () => {
  const post = (path: string, body: unknown = {}): Promise<Response> =>
    get(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    })
  assert.equal((await post('/v1/tenants', { name: 'made' })).status, 201)
  assert.equal((await post('/v1/tenants', { name: 'made' })).status, 409)
  await worker.ask('made', 'create table t as select 1 as n')
  const listed = (await (await get('/v1/tenants')).json()) as { tenants: { name: string }[] }
  assert.ok(listed.tenants.some(({ name }) => name === 'made'))
  const napped = (await (await post('/v1/tenants/made/nap')).json()) as { state: string }
  assert.equal(napped.state, 'cold')
  const woken = (await (await post('/v1/tenants/made/wake')).json()) as { state: string }
  assert.equal(woken.state, 'awake')
  assert.equal(await worker.ask('made', 'select n from t'), 1)
  assert.equal((await get('/v1/tenants/made', { method: 'DELETE' })).status, 204)
  assert.equal((await get('/v1/tenants/made')).status, 404)
  const again = (await (await get('/v1/tenants')).json()) as { tenants: { name: string }[] }
  assert.ok(!again.tenants.some(({ name }) => name === 'made'))
  // A new one of the same name has nothing of the old one.
  assert.equal(await worker.ask('made', "select to_regclass('t')"), null)
})

test("Neon's driver works over HTTP, transactions included", async () => {
  neonConfig.fetchEndpoint = new URL('/sql', worker.url).href
  const sql = neon('postgres://postgres:secret@localhost/neon')
  await sql`create table t(id int primary key, name text)`
  const [first, second] = await sql.transaction([
    sql`insert into t values (${1}, ${'one'}) returning id`,
    sql`select count(*)::int as n from t`,
  ])
  assert.deepEqual([first, second], [[{ id: 1 }], [{ n: 1 }]])
  await assert.rejects(
    sql.transaction([sql`insert into t values (2, 'two')`, sql`insert into t values (1, 'again')`]),
    { code: '23505' },
  )
  assert.deepEqual(await sql`select id, name from t`, [{ id: 1, name: 'one' }])
})

test('side modules work that were compiled ahead', async () => {
  await worker.ask('modules', "do $$ begin perform set_config('a.b', 'c', false); end $$")
  assert.equal(
    await worker.ask('modules', "select to_tsvector('english', 'sleeping cats')::text"),
    "'cat':2 'sleep':1",
  )
  await worker.ask('modules', 'create extension hstore')
  await worker.ask('modules', 'create extension vector')
  assert.equal(await worker.ask('modules', "select 'a=>1'::hstore -> 'a'"), '1')
  assert.equal(await worker.ask('modules', "select '[1,2]'::vector <-> '[1,3]'::vector"), 1)
  // Others have the slot meanwhile, and it is the same one.
  const before = await isolateOf('modules')
  assert.equal(await worker.ask('basics', 'select 1'), 1)
  assert.equal(await worker.ask('modules', "select 'a=>2'::hstore -> 'a'"), '2')
  assert.equal(await worker.ask('modules', "select '[1,2]'::vector <-> '[1,4]'::vector"), 2)
  const { id, counters } = await isolateOf('modules')
  const { displaced, slotsMade } = before.counters
  assert.deepEqual(
    { id, ...counters },
    { ...counters, id: before.id, displaced, slotsMade, slotsRetired: 0 },
  )
})

test('requests at the same time run one after the other, and none is lost', async () => {
  await worker.ask('counter', 'create table t(n int)')
  await worker.ask('counter', 'insert into t values (0)')
  await Promise.all(
    Array.from({ length: 40 }, () => worker.ask('counter', 'update t set n = n + 1')),
  )
  assert.equal(await worker.ask('counter', 'select n from t'), 40)
})

test('the isolate that answers tells of its pool, and of nobody else', async () => {
  const poolOf = async (): Promise<IsolatePoolFacts> =>
    (await (await get('/v1/pool')).json()) as IsolatePoolFacts
  await worker.ask('basics', 'select 1')
  await worker.ask('counter', 'select 1')
  const before = await poolOf()
  assert.deepEqual([before.shards, before.slots.total, before.tenants.awake], [1, 1, 1])
  assert.ok(before.tenants.napping > 0 && before.images.count > 0 && before.memoryBytes > MB)
  for (let turn = 0; turn < 3; turn++) {
    await worker.ask('basics', 'select 1')
    await worker.ask('counter', 'select 1')
  }
  await worker.query('counter', 'select 1/0')
  const pool = await poolOf()
  assert.equal(pool.requests - before.requests, 7)
  // Whose upkeep came in between was awake already.
  const [napping, awake] = [
    pool.found.napping - before.found.napping,
    pool.found.awake - before.found.awake,
  ]
  assert.equal(napping + awake, 7)
  assert.ok(napping >= 3 && awake >= 1, `${napping} came back by an image, ${awake} were there`)
  assert.equal(pool.wakes.napping.count, pool.found.napping)
  assert.equal((pool.errors.byClass['22'] ?? 0) - (before.errors.byClass['22'] ?? 0), 1)
  assert.equal(pool.isolate?.id, (await isolateOf('basics')).id)
  assert.ok((pool.isolate?.accountedBytes ?? 0) > pool.memoryBytes)
  // What a tenant has counted stays when it is removed.
  await get('/v1/tenants/counter', { method: 'DELETE' })
  const after = await poolOf()
  assert.ok(after.requests >= pool.requests && after.execute.count >= pool.execute.count)
})

test('Prometheus reads the same, with the names of Node where it is the same', async () => {
  await worker.ask('basics', 'select 1')
  const answer = await get('/metrics')
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const families = parseExposition(await answer.text())
  for (const [name, { help, type }] of families) {
    assert.ok(help.endsWith('Of the isolate that answered.'), name)
    assert.ok(metricsIn('docs/metrics.md').has(`${name} ${type}`) || isOwn(name, type), name)
  }
  const own = [...families.keys()].filter((name) => name.startsWith('pgnap_isolate_'))
  assert.equal(own.length, metricsIn('docs/cloudflare.md').size)
  const awake = families.get('pgnap_tenants')?.samples.get('pgnap_tenants{state="awake"}')
  assert.equal(awake, 1)
  assert.ok((families.get('pgnap_wake_seconds')?.samples.size ?? 0) > 20)
})

function isOwn(name: string, type: string): boolean {
  return metricsIn('docs/cloudflare.md').has(`${name} ${type}`)
}

/** Name and type of each metric that a page lists. */
function metricsIn(page: string): ReadonlySet<string> {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8')
  const listed = text.matchAll(/^\| `(pgnap_\w+)` \| (\w+) \|/gm)
  return new Set(Array.from(listed, ([, name, type]) => `${name} ${type}`))
}

test('fifty tenants share an isolate within its budget, and none sees another', async () => {
  const names = Array.from({ length: 50 }, (_, index) => `many-${index}`)
  const rows = new Map<string, number>()
  await Promise.all(
    names.map(async (name) => {
      await worker.ask(name, 'create table t(id int primary key, owner text)')
      rows.set(name, 0)
    }),
  )
  const before = (await isolateOf('many-0')).counters
  const random = new SeededRandom(2)
  for (let step = 0; step < 150; step++) {
    const name = names[random.below(names.length)] ?? ''
    const count = rows.get(name) ?? 0
    if (random.below(2) === 0) {
      await worker.ask(name, 'insert into t values ($1, $2)', count, name)
      rows.set(name, count + 1)
    } else {
      const found = await worker.ask(name, 'select count(*)::int from t where owner = $1', name)
      assert.equal(found, count)
    }
  }
  for (const name of names) {
    assert.equal(await worker.ask(name, 'select count(*)::int from t'), rows.get(name))
  }
  const isolate = await isolateOf('many-0')
  const { memory, slotBytes, heldBytes, spareBytes, imageBytes, accountedBytes } = isolate
  const { counters, earlierTemplateBytes, ownSlotBytes } = isolate
  assert.ok(imageBytes <= LIMITS.isolateImageBytes, `${imageBytes} bytes of images`)
  assert.ok(slotBytes <= LIMITS.isolateSlotRetireBytes)
  // Some eleven of the fifty fit: of 200 visits the fewest find their tenant's image.
  const resumed = counters.resumed - before.resumed
  const dropped = counters.dropped - before.dropped
  assert.ok(resumed > 10 && dropped > 10, `${resumed} resumed, ${dropped} dropped`)
  const total = Object.values(memory).reduce((sum, bytes) => sum + bytes, 0)
  assert.deepEqual([earlierTemplateBytes, ownSlotBytes], [0, 0])
  assert.ok(heldBytes > 0, 'the tenant in the slot has pages in memory')
  const used = total + slotBytes + heldBytes + spareBytes + imageBytes
  assert.equal(accountedBytes, used)
  assert.ok(used <= 100 * MB, `${used} bytes are accounted for`)
})
