import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Rhythm } from './rhythm.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** A Thursday at midnight, UTC. */
const START_MS = 20_000 * DAY_MS

function met(times: readonly number[]): Rhythm {
  const [first = START_MS, ...others] = times
  const rhythm = new Rhythm(first)
  for (const atMs of others) rhythm.visited(atMs)
  return rhythm
}

const every = (periodMs: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => START_MS + index * periodMs)

test('a beat is expected a little before it comes, and not in between', () => {
  const rhythm = met(every(2 * HOUR_MS, 5))
  const nextMs = START_MS + 10 * HOUR_MS
  assert.equal(rhythm.expects(nextMs - HOUR_MS), undefined)
  const expected = rhythm.expects(nextMs - 2 * MINUTE_MS)
  assert.ok(expected && expected.chance > 0.8)
  assert.equal(expected.untilMs, nextMs + MINUTE_MS)
})

test('a beat that fails to come is expected again at the next, but not for ever', () => {
  const rhythm = met(every(2 * HOUR_MS, 5))
  const lastMs = START_MS + 8 * HOUR_MS
  const chances = [1, 2, 3, 4].map((beats) => rhythm.expects(lastMs + beats * 2 * HOUR_MS)?.chance)
  assert.ok((chances[0] ?? 0) > (chances[1] ?? 0) && (chances[1] ?? 0) > (chances[2] ?? 0))
  assert.equal(chances[3], undefined)
  // It does not count as a slower beat either.
  rhythm.visited(lastMs + 4 * HOUR_MS)
  assert.ok(rhythm.expects(lastMs + 6 * HOUR_MS)?.chance)
})

test('who comes at nine on weekdays is expected then, not by night nor on a day off', () => {
  const days = Array.from({ length: 25 }, (_, day) => day).filter((day) => day % 7 < 5)
  const times = days.flatMap((day) => {
    const atMs = START_MS + day * DAY_MS + 9 * HOUR_MS + ((day * 7) % 25) * MINUTE_MS
    return [atMs, atMs + (30 + ((day * 37) % 400)) * MINUTE_MS]
  })
  const rhythm = met(times)
  const chanceAt = (day: number, hour: number): number =>
    rhythm.expects(START_MS + day * DAY_MS + hour * HOUR_MS)?.chance ?? 0
  assert.ok(chanceAt(28, 9) > 0.7, 'a Thursday again')
  assert.ok(chanceAt(28, 3) < 0.1)
  assert.ok(chanceAt(27, 9) < 0.4, 'a day on which nobody came')
  assert.equal(chanceAt(28 + 40, 9), 0, 'after weeks away')
})

test('requests of one visit are one visit', () => {
  const rhythm = met(every(2 * HOUR_MS, 6).flatMap((atMs) => [atMs, atMs + 5_000, atMs + 40_000]))
  assert.ok(rhythm.expects(START_MS + 12 * HOUR_MS)?.chance)
})

test('whatever the times are, a chance is a chance and ends in the future', () => {
  const gap = fc.oneof(
    fc.integer({ min: -DAY_MS, max: 3 * DAY_MS }),
    fc.constantFrom(0, MINUTE_MS, HOUR_MS, DAY_MS, 300 * DAY_MS),
  )
  fc.assert(
    fc.property(fc.array(gap, { maxLength: 60 }), gap, (gaps, laterMs) => {
      let nowMs = START_MS
      const rhythm = new Rhythm(nowMs)
      for (const gapMs of gaps) rhythm.visited((nowMs += gapMs))
      const askedMs = nowMs + Math.abs(laterMs)
      const expected = rhythm.expects(askedMs)
      if (!expected) return
      assert.ok(expected.chance >= 0 && expected.chance <= 1, `${expected.chance}`)
      if (expected.chance > 0) assert.ok(expected.untilMs >= askedMs)
    }),
    { numRuns: 2000 },
  )
})
