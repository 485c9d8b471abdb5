/** One budget for all that an isolate has in memory, whatever its tenants ask for. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, neonConfig } from '@neondatabase/serverless'
import { LIMITS } from '../../src/base/limits.ts'
import type { IsolateFacts, IsolatePoolFacts } from '../../src/host/cloudflare/isolate-facts.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'

const MB = 1_000_000
/** Its memory grows with `rows`: 200,000 take it to 50 MB. */
const growing = (rows: number): string =>
  `select length(string_agg(md5(g::text), '')) from generate_series(1, ${rows}) g`

let worker: WorkerUnderTest
before(async () => {
  worker = await startPgnap()
  neonConfig.useSecureWebSocket = false
})
after(() => worker[Symbol.asyncDispose]())

async function isolate(): Promise<IsolateFacts> {
  const pool = (await (await worker.fetch('/v1/pool')).json()) as IsolatePoolFacts
  assert.ok(pool.isolate)
  return pool.isolate
}

async function withinBudget(when: string): Promise<IsolateFacts> {
  const facts = await isolate()
  const { accountedBytes, slotBytes, imageBytes } = facts
  const parts = `${accountedBytes} bytes, a slot of ${slotBytes}, ${imageBytes} of images`
  assert.ok(accountedBytes <= LIMITS.isolateBytesMax, `${when}: ${parts}`)
  return facts
}

async function fillWithImages(): Promise<void> {
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 22; index++) {
      const name = `filler-${index}`
      await worker.ask(name, 'create table if not exists t as select 1 as n')
      // What was booted from its store has a larger image than what was begun here.
      if (round === 0) await worker.fetch(`/v1/tenants/${name}/nap`, { method: 'POST' })
    }
  }
}

/** Until a slot is given up that was there before. */
async function retiredAfter({ counters }: IsolateFacts): Promise<IsolateFacts> {
  const endMs = performance.now() + 10_000
  for (let facts = await isolate(); ; facts = await isolate()) {
    if (facts.counters.slotsRetired > counters.slotsRetired) return facts
    assert.ok(performance.now() < endMs, `a slot of ${facts.slotBytes} bytes is kept`)
    await sleep(20)
  }
}

test('a slot, with what it is compared with, fits the budget at its ceiling', async () => {
  await worker.ask('first', 'select 1')
  const { memory } = await isolate()
  const kept = Object.values(memory).reduce((sum, bytes) => sum + bytes, 0)
  const { isolateSlotMemoryBytesMax, isolatePageCacheBytesMax, isolateBytesMax } = LIMITS
  assert.ok(kept + isolateSlotMemoryBytesMax + isolatePageCacheBytesMax <= isolateBytesMax)
})

test('images make room for a slot that grows, and for the next tenant', async () => {
  await fillWithImages()
  const before = await isolate()
  assert.ok(before.imageBytes > 12 * MB, `${before.imageBytes} bytes of images`)
  await worker.ask('big', 'create table t as select 7 as n')
  assert.equal(await worker.ask('big', growing(200_000)), 6_400_000)
  const grown = await withinBudget('after it has grown')
  assert.ok(grown.slotBytes > 48 * MB, `a slot of ${grown.slotBytes} bytes`)
  assert.ok(grown.imageBytes < before.imageBytes, 'images went')
  assert.equal(await worker.ask('filler-0', 'select n from t'), 1)
  const swapped = await withinBudget('after the next tenant has come')
  assert.ok(swapped.slotBytes < 40 * MB, 'in a slot of its own')
  assert.equal(await worker.ask('big', 'select n from t'), 7)
})

test('what would not fit is refused, and everybody goes on', async () => {
  await fillWithImages()
  const refused = await worker.query('big', growing(400_000))
  assert.equal(refused.status, 400)
  assert.match(await refused.text(), /"sqlState":"53200"/)
  await withinBudget('after it was refused')
  assert.equal(await worker.ask('big', 'select n from t'), 7)
  assert.equal(await worker.ask('filler-1', 'select n from t'), 1)
  await withinBudget('after others have come')
})

test('a slot that has grown is given up when its tenant rests', async () => {
  await worker.ask('big', growing(150_000))
  const grown = await isolate()
  assert.ok(grown.slotBytes > LIMITS.isolateSlotRetireBytes)
  const { slotBytes } = await retiredAfter(grown)
  assert.equal(slotBytes, 0)
  assert.equal(await worker.ask('big', 'select n from t'), 7)
})

test('a session goes on when the slot is given up that it was in', async () => {
  neonConfig.wsProxy = () => `${worker.url.host}/v2?tenant=session`
  const client = new Client('postgres://ann:secret@localhost/session')
  await client.connect()
  await client.query('prepare answer as select 42 as n')
  await client.query(growing(100_000))
  const grown = await isolate()
  assert.ok(grown.slotBytes > LIMITS.isolateSlotRetireBytes, `${grown.slotBytes}`)
  await retiredAfter(grown)
  assert.equal((await client.query('execute answer')).rows[0].n, 42)
  await client.end()
})
