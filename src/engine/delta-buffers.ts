/**
 * Memory of deltas that are used up, for those that come: one per thread. A nap allocates about
 * half a megabyte, and a wake needs what it allocated no more. Left to the garbage collector each
 * nap paid for fresh pages (one page fault per 4 KiB) and for collections that nothing else in the
 * thread is large enough to cause.
 *
 * Memory that is given is detached: whoever still has the delta finds it empty, never another's.
 */
import { lengthOfAll, putAll } from '../base/bytes.ts'

/** Buffers are made a little larger than asked for, so that the next image fits as well. */
const GRAIN_BYTES = 16_384
/** A buffer serves a delta if no more than this part of it lies idle. */
const WASTE_MAX = 0.125
/** Kept at most; beyond, the collector gets them. */
const KEPT_MAX = 8
const KEPT_BYTES_MAX = 33_554_432

export class DeltaBuffers {
  /** The most recently given last: its pages are the likeliest to be in a cache. */
  readonly #kept: ArrayBuffer[] = []
  #keptBytes = 0
  /** In use. A delta that was read from a file may lie in a buffer that others share. */
  readonly #lent = new WeakSet<ArrayBufferLike>()
  readonly #keptBytesMax: number

  /** @param keptBytesMax bytes that wait to be used again, at most */
  constructor(keptBytesMax: number = KEPT_BYTES_MAX) {
    this.#keptBytesMax = keptBytesMax
  }

  /** Bytes that wait to be used again. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** A copy of `parts`, one after the other. */
  copy(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
    const length = lengthOfAll(parts)
    const buffer = this.#take(length)
    this.#lent.add(buffer)
    const copy = new Uint8Array(buffer, 0, length)
    putAll(parts, copy)
    return copy
  }

  /** Takes the memory of a copy back that nobody will read again; it is empty afterwards. */
  give({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || !this.#lent.delete(buffer)) return
    const freed = buffer.transfer()
    const isFull = this.#kept.length >= KEPT_MAX
    if (isFull || this.#keptBytes + freed.byteLength > this.#keptBytesMax) return
    this.#kept.push(freed)
    this.#keptBytes += freed.byteLength
  }

  /** Lets go of all that waits. */
  shed(): void {
    this.#kept.length = 0
    this.#keptBytes = 0
  }

  #take(length: number): ArrayBuffer {
    const roomy = Math.ceil(length / GRAIN_BYTES) * GRAIN_BYTES
    const largest = Math.max(roomy, length / (1 - WASTE_MAX))
    const fits = ({ byteLength }: ArrayBuffer): boolean =>
      byteLength >= length && byteLength <= largest
    const at = this.#kept.findLastIndex(fits)
    const [found] = at < 0 ? [] : this.#kept.splice(at, 1)
    if (!found) return new ArrayBuffer(roomy)
    this.#keptBytes -= found.byteLength
    return found
  }
}
