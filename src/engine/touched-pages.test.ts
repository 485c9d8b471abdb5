import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pagesIn } from '../../test/support/page-runs.ts'
import { addPage, type PageRuns } from './page-runs.ts'
import { type SharedPages, TouchedPages } from './touched-pages.ts'

const PAGES = 600

/** Which pages a kernel would have copied, and how often it was asked to take some back. */
class PagesOnPaper implements SharedPages {
  readonly copied = new Set<number>()
  calls = 0

  own(endPage: number): PageRuns {
    const runs: number[] = []
    for (let page = 0; page < endPage; page++) if (this.copied.has(page)) addPage(runs, page)
    return runs
  }

  giveBack(runs: PageRuns): void {
    this.calls += runs.length / 2
    for (const page of pagesIn(runs)) this.copied.delete(page)
  }

  write(page: number): void {
    this.copied.add(page)
  }
}

function newWorld(): { paper: PagesOnPaper; touched: TouchedPages } {
  const paper = new PagesOnPaper()
  return { paper, touched: new TouchedPages(paper) }
}

/** A tenant leaves. */
function leave(touched: TouchedPages, endPage: number, differed: readonly number[]): void {
  touched.suspects(endPage)
  touched.settle(endPage, differed)
}

test('whatever a tenant has changed is looked at, whoever was there before', () => {
  const page = fc.nat(PAGES + 40)
  const tenant = fc.record({
    changes: fc.uniqueArray(page, { maxLength: 300 }),
    onlyWrites: fc.uniqueArray(page, { maxLength: 300 }),
    isCaptured: fc.boolean(),
    grows: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(tenant, { maxLength: 30 }), (tenants) => {
      const { paper, touched } = newWorld()
      let endPage = PAGES
      for (const { changes, onlyWrites, isCaptured, grows } of tenants) {
        if (grows) endPage = Math.min(endPage + 16, PAGES + 41)
        const there = changes.filter((one) => one < endPage)
        for (const one of [...there, ...onlyWrites]) paper.write(one)
        const suspects = new Set(pagesIn(touched.suspects(endPage)))
        assert.ok(there.every((one) => suspects.has(one)))
        touched.settle(endPage, isCaptured ? there : [])
      }
    }),
    { numRuns: 200 },
  )
})

test('what every tenant changes is never given back', () => {
  const { paper, touched } = newWorld()
  for (let tenant = 0; tenant < 50; tenant++) {
    for (let page = 10; page < 400; page++) paper.write(page)
    leave(
      touched,
      PAGES,
      Array.from({ length: 390 }, (_, index) => index + 10),
    )
  }
  assert.equal(paper.calls, 0)
  assert.equal(pagesIn(touched.suspects(PAGES)).length, 390)
})

test('what one tenant has changed is given back when others have left it alone', () => {
  const { paper, touched } = newWorld()
  const mine = Array.from({ length: 200 }, (_, index) => index + 100)
  for (const page of mine) paper.write(page)
  leave(touched, PAGES, mine)
  assert.equal(pagesIn(touched.suspects(PAGES)).length, 200)
  for (let tenant = 0; tenant < 10; tenant++) {
    paper.write(5)
    leave(touched, PAGES, [5])
    assert.ok(paper.copied.has(5), 'what everybody changes is left alone')
  }
  assert.deepEqual(touched.suspects(PAGES), [5, 1])
  assert.equal(paper.calls, 1)
})

test('also at the end of a memory that has grown', () => {
  const { paper, touched } = newWorld()
  paper.write(3)
  leave(touched, PAGES, [3])
  const grown = Array.from({ length: 200 }, (_, index) => PAGES + index)
  for (const page of grown) paper.write(page)
  leave(touched, PAGES + 200, grown)
  for (let tenant = 0; tenant < 10; tenant++) leave(touched, PAGES + 200, [])
  assert.deepEqual(touched.suspects(PAGES + 200), [])
})

test('pages here and there are given back by one call for all of the memory', () => {
  const { paper, touched } = newWorld()
  const scattered = Array.from({ length: PAGES / 2 }, (_, index) => index * 2)
  for (const page of scattered) paper.write(page)
  leave(touched, PAGES, scattered)
  for (let tenant = 0; tenant < 10; tenant++) leave(touched, PAGES, [])
  assert.equal(paper.calls, 1)
  assert.deepEqual(touched.suspects(PAGES), [])
})
