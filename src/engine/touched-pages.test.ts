import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pagesIn } from '../../test/support/page-runs.ts'
import { addPage, type PageRuns } from './page-runs.ts'
import { TouchedPages, type WriteNotes } from './touched-pages.ts'

const PAGES = 600

/** What a kernel notes, and how often it was asked to. */
class NotesOnPaper implements WriteNotes {
  readonly watched = new Set<number>()
  calls = 0

  written(endPage: number): PageRuns {
    const runs: number[] = []
    for (let page = 0; page < endPage; page++) if (!this.watched.has(page)) addPage(runs, page)
    return runs
  }

  watch(runs: PageRuns): void {
    this.calls += runs.length / 2
    for (const page of pagesIn(runs)) this.watched.add(page)
  }

  write(page: number): void {
    this.watched.delete(page)
  }
}

function newWorld(): { notes: NotesOnPaper; touched: TouchedPages } {
  const notes = new NotesOnPaper()
  const touched = new TouchedPages(notes)
  touched.settle(PAGES, [])
  return { notes, touched }
}

test('all is looked at until the memory has once equalled the base', () => {
  const touched = new TouchedPages(new NotesOnPaper())
  assert.deepEqual(touched.suspects(PAGES), [0, PAGES])
  touched.settle(PAGES, [3])
  assert.deepEqual(touched.suspects(PAGES), [])
})

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
      const { notes, touched } = newWorld()
      let endPage = PAGES
      for (const { changes, onlyWrites, isCaptured, grows } of tenants) {
        if (grows) endPage = Math.min(endPage + 16, PAGES + 41)
        const there = changes.filter((one) => one < endPage)
        for (const one of [...there, ...onlyWrites]) notes.write(one)
        const suspects = new Set(pagesIn(touched.suspects(endPage)))
        assert.ok(there.every((one) => suspects.has(one)))
        touched.settle(endPage, isCaptured ? there : undefined)
      }
    }),
    { numRuns: 200 },
  )
})

test('a memory that has grown is watched to its new end', () => {
  const { touched } = newWorld()
  assert.deepEqual(pagesIn(touched.suspects(PAGES + 2)), [PAGES, PAGES + 1])
  touched.settle(PAGES + 2, undefined)
  assert.deepEqual(touched.suspects(PAGES + 2), [])
})

test('what every tenant changes is watched once, and never again', () => {
  const { notes, touched } = newWorld()
  const before = notes.calls
  for (let tenant = 0; tenant < 50; tenant++) {
    for (let page = 10; page < 400; page++) notes.write(page)
    touched.settle(
      PAGES,
      Array.from({ length: 390 }, (_, index) => index + 10),
    )
  }
  assert.equal(notes.calls, before)
  assert.equal(pagesIn(touched.suspects(PAGES)).length, 390)
})

test('what one tenant has changed is watched again when others have left it alone', () => {
  const { notes, touched } = newWorld()
  const mine = Array.from({ length: 200 }, (_, index) => index + 100)
  for (const page of mine) notes.write(page)
  touched.settle(PAGES, mine)
  assert.equal(pagesIn(touched.suspects(PAGES)).length, 200)
  for (let tenant = 0; tenant < 10; tenant++) {
    notes.write(5)
    touched.settle(PAGES, [5])
    assert.ok(!notes.watched.has(5), 'what everybody changes is left alone')
  }
  assert.deepEqual(touched.suspects(PAGES), [5, 1])
  assert.equal(notes.calls, 2, 'one for the memory, one for the pages that have rested')
})

test('pages here and there are watched by one call for all of the memory', () => {
  const { notes, touched } = newWorld()
  const scattered = Array.from({ length: PAGES / 2 }, (_, index) => index * 2)
  for (const page of scattered) notes.write(page)
  touched.settle(PAGES, scattered)
  const before = notes.calls
  for (let tenant = 0; tenant < 10; tenant++) touched.settle(PAGES, [])
  assert.equal(notes.calls, before + 1)
  assert.deepEqual(touched.suspects(PAGES), [])
})
