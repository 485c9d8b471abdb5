/**
 * Names in order, many of them in little memory: 100,000 names of 17 characters take 1.8 MB. They
 * lie in chunks of about a hundred, each one text. As a string of its own each would take three
 * times as much, and be one more object for every garbage collection to visit.
 *
 * A change writes one chunk anew, and finding a place is a binary search over chunks: neither
 * depends on how many names there are.
 */
import { assert } from '../base/assert.ts'

interface Chunk {
  readonly first: string
  readonly text: string
}

const NAMES_PER_CHUNK = 128
/** In no name: `tenant-name.ts`. */
const SEPARATOR = '\n'

export class SortedNames<Name extends string> {
  readonly #chunks: Chunk[] = []
  #count = 0
  #last: Name | undefined

  get count(): number {
    return this.#count
  }

  /** Undefined if it is empty. */
  get last(): Name | undefined {
    return this.#last
  }

  /** Adds names that are in order and come after all others. */
  append(names: readonly Name[]): void {
    const [first] = names
    if (first === undefined) return
    assert(this.#last === undefined || this.#last < first, 'names are appended in order')
    this.#put(this.#chunks.length, 0, names)
    this.#count += names.length
    this.#last = names.at(-1)
  }

  /** Does nothing if the name is there. */
  add(name: Name): void {
    if (this.#last === undefined) return this.append([name])
    const at = this.#chunkOf(name)
    const names = this.#namesOf(at)
    const place = placeOf(names, name)
    if (names[place] === name) return
    this.#put(at, 1, names.toSpliced(place, 0, name))
    this.#count++
    if (this.#last < name) this.#last = name
  }

  /** Does nothing if the name is not there. */
  delete(name: Name): void {
    const at = this.#chunkOf(name)
    const names = this.#namesOf(at)
    const place = placeOf(names, name)
    if (names[place] !== name) return
    this.#put(at, 1, names.toSpliced(place, 1))
    this.#count--
    if (this.#last === name) this.#last = this.#namesOf(this.#chunks.length - 1).at(-1)
  }

  /** The first `count` names that come after `name`. */
  after(name: string, count: number): Name[] {
    const found: Name[] = []
    for (let at = this.#chunkOf(name); at < this.#chunks.length && found.length < count; at++) {
      const names = this.#namesOf(at)
      const place = placeOf(names, name)
      const from = names[place] === name ? place + 1 : place
      found.push(...names.slice(from, from + count - found.length))
    }
    return found
  }

  /** Puts names where `replaced` chunks have been, in chunks that are not too large. */
  #put(at: number, replaced: number, names: readonly Name[]): void {
    const pieceCount = Math.ceil(names.length / (2 * NAMES_PER_CHUNK))
    const pieceLength = Math.ceil(names.length / pieceCount)
    const chunks = Array.from({ length: pieceCount }, (_, index) => {
      const piece = names.slice(index * pieceLength, (index + 1) * pieceLength)
      return { first: piece[0] ?? '', text: piece.join(SEPARATOR) }
    })
    this.#chunks.splice(at, replaced, ...chunks)
  }

  /** The last chunk that does not begin after `name`; the first one, if all do. */
  #chunkOf(name: string): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#chunks[middle]?.first ?? '') <= name) low = middle + 1
      else high = middle
    }
    return Math.max(0, low - 1)
  }

  #namesOf(at: number): Name[] {
    const chunk = this.#chunks[at]
    return chunk ? (chunk.text.split(SEPARATOR) as Name[]) : []
  }
}

/** Where `name` is, or would be. */
function placeOf(names: readonly string[], name: string): number {
  const place = names.findIndex((other) => other >= name)
  return place < 0 ? names.length : place
}
