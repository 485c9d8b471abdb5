import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Zipf } from './zipf.ts'

test('the k-th most wanted is asked for 1/k as often as the first', () => {
  const count = 10_000
  const visits = 1_000_000
  const zipf = new Zipf(count, 1)
  const asked = new Uint32Array(count)
  for (let visit = 0; visit < visits; visit++) {
    const rank = zipf.next()
    asked[rank] = (asked[rank] ?? 0) + 1
  }
  const share = (from: number, to: number): number =>
    asked.subarray(from, to).reduce((sum, times) => sum + times, 0) / visits
  assert.ok(Math.abs(share(0, 1) - 0.102) < 0.005)
  assert.ok(Math.abs(share(1, 2) - 0.051) < 0.005)
  assert.ok(Math.abs(share(0, 16) - 0.345) < 0.01)
  assert.ok(Math.abs(share(5_000, count) - 0.071) < 0.005)
})

test('one tenant gets all visits, and the same seed asks for the same ones', () => {
  assert.equal(new Zipf(1, 1).next(), 0)
  const some = (zipf: Zipf): number[] => Array.from({ length: 20 }, () => zipf.next())
  assert.deepEqual(some(new Zipf(100, 7)), some(new Zipf(100, 7)))
})
