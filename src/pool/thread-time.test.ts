import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../base/limits.ts'
import { systemClock } from '../host/node/clock.ts'
import { ThreadTime } from './thread-time.ts'

test('a batch has had the processor no longer than it took, and than its thread had', () => {
  let processorMs = 100
  const time = new ThreadTime({ processorMs: () => processorMs })
  time.begin(0)
  processorMs += 3
  assert.equal(time.busyMs(50), 3, "the rest was somebody else's")
  assert.equal(time.busyMs(LIMITS.quickBatchMs - 1), LIMITS.quickBatchMs - 1, 'not worth a look')
  processorMs += 97
  assert.equal(time.busyMs(50), 50)
})

test('what is known of the thread is as old as a short batch, at most', () => {
  let asked = 0
  const time = new ThreadTime({ processorMs: () => asked++ })
  for (let nowMs = 0; nowMs < 10; nowMs += 0.25) time.begin(nowMs)
  assert.equal(asked, 10)
})

test('where processor time cannot be known, a batch has had what it took', () => {
  const time = new ThreadTime({})
  time.begin(0)
  assert.equal(time.busyMs(50), 50)
})

test('a thread that sleeps has no processor, one that computes has', () => {
  const time = new ThreadTime(systemClock)
  const startMs = performance.now()
  time.begin(startMs)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60)
  assert.ok(time.busyMs(performance.now() - startMs) < 20)
  const busyFromMs = performance.now()
  time.begin(busyFromMs)
  while (systemClock.processorMs && time.busyMs(1_000) < 20);
  assert.ok(performance.now() - busyFromMs >= 20)
})
