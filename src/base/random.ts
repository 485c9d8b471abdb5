/** Randomness as an argument: real in a host, seeded in tests and simulations. */
export interface Random {
  /** `count` bytes; cryptographically strong in a host. */
  bytes(count: number): Uint8Array
  /** An integer in [0, bound). */
  below(bound: number): number
}

/**
 * Deterministic randomness from one seed (mulberry32). For tests and simulations only: it is not
 * secret and its period is short.
 */
export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  below(bound: number): number {
    return Math.floor(this.#next() * bound)
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256))
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
