/** The scheduled event of the shipped Worker: the hottest tenants are in memory after it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'

async function stateOf(worker: WorkerUnderTest, tenant: string): Promise<string> {
  const answer = await worker.fetch(`/v1/tenants/${tenant}`)
  return ((await answer.json()) as { state: string }).state
}

const tick = async ({ miniflare }: WorkerUnderTest): Promise<void> => {
  const { outcome } = await (await miniflare.getWorker()).scheduled({ cron: '* * * * *' })
  assert.equal(outcome, 'ok')
}

test('the hottest tenants are brought back, so many as are asked for', async () => {
  await using worker = await startPgnap({ PGNAP_KEEP_WARM_TENANTS: '1' })
  for (const tenant of ['warm', 'hot', 'hot', 'hot']) {
    await worker.ask(tenant, 'create table if not exists t as select 1 as n')
  }
  for (const tenant of ['hot', 'warm']) {
    await worker.fetch(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
    assert.equal(await stateOf(worker, tenant), 'cold')
  }
  await tick(worker)
  assert.equal(await stateOf(worker, 'hot'), 'awake')
  assert.equal(await stateOf(worker, 'warm'), 'cold')
  assert.equal(await worker.ask('hot', 'select n from t'), 1)
})

test('a tenant that is gone is forgotten, and keeps no other from being warmed', async () => {
  await using worker = await startPgnap()
  for (const tenant of ['gone', 'gone', 'stays']) {
    await worker.ask(tenant, 'create table if not exists t as select 1 as n')
  }
  await worker.fetch('/v1/tenants/gone', { method: 'DELETE' })
  await worker.fetch('/v1/tenants/stays/nap', { method: 'POST' })
  await tick(worker)
  assert.equal(await stateOf(worker, 'stays'), 'awake')
  assert.equal((await worker.fetch('/v1/tenants/gone')).status, 404)
})

test('it can be turned off, and nobody is asked then', async () => {
  await using worker = await startPgnap({ PGNAP_KEEP_WARM_TENANTS: '0' })
  await worker.ask('cold', 'create table t as select 1 as n')
  await worker.fetch('/v1/tenants/cold/nap', { method: 'POST' })
  await tick(worker)
  assert.equal(await stateOf(worker, 'cold'), 'cold')
})

test('a number that cannot be meant is refused', async () => {
  await using worker = await startPgnap({ PGNAP_KEEP_WARM_TENANTS: 'many' })
  const answer = await worker.query('any', 'select 1')
  assert.equal(answer.status, 500)
  assert.match(await answer.text(), /PGNAP_KEEP_WARM_TENANTS/)
})
