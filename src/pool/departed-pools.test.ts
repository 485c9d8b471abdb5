import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { Histogram } from '../base/histogram.ts'
import { LIMITS } from '../base/limits.ts'
import { silentLog } from '../base/log.ts'
import { DepartedPools } from './departed-pools.ts'
import { PoolState } from './pool-state.ts'
import { PoolCounters, poolStatistics, type PoolStatistics } from './pool-statistics.ts'

function picture(requests: number, waitMs: number, sqlState: string): PoolStatistics {
  const counters = new PoolCounters({ clock: new ManualClock(), log: silentLog })
  counters.requests = counters.found.cold = counters.evictions.idle = requests
  counters.wait.record(waitMs)
  counters.errors.record(sqlState)
  counters.syncDelay.record('load', waitMs)
  const keepWarm = {
    statistics: () => ({ known: 9, pinned: 9, warmed: 1, hits: 0, wasted: 0, failed: 0 }),
  }
  const journal = { commits: 8, syncs: 2 }
  const held = { memoryBytes: 7, images: { count: 3, bytes: 5 }, keepWarm, journal }
  return poolStatistics(new PoolState(LIMITS), counters, held)
}

test('what was counted stays, whatever leaves; what was there is not any more', () => {
  const departed = new DepartedPools()
  assert.equal(departed.statistics.length, 0)
  departed.add(picture(1, 2, '22012'))
  departed.add(picture(10, 4, '22012'))
  departed.add(picture(100, 8, '42601'))
  const [sum, ...more] = departed.statistics
  assert.ok(sum)
  assert.deepEqual(more, [], 'however many have left')
  const { requests, found, evictions, errors, keepWarm } = sum
  assert.deepEqual([requests, found.cold, evictions.idle, keepWarm.warmed], [111, 111, 111, 3])
  assert.deepEqual(errors.byClass, { 22: 2, 42: 1 })
  assert.equal(sum.syncDelay.load.count, 3)
  assert.deepEqual(sum.journal, { commits: 24, syncs: 6 })
  const wait = new Histogram()
  wait.merge(sum.wait)
  assert.deepEqual([wait.count, wait.maxMs], [3, 8])
  const { slots, images, clients } = sum
  assert.deepEqual([slots.memoryBytes, slots.max, keepWarm.known, keepWarm.pinned], [0, 0, 0, 0])
  assert.deepEqual([images.count, images.bytes, clients.connected], [0, 0, 0])
})
