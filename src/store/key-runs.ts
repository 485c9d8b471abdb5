/**
 * A set of keys as sorted runs of neighbours. It is what a commit says it changed (log.ids), what
 * `changesSince` answers, and how the keys of a frozen level are remembered. Keys of one file are
 * neighbours, so a CHECKPOINT of thousands of pages is a handful of runs.
 *
 * Encoded: one kind byte, then for each run two varints: the gap from the end of the run before
 * (last key + 1; 0 for the first) and the length minus one. Kind 1 is that list. Kind 0 has no body
 * and means "too many to list": whoever reads it must search the tables. The kind byte is there
 * from the first day so that another list can be added without touching old rows.
 */
import { assert } from '../base/assert.ts'
import type { PageKey } from '../base/ids.ts'
import { VarintReader, corrupt, putVarint } from './varint.ts'

const KIND_UNLISTED = 0
const KIND_RUNS = 1
/** Longest encoded list, far below the 2 MB that a Durable Object allows in one value. */
const ENCODED_BYTES_MAX = 512 * 1024
const KEYS_MAX = 2 ** 44

export class KeyRuns {
  static readonly none: KeyRuns = new KeyRuns([], [])
  readonly #starts: readonly number[]
  /** One past the last key of each run. */
  readonly #ends: readonly number[]

  private constructor(starts: readonly number[], ends: readonly number[]) {
    assert(starts.length === ends.length, 'a run has two ends')
    this.#starts = starts
    this.#ends = ends
  }

  /** The set of `keys`, which may come in any order and more than once. */
  static of(keys: readonly number[]): KeyRuns {
    let sorted = true
    for (let index = 1; index < keys.length; index++) {
      if ((keys[index] ?? 0) < (keys[index - 1] ?? 0)) sorted = false
    }
    const ordered = sorted ? keys : keys.toSorted((a, b) => a - b)
    const starts: number[] = []
    const ends: number[] = []
    let end = -1
    for (const key of ordered) {
      if (key < end) continue
      if (key === end) ends[ends.length - 1] = key + 1
      else {
        starts.push(key)
        ends.push(key + 1)
      }
      end = key + 1
    }
    return new KeyRuns(starts, ends)
  }

  /** All keys that are in at least one of `sets`. */
  static union(sets: readonly KeyRuns[]): KeyRuns {
    const runs: (readonly [number, number])[] = []
    for (const set of sets) {
      for (const [index, start] of set.#starts.entries()) runs.push([start, set.#ends[index] ?? 0])
    }
    runs.sort((a, b) => a[0] - b[0])
    const starts: number[] = []
    const ends: number[] = []
    for (const [start, end] of runs) {
      const last = ends.length - 1
      const lastEnd = ends[last]
      if (lastEnd !== undefined && start <= lastEnd) ends[last] = Math.max(lastEnd, end)
      else {
        starts.push(start)
        ends.push(end)
      }
    }
    return new KeyRuns(starts, ends)
  }

  /** Undefined means "not listed". Throws STORE_CORRUPT when the bytes cannot be a list. */
  static decode(bytes: Uint8Array): KeyRuns | undefined {
    const kind = bytes[0]
    if (kind === KIND_UNLISTED && bytes.length === 1) return undefined
    if (kind !== KIND_RUNS) throw corrupt(`a list of keys is of the unknown kind ${kind}`)
    const reader = new VarintReader(bytes, 1)
    const starts: number[] = []
    const ends: number[] = []
    let end = 0
    while (!reader.done) {
      const gap = reader.next()
      if (gap === 0 && ends.length > 0) throw corrupt('two runs of a list touch')
      const start = end + gap
      end = start + reader.next() + 1
      if (end > KEYS_MAX) throw corrupt('a list names a key out of range')
      starts.push(start)
      ends.push(end)
    }
    return new KeyRuns(starts, ends)
  }

  /** The bytes of this set; the single byte "not listed" when they would pass `bytesMax`. */
  encode(bytesMax: number = ENCODED_BYTES_MAX): Uint8Array<ArrayBuffer> {
    const out: number[] = [KIND_RUNS]
    let end = 0
    for (const [index, start] of this.#starts.entries()) {
      const runEnd = this.#ends[index] ?? 0
      putVarint(out, start - end)
      putVarint(out, runEnd - start - 1)
      end = runEnd
      if (out.length > bytesMax) return Uint8Array.of(KIND_UNLISTED)
    }
    return Uint8Array.from(out)
  }

  get size(): number {
    let size = 0
    for (const [index, start] of this.#starts.entries()) size += (this.#ends[index] ?? 0) - start
    return size
  }

  get runCount(): number {
    return this.#starts.length
  }

  has(key: number): boolean {
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ends[middle] ?? 0) <= key) low = middle + 1
      else high = middle
    }
    const start = this.#starts[low]
    return start !== undefined && start <= key
  }

  /** In ascending order. */
  *[Symbol.iterator](): Generator<PageKey> {
    for (const [index, start] of this.#starts.entries()) {
      const end = this.#ends[index] ?? 0
      for (let key = start; key < end; key++) yield key as PageKey
    }
  }
}
