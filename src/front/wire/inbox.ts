/**
 * Bytes of a client that wait for the rest of their message, or for the backend. Chunks that hold
 * whole messages never come here. It keeps one buffer: what is read moves the front, what comes in
 * goes to the back, and a large buffer is let go when little or nothing of it is left to read, so
 * that ten thousand idle clients cost nothing.
 */
const FIRST_BYTES = 1024
/** A buffer up to this size is kept while it is empty. */
const KEPT_BYTES = 64 * 1024
const NOTHING = new Uint8Array(0)

export class Inbox {
  #bytes: Uint8Array = NOTHING
  #start = 0
  #end = 0
  /** Of the buffer, so much has been written to: the rest is no memory of the machine yet. */
  #usedBytes = 0

  get length(): number {
    return this.#end - this.#start
  }

  /** What it takes of memory: more than what is there to be read. */
  get heldBytes(): number {
    return this.#usedBytes
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
      if (room > 0) {
        target.set(this.view())
        this.#usedBytes = 0
      } else target.copyWithin(0, this.#start, this.#end)
      this.#bytes = target
      this.#start = 0
      this.#end = length
    }
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
    this.#usedBytes = Math.max(this.#usedBytes, this.#end)
  }

  /** Forgets the first `count` bytes. */
  consume(count: number): void {
    this.#start += count
    if (this.#start < this.#end) {
      // One byte of the next message is no reason to keep all of a large one.
      const isLittle = this.length * 4 < this.#usedBytes
      if (isLittle && this.#bytes.length > KEPT_BYTES) this.#replace(this.view().slice())
      return
    }
    this.#start = 0
    this.#end = 0
    if (this.#bytes.length > KEPT_BYTES) this.clear()
  }

  clear(): void {
    this.#replace(NOTHING)
  }

  #replace(bytes: Uint8Array): void {
    this.#bytes = bytes
    this.#start = 0
    this.#end = bytes.length
    this.#usedBytes = bytes.length
  }
}

function grownBytes(current: number, needed: number): number {
  return Math.max(FIRST_BYTES, needed, current * 2)
}
