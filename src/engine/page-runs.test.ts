import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pagesIn } from '../../test/support/page-runs.ts'
import { addPage, runsWithin } from './page-runs.ts'

const pages = fc.uniqueArray(fc.nat(60)).map((all) => all.toSorted((a, b) => a - b))

function runsOf(all: readonly number[]): number[] {
  const runs: number[] = []
  for (const page of all) addPage(runs, page)
  return runs
}

test('runs within bounds have the pages within them', () => {
  fc.assert(
    fc.property(pages, fc.nat(61), fc.nat(61), (all, first, end) => {
      const within = all.filter((page) => page >= first && page < end)
      assert.deepEqual(pagesIn(runsWithin(runsOf(all), first, end)), within)
    }),
  )
})
