/**
 * Has slots show the pages of the base until they write to them: a private mapping of the base's
 * file, whose pages the kernel copies when they are first written (copy on write). Which those are
 * `/proc/self/pagemap` tells: they are the memory's own, all others the file's. What the kernel
 * itself writes counts as well. Needs Linux, and no privilege.
 *
 * Where any of it cannot be had slots copy the base and are compared whole: nothing here throws.
 * Source: Documentation/admin-guide/mm/pagemap.rst.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { addPage, eachRun, type PageRuns } from '../../../engine/page-runs.ts'
import type { ShareBase, SharedPages } from '../../../engine/touched-pages.ts'
import { addressOf } from '../ffi.ts'
import { type BaseFile, pageBytes } from './base-file.ts'
import { loadMemoryCalls, type MemoryCalls } from './memory-calls.ts'

/** An entry of the page map, of which the upper half tells what is asked here. */
const ENTRY_BYTES = 8
/** Bits 63 and 62: the page is in memory, or swapped out. */
const IS_THERE = 0xc000_0000
/** Bit 61: it is a file's, or shared. */
const IS_OF_FILE = 0x2000_0000

/** What a thread looks at memory with. */
export interface MemorySight {
  readonly calls: MemoryCalls
  /** Its `/proc/self/pagemap`. */
  readonly pageMap: number
}

/** For slots of this thread; undefined where it is impossible. */
export function baseSharer(file: BaseFile): ShareBase | undefined {
  const sight = openSight()
  if (!sight) return undefined
  if (isSound(sight, file)) return (memory) => MappedPages.open(sight, file, memory)
  closeSync(sight.pageMap)
  return undefined
}

export class MappedPages implements SharedPages {
  readonly #sight: MemorySight
  /** What is shown must not be given to somebody else meanwhile. */
  readonly #memory: WebAssembly.Memory
  readonly #firstEntry: number
  #entries = new Uint32Array(0)

  private constructor(sight: MemorySight, memory: WebAssembly.Memory) {
    this.#sight = sight
    this.#memory = memory
    const address = addressOf(new Uint8Array(memory.buffer))
    this.#firstEntry = Number(address / BigInt(DELTA_PAGE_BYTES))
  }

  /** @returns undefined if anything of it fails: the memory holds anything then */
  static open(
    sight: MemorySight,
    file: BaseFile,
    memory: WebAssembly.Memory,
  ): MappedPages | undefined {
    // Others may be moved when they grow.
    if (!(memory.buffer instanceof SharedArrayBuffer)) return undefined
    if (!isThatFile(file)) return undefined
    if (!sight.calls.drop(new Uint8Array(memory.buffer))) return undefined
    for (const [page, count] of eachRun(file.runs)) {
      const bytes = pageBytes(memory, page, count)
      const { descriptor } = file
      if (!sight.calls.map(bytes, descriptor, page * DELTA_PAGE_BYTES, 'copied')) return undefined
    }
    return new MappedPages(sight, memory)
  }

  own(endPage: number): PageRuns {
    const entries = this.#read(endPage)
    // Without an answer it may be all of them.
    if (!entries) return [0, endPage]
    const runs: number[] = []
    for (let page = 0; page < endPage; page++) {
      const flags = entries[2 * page + 1] ?? 0
      if ((flags & IS_THERE) !== 0 && (flags & IS_OF_FILE) === 0) addPage(runs, page)
    }
    return runs
  }

  giveBack(runs: PageRuns): void {
    // What cannot be given back stays the memory's own.
    for (const [page, count] of eachRun(runs)) {
      this.#sight.calls.drop(pageBytes(this.#memory, page, count))
    }
  }

  #read(endPage: number): Uint32Array | undefined {
    if (this.#entries.length < 2 * endPage) this.#entries = new Uint32Array(2 * endPage)
    const length = endPage * ENTRY_BYTES
    const position = this.#firstEntry * ENTRY_BYTES
    try {
      const read = readSync(this.#sight.pageMap, this.#entries, 0, length, position)
      return read === length ? this.#entries : undefined
    } catch {
      return undefined
    }
  }
}

/** Whether the number is still that of the file that was meant. */
function isThatFile({ descriptor, inode }: BaseFile): boolean {
  try {
    return fstatSync(descriptor).ino === inode
  } catch {
    return false
  }
}

/** Undefined where the calls or the page map are missing. */
export function openSight(): MemorySight | undefined {
  const calls = loadMemoryCalls()
  if (!calls) return undefined
  try {
    return { calls, pageMap: openSync('/proc/self/pagemap', 'r') }
  } catch {
    // It is not there, may not be read, or no descriptor is left.
    return undefined
  }
}

/** A kernel may take the calls, and mean something else by them: it is tried. */
export function isSound(sight: MemorySight, file: BaseFile): boolean {
  try {
    return behaves(sight, file)
  } catch {
    // No memory, or nothing may be read.
    return false
  }
}

function behaves(sight: MemorySight, file: BaseFile): boolean {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const heap = new Uint8Array(memory.buffer)
  const pages = heap.length / DELTA_PAGE_BYTES
  const touch = (page: number): number => (heap[page * DELTA_PAGE_BYTES] = 1)
  const shown = MappedPages.open(sight, { ...file, runs: [4, 8] }, memory)
  const areOwn = (...runs: number[]): boolean => isDeepStrictEqual(shown?.own(pages), runs)
  const before = heap.slice(4 * DELTA_PAGE_BYTES, 12 * DELTA_PAGE_BYTES)
  const wereNone = areOwn()
  touch(2)
  touch(5)
  const zeros = openSync('/dev/zero', 'r')
  try {
    // By the kernel itself.
    readSync(zeros, heap, 9 * DELTA_PAGE_BYTES, 1, null)
  } finally {
    closeSync(zeros)
  }
  const wereThese = areOwn(2, 1, 5, 1, 9, 1)
  shown?.giveBack([5, 1])
  const areTwo = areOwn(2, 1, 9, 1)
  shown?.giveBack([0, pages])
  const after = heap.slice(4 * DELTA_PAGE_BYTES, 12 * DELTA_PAGE_BYTES)
  return wereNone && wereThese && areTwo && areOwn() && isDeepStrictEqual(before, after)
}
