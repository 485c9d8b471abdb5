import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Histogram } from './histogram.ts'

const durationMs = fc.double({ min: 0, max: 3_600_000, noNaN: true })

function of(durations: readonly number[]): Histogram {
  const histogram = new Histogram()
  for (const each of durations) histogram.record(each)
  return histogram
}

test('a quantile is never too low, and at most one bucket too high', () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(fc.array(durationMs, { minLength: 1 }), share, (durations, quantile) => {
      const sorted = durations.toSorted((a, b) => a - b)
      const exactMs = sorted[Math.max(1, Math.ceil(quantile * sorted.length)) - 1] ?? 0
      const estimateMs = of(durations).quantileMs(quantile)
      assert.ok(estimateMs >= exactMs, `${estimateMs} >= ${exactMs}`)
      assert.ok(estimateMs <= exactMs * (1 + 1 / 16) + 0.001_1, `${estimateMs} near ${exactMs}`)
    }),
  )
})

test('merging equals recording everything in one', () => {
  fc.assert(
    fc.property(fc.array(durationMs), fc.array(durationMs), (left, right) => {
      const merged = of(left)
      merged.merge(of(right))
      const whole = of([...left, ...right])
      assert.deepEqual(merged.toData().buckets, whole.toData().buckets)
      assert.equal(merged.count, whole.count)
      assert.equal(merged.maxMs, whole.maxMs)
      assert.ok(Math.abs(merged.sumMs - whole.sumMs) <= whole.sumMs * 1e-9)
    }),
  )
})

test('data that went through JSON merges as the histogram itself', () => {
  const histogram = new Histogram()
  histogram.merge(JSON.parse(JSON.stringify(of([0.01, 5, 5, 900]).toData())))
  assert.equal(histogram.count, 4)
  assert.equal(histogram.maxMs, 900)
  assert.equal(histogram.quantileMs(1), 900)
})

test('nothing recorded is zero, and durations out of range are clamped', () => {
  assert.equal(new Histogram().quantileMs(0.5), 0)
  const histogram = of([-1, 1e12])
  assert.equal(histogram.quantileMs(0), 0.001)
  assert.equal(histogram.count, 2)
  assert.equal(histogram.maxMs, 1e12)
  assert.ok(histogram.quantileMs(1) >= 2 ** 31 / 1000, 'the last bucket')
})

test('the cumulative counts are exact at each edge', () => {
  const durations = fc.array(fc.double({ min: 0, max: 10_000, noNaN: true }), { maxLength: 50 })
  fc.assert(
    fc.property(durations, (all) => {
      const histogram = new Histogram()
      for (const durationMs of all) histogram.record(durationMs)
      for (const [edgeMs, count] of Object.entries(histogram.cumulative())) {
        const below = all.filter(
          (durationMs) => Math.trunc(durationMs * 1000) < Number(edgeMs) * 1000,
        )
        assert.equal(count, below.length, edgeMs)
      }
    }),
  )
})
