/** What happens to the shipped Worker when something fails under it. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { bundleWorker } from '../../scripts/cloudflare/bundle.ts'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
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
})

test('a store whose template nobody has is refused, and says what it needs', async () => {
  await worker.ask('orphan', 'create table t as select 1 as n')
  await door('lose-template', 'orphan')
  await door('end', 'orphan')
  const refused = await worker.query('orphan', 'select 1')
  assert.equal(refused.status, 500)
  assert.match(await refused.text(), /STORE_ENGINE_MISMATCH.*template ffff0000/s)
})
