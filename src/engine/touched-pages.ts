/**
 * Which pages of a slot's memory have to be compared with the base. To read all of it takes longer
 * than everything else in a nap: some 40 MB, base included, of which a small tenant has changed
 * one. Where the host can have a memory show the base's own pages until they are written, only
 * those are looked at that are not the base's any more; and only those take memory.
 *
 * To give a page back to the base takes a call of the system and interrupts all processors that
 * threads of this process run on, and its next write takes a fault and a copy: to compare it is a
 * tenth of that. What every tenant writes is better left as it is, and looked at each time. So a
 * page is given back when several tenants in a row have left it as the base has it, and when there
 * are many of those.
 */
import { addPage, eachRun, type PageRuns } from './page-runs.ts'

/** A memory that shows the base until it is written. Pages as in `memory-delta.ts`. */
export interface SharedPages {
  /**
   * Pages below `endPage` that are the memory's own, or may be; all others equal the base.
   * @param firstPage only from here on. Default: all
   */
  own(endPage: number, firstPage?: number): PageRuns
  /** Shows these pages of the base again: what they hold is lost, and the memory they take free. */
  giveBack(runs: PageRuns): void
}

/**
 * Has a memory equal the base by showing its pages; undefined where that is impossible, and the
 * memory holds anything then.
 */
export type ShareBase = (memory: WebAssembly.Memory) => SharedPages | undefined

/** So many tenants in a row leave a page as the base has it before it is given back. */
const TENANTS_MIN = 8
/** So many pages must have come to that: to compare them takes 60 us. */
const RESTED_MIN = 128
/** In so many runs at most; else all of the memory is given back by one call. */
const RUNS_MAX = 32

export class TouchedPages {
  readonly #shared: SharedPages
  /** By page: 0 if it is the base's, else how many more tenants must leave it alone, and 1. */
  #patience: Uint8Array<ArrayBuffer> = new Uint8Array(0)
  /** As they were told last: what has been written since is told next time. */
  #suspects: PageRuns = []

  constructor(shared: SharedPages) {
    this.#shared = shared
  }

  /** Pages below `endPage` that may differ from the base. */
  suspects(endPage: number): PageRuns {
    return (this.#suspects = this.#shared.own(endPage))
  }

  /** The same of pages from `firstPage` on, for whoever does not look at all of them. */
  suspectsFrom(firstPage: number, endPage: number): PageRuns {
    return this.#shared.own(endPage, firstPage)
  }

  /**
   * The whole memory equals the base now.
   * @param endPage where it ends
   * @param differed the pages that did not, before, as far as that is known
   */
  settle(endPage: number, differed: Iterable<number>): void {
    const patience = this.#reach(endPage)
    const rested: number[] = []
    let restedCount = 0
    for (const page of differed) patience[page] = 0
    for (const [first, count] of eachRun(this.#suspects)) {
      for (let page = first; page < first + count; page++) {
        const left = patience[page] || TENANTS_MIN + 1
        patience[page] = Math.max(left - 1, 1)
        if (left > 1) continue
        addPage(rested, page)
        restedCount++
      }
    }
    this.#suspects = []
    if (restedCount < RESTED_MIN) return
    this.#giveBack(rested.length > 2 * RUNS_MAX ? [0, endPage] : rested)
  }

  #giveBack(runs: PageRuns): void {
    for (const [first, count] of eachRun(runs)) this.#patience.fill(0, first, first + count)
    this.#shared.giveBack(runs)
  }

  #reach(endPage: number): Uint8Array<ArrayBuffer> {
    if (this.#patience.length >= endPage) return this.#patience
    const grown = new Uint8Array(endPage)
    grown.set(this.#patience)
    return (this.#patience = grown)
  }
}
