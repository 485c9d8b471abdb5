import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TenantName } from '../base/ids.ts'
import { type ImageRoom, KeepWarmPolicy } from './keep-warm-policy.ts'

const HOUR_MS = 3_600_000
const START_MS = 20_000 * 24 * HOUR_MS
const MB = 2 ** 20
const ROOMY: ImageRoom = { bytes: 0, bytesMax: 100 * MB, count: 100, oldestRestMs: 0 }
const nobody = (): boolean => false
const name = (text: string): TenantName => text as TenantName

/** A policy that has seen `tenant` come every two hours; the next time is `nextMs`. */
function regular(tenant: string, visits = 6): { policy: KeepWarmPolicy; nextMs: number } {
  const policy = new KeepWarmPolicy(10)
  for (let visit = 0; visit < visits; visit++) {
    policy.arrived(name(tenant), START_MS + visit * 2 * HOUR_MS)
  }
  return { policy, nextMs: START_MS + visits * 2 * HOUR_MS }
}

test('a regular tenant is named once before it comes, and found to be a hit', () => {
  const { policy, nextMs } = regular('acme')
  assert.equal(policy.next(nextMs - HOUR_MS, nobody, ROOMY), undefined)
  const soonMs = nextMs - 90_000
  assert.equal(policy.next(soonMs, nobody, ROOMY), 'acme')
  policy.warmed(name('acme'), MB)
  for (let later = 1; later < 5; later++) {
    assert.equal(policy.next(soonMs + later * 30_000, nobody, ROOMY), undefined)
  }
  policy.arrived(name('acme'), nextMs)
  assert.deepEqual(policy.counts, { warmed: 1, hits: 1, wasted: 0, failed: 0 })
})

test('who does not come, or loses his image before, was warmed for nothing', () => {
  const { policy, nextMs } = regular('acme')
  assert.equal(policy.next(nextMs, nobody, ROOMY), 'acme')
  policy.warmed(name('acme'), MB)
  assert.deepEqual(policy.takeExpired(nextMs), [])
  assert.deepEqual(policy.takeExpired(nextMs + HOUR_MS), ['acme'])
  assert.deepEqual(policy.takeExpired(nextMs + HOUR_MS), [])
  assert.equal(policy.next(nextMs + 2 * HOUR_MS, nobody, ROOMY), 'acme')
  policy.warmed(name('acme'), MB)
  policy.left(name('acme'))
  assert.deepEqual(policy.counts, { warmed: 2, hits: 0, wasted: 2, failed: 0 })
})

test('who is in memory is not named, nor who is deleted', () => {
  const { policy, nextMs } = regular('acme')
  assert.equal(
    policy.next(nextMs, () => true, ROOMY),
    undefined,
  )
  policy.forget(name('acme'))
  assert.equal(policy.next(nextMs + 60_000, nobody, ROOMY), undefined)
  assert.equal(policy.knownCount, 0)
})

test('full memory is taken only from who has rested long enough', () => {
  const full = { bytes: 100 * MB, bytesMax: 100 * MB, count: 100 }
  const { policy, nextMs } = regular('acme')
  assert.equal(policy.next(nextMs, nobody, { ...full, oldestRestMs: 1_000 }), undefined)
  assert.equal(policy.next(nextMs + 30_000, nobody, { ...full, oldestRestMs: HOUR_MS }), 'acme')
})

test('memory in which no further image fits is full, although it is within its budget', () => {
  const nearly = { bytes: 99.5 * MB, bytesMax: 100 * MB, count: 100, oldestRestMs: 1_000 }
  const { policy, nextMs } = regular('acme')
  assert.equal(policy.next(nextMs, nobody, nearly), undefined)
  const roomy = { ...nearly, bytes: 98 * MB }
  assert.equal(policy.next(nextMs + 30_000, nobody, roomy), 'acme')
})

test('what is read ahead and unused holds a share of memory at most', () => {
  const { policy, nextMs } = regular('acme')
  for (let visit = 0; visit < 6; visit++) {
    policy.arrived(name('zeta'), START_MS + visit * 2 * HOUR_MS)
  }
  const first = policy.next(nextMs, nobody, ROOMY)
  assert.ok(first)
  policy.warmed(first, 30 * MB)
  assert.equal(policy.next(nextMs, nobody, ROOMY), undefined)
  policy.arrived(first, nextMs)
  assert.ok(policy.next(nextMs + 30_000, nobody, ROOMY), 'there is room again')
})

test('a pinned tenant is brought back at once, without a rhythm and without room', () => {
  const policy = new KeepWarmPolicy(10)
  policy.pin(name('acme'))
  const full = { bytes: 100 * MB, bytesMax: 100 * MB, count: 100, oldestRestMs: 0 }
  assert.equal(policy.next(START_MS, nobody, full), 'acme')
  policy.failed(name('acme'))
  assert.equal(policy.next(START_MS + 31_000, nobody, full), undefined, 'a pause after a failure')
  assert.equal(policy.next(START_MS + 61_000, nobody, full), 'acme')
  policy.failed(name('acme'))
  assert.equal(policy.next(START_MS + 130_000, nobody, full), undefined, 'a longer one')
  policy.unpin(name('acme'))
  assert.equal(policy.next(START_MS + HOUR_MS, nobody, full), undefined)
})

test('a clock that was years ahead and is set right keeps nobody from being brought back', () => {
  const year = 365 * 24 * HOUR_MS
  const { policy, nextMs } = regular('acme')
  assert.equal(policy.next(nextMs, nobody, ROOMY), 'acme')
  policy.warmed(name('acme'), 30 * MB)
  policy.pin(name('pinned'))
  assert.equal(policy.next(nextMs + 30_000, nobody, ROOMY), 'pinned')
  policy.failed(name('pinned'))
  const backMs = nextMs - year
  assert.deepEqual(policy.takeExpired(backMs), ['acme'], 'its room is given back')
  assert.equal(policy.next(backMs, nobody, ROOMY), 'pinned')
  policy.unpin(name('pinned'))
  for (let visit = 0; visit < 6; visit++) {
    policy.arrived(name('acme'), backMs + visit * 2 * HOUR_MS)
  }
  assert.equal(policy.next(backMs + 12 * HOUR_MS, nobody, ROOMY), 'acme', 'also by its rhythm')
})

type Step =
  | { readonly do: 'arrive' | 'leave' | 'forget' | 'pin' | 'unpin'; readonly tenant: TenantName }
  | { readonly do: 'warm' | 'fail' | 'postpone'; readonly roomBytes: number }

test('whatever happens, books balance and limits hold', () => {
  const tenant = fc.integer({ min: 0, max: 12 }).map((number) => name(`t${number}`))
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('arrive' as const), tenant }) },
    fc.record({ do: fc.constantFrom('leave', 'forget', 'pin', 'unpin'), tenant }),
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom('warm', 'warm', 'fail', 'postpone'),
        roomBytes: fc.integer({ min: 0, max: 200 * MB }),
      }),
    },
  )
  const waits = fc.constantFrom(0, 10_000, 31_000, HOUR_MS, 2 * HOUR_MS, 23 * HOUR_MS, -HOUR_MS)
  fc.assert(
    fc.property(fc.array(fc.tuple(waits, step), { maxLength: 300 }), (steps) => {
      const policy = new KeepWarmPolicy(8)
      const inMemory = new Set<TenantName>()
      let nowMs = START_MS
      let attempts = 0
      for (const [waitMs, each] of steps) {
        nowMs += waitMs
        for (const expired of policy.takeExpired(nowMs)) inMemory.delete(expired)
        if ('tenant' in each) {
          if (each.do === 'arrive') policy.arrived(each.tenant, nowMs)
          if (each.do === 'leave') policy.left(each.tenant)
          if (each.do === 'forget') policy.forget(each.tenant)
          if (each.do === 'pin') policy.pin(each.tenant)
          if (each.do === 'unpin') policy.unpin(each.tenant)
          if (each.do === 'arrive') inMemory.add(each.tenant)
          if (each.do === 'leave' || each.do === 'forget') inMemory.delete(each.tenant)
        } else {
          const room = {
            bytes: each.roomBytes,
            bytesMax: 100 * MB,
            count: 100,
            oldestRestMs: HOUR_MS,
          }
          const next = policy.next(nowMs, (one) => inMemory.has(one), room)
          if (next === undefined) continue
          assert.ok(!inMemory.has(next), 'nobody is brought back who is there')
          if (each.do === 'fail') policy.failed(next)
          if (each.do === 'postpone') policy.postponed(next)
          if (each.do !== 'warm') continue
          attempts++
          policy.warmed(next, 5 * MB)
          inMemory.add(next)
        }
        const { warmed, hits, wasted } = policy.counts
        assert.equal(warmed, attempts)
        assert.ok(hits + wasted <= warmed && warmed - hits - wasted <= 13, 'each counts once')
        assert.ok(policy.knownCount <= 8)
      }
    }),
    { numRuns: 500 },
  )
})
