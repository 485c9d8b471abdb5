/**
 * What all threads of a process have dirtied in files of tenants and have not committed. Each has a
 * cell of its own, which is emptied when it has ended, in whatever way.
 */
import { threadId } from 'node:worker_threads'
import { sharedCells } from './shared-cell.ts'

/** Under this name all threads of a process find the cells. */
const NAME = 'pgnap: what each thread has dirtied'
/** Threads whose numbers are so far apart have one cell: there are never so many at once. */
const CELLS = 64
const UNIT_BYTES = 1024

export class DirtyCount {
  readonly #cells = sharedCells(NAME, CELLS)
  readonly #own = threadId % CELLS
  #bytes = 0

  /** The caller has dirtied so many bytes more, or less. */
  add(bytes: number): void {
    const before = unitsOf(this.#bytes)
    this.#bytes += bytes
    const change = unitsOf(this.#bytes) - before
    if (change !== 0) Atomics.add(this.#cells, this.#own, change)
  }

  /** Of all threads, in whole KiB each. */
  get bytes(): number {
    let units = 0
    for (let cell = 0; cell < CELLS; cell++) units += Atomics.load(this.#cells, cell)
    return units * UNIT_BYTES
  }
}

/** A thread has ended: what it has not committed is nowhere. */
export function forgetDirtyOf(endedThreadId: number): void {
  Atomics.store(sharedCells(NAME, CELLS), endedThreadId % CELLS, 0)
}

/** To be called before a thread is started. */
export function shareDirtyCounts(): void {
  sharedCells(NAME, CELLS)
}

function unitsOf(bytes: number): number {
  return Math.ceil(bytes / UNIT_BYTES)
}
