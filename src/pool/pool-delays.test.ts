import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import { utf8 } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import type { TenantName } from '../base/ids.ts'
import { type LogFields, silentLog } from '../base/log.ts'
import { Pool } from './pool.ts'

test('a load is as long as what its client has waited for before', async () => {
  const [engine, stores, clock] = [new FakeEngine(), new FakeStores(), new ManualClock()]
  const waitsMs = [350, 0]
  const slotWaitMs = (): number => waitsMs.shift() ?? 0
  const limits = { slotsPerShard: 1, spareSlots: 0 }
  const parts = { engine, source: stores, clock, log: silentLog, slotWaitMs, imageCacheBytes: 0 }
  const pool = new Pool({ ...parts, limits })
  const client = pool.connect('acme' as TenantName)
  for (let load = 0; load < 2; load++) {
    const answer = client.run(utf8('read'), true)
    for (let turn = 0; turn < 20; turn++) {
      clock.advance(0)
      await Promise.resolve()
    }
    await answer
    pool.nap('acme' as TenantName)
  }
  const { load } = pool.statistics().syncDelay
  assert.deepEqual([load.count, load.byStatus.warning, load.byStatus.optimal], [2, 1, 1])
})

test('loads and commits are judged by what a client waits, and told in the log', async () => {
  const [engine, stores, clock] = [new FakeEngine(), new FakeStores(), new ManualClock()]
  const lines: LogFields[] = []
  const warn = (_message: string, fields: LogFields = {}): void => void lines.push(fields)
  const limits = { slotsPerShard: 1, spareSlots: 0 }
  const pool = new Pool({ engine, source: stores, clock, log: { ...silentLog, warn }, limits })
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) {
      clock.advance(0)
      await Promise.resolve()
    }
  }
  await settle()
  const client = pool.connect('acme' as TenantName)

  const opened = Promise.withResolvers<void>()
  stores.opening = opened.promise
  stores.areElsewhere = true
  stores.syncs = []
  const answer = client.run(utf8('write'), true)
  await settle()
  clock.advance(1_200)
  opened.resolve()
  await settle()
  clock.advance(700)
  stores.syncs.shift()?.resolve()
  await answer

  const { load, save } = pool.statistics().syncDelay
  assert.deepEqual([load.count, load.last?.status], [1, 'critical'])
  assert.deepEqual([save.count, save.last], [1, { ms: 700, status: 'slow' }])
  assert.deepEqual([load.alarm, save.alarm], [false, false])
  assert.ok(lines.some(({ kind, tenant }) => kind === 'load' && tenant === 'acme'))

  // Whatever was not in memory was loaded, and nothing else was.
  stores.opening = undefined
  pool.nap('acme' as TenantName)
  const again = client.run(utf8('read'), true)
  await settle()
  await again
  const { wakes, syncDelay } = pool.statistics()
  const { cold, asleep, napping, new: made } = wakes
  assert.equal(cold.count + asleep.count + napping.count + made.count, 2)
  assert.equal(syncDelay.load.count, cold.count + asleep.count + made.count)
})
