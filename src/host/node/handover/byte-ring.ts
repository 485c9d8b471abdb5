/**
 * A queue of records from one thread to another in shared memory: one producer, one consumer, no
 * locks.
 *
 *     words   | head | tail |        bytes   | length connection kind payload... | length ...
 *               ^ consumer      ^ producer
 *
 * `head` and `tail` count bytes for ever, modulo 2^32; the capacity is a power of two, so a
 * position is the count's low bits and the difference of the two is what is in the ring. A record
 * is published by one store of `tail` after its bytes, so a producer that dies in the middle of one
 * publishes nothing.
 *
 * Must never block: either side asks for a promise of change and goes on with its event loop. A
 * record's bytes are copied out before anybody sees them, because shared memory under a parser's
 * eyes may change.
 */
import { assert } from '../../../base/assert.ts'
import { LIMITS } from '../../../base/limits.ts'

const HEAD = 0
const TAIL = 1
/** Head and tail on cache lines of their own: two threads store into them all the time. */
const WORD_STRIDE = 16
const CONTROL_BYTES = 2 * WORD_STRIDE * 4
const RECORD_HEADER_BYTES = 12

/** Sees one record. `bytes` is valid only during the call. */
export type RecordVisitor = (connection: number, kind: number, bytes: Uint8Array) => void

/** One end of a ring; both threads make their own over the same memory. */
export class ByteRing {
  readonly #words: Int32Array
  readonly #header: Uint32Array
  readonly #bytes: Uint8Array
  readonly #capacity: number
  readonly #scratch: Uint8Array

  /** @param memory from {@link ByteRing.allocate} */
  constructor(memory: SharedArrayBuffer) {
    this.#capacity = memory.byteLength - CONTROL_BYTES
    assert(isPowerOfTwo(this.#capacity), 'the capacity of a ring is a power of two')
    this.#words = new Int32Array(memory, 0, CONTROL_BYTES / 4)
    this.#header = new Uint32Array(memory, CONTROL_BYTES)
    this.#bytes = new Uint8Array(memory, CONTROL_BYTES)
    this.#scratch = new Uint8Array(this.recordBytesMax)
  }

  /** Memory for a ring of `capacityBytes`, a power of two between 64 and 2^30. */
  static allocate(capacityBytes: number = LIMITS.ringBytes): SharedArrayBuffer {
    const inRange = capacityBytes >= 64 && capacityBytes <= 2 ** 30
    assert(inRange && isPowerOfTwo(capacityBytes), 'the capacity of a ring is a power of two')
    return new SharedArrayBuffer(CONTROL_BYTES + capacityBytes)
  }

  /** Longest payload of one record: a quarter of the ring at most, so that records flow. */
  get recordBytesMax(): number {
    return Math.min(LIMITS.ringRecordBytesMax, this.#capacity / 4)
  }

  get isEmpty(): boolean {
    return this.#load(HEAD) === this.#load(TAIL)
  }

  /** Producer: appends one record; false if there is no room for it now. */
  push(connection: number, kind: number, bytes: Uint8Array): boolean {
    assert(bytes.length <= this.recordBytesMax, 'a record fits its limit')
    const tail = this.#load(TAIL)
    const used = (tail - this.#load(HEAD)) >>> 0
    const size = recordSize(bytes.length)
    if (size > this.#capacity - used) return false
    this.#setWord(tail, bytes.length)
    this.#setWord(tail + 4, connection)
    this.#setWord(tail + 8, kind)
    const start = this.#position(tail + RECORD_HEADER_BYTES)
    const first = Math.min(bytes.length, this.#capacity - start)
    this.#bytes.set(first === bytes.length ? bytes : bytes.subarray(0, first), start)
    if (first < bytes.length) this.#bytes.set(bytes.subarray(first), 0)
    this.#publish(TAIL, tail + size)
    return true
  }

  /**
   * Consumer: hands records to `visit` in order, until the ring is empty or `budgetBytes` have been
   * taken (so that one busy ring does not starve an event loop). A record is gone once visited,
   * also if the visit throws.
   */
  drain(visit: RecordVisitor, budgetBytes: number): void {
    let taken = 0
    while (taken < budgetBytes && !this.isEmpty) {
      const head = this.#load(HEAD)
      const length = this.#word(head)
      const connection = this.#word(head + 4)
      const kind = this.#word(head + 8)
      assert(length <= this.recordBytesMax, 'a record read fits its limit')
      const start = this.#position(head + RECORD_HEADER_BYTES)
      const first = Math.min(length, this.#capacity - start)
      this.#scratch.set(this.#bytes.subarray(start, start + first))
      if (first < length) this.#scratch.set(this.#bytes.subarray(0, length - first), first)
      const size = recordSize(length)
      this.#publish(HEAD, head + size)
      taken += size
      visit(connection, kind, this.#scratch.subarray(0, length))
    }
  }

  /**
   * Consumer: settles when there is, or may be, something to drain; undefined if there is already.
   */
  whenFilled(): Promise<unknown> | undefined {
    return this.#whenChanged(TAIL, this.#load(HEAD))
  }

  /**
   * Producer: settles when the consumer has taken something. Undefined if it has taken something
   * since `headSeen` was read.
   */
  whenDrained(headSeen: number): Promise<unknown> | undefined {
    return this.#whenChanged(HEAD, headSeen)
  }

  /** Producer: the consumer's position, to be read before the `push` that failed. */
  get head(): number {
    return this.#load(HEAD)
  }

  /** Settles every promise of both sides, for an end that stops. */
  wakeAll(): void {
    Atomics.notify(this.#words, HEAD * WORD_STRIDE)
    Atomics.notify(this.#words, TAIL * WORD_STRIDE)
  }

  #whenChanged(word: number, seen: number): Promise<unknown> | undefined {
    const wait = Atomics.waitAsync(this.#words, word * WORD_STRIDE, seen)
    return wait.async ? wait.value : undefined
  }

  #load(word: number): number {
    return Atomics.load(this.#words, word * WORD_STRIDE)
  }

  #publish(word: number, value: number): void {
    Atomics.store(this.#words, word * WORD_STRIDE, value | 0)
    Atomics.notify(this.#words, word * WORD_STRIDE)
  }

  #position(count: number): number {
    return (count >>> 0) & (this.#capacity - 1)
  }

  #word(count: number): number {
    const value = this.#header[this.#position(count) >>> 2]
    assert(value !== undefined, 'a position lies inside the ring')
    return value
  }

  #setWord(count: number, value: number): void {
    this.#header[this.#position(count) >>> 2] = value
  }
}

const isPowerOfTwo = (value: number): boolean => value > 0 && (value & (value - 1)) === 0

/** Records are padded to whole words, so that a header's words never straddle the end. */
const recordSize = (payloadBytes: number): number => RECORD_HEADER_BYTES + ((payloadBytes + 3) & ~3)
