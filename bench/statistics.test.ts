import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { median, quantile, summarize } from './statistics.ts'

const samples = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 })

test('the median is the middle sample, or between the two middle ones', () => {
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 2, 3]), 2.5)
  assert.equal(median([7]), 7)
})

test('samples are ordered as numbers, not as text', () => {
  assert.equal(quantile([100, 9, 20], 0), 9)
  assert.equal(quantile([100, 9, 20], 1), 100)
})

test('the p99 of 1 to 101 is 100', () => {
  const values = Array.from({ length: 101 }, (_, index) => index + 1)
  assert.equal(quantile(values, 0.99), 100)
})

test('a quantile lies inside the samples, grows with the fraction and changes nothing', () => {
  const fraction = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(samples, fraction, fraction, (values, one, other) => {
      const before = [...values]
      const low = quantile(values, Math.min(one, other))
      const high = quantile(values, Math.max(one, other))
      assert.ok(low <= high * (1 + 1e-12))
      assert.ok(low >= Math.min(...values) && high <= Math.max(...values) * (1 + 1e-12))
      assert.deepEqual(values, before)
    }),
  )
})

test('one disturbed round moves the p99 but not the median', () => {
  const calm = summarize([
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
  ])
  const disturbed = summarize([
    [1, 2, 3],
    [100, 200, 300],
    [1, 2, 3],
  ])
  assert.equal(calm.median, 2)
  assert.equal(disturbed.median, 2)
  assert.ok(disturbed.p99 > 200)
  assert.equal(disturbed.sampleCount, 9)
  assert.equal(disturbed.max, 300)
})

test('no samples are a bug of the caller', () => {
  assert.throws(() => median([]), /needs a sample/)
  assert.throws(() => summarize([]), /needs a round/)
})
