/**
 * Has slots show the pages of the base until they write to them: a private mapping of the base's
 * file, whose pages the kernel copies when they are first written (copy on write). Which those are
 * `/proc/self/pagemap` tells: they are the memory's own, all others the file's. What the kernel
 * itself writes counts as well. Needs Linux, and no privilege.
 *
 * Where any of it cannot be had slots copy the base and are compared whole.
 * Source: Documentation/admin-guide/mm/pagemap.rst.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { PgnapError } from '../../../base/errors.ts'
import { type BaseMemory, DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { addPage, eachRun, endOfRuns, type PageRuns } from '../../../engine/page-runs.ts'
import type { ShareBase, SharedPages } from '../../../engine/touched-pages.ts'
import { wasmPages } from '../../../engine/wasm-module.ts'
import { addressOf } from '../ffi.ts'
import { type BaseFile, pageBytes } from './base-file.ts'
import { loadMemoryCalls, type MemoryCalls } from './memory-calls.ts'

/** An entry of the page map, of which the upper half tells what is asked here. */
const ENTRY_BYTES = 8
/** Bits 63 and 62: the page is in memory, or swapped out. */
const IS_THERE = 0xc000_0000
/** Bit 61: it is a file's, or shared. */
const IS_OF_FILE = 0x2000_0000
/** Of a run of the base, on which all this is tried. */
const PROBED_PAGES = 3

/** What a thread looks at memory with. */
export interface MemorySight {
  readonly calls: MemoryCalls
  /** Its `/proc/self/pagemap`. */
  readonly pageMap: number
}

/** For slots of this thread; undefined where it is impossible. */
export function baseSharer(base: BaseMemory, file: BaseFile): ShareBase | undefined {
  const sight = openSight()
  if (!sight) return undefined
  const share: ShareBase = (memory) => MappedPages.open(sight, { base, file }, memory)
  if (isSound(sight, { base, file })) return share
  closeSync(sight.pageMap)
  return undefined
}

/** A base, and the file that it is in. */
export interface BaseInFile {
  readonly base: BaseMemory
  readonly file: BaseFile
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

  /**
   * @returns undefined if anything of it fails: the memory holds anything then
   * @throws PgnapError SLOT_MEMORY_EXHAUSTED if it must not be touched any more
   */
  static open(
    sight: MemorySight,
    { base, file }: BaseInFile,
    memory: WebAssembly.Memory,
  ): MappedPages | undefined {
    const { byteLength } = memory.buffer
    // Others may be moved when they grow.
    if (!(memory.buffer instanceof SharedArrayBuffer)) return undefined
    if (endOfRuns(file.runs) * DELTA_PAGE_BYTES > byteLength) return undefined
    if (!isThatFile(file) || !sight.calls.drop(new Uint8Array(memory.buffer))) return undefined
    for (const [page, count] of eachRun(file.runs)) {
      const bytes = pageBytes(memory, page, count)
      const offset = page * DELTA_PAGE_BYTES
      if (!sight.calls.map(bytes, file.descriptor, offset, 'copied')) {
        if (sight.calls.mapNothing(bytes)) return undefined
        throw new PgnapError('SLOT_MEMORY_EXHAUSTED', 'memory could not be mapped', {
          hint: 'raise vm.max_map_count, or use --no-share-base',
        })
      }
      const [shown, expected] = [pageBytes(memory, page, 1), pageBytes(base.memory, page, 1)]
      if (!isDeepStrictEqual(shown, expected)) return undefined
    }
    return new MappedPages(sight, memory)
  }

  own(endPage: number, firstPage = 0): PageRuns {
    const entries = this.#read(firstPage, endPage)
    // Without an answer it may be all of them.
    if (!entries) return [firstPage, endPage - firstPage]
    const runs: number[] = []
    for (let page = firstPage; page < endPage; page++) {
      const flags = entries[2 * (page - firstPage) + 1] ?? 0
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

  #read(firstPage: number, endPage: number): Uint32Array | undefined {
    if (this.#entries.length < 2 * endPage) this.#entries = new Uint32Array(2 * endPage)
    const length = (endPage - firstPage) * ENTRY_BYTES
    const position = (this.#firstEntry + firstPage) * ENTRY_BYTES
    try {
      const read = readSync(this.#sight.pageMap, this.#entries, 0, length, position)
      return read === length ? this.#entries : undefined
    } catch {
      return undefined
    }
  }
}

/** Whether the number is still that of the file that was meant. */
function isThatFile({ descriptor, device, inode }: BaseFile): boolean {
  try {
    const { dev, ino } = fstatSync(descriptor)
    return dev === device && ino === inode
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
export function isSound(sight: MemorySight, of: BaseInFile): boolean {
  const run = [...eachRun(of.file.runs)].find(([, count]) => count >= PROBED_PAGES)
  try {
    return run !== undefined && behaves(sight, of, run[0])
  } catch {
    // No memory, or nothing may be read.
    return false
  }
}

/** @param first page of some that the base holds */
function behaves(sight: MemorySight, { base, file }: BaseInFile, first: number): boolean {
  const [second, third, beyond] = [first + 1, first + 2, first + PROBED_PAGES]
  const size = wasmPages((beyond + 1) * DELTA_PAGE_BYTES)
  const memory = new WebAssembly.Memory({ initial: size, maximum: size, shared: true })
  const runs = [first, PROBED_PAGES]
  const shown = MappedPages.open(sight, { base, file: { ...file, runs } }, memory)
  const areOwn = (...expected: number[]): boolean =>
    isDeepStrictEqual(shown?.own(beyond + 1), expected)
  const isBase = (): boolean =>
    isDeepStrictEqual(
      pageBytes(memory, first, PROBED_PAGES),
      pageBytes(base.memory, first, PROBED_PAGES),
    )
  const change = (page: number): void => void pageBytes(memory, page, 1).fill(0xa5, 0, 8)
  const wereNone = isBase() && areOwn()
  change(first)
  change(beyond)
  const zeros = openSync('/dev/zero', 'r')
  try {
    // By the kernel itself.
    readSync(zeros, pageBytes(memory, third, 1), 0, 1, null)
  } finally {
    closeSync(zeros)
  }
  const wereThese = areOwn(first, 1, third, 2)
  shown?.giveBack([first, 2])
  const areTwo = areOwn(third, 2)
  change(second)
  shown?.giveBack([0, beyond + 1])
  return wereNone && wereThese && areTwo && areOwn() && isBase()
}
