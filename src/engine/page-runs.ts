/** Pages of a memory as runs: first page, number of pages, first page, ... ascending. */
export type PageRuns = ArrayLike<number>

/** The runs one by one. */
export function* eachRun(runs: PageRuns): Generator<readonly [page: number, count: number]> {
  for (let index = 0; index < runs.length; index += 2) {
    yield [runs[index] ?? 0, runs[index + 1] ?? 0]
  }
}

/** Behind the last page of them. */
export function endOfRuns(runs: PageRuns): number {
  return (runs[runs.length - 2] ?? 0) + (runs[runs.length - 1] ?? 0)
}

/** One more page behind all others: of the last run, if it continues that. */
export function addPage(runs: number[], page: number): void {
  const last = runs.length - 1
  const count = runs[last] ?? 0
  if (count > 0 && (runs[last - 1] ?? 0) + count === page) runs[last] = count + 1
  else runs.push(page, 1)
}

/** What of them lies in `[first, end)`. */
export function runsWithin(runs: PageRuns, first: number, end: number): number[] {
  const within: number[] = []
  for (const [page, count] of eachRun(runs)) {
    const from = Math.max(page, first)
    const to = Math.min(page + count, end)
    if (from < to) within.push(from, to - from)
  }
  return within
}
