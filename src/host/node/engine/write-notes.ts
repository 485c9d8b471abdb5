/**
 * Has the kernel note which pages of a memory are written (`page-kernel.ts`). Where it cannot there
 * are no notes, and slots are compared whole: nothing here throws.
 *
 * One descriptor of userfaultfd serves all threads, and none closes it: Node does not know it, so
 * it outlives the thread that has opened it.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { eachRun, type PageRuns } from '../../../engine/page-runs.ts'
import type { WriteNotes } from '../../../engine/touched-pages.ts'
import { addressOf } from '../ffi.ts'
import { sharedCell } from '../shared-cell.ts'
import { type Calls, loadCalls, openFaults, PageKernel } from './page-kernel.ts'

/** Under this name all threads find the descriptor, plus 1; or {@link IMPOSSIBLE}. */
const CELL_NAME = 'pgnap: the descriptor by which writes to memory are noted'
const UNKNOWN = 0
const IMPOSSIBLE = -1
const PAGE = BigInt(DELTA_PAGE_BYTES)

/** To be called before a thread is started, so that it finds what others have opened. */
export function shareWriteNotes(): void {
  sharedCell(CELL_NAME)
}

let ofThread: PageKernel | 'unasked' | undefined = 'unasked'

/** Notes of what is written to `memory`, wherever from; undefined if they cannot be had here. */
export function noteWrites(memory: WebAssembly.Memory): WriteNotes | undefined {
  if (ofThread === 'unasked') {
    ofThread = undefined
    ofThread = openKernel()
  }
  // Others may be moved when they grow.
  const canStay = memory.buffer instanceof SharedArrayBuffer
  return canStay && ofThread ? new KernelWriteNotes(ofThread, memory) : undefined
}

export class KernelWriteNotes implements WriteNotes {
  readonly #kernel: PageKernel
  /** What is watched must not be given to somebody else meanwhile. */
  readonly memory: WebAssembly.Memory
  readonly #start: bigint
  /** Up to there its pages can be protected. */
  #registeredPages = 0

  constructor(kernel: PageKernel, memory: WebAssembly.Memory) {
    this.#kernel = kernel
    this.memory = memory
    this.#start = addressOf(new Uint8Array(memory.buffer))
  }

  written(endPage: number): PageRuns {
    const runs: number[] = []
    let toldPage = 0
    const end = Math.min(endPage, this.#registeredPages)
    for (let page = 0; page < end;) {
      const next = this.#kernel.tellWritten(this.#address(page), this.#address(end), (from, to) => {
        // Where it had no room for more the kernel begins again a little earlier.
        const first = Math.max(this.#page(from), toldPage)
        const toPage = this.#page(to)
        if (first < toPage) runs.push(first, toPage - first)
        toldPage = Math.max(toldPage, toPage)
      })
      // Without an answer all may have been written.
      if (next === undefined) return [0, endPage]
      page = this.#page(next)
    }
    if (end < endPage) runs.push(end, endPage - end)
    return runs
  }

  watch(runs: PageRuns): void {
    const last = runs.length - 2
    const endPage = (runs[last] ?? 0) + (runs[last + 1] ?? 0)
    if (endPage > this.#registeredPages) {
      const from = this.#address(this.#registeredPages)
      // What cannot be protected goes on counting as written, here and below.
      if (!this.#kernel.register(from, this.#address(endPage))) return
      this.#registeredPages = endPage
    }
    for (const [page, count] of eachRun(runs)) {
      this.#kernel.protect(this.#address(page), this.#address(page + count))
    }
  }

  #address(page: number): bigint {
    return this.#start + BigInt(page) * PAGE
  }

  #page(address: bigint): number {
    return Number((address - this.#start) / PAGE)
  }
}

/** Undefined where the kernel, Node or whoever confines the process does not have it. */
function openKernel(): PageKernel | undefined {
  const cell = sharedCell(CELL_NAME)
  if (Atomics.load(cell, 0) === IMPOSSIBLE) return undefined
  const calls = loadCalls()
  const pageMap = calls && opened('/proc/self/pagemap')
  if (!calls || pageMap === undefined) return undefined
  const kernel = kernelOf(calls, pageMap, cell)
  if (!kernel) closeSync(pageMap)
  return kernel
}

function kernelOf(calls: Calls, pageMap: number, cell: Int32Array): PageKernel | undefined {
  const shared = Atomics.load(cell, 0)
  if (shared > UNKNOWN) return new PageKernel(calls, { faults: shared - 1, pageMap })
  const faults = openFaults(calls)
  // Perhaps the process has too many files open just now: another thread may ask again.
  if (faults === undefined) return undefined
  const kernel = new PageKernel(calls, { faults, pageMap })
  const isGood = kernel.shakeHands() && isSound(kernel)
  // Of two threads that ask at the same moment each keeps what it has opened.
  Atomics.compareExchange(cell, 0, UNKNOWN, isGood ? faults + 1 : IMPOSSIBLE)
  if (isGood) return kernel
  // `closeSync` complains about what Node has not opened.
  calls.close(faults)
  return undefined
}

/** A kernel may take the commands, and mean something else by them: it is tried. */
export function isSound(kernel: PageKernel): boolean {
  const zeros = opened('/dev/zero')
  if (zeros === undefined) return false
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const heap = new Uint8Array(memory.buffer)
  const notes = new KernelWriteNotes(kernel, memory)
  const endPage = heap.length / DELTA_PAGE_BYTES
  const areWritten = (...runs: number[]): boolean => isDeepStrictEqual(notes.written(endPage), runs)
  const touch = (page: number): number => (heap[page * DELTA_PAGE_BYTES] = 1)
  touch(2)
  notes.watch([0, endPage])
  const wasClean = areWritten()
  touch(2)
  touch(5)
  // By the kernel itself.
  readSync(zeros, heap, 9 * DELTA_PAGE_BYTES, 1, null)
  closeSync(zeros)
  const areNoted = areWritten(2, 1, 5, 1, 9, 1)
  notes.watch([4, 2])
  return wasClean && areNoted && areWritten(2, 1, 9, 1)
}

/** Undefined if it is not there, may not be read, or no descriptor is left. */
function opened(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch {
    return undefined
  }
}
