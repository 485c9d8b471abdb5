/**
 * Clean chunks of one tenant, least recently used go first, bounded in bytes. Chunks are never
 * changed once they are in here: a writer takes a copy.
 */
import { assert } from '../base/assert.ts'
import type { PageKey } from '../base/ids.ts'

/** What an entry costs besides its bytes: the map's slot, the boxed key, the view. */
const ENTRY_BYTES = 160

export class PageCache {
  readonly #entries = new Map<PageKey, Uint8Array>()
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    assert(bytesMax >= 0, 'a cache has room or none')
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get(key: PageKey): Uint8Array | undefined {
    const found = this.#entries.get(key)
    // Order matters only when something may have to go soon.
    if (found !== undefined && this.#bytes > this.#bytesMax / 2) {
      this.#entries.delete(key)
      this.#entries.set(key, found)
    }
    return found
  }

  has(key: PageKey): boolean {
    return this.#entries.has(key)
  }

  put(key: PageKey, chunk: Uint8Array): void {
    this.delete(key)
    this.#entries.set(key, chunk)
    this.#bytes += chunk.length + ENTRY_BYTES
    this.shrink(this.#bytesMax)
  }

  /** Deletes the least recently used entries until at most `bytesMax` are left. */
  shrink(bytesMax: number): void {
    while (this.#bytes > bytesMax) {
      const oldest = this.#entries.keys().next().value
      assert(oldest !== undefined, 'bytes in a cache belong to entries')
      this.delete(oldest)
    }
  }

  delete(key: PageKey): void {
    const found = this.#entries.get(key)
    if (found === undefined) return
    this.#entries.delete(key)
    this.#bytes -= found.length + ENTRY_BYTES
  }

  /** Deletes all keys in [from, to), in time bounded by the smaller of the range and the cache. */
  deleteRange(from: number, to: number): void {
    if (to - from < this.#entries.size) {
      for (let key = from; key < to; key++) this.delete(key as PageKey)
      return
    }
    for (const key of this.#entries.keys()) if (key >= from && key < to) this.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
  }
}
