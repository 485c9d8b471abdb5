import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from './clock.ts'
import { Phases } from './phases.ts'

const sumOf = (phases: readonly { readonly ms: number }[]): number =>
  phases.reduce((sum, { ms }) => sum + ms, 0)

test('phases are in order, and what belongs to none is the rest', async () => {
  const clock = new ManualClock()
  const phases = new Phases(clock)
  clock.advance(1)
  phases.measureSync('load', () => clock.advance(5))
  assert.equal(
    await phases.measure('execute', async () => {
      clock.advance(3)
      return 'done'
    }),
    'done',
  )
  phases.measureSync('load', () => clock.advance(2))
  assert.deepEqual(phases.report(), {
    totalMs: 11,
    phases: [
      { name: 'load', ms: 7 },
      { name: 'execute', ms: 3 },
      { name: 'other', ms: 1 },
    ],
  })
})

test('a phase that fails has taken its time as well', async () => {
  const clock = new ManualClock()
  const phases = new Phases(clock)
  const fail = (): never => {
    clock.advance(4)
    throw new Error('no')
  }
  assert.throws(() => phases.measureSync('a', fail), /no/)
  await assert.rejects(
    phases.measure('b', async () => fail()),
    /no/,
  )
  assert.deepEqual(phases.times(), [
    { name: 'a', ms: 4 },
    { name: 'b', ms: 4 },
  ])
})

test('what lies inside of a phase, measured here or elsewhere, counts once', () => {
  const clock = new ManualClock()
  const phases = new Phases(clock)
  phases.measureSync('rpc', () => {
    clock.advance(10)
    phases.measureSync('encode', () => clock.advance(2))
    phases.include([{ name: 'execute', ms: 6 }])
  })
  assert.deepEqual(phases.times(), [
    { name: 'encode', ms: 2 },
    { name: 'execute', ms: 6 },
    { name: 'rpc', ms: 4 },
  ])
})

test('however phases lie, none is negative and they add up to no more than the whole', () => {
  interface Tree {
    readonly ms: number
    readonly inside: readonly Tree[]
  }
  const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.record({
      ms: fc.integer({ min: 0, max: 9 }),
      inside: fc.oneof({ maxDepth: 4 }, fc.constant([]), fc.array(tie('tree'), { maxLength: 3 })),
    }),
  }))
  fc.assert(
    fc.property(fc.array(tree, { maxLength: 4 }), (trees) => {
      const clock = new ManualClock()
      const phases = new Phases(clock)
      const walk = ({ ms, inside }: Tree): void =>
        phases.measureSync(`phase ${ms}`, () => {
          clock.advance(ms)
          for (const each of inside) walk(each)
        })
      for (const each of trees) walk(each)
      const report = phases.report()
      assert.ok(report.phases.every(({ ms }) => ms >= 0))
      assert.equal(sumOf(report.phases), report.totalMs)
    }),
  )
})

test('what others say they took may be more than there was', () => {
  const clock = new ManualClock()
  const phases = new Phases(clock)
  phases.measureSync('rpc', () => phases.include([{ name: 'execute', ms: 5 }]))
  assert.deepEqual(phases.report(), {
    totalMs: 0,
    phases: [
      { name: 'execute', ms: 5 },
      { name: 'rpc', ms: 0 },
      { name: 'other', ms: 0 },
    ],
  })
})
