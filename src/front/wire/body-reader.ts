/**
 * Reads the body of one message. Total: whatever the bytes are, a read either gives a value from
 * inside the body or throws PROTOCOL_VIOLATION. Used where messages are few (startup,
 * authentication, results), not on the path of every message.
 */
import { fromBytes, fromUtf8 } from '../../base/bytes.ts'
import { PgnapError } from '../../base/errors.ts'
import { int16At, int32At } from './frame.ts'

export class BodyReader {
  readonly #bytes: Uint8Array
  #at: number
  readonly #end: number

  /** Reads `bytes` from `start` to before `end`. */
  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#end - this.#at
  }

  int8(): number {
    this.#need(1)
    return this.#bytes[this.#at++] as number
  }

  int16(): number {
    this.#need(2)
    this.#at += 2
    return int16At(this.#bytes, this.#at - 2)
  }

  int32(): number {
    this.#need(4)
    this.#at += 4
    return int32At(this.#bytes, this.#at - 4)
  }

  /** A view of the next `count` bytes. */
  bytes(count: number): Uint8Array {
    this.#need(count)
    this.#at += count
    return this.#bytes.subarray(this.#at - count, this.#at)
  }

  /** The next `count` bytes as UTF-8. */
  text(count: number): string {
    return fromUtf8(this.bytes(count))
  }

  /** Text up to a zero byte, which is read too. */
  string(): string {
    return fromUtf8(this.#toZero())
  }

  /** The same of text that may be in another encoding: a character for each byte. */
  stringOfBytes(): string {
    return fromBytes(this.#toZero())
  }

  #toZero(): Uint8Array {
    const length = this.#bytes.subarray(this.#at, this.#end).indexOf(0)
    if (length < 0) {
      throw new PgnapError('PROTOCOL_VIOLATION', 'a string in a message has no end')
    }
    const text = this.bytes(length)
    this.#at++
    return text
  }

  #need(count: number): void {
    if (count < 0 || count > this.remaining) {
      throw new PgnapError('PROTOCOL_VIOLATION', 'insufficient data left in message')
    }
  }
}
