/**
 * Sorts many names without holding up its thread: sorting 100,000 at once would take 90 ms. It is
 * a merge sort that gives way every so many names; of more names than are wanted, it keeps the
 * first.
 *
 * Runs that are waiting to be merged are each longer than those after it, so that every name is
 * merged as many times as the count of names has doublings.
 */
import { assert } from '../base/assert.ts'
import { SortedNames } from './sorted-names.ts'

export interface NameSorterOptions {
  /** Names that are kept; twice as many may be in memory for a while. */
  readonly countMax: number
  /** Lets others have the thread. */
  readonly giveWay: () => Promise<void>
}

/** Names sorted or merged in one go: less than a millisecond. */
export const NAMES_PER_TURN = 1_000

export class NameSorter<Name extends string> {
  readonly #options: NameSorterOptions
  readonly #runs: Name[][] = []
  #complete = true

  constructor(options: NameSorterOptions) {
    assert(options.countMax > 0, 'at least one name is kept')
    this.#options = options
  }

  /** Whether no name had to be left out so far. */
  get complete(): boolean {
    return this.#complete
  }

  /** At most {@link NAMES_PER_TURN} names, in any order. */
  async add(names: readonly Name[]): Promise<void> {
    assert(names.length <= NAMES_PER_TURN, 'a piece is sorted in one go')
    let run = [...new Set(names)].toSorted()
    for (;;) {
      const before = this.#runs.at(-1)
      if (!before || before.length > run.length) break
      this.#runs.pop()
      run = await this.#merge(before, run)
    }
    this.#runs.push(run)
    await this.#options.giveWay()
  }

  /** All names that were added, each once. Nothing can be added afterwards. */
  async finish(): Promise<SortedNames<Name>> {
    let run: Name[] = []
    for (let before = this.#runs.pop(); before; before = this.#runs.pop()) {
      run = await this.#merge(before, run)
    }
    const sorted = new SortedNames<Name>()
    for (let at = 0; at < run.length; at += NAMES_PER_TURN) {
      sorted.append(run.slice(at, at + NAMES_PER_TURN))
      await this.#options.giveWay()
    }
    return sorted
  }

  /** A name that both have is in the result once. */
  async #merge(left: readonly Name[], right: readonly Name[]): Promise<Name[]> {
    const { countMax, giveWay } = this.#options
    const merged: Name[] = []
    let leftAt = 0
    let rightAt = 0
    for (;;) {
      const a = left[leftAt]
      const b = right[rightAt]
      const next = b === undefined || (a !== undefined && a <= b) ? a : b
      if (next === undefined) return merged
      if (merged.length === countMax) break
      if (a === next) leftAt++
      if (b === next) rightAt++
      merged.push(next)
      if (merged.length % NAMES_PER_TURN === 0) await giveWay()
    }
    this.#complete = false
    return merged
  }
}
