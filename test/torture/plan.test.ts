/** The same seed makes the same choices, and all kinds of rounds come up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../../src/base/random.ts'
import { OPERATIONS, someOperation } from './operations/all.ts'
import { parseFlags } from './options.ts'
import { mixSeed, planRound } from './plan.ts'

const ROUNDS = 300
const plans = Array.from({ length: ROUNDS }, (_, round) => planRound(7, round))

test('a round is repeated by its seed and number', () => {
  assert.deepEqual(
    plans,
    Array.from({ length: ROUNDS }, (_, round) => planRound(7, round)),
  )
  assert.notDeepEqual(planRound(7, 1), planRound(8, 1))
  assert.equal(new Set(plans.map((plan) => JSON.stringify(plan))).size, ROUNDS)
})

test('servers die in every way that is planned', () => {
  const kinds = new Set(plans.map(({ aftermath }) => aftermath.kind))
  assert.deepEqual([...kinds].toSorted(), ['again', 'none', 'start', 'wake'])
  assert.ok(plans.some(({ ending }) => ending === 'stop'))
  assert.ok(plans.some(({ calmMs }) => calmMs > 0))
})

test('a moment names operations that exist', () => {
  const names = new Set(OPERATIONS.map(({ name }) => name))
  assert.equal(names.size, OPERATIONS.length, 'each name is used once')
  for (const { moment } of plans) {
    const { operation } = moment
    assert.ok(operation === undefined || names.has(operation), `there is no ${operation}`)
  }
})

test('every operation is chosen, in the same order for the same seed', () => {
  const choose = (): string[] => {
    const random = new SeededRandom(mixSeed(1, 2, 3))
    return Array.from({ length: 3_000 }, () => someOperation(random).name)
  }
  assert.deepEqual(choose(), choose())
  assert.equal(new Set(choose()).size, OPERATIONS.length)
})

test('flags are checked', () => {
  assert.equal(parseFlags(['--seed', '5', '--rounds', '200'], 0).rounds, 200)
  assert.equal(parseFlags([], 123).seed, 123)
  assert.throws(() => parseFlags(['--rounds', '0'], 0), /--rounds takes a whole number from 1/)
  assert.throws(() => parseFlags(['--clients', 'many'], 0), TypeError)
  assert.throws(() => parseFlags(['--round', '1'], 0), TypeError)
})
