import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../base/limits.ts'
import type { MaintenanceTask } from './maintenance.ts'
import { UpkeepPatience } from './upkeep-patience.ts'

const task = (oid: number, freezes = false): MaintenanceTask => ({
  oid,
  vacuum: true,
  analyze: false,
  freezes,
  statement: `vacuum t${oid}`,
})

/** Patience of the attempts at one table that gives way each time, and the rests after them. */
function attempts(of: MaintenanceTask, count: number): { patienceMs: number; restMs: number }[] {
  const patience = new UpkeepPatience()
  return Array.from({ length: count }, () => ({
    patienceMs: patience.patienceMs(of),
    restMs: patience.gaveWay(of),
  }))
}

test('three attempts make nobody wait, then patience doubles, and so do the rests', () => {
  const seen = attempts(task(1), 7)
  assert.deepEqual(
    seen.map((each) => each.patienceMs),
    [0, 0, 0, 250, 500, 1_000, 2_000],
  )
  assert.deepEqual(
    seen.map((each) => each.restMs / 1_000),
    [1, 2, 4, 8, 16, 32, 60],
  )
})

test('patience has an end, but not for what has to be frozen', () => {
  assert.equal(attempts(task(1), 100).at(-1)?.patienceMs, LIMITS.upkeepPatienceMaxMs)
  const frozen = attempts(task(1, true), 100)
  assert.ok((frozen.at(-1)?.patienceMs ?? 0) > LIMITS.shardHangMs)
  assert.ok(frozen.every(({ restMs }) => restMs <= LIMITS.upkeepRestMaxMs))
})

test('each table has its own attempts, and begins anew when it is done or not due any more', () => {
  const patience = new UpkeepPatience()
  const [one, other] = [task(1), task(2)]
  for (let count = 0; count < 4; count++) patience.gaveWay(one)
  assert.deepEqual([patience.patienceMs(one), patience.patienceMs(other)], [500, 0])
  patience.ended(one)
  assert.equal(patience.patienceMs(one), 0)
  for (let count = 0; count < 4; count++) patience.gaveWay(one)
  patience.keepOnly([other])
  assert.equal(patience.patienceMs(one), 0)
})

test('a moment is sought for a while; that there is none counts as an attempt', () => {
  const patience = new UpkeepPatience()
  const one = task(1)
  for (let nowMs = 0; nowMs < LIMITS.upkeepSeekMs; nowMs += 1_000) {
    assert.ok(patience.foundNoRest(one, nowMs) < 100, 'it looks again soon')
  }
  assert.equal(patience.foundNoRest(one, LIMITS.upkeepSeekMs), 1_000)
  assert.ok(patience.foundNoRest(one, 50_000) < 100, 'and is sought anew')
  assert.equal(patience.foundNoRest(one, 60_000), 2_000)
  assert.equal(patience.foundNoRest(one, 70_000), 70)
  assert.equal(patience.foundNoRest(one, 80_000), 4_000)
  assert.equal(patience.patienceMs(one), 250, 'then it takes its time')
})
