/**
 * Which pages of a slot's memory have to be compared with the base. To read all of it takes longer
 * than everything else in a nap: some 40 MB, base included, of which a small tenant has changed
 * one. Where the host can have it noted which pages are written, only those are looked at.
 *
 * What is relied on: *a page that is watched, and that nobody has written since, equals the base*.
 * So pages are watched only when the whole memory is known to equal it, and until that was so for
 * the first time everything is compared.
 *
 * To watch a page takes a call of the system and interrupts all processors that threads of this
 * process run on, and its next write takes a fault: to compare it is a tenth of that. What every
 * tenant writes is better left unwatched, and looked at each time. So a page is watched again when
 * several tenants in a row have left it as the base has it, and when there are many of those.
 */
import { addPage, eachRun, type PageRuns } from './page-runs.ts'

/** Has writes to one memory noted, page by page. Pages as in `memory-delta.ts`. */
export interface WriteNotes {
  /**
   * Pages below `endPage` that may have been written since they were last watched, or that never
   * were.
   */
  written(endPage: number): PageRuns
  /** Notes the next write to each of these pages. */
  watch(runs: PageRuns): void
}

/** Begins to take notes; undefined where nobody can. */
export type NoteWrites = (memory: WebAssembly.Memory) => WriteNotes | undefined

/** So many tenants in a row leave a page as the base has it before it is watched again. */
const TENANTS_MIN = 8
/** So many pages must have come to that: to compare them takes 60 us. */
const RESTED_MIN = 128
/** In so many runs at most; else all of the memory is watched by one call. */
const RUNS_MAX = 32

export class TouchedPages {
  readonly #notes: WriteNotes
  /** By page: 0 if it is watched, else how many more tenants must leave it alone, and 1. */
  #patience: Uint8Array<ArrayBuffer> = new Uint8Array(0)

  constructor(notes: WriteNotes) {
    this.#notes = notes
  }

  /** Pages below `endPage` that may differ from the base. */
  suspects(endPage: number): PageRuns {
    return this.#notes.written(endPage)
  }

  /**
   * The whole memory equals the base now.
   * @param endPage where it ends
   * @param differed the pages that did not, before; undefined if that is not known
   */
  settle(endPage: number, differed: Iterable<number> | undefined): void {
    if (this.#patience.length < endPage) this.#begin(endPage)
    else if (differed) this.#goOn(endPage, differed)
  }

  /** The memory is seen for the first time, or has grown. */
  #begin(endPage: number): void {
    this.#patience = new Uint8Array(endPage)
    this.#notes.watch([0, endPage])
  }

  #goOn(endPage: number, differed: Iterable<number>): void {
    const patience = this.#patience
    const rested: number[] = []
    let restedCount = 0
    for (const page of differed) patience[page] = 0
    for (const [first, count] of eachRun(this.#notes.written(endPage))) {
      for (let page = first; page < first + count; page++) {
        const left = patience[page] || TENANTS_MIN + 1
        patience[page] = Math.max(left - 1, 1)
        if (left > 1) continue
        addPage(rested, page)
        restedCount++
      }
    }
    if (restedCount < RESTED_MIN) return
    if (rested.length > 2 * RUNS_MAX) this.#begin(endPage)
    else this.#watch(rested)
  }

  #watch(runs: PageRuns): void {
    for (const [first, count] of eachRun(runs)) this.#patience.fill(0, first, first + count)
    this.#notes.watch(runs)
  }
}
