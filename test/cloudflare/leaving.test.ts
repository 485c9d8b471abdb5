/** What is left in an isolate of tenants that nobody uses any more: nothing. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, neonConfig } from '@neondatabase/serverless'
import type { IsolatePoolFacts } from '../../src/host/cloudflare/isolate-facts.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'

/** More than there is room for as images. */
const TENANTS = 60

let worker: WorkerUnderTest
before(async () => {
  worker = await startPgnap()
  neonConfig.useSecureWebSocket = false
})
after(() => worker[Symbol.asyncDispose]())

async function pool(): Promise<IsolatePoolFacts> {
  return (await (await worker.fetch('/v1/pool')).json()) as IsolatePoolFacts
}

/** Tenants of which something is open in the isolate, and that have no memory there. */
const coldCount = async (): Promise<number> => (await pool()).tenants.cold

async function connect(tenant: string): Promise<Client> {
  neonConfig.wsProxy = () => `${worker.url.host}/v2?tenant=${tenant}`
  const client = new Client(`postgres://ann:secret@localhost/${tenant}`)
  client.on('error', () => {})
  await client.connect()
  await client.query('select 1')
  return client
}

/** An isolate hears of a client that has gone a moment after it went. */
async function nobodyIsCold(): Promise<void> {
  const endMs = performance.now() + 10_000
  for (let cold = await coldCount(); cold > 0; cold = await coldCount()) {
    assert.ok(performance.now() < endMs, `${cold} tenants are open that nobody uses`)
    await sleep(20)
  }
}

test('tenants whose memory goes before their clients leave nothing behind', async () => {
  for (let round = 0; round < 2; round++) {
    const clients: Client[] = []
    for (let index = 0; index < TENANTS; index++) {
      clients.push(await connect(`connected-${round}-${index}`))
    }
    assert.ok((await pool()).images.dropped > 0, 'there was no room for all of them')
    assert.ok((await coldCount()) > 10, 'they have clients, and no memory')
    for (const client of clients) await client.end()
    await nobodyIsCold()
  }
})

test('a tenant that is only looked at leaves nothing behind', async () => {
  await worker.fetch('/v1/tenants')
  await worker.fetch('/v1/tenants/nobody')
  await worker.fetch('/v1/tenants/connected-0-0')
  assert.equal(await coldCount(), 0)
})

test('a tenant that is put to sleep leaves nothing behind, and is there again', async () => {
  await worker.ask('sleeps', 'create table t as select 1 as n')
  await worker.fetch('/v1/tenants/sleeps/nap', { method: 'POST' })
  assert.equal(await coldCount(), 0)
  assert.equal(await worker.ask('sleeps', 'select n from t'), 1)
})
