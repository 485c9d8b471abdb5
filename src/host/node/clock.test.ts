import { strict as assert } from 'node:assert'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { systemClock } from './clock.ts'

test('wall time is the epoch and monotonic time never goes back', () => {
  assert.ok(systemClock.nowMs() > Date.UTC(2026, 0))
  let last = systemClock.monotonicMs()
  for (let round = 0; round < 1000; round++) {
    const next = systemClock.monotonicMs()
    assert.ok(next >= last)
    last = next
  }
})

test('a timer fires once, a cancelled one never, and cancelling again does nothing', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const fired: string[] = []
  const kept = systemClock.setTimer(10, () => fired.push('kept'))
  const cancelled = systemClock.setTimer(5, () => fired.push('cancelled'))
  cancelled.cancel()
  t.mock.timers.tick(100)
  kept.cancel()
  cancelled.cancel()
  t.mock.timers.tick(100)
  assert.deepEqual(fired, ['kept'])
})

test('a delay longer than one timeout can hold fires at its time, not at once', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const dayMs = 24 * 3_600_000
  let fired = 0
  systemClock.setTimer(31 * dayMs, () => fired++)
  for (let day = 1; day <= 30; day++) {
    t.mock.timers.tick(dayMs)
    assert.equal(fired, 0, `after ${day} days`)
  }
  // The second leg was armed up to a day late, because mocked time moves in whole steps.
  t.mock.timers.tick(2 * dayMs)
  assert.equal(fired, 1)
})

test('a pending timer does not keep the process alive', () => {
  const program = `
    const { systemClock } = await import(${JSON.stringify(import.meta.resolve('./clock.ts'))})
    systemClock.setTimer(3_600_000, () => {})`
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    timeout: 60_000,
  })
  assert.equal(run.status, 0, String(run.stderr))
})
