/**
 * Histogram of durations in fixed memory: log-linear buckets, as HdrHistogram made popular.
 *
 * Each power of two is cut into 16 equal parts, so a quantile is at most 6.25 % too high whether
 * it is a microsecond or an hour, and recording costs two additions and no allocation. Two
 * histograms add up bucket by bucket, which is how shards are merged: quantiles themselves cannot
 * be averaged.
 *
 * It must never allocate in `record`: it stands on the path of every query.
 */
import { assert } from './assert.ts'

/** Parts of one power of two. */
const PARTS = 16
const PARTS_LOG2 = 4
/** The unit of the buckets; everything shorter than one is counted as one. */
const UNITS_PER_MS = 1_000
/**
 * Longest duration that is told apart, in units: 2^32 us, 71 minutes. Longer ones are counted
 * there.
 */
const UNITS_MAX = 2 ** 32 - 1
/** 0.128 ms to 4.194 s: powers of two, so that no bucket is cut. */
const EDGE_UNITS_MIN = 2 ** 7
const EDGE_UNITS_MAX = 2 ** 22
const BUCKET_COUNT = PARTS * (32 - PARTS_LOG2 + 1)

/** A histogram as plain data, to send to another thread. */
export interface HistogramData {
  readonly count: number
  readonly sumMs: number
  readonly maxMs: number
  /** Pairs of bucket index and count, only for buckets that hold something. */
  readonly buckets: readonly (readonly [number, number])[]
}

/** Durations in milliseconds with a resolution of 6.25 %. About 4 KB. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKET_COUNT)
  #count = 0
  #sumMs = 0
  #maxMs = 0

  get count(): number {
    return this.#count
  }

  get sumMs(): number {
    return this.#sumMs
  }

  get maxMs(): number {
    return this.#maxMs
  }

  /** Counts one duration. A negative one is counted as 0: a clock may be coarser than the event. */
  record(durationMs: number): void {
    const clampedMs = durationMs > 0 ? durationMs : 0
    const index = bucketOf(clampedMs)
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.#count++
    this.#sumMs += clampedMs
    if (clampedMs > this.#maxMs) this.#maxMs = clampedMs
  }

  /**
   * The duration that the share `quantile` of all durations does not exceed, in milliseconds; the
   * upper edge of its bucket, but never more than the longest one seen. 0 if nothing was recorded.
   * @param quantile in [0, 1]
   */
  quantileMs(quantile: number): number {
    assert(quantile >= 0 && quantile <= 1, 'a quantile lies in [0, 1]')
    const rank = Math.max(1, Math.ceil(quantile * this.#count))
    let seen = 0
    for (let index = 0; index < BUCKET_COUNT; index++) {
      seen += this.#counts[index] ?? 0
      if (seen >= rank) return Math.min(upperEdgeMs(index), this.#maxMs)
    }
    return 0
  }

  /**
   * How many durations do not exceed each power of two of microseconds from 0.128 ms to 4.2 s, as a
   * Prometheus histogram counts them. Exact: the edges are edges of buckets.
   */
  cumulative(): Record<string, number> {
    const counts: Record<string, number> = {}
    let index = 0
    let seen = 0
    for (let edgeUnits = EDGE_UNITS_MIN; edgeUnits <= EDGE_UNITS_MAX; edgeUnits *= 2) {
      const end = bucketOf(edgeUnits / UNITS_PER_MS)
      for (; index < end; index++) seen += this.#counts[index] ?? 0
      counts[String(edgeUnits / UNITS_PER_MS)] = seen
    }
    return counts
  }

  /** Adds everything that `other` has counted. */
  merge(other: Histogram | HistogramData): void {
    const data = other instanceof Histogram ? other.toData() : other
    for (const [index, count] of data.buckets) {
      assert(index >= 0 && index < BUCKET_COUNT, 'a bucket of this histogram')
      this.#counts[index] = (this.#counts[index] ?? 0) + count
    }
    this.#count += data.count
    this.#sumMs += data.sumMs
    this.#maxMs = Math.max(this.#maxMs, data.maxMs)
  }

  toData(): HistogramData {
    const buckets: (readonly [number, number])[] = []
    this.#counts.forEach((count, index) => {
      if (count > 0) buckets.push([index, count])
    })
    return { count: this.#count, sumMs: this.#sumMs, maxMs: this.#maxMs, buckets }
  }
}

function bucketOf(durationMs: number): number {
  const scaled = durationMs * UNITS_PER_MS
  const units = scaled >= UNITS_MAX ? UNITS_MAX : scaled >>> 0
  // Below 2 * PARTS every unit has a bucket of its own, and the general rule agrees with that.
  if (units < PARTS) return units
  const shift = 31 - Math.clz32(units) - PARTS_LOG2
  return shift * PARTS + (units >>> shift)
}

function upperEdgeMs(index: number): number {
  if (index < PARTS) return (index + 1) / UNITS_PER_MS
  const shift = Math.floor(index / PARTS) - 1
  const part = index - shift * PARTS
  return ((part + 1) * 2 ** shift) / UNITS_PER_MS
}
