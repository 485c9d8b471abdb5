/**
 * Builds messages in one growing buffer. A writer is kept and reset, so that writing makes no
 * garbage once it has grown; what leaves it is a view (valid until the next reset) or a copy.
 *
 * It must never write a string with a zero byte inside: the protocol ends strings with zero, so a
 * client could forge a message behind it.
 */
import { assert } from '../../base/assert.ts'
import { PgnapError } from '../../base/errors.ts'

const encoder = new TextEncoder()
const FIRST_BYTES = 512

export class MessageWriter {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_BYTES)
  #length = 0
  /** Offset of the length field of the message being written, -1 between messages. */
  #lengthAt = -1

  /** Bytes written since the last reset. */
  get length(): number {
    return this.#length
  }

  reset(): this {
    this.#length = 0
    this.#lengthAt = -1
    return this
  }

  /** Begins a message; `type` 0 means the startup form, which has no type byte. */
  begin(type: number): this {
    assert(this.#lengthAt < 0, 'one message at a time')
    if (type !== 0) this.int8(type)
    this.#lengthAt = this.#length
    return this.int32(0)
  }

  /** Ends the message and fills in its length. */
  end(): this {
    const at = this.#lengthAt
    assert(at >= 0, 'a message was begun')
    this.#lengthAt = -1
    this.#setInt32(at, this.#length - at)
    return this
  }

  int8(value: number): this {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
    return this
  }

  int16(value: number): this {
    this.#reserve(2)
    this.#bytes[this.#length++] = value >>> 8
    this.#bytes[this.#length++] = value
    return this
  }

  int32(value: number): this {
    this.#reserve(4)
    this.#setInt32(this.#length, value)
    this.#length += 4
    return this
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** UTF-8 without an end mark. */
  text(value: string): this {
    // One UTF-16 unit takes at most three bytes of UTF-8.
    this.#reserve(value.length * 3)
    this.#length += encoder.encodeInto(value, this.#bytes.subarray(this.#length)).written
    return this
  }

  /** UTF-8 and a zero byte. Throws PROTOCOL_VIOLATION if a zero is inside. */
  string(value: string): this {
    if (value.includes('\0')) {
      throw new PgnapError('PROTOCOL_VIOLATION', 'a string holds a zero character', {
        hint: 'Postgres cannot store or send the character U+0000 in text; remove it',
      })
    }
    return this.text(value).int8(0)
  }

  /** A parameter value: its length in bytes and the bytes, or -1 for null. */
  value(value: string | null): this {
    if (value === null) return this.int32(-1)
    const at = this.#length
    this.int32(0).text(value)
    this.#setInt32(at, this.#length - at - 4)
    return this
  }

  /** What was written since the last reset; valid until the next write or reset. */
  view(): Uint8Array<ArrayBuffer> {
    assert(this.#lengthAt < 0, 'the last message was ended')
    return this.#bytes.subarray(0, this.#length)
  }

  /** As {@link view}, but the caller's own. */
  copy(): Uint8Array<ArrayBuffer> {
    return this.view().slice()
  }

  #setInt32(at: number, value: number): void {
    this.#bytes[at] = value >>> 24
    this.#bytes[at + 1] = value >>> 16
    this.#bytes[at + 2] = value >>> 8
    this.#bytes[at + 3] = value
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }
}
