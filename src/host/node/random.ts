/**
 * The real randomness of a Node process: the operating system's, by way of `node:crypto`. Secrets
 * (SCRAM salts, cancel keys) are drawn from it, so it must never be replaced by something seeded
 * outside of tests.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { assert } from '../../base/assert.ts'
import type { Random } from '../../base/random.ts'

/** Largest bound that `crypto.randomInt` draws from without bias. */
const BOUND_MAX = 2 ** 48 - 1

/** Cryptographically strong, and safe to use from any thread. */
export const systemRandom: Random = {
  // A copy, because small results of randomBytes are views of a pool that others share.
  bytes: (count) => new Uint8Array(randomBytes(count)),
  below: (bound) => {
    assert(Number.isInteger(bound) && bound > 0 && bound <= BOUND_MAX, 'bound is in [1, 2^48 - 1]')
    return randomInt(bound)
  },
}
