/** Runs of pages as tests compare them. */
import { eachRun, type PageRuns } from '../../src/engine/page-runs.ts'

/** Every page of the runs. */
export function pagesIn(runs: PageRuns): number[] {
  return [...eachRun(runs)].flatMap(([first, count]) =>
    Array.from({ length: count }, (_, index) => first + index),
  )
}
