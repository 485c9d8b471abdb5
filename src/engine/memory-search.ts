/**
 * Looking for things in a module's memory when the engine is built: variables that no module
 * exports are known by what they hold.
 */
import { assert } from '../base/assert.ts'
import { textAt, utf8 } from '../base/bytes.ts'

/** struct HTAB: the table's header, and its name. */
const TABLE_NAME_AT = 28

/** Words and texts of a memory as C sees them. */
export class MemorySearch {
  readonly #heap: Uint8Array
  readonly #words: Uint32Array

  constructor(heap: Uint8Array) {
    this.#heap = heap
    this.#words = new Uint32Array(heap.buffer, heap.byteOffset, heap.length >> 2)
  }

  word(at: number): number {
    return this.#words[at >> 2] ?? 0
  }

  setWord(at: number, value: number): void {
    this.#words[at >> 2] = value
  }

  text(at: number): string {
    return textAt(this.#heap, at)
  }

  /** @param endBytes how far to look. Default: to the end */
  wordsEqualTo(value: number, endBytes: number = this.#heap.length): number[] {
    const words = this.#words.subarray(0, endBytes >> 2)
    const found: number[] = []
    for (let index = words.indexOf(value); index >= 0; index = words.indexOf(value, index + 1)) {
      found.push(index * 4)
    }
    return found
  }

  /** Variables that point at a hash table of that name, up to `endBytes`. */
  tablesNamed(name: string, endBytes?: number): number[] {
    return this.textsEqualTo(name)
      .flatMap((text) => this.wordsEqualTo(text))
      .flatMap((at) => this.wordsEqualTo(at - TABLE_NAME_AT, endBytes))
  }

  /** Addresses of whole texts. */
  textsEqualTo(text: string): number[] {
    const bytes = utf8(`${text}\0`)
    const heap = this.#heap
    const [first = 0, second = 0] = bytes
    const found: number[] = []
    for (let at = heap.indexOf(first); at >= 0; at = heap.indexOf(first, at + 1)) {
      // Almost all others differ here.
      if (heap[at + 1] !== second) continue
      if (bytes.every((byte, index) => heap[at + index] === byte)) found.push(at)
    }
    return found
  }
}

/** Places of a byte, of those given or of all. */
export function bytesEqualTo(
  value: number,
  bytes: Uint8Array,
  places?: readonly number[],
): number[] {
  if (places) return places.filter((at) => bytes[at] === value)
  const found: number[] = []
  for (let at = 0; at < bytes.length; at++) if (bytes[at] === value) found.push(at)
  return found
}

/** The one place where something was found. */
export function onlyPlace(what: string, found: readonly number[]): number {
  assert(found.length === 1 && found[0], `${what} is in one place, not in ${found.length}`)
  return found[0]
}
