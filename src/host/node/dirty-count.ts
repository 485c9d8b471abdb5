/**
 * What all threads of a process have dirtied in files of tenants and have not committed. Each one
 * counts in a cell of its own as well, for what is to be forgotten when it has ended, in whatever
 * way.
 */
import { threadId } from 'node:worker_threads'
import { sharedCells } from './shared-cell.ts'

/** Under this name all threads of a process find the cells. */
const NAME = 'pgnap: what each thread has dirtied'
/** Threads whose numbers are so far apart have one cell: there are never so many at once. */
const THREADS = 64
/** Behind those of the threads. */
const ALL = THREADS
const CELLS = THREADS + 1
const UNIT_BYTES = 1024

export class DirtyCount {
  readonly #cells = sharedCells(NAME, CELLS)
  readonly #own = threadId % THREADS
  #bytes = 0

  /** The caller has dirtied so many bytes more, or less. */
  add(bytes: number): void {
    const before = unitsOf(this.#bytes)
    this.#bytes += bytes
    const change = unitsOf(this.#bytes) - before
    if (change === 0) return
    Atomics.add(this.#cells, this.#own, change)
    Atomics.add(this.#cells, ALL, change)
  }

  /** Of all threads, in whole KiB each. */
  get bytes(): number {
    return Atomics.load(this.#cells, ALL) * UNIT_BYTES
  }
}

/** A thread has ended: what it has not committed is nowhere. */
export function forgetDirtyOf(endedThreadId: number): void {
  const cells = sharedCells(NAME, CELLS)
  Atomics.sub(cells, ALL, Atomics.exchange(cells, endedThreadId % THREADS, 0))
}

/** To be called before a thread is started. */
export function shareDirtyCounts(): void {
  sharedCells(NAME, CELLS)
}

function unitsOf(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES)
}
