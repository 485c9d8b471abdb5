/**
 * The few statistics that a benchmark line carries: how it usually is (median) and how it is for
 * the unlucky (p99). No mean: one pause of the machine moves it, and nobody experiences it. No
 * standard deviation: latencies are not normally distributed. Never throw samples away as outliers;
 * the tail is half of what is being measured.
 */
import { assert } from '../src/base/assert.ts'

/** What is printed of a set of samples; in the unit of the samples. */
export interface Summary {
  readonly sampleCount: number
  readonly median: number
  readonly p99: number
  readonly min: number
  readonly max: number
}

/**
 * The value below which `fraction` of the samples lie, by linear interpolation between the two
 * nearest ranks. `values` need not be sorted and is not changed; it must not be empty.
 */
export function quantile(values: readonly number[], fraction: number): number {
  assert(values.length > 0, 'a quantile needs a sample')
  assert(fraction >= 0 && fraction <= 1, 'a fraction is in [0, 1]')
  const sorted = Float64Array.from(values).sort()
  const rank = (sorted.length - 1) * fraction
  const below = sorted[Math.floor(rank)] ?? 0
  const above = sorted[Math.ceil(rank)] ?? below
  return below + (above - below) * (rank - Math.floor(rank))
}

/** The middle sample, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/**
 * Summarizes samples taken in alternating rounds. The median is the median of the rounds' medians,
 * so that one round disturbed by a neighbour on the machine moves nothing; the p99 is over all
 * samples of all rounds together, so that nothing of the tail is hidden.
 */
export function summarize(rounds: readonly (readonly number[])[]): Summary {
  assert(rounds.length > 0, 'a summary needs a round')
  const all = rounds.flat()
  return {
    sampleCount: all.length,
    median: median(rounds.map(median)),
    p99: quantile(all, 0.99),
    min: quantile(all, 0),
    max: quantile(all, 1),
  }
}
