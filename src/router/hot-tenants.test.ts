import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HotTenants } from './hot-tenants.ts'

const OPTIONS = { namesMax: 100, halfLifeMs: 1_000 }
const names = (heats: readonly { readonly name: string }[]): string[] =>
  heats.map(({ name }) => name)

test('who is asked most lately comes first', () => {
  const hot = new HotTenants(OPTIONS)
  hot.note('often, long ago', 50, 0)
  hot.note('now', 3, 10_000)
  hot.note('a moment ago', 4, 9_000)
  assert.deepEqual(names(hot.all(10_000)), ['now', 'a moment ago', 'often, long ago'])
  assert.deepEqual(names(hot.hottest(1, 0.5, 10_000)), ['now'])
})

test('a score halves with time, and who is too cold is not hot at all', () => {
  const hot = new HotTenants(OPTIONS)
  hot.note('one', 1, 0)
  assert.deepEqual(hot.hottest(5, 0.5, 1_000), [{ name: 'one', score: 0.5, atMs: 1_000 }])
  assert.deepEqual(hot.hottest(5, 0.5, 1_001), [])
  assert.equal(hot.note('one', 1, 2_000).heat.score, 1.25)
})

test('more names than there is room for: the coldest go, and are told', () => {
  const hot = new HotTenants({ ...OPTIONS, namesMax: 10 })
  for (let index = 0; index < 10; index++) {
    assert.deepEqual(hot.note(`t${index}`, 10 + index, 0).gone, [])
  }
  const { gone } = hot.note('newcomer', 1, 0)
  assert.deepEqual(gone.toSorted(), ['newcomer', 't0'])
  assert.equal(hot.size, 9)
  assert.deepEqual(hot.note('newcomer', 1, 0).gone, [])
})

test('what was kept goes on where it was', () => {
  const first = new HotTenants(OPTIONS)
  first.note('a', 8, 0)
  first.note('b', 1, 0)
  const second = new HotTenants(OPTIONS, first.all(500))
  assert.ok(Math.abs((second.all(1_000)[0]?.score ?? 0) - 4) < 1e-9)
  second.forget('a')
  assert.deepEqual(names(second.all(1_000)), ['b'])
})

test('a clock that goes back heats nothing up', () => {
  const hot = new HotTenants(OPTIONS)
  hot.note('a', 4, 1_000)
  assert.equal(hot.all(0)[0]?.score, 4)
})

test('whatever comes, scores are the sums of what was asked, each halved by its age', () => {
  const requests = fc.array(
    fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), afterMs: fc.nat(900) }),
    { maxLength: 80 },
  )
  fc.assert(
    fc.property(requests, (all) => {
      const hot = new HotTenants(OPTIONS)
      const times: { name: string; atMs: number }[] = []
      let nowMs = 0
      for (const { name, afterMs } of all) {
        nowMs += afterMs
        hot.note(name, 1, nowMs)
        times.push({ name, atMs: nowMs })
      }
      for (const { name, score } of hot.all(nowMs)) {
        const expected = times
          .filter((each) => each.name === name)
          .reduce((sum, { atMs }) => sum + 0.5 ** ((nowMs - atMs) / OPTIONS.halfLifeMs), 0)
        assert.ok(Math.abs(score - expected) < 1e-6)
      }
    }),
  )
})

test('however many names there are, no more are kept', () => {
  const hot = new HotTenants({ ...OPTIONS, namesMax: 20 })
  for (let index = 0; index < 10_000; index++) hot.note(`t${index}`, 1, index)
  assert.ok(hot.size <= 20)
})
