/** The randomness of a Worker: the platform's, cryptographically strong. */
import { assert } from '../../base/assert.ts'
import type { Random } from '../../base/random.ts'

const BOUND_MAX = 2 ** 32

export const workerRandom: Random = {
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
  below: (bound) => {
    assert(Number.isInteger(bound) && bound > 0 && bound <= BOUND_MAX, 'bound is in [1, 2^32]')
    // What is left over at the end of the range would make small numbers likelier: drawn again.
    const end = BOUND_MAX - (BOUND_MAX % bound)
    for (;;) {
      const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1))
      if (drawn < end) return drawn % bound
    }
  },
}
