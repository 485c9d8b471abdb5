/**
 * Unsigned integers in as few bytes as they need: seven bits per byte, lowest first, the top bit
 * says that more follow. Every list and record of the store is made of them. Values reach 2^53, so
 * the arithmetic is multiplication and never a 32-bit shift. What is read comes from a disk: a
 * value that runs over the end or past 2^53 is damage (STORE_CORRUPT), never an assertion.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'

/** Appends `value`, an integer in [0, 2^53), to `out`. */
export function putVarint(out: number[], value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a varint is a safe unsigned integer')
  let rest = value
  while (rest >= 128) {
    out.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  out.push(rest)
}

/** Reads varints from the front of `bytes`, one after the other. */
export class VarintReader {
  readonly #bytes: Uint8Array
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  /** Index of the next byte to be read. */
  get at(): number {
    return this.#at
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** The next value. Throws STORE_CORRUPT when the bytes end inside it or it passes 2^53. */
  next(): number {
    let value = 0
    let unit = 1
    for (;;) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw corrupt('a number ends early')
      value += (byte & 127) * unit
      if (value > Number.MAX_SAFE_INTEGER) throw corrupt('a number is too large')
      if (byte < 128) return value
      unit *= 128
    }
  }
}

/** The error for bytes of the store that cannot be what was written. */
export function corrupt(what: string): PgnapError {
  return new PgnapError('STORE_CORRUPT', `the store is damaged: ${what}`, {
    hint: 'run "pgnap verify" on this tenant, then restore it from a backup',
  })
}
