/** What happens to the shipped Worker when something fails under it. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { bundleWorker } from '../../scripts/cloudflare/bundle.ts'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
import type { IsolatePoolFacts } from '../../src/host/cloudflare/isolate-facts.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'

let worker: WorkerUnderTest
before(async () => {
  const entry = 'test/cloudflare/worker/tampering-worker.ts'
  worker = await startPgnap({}, {}, await bundleWorker({ entry, engine: await engineFiles() }))
})
after(() => worker[Symbol.asyncDispose]())

async function door(name: string, tenant: string): Promise<void> {
  const answer = await worker.fetch(`/${name}/${tenant}`)
  assert.ok(answer.ok, await answer.text())
}

test('who has lost its store to another owner cannot write, and starts from there', async () => {
  await worker.ask('fenced', 'create table t as select 1 as n')
  await door('take-over', 'fenced')
  const refused = await worker.query('fenced', 'update t set n = 2')
  assert.equal(refused.status, 503)
  assert.match(await refused.text(), /STORE_FENCED.*40001|40001.*STORE_FENCED/s)
  assert.equal(await worker.ask('fenced', 'select n from t'), 1)
  await worker.ask('fenced', 'update t set n = 3')
  assert.equal(await worker.ask('fenced', 'select n from t'), 3)
})

test('what cannot be stored is an error to its client, and never seen again', async () => {
  await worker.ask('broken', 'create table t as select 1 as n')
  await door('break', 'broken')
  const failed = await worker.query('broken', 'update t set n = 2')
  assert.equal(failed.status, 503)
  assert.match(await failed.text(), /STORE_IO/)
  assert.equal(await worker.ask('bystander', 'select 1'), 1)
  await door('mend', 'broken')
  assert.equal(await worker.ask('broken', 'select n from t'), 1)
  await worker.ask('broken', 'update t set n = 3')
  assert.equal(await worker.ask('broken', 'select n from t'), 3)
})

test('an object that ends in the middle is no bug: nobody knows what it has stored', async () => {
  await worker.ask('midway', 'create table t as select 1 as n')
  await door('end-during', 'midway')
  const broken = await worker.query('midway', 'update t set n = 2')
  assert.equal(broken.status, 500)
  assert.match(await broken.text(), /OUTCOME_UNKNOWN.*08007.*"hint":"look.*a test ends this/s)
  assert.ok([1, 2].includes(Number(await worker.ask('midway', 'select n from t'))))
  assert.equal(await worker.ask('midway', 'update t set n = 3 returning n'), 3)
})

test('an object that ends while it is only looked at may be asked again', async () => {
  await worker.ask('looked', 'select 1')
  await door('end-during', 'looked')
  const broken = await worker.fetch('/v1/tenants/looked')
  assert.equal(broken.status, 503)
  assert.match(await broken.text(), /SERVER_UNREACHABLE.*08001.*"hint":"try again/s)
  assert.equal((await worker.fetch('/v1/tenants/looked')).status, 200)
})

/** Where a request finds its tenant. */
async function tierOf(tenant: string): Promise<string | undefined> {
  const answer = await worker.query(tenant, 'select 1')
  await answer.arrayBuffer()
  return /desc="(\w+)"/.exec(answer.headers.get('server-timing') ?? '')?.[1]
}

test('an object that ends and is made anew has everything that was acknowledged', async () => {
  await worker.ask('ended', 'create table t(n int)')
  for (let n = 1; n <= 5; n++) {
    await worker.ask('ended', 'insert into t values ($1)', n)
    await door('end', 'ended')
    assert.equal(await worker.ask('ended', 'select count(*)::int from t'), n)
  }
})

test('an object that is made anew goes on with the memory of its former life', async () => {
  await worker.ask('heir', 'create table t as select 1 as n')
  await door('end', 'heir')
  assert.notEqual(await tierOf('heir'), 'cold')
  await worker.ask('other', 'select 1')
  await door('end', 'heir')
  assert.equal(await tierOf('heir'), 'napping')
  assert.equal(await worker.ask('heir', 'update t set n = 2 returning n'), 2)
})

test('memory is dropped if the store is not as it was left', async () => {
  await worker.ask('stale', 'create table t as select 1 as n')
  await worker.ask('stale', 'update t set n = 2')
  await door('end', 'stale')
  await door('take-over', 'stale')
  assert.equal(await tierOf('stale'), 'cold')
  assert.equal(await worker.ask('stale', 'select n from t'), 2)
})

test('a store of an earlier build is opened on its own template, which was kept', async () => {
  await door('earlier-build', 'earlier')
  const has = "select count(*)::int from pg_ls_dir('.') f where f = 'earlier'"
  assert.equal(await worker.ask('earlier', has), 1)
  assert.equal(await worker.ask('later', has), 0)
  await worker.ask('earlier', 'create table t as select 1 as n')
  await door('end', 'earlier')
  assert.equal(await worker.ask('earlier', 'select n from t'), 1)
  // It is as large as the template of this build, and in memory beside that.
  const pool = (await (await worker.fetch('/v1/pool')).json()) as IsolatePoolFacts
  const { memory, earlierTemplateBytes = 0, accountedBytes = 0 } = pool.isolate ?? {}
  assert.ok(earlierTemplateBytes >= (memory?.template ?? Infinity), `${earlierTemplateBytes}`)
  const kept = Object.values(memory ?? {}).reduce((sum, bytes) => sum + bytes, 0)
  assert.ok(accountedBytes > kept + earlierTemplateBytes + pool.memoryBytes)
})

test('a store whose template nobody has is refused, and says what it needs', async () => {
  await worker.ask('orphan', 'create table t as select 1 as n')
  await door('lose-template', 'orphan')
  await door('end', 'orphan')
  const refused = await worker.query('orphan', 'select 1')
  assert.equal(refused.status, 500)
  assert.match(await refused.text(), /STORE_ENGINE_MISMATCH.*template ffff0000/s)
})

test('a store that cannot be opened is listed with its error, among the others', async () => {
  for (const tenant of ['list-a', 'list-b', 'list-c', 'list-d']) {
    await worker.ask(tenant, 'create table t as select 1 as n')
  }
  await door('lose-template', 'list-b')
  await door('end', 'list-b')
  await door('damage', 'list-c')
  const page = await worker.fetch('/v1/tenants?after=list&limit=4')
  assert.equal(page.status, 200)
  const { tenants } = (await page.json()) as { tenants: Listed[] }
  const marks = tenants.map(({ name, error }) => [name, error?.code, error?.sqlState])
  assert.deepEqual(marks, [
    ['list-a', undefined, undefined],
    ['list-b', 'STORE_ENGINE_MISMATCH', '0A000'],
    ['list-c', 'INTERNAL', 'XX000'],
    ['list-d', undefined, undefined],
  ])
  for (const { error, state, clients, storeBytes, createdMs } of tenants) {
    assert.ok((storeBytes ?? 0) > 0)
    assert.equal(clients, 0)
    assert.equal(createdMs === undefined, error !== undefined)
    if (error) assert.equal(state, 'cold')
  }
})

interface Listed {
  readonly name: string
  readonly state: string
  readonly clients: number
  readonly storeBytes?: number
  readonly createdMs?: number
  readonly error?: { readonly code: string; readonly sqlState: string }
}

interface Restored {
  readonly restored: string
  readonly undo: string
}

const bookmarkOf = async (tenant: string, query = ''): Promise<string> => {
  const answer = await fetch(new URL(`/v1/tenants/${tenant}/bookmark${query}`, worker.url))
  assert.equal(answer.status, 200)
  return ((await answer.json()) as { bookmark: string }).bookmark
}

const restore = (tenant: string, bookmark: string): Promise<Response> =>
  fetch(new URL(`/v1/tenants/${tenant}/restore`, worker.url), {
    method: 'POST',
    body: JSON.stringify({ bookmark }),
  })

test('a tenant is put back to a bookmark, with nothing left of what came after it', async () => {
  await worker.ask('back', 'create table t as select 1 as n')
  const then = await bookmarkOf('back')
  await worker.ask('back', 'update t set n = 2')
  await worker.ask('back', 'create table later as select 1 as n')
  await worker.ask('bystander', 'create table if not exists t as select 1 as n')
  const answer = await restore('back', then)
  assert.equal(answer.status, 200)
  const { restored, undo } = (await answer.json()) as Restored
  assert.equal(restored, then)
  assert.equal(await worker.ask('back', 'select n from t'), 1)
  assert.equal(await worker.ask('back', "select to_regclass('later')"), null)
  // As many commits as before, and other ones: the memory of the former life would fit by number.
  await worker.ask('back', 'update t set n = 5')
  await worker.ask('back', 'create table other as select 1 as n')
  await worker.ask('bystander', 'select 1')
  assert.equal(await worker.ask('back', 'select n from t'), 5)
  assert.equal((await restore('back', undo)).status, 200)
  assert.equal(await worker.ask('back', 'select n from t'), 2)
  assert.equal(await worker.ask('back', 'select n from later'), 1)
})

test('nothing is acknowledged that a restore takes back, whoever writes meanwhile', async () => {
  await worker.ask('busy', 'create table t(n int primary key)')
  const then = await bookmarkOf('busy')
  const outcomes = Array.from({ length: 20 }, (_, n) =>
    worker.query('busy', 'insert into t values ($1)', n),
  )
  const restoring = restore('busy', then)
  const statuses = await Promise.all(outcomes.map(async (each) => (await each).status))
  const { undo } = (await (await restoring).json()) as Restored
  const kept = Number(await worker.ask('busy', 'select count(*)::int from t'))
  await restore('busy', undo)
  const before = Number(await worker.ask('busy', 'select count(*)::int from t'))
  assert.equal(before + kept, statuses.filter((status) => status === 200).length)
})

test('a tenant that was deleted comes back, and is listed', async () => {
  await worker.ask('deleted', 'create table t as select 1 as n')
  const then = await bookmarkOf('deleted')
  await fetch(new URL('/v1/tenants/deleted', worker.url), { method: 'DELETE' })
  assert.equal((await restore('deleted', then)).status, 200)
  const page = new URL('/v1/tenants?after=deletec&limit=1', worker.url)
  const listed = await (await fetch(page)).text()
  assert.match(listed, /"deleted"/)
  assert.equal(await worker.ask('deleted', 'select n from t'), 1)
})

test('a bookmark that is none, or of another time, is refused and changes nothing', async () => {
  await worker.ask('refused', 'create table t as select 1 as n')
  const unknown = 'ffffffff-00000001-00000001-00000000000000000000000000000001'
  for (const bookmark of ['', 'yesterday', '0-0-0-0', unknown]) {
    const answer = await restore('refused', bookmark)
    assert.equal(answer.status, 400, bookmark)
    assert.match(await answer.text(), /REQUEST_INVALID.*"hint"/s)
  }
  for (const at of [
    'yesterday',
    '2026-11-21',
    '2026-11-21T09:30:00',
    '2000-01-01T00:00:00Z',
    '2999-01-01T00:00:00Z',
  ]) {
    const answer = await fetch(new URL(`/v1/tenants/refused/bookmark?at=${at}`, worker.url))
    assert.equal(answer.status, 400, at)
  }
  const then = await bookmarkOf('refused')
  await worker.ask('refused', 'update t set n = 2')
  const now = encodeURIComponent(new Date().toISOString())
  assert.notEqual(await bookmarkOf('refused', `?at=${now}`), undefined)
  assert.equal(await worker.ask('refused', 'select n from t'), 2)
  assert.equal((await restore('refused', then)).status, 200)
  assert.equal(await worker.ask('refused', 'select n from t'), 1)
})
