/** Pauses and renewals of a pool with fake slots: who waits, what rests, what is booted again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8, keptBytes } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import type { PoolClient } from './pool-client.ts'
import { Pool } from './pool.ts'

const ACME = 'acme' as TenantName
const BETA = 'beta' as TenantName

function open() {
  const engine = new FakeEngine()
  const clock = new ManualClock()
  const source = new FakeStores()
  const limits = { slotsPerShard: 2, spareSlots: 0, slotQuantumMs: 0, slotBusyMs: 0 }
  const pool = new Pool({ engine, source, clock, log: silentLog, limits, imageCacheBytes: 1e6 })
  return { pool, engine, clock }
}

async function ask(client: PoolClient, word: string): Promise<string> {
  return fromUtf8(await keptBytes(client.run(utf8(word), true)))
}

test('who holds the backend goes on, others wait, and rest is told when it has come', async () => {
  const { pool, engine } = open()
  const [holder, other] = [pool.connect(ACME), pool.connect(ACME)]
  await ask(holder, 'begin')
  pool.pauses.pause(ACME)
  let told: boolean | undefined
  const rested = pool.pauses.untilRested(ACME).then((isAtRest) => (told = isAtRest))
  const waiting = ask(other, 'mine')
  await ask(holder, 'insert')
  assert.equal(told, undefined)
  await ask(holder, 'commit')
  await rested
  assert.equal(told, true)
  assert.notEqual(pool.phaseOf(ACME), 'awake')
  assert.ok(!engine.log.includes('acme: mine'))
  pool.pauses.resume(ACME)
  assert.equal(await waiting, 'did mine')
})

test('a wait for the end of a pause has its limit, which is named', async () => {
  const { pool, clock } = open()
  pool.pauses.pause(undefined)
  assert.equal(await pool.pauses.untilRested(undefined), true, 'nobody is there')
  const client = pool.connect(ACME)
  const waiting = assert.rejects(ask(client, 'mine'), {
    code: 'QUERY_WAIT_TIMEOUT',
    detail: /pause/,
  })
  clock.advance(LIMITS.queryWaitMs)
  await waiting
  const again = ask(client, 'again')
  pool.pauses.resume(undefined)
  assert.equal(await again, 'did again')
})

test('a resume ends the waits for rest; what is paused by name outlasts that of all', async () => {
  const { pool } = open()
  const holder = pool.connect(ACME)
  await ask(holder, 'begin')
  pool.pauses.pause(undefined)
  pool.pauses.pause(ACME)
  const [all, one] = [pool.pauses.untilRested(undefined), pool.pauses.untilRested(ACME)]
  pool.pauses.resume(undefined)
  assert.equal(await all, false)
  assert.deepEqual([pool.pauses.has(ACME), pool.pauses.has(BETA)], [true, false])
  pool.pauses.resume(ACME)
  assert.equal(await one, false)
})

test('what is held rests until all let it go, whatever an administrator does', async () => {
  const { pool } = open()
  const client = pool.connect(ACME)
  await ask(client, 'mine')
  pool.pauses.hold(ACME)
  pool.pauses.hold(ACME)
  assert.equal(await pool.pauses.untilRested(ACME), true)
  const waiting = ask(client, 'again')
  pool.pauses.pause(ACME)
  pool.pauses.resume(ACME)
  pool.pauses.letGo(ACME)
  assert.equal(pool.pauses.has(ACME), true, 'one is left')
  pool.pauses.pause(ACME)
  pool.pauses.letGo(ACME)
  assert.equal(pool.pauses.has(ACME), true, 'an administrator has paused it')
  pool.pauses.resume(ACME)
  assert.equal(await waiting, 'did again')
})

test('a drain ends every pause', async () => {
  const { pool } = open()
  const client = pool.connect(ACME)
  await ask(client, 'own')
  pool.pauses.pause(undefined)
  const waiting = assert.rejects(ask(client, 'mine'), { code: 'SHUTTING_DOWN' })
  const drained = pool.drain(0)
  pool.pauses.pause(ACME)
  assert.equal(pool.pauses.has(ACME), false)
  await waiting
  await drained
})

test('a renewal waits for a transaction, and the next request boots', async () => {
  const { pool, engine } = open()
  const [holder, other] = [pool.connect(ACME), pool.connect(ACME)]
  await ask(holder, 'begin')
  pool.pauses.renew(ACME)
  const waiting = ask(other, 'mine')
  await ask(holder, 'insert')
  assert.equal(engine.log.filter((line) => line === 'boot acme').length, 1)
  await ask(holder, 'commit')
  assert.equal(await waiting, 'did mine')
  assert.equal(engine.log.filter((line) => line === 'boot acme').length, 2)
})
