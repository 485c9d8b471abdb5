/**
 * Where Postgres keeps the state of SQL's `random()`: a static variable that no module exports.
 * After `setseed` its two words are known, so they are looked for in memory; the place is the same
 * in every instance of a build.
 *
 * Source: pseudorandomfuncs.c (setseed, prng_state) and pg_prng.c (pg_prng_fseed, splitmix64).
 */
import { assert } from '../base/assert.ts'

const SEED = 0.123456789
const MASK = 2n ** 64n - 1n

/** Run it before {@link findRandomState}. */
export const seedStatement: string = `select setseed(${SEED})`

/** Address of the state; an assertion fails unless it is there exactly once. */
export function findRandomState(heap: Uint8Array): number {
  const state = new Splitmix64(BigInt(Math.trunc((2 ** 52 - 1) * SEED)))
  const [first, second] = [state.next(), state.next()]
  const words = new BigUint64Array(heap.buffer, heap.byteOffset, heap.length >> 3)
  const found: number[] = []
  for (let at = 0; at + 1 < words.length; at++) {
    if (words[at] === first && words[at + 1] === second) found.push(at * 8)
  }
  assert(found.length === 1 && found[0], 'the seed of random() is in one place')
  return found[0]
}

class Splitmix64 {
  #state: bigint

  constructor(seed: bigint) {
    this.#state = seed
  }

  next(): bigint {
    this.#state = (this.#state + 0x9e3779b97f4a7c15n) & MASK
    let value = this.#state
    value = ((value ^ (value >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
    value = ((value ^ (value >> 27n)) * 0x94d049bb133111ebn) & MASK
    return value ^ (value >> 31n)
  }
}
