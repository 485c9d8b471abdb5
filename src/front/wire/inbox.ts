/**
 * Bytes of a client that wait for the rest of their message, or for the backend. Chunks that hold
 * whole messages never come here. It keeps one buffer: what is read moves the front, what comes in
 * goes to the back, and the buffer is let go when it is empty and large, so that ten thousand idle
 * clients cost nothing.
 */
const FIRST_BYTES = 1024
/** A buffer up to this size is kept while it is empty. */
const KEPT_BYTES = 64 * 1024
const NOTHING = new Uint8Array(0)

export class Inbox {
  #bytes: Uint8Array = NOTHING
  #start = 0
  #end = 0

  get length(): number {
    return this.#end - this.#start
  }

  /** What is held; valid until the next `append` or `consume`. */
  view(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end)
  }

  append(bytes: Uint8Array): void {
    const length = this.length
    const needed = length + bytes.length
    if (this.#end + bytes.length > this.#bytes.length) {
      const room = needed > this.#bytes.length ? grownBytes(this.#bytes.length, needed) : 0
      const target = room > 0 ? new Uint8Array(room) : this.#bytes
      if (room > 0) target.set(this.view())
      else target.copyWithin(0, this.#start, this.#end)
      this.#bytes = target
      this.#start = 0
      this.#end = length
    }
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** Forgets the first `count` bytes. */
  consume(count: number): void {
    this.#start += count
    if (this.#start < this.#end) return
    this.#start = 0
    this.#end = 0
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = NOTHING
  }

  clear(): void {
    this.#bytes = NOTHING
    this.#start = 0
    this.#end = 0
  }
}

function grownBytes(current: number, needed: number): number {
  return Math.max(FIRST_BYTES, needed, current * 2)
}
