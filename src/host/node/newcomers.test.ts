import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { Newcomers } from './newcomers.ts'

function open(countMax: number, graceMs: number, countHardMax = Infinity) {
  const clock = new ManualClock()
  const newcomers = new Newcomers({ countMax, graceMs, countHardMax, clock })
  const gone: string[] = []
  const enter = (name: string): (() => void) => newcomers.enter(() => gone.push(name))
  return { clock, newcomers, gone, enter }
}

test('beyond the limit whoever is longest here goes, not who comes', () => {
  const { newcomers, gone, enter } = open(2, 0)
  for (const name of ['a', 'b', 'c', 'd']) enter(name)
  assert.deepEqual(gone, ['a', 'b'])
  assert.equal(newcomers.count, 2)
})

test('who is known does not count any more, and is never sent away', () => {
  const { newcomers, gone, enter } = open(1, 0)
  const leave = enter('a')
  leave()
  leave()
  enter('b')
  assert.deepEqual(gone, [])
  enter('c')
  assert.deepEqual([gone, newcomers.count], [['b'], 1])
})

test('nobody goes before his grace is over; then as many as are too many', () => {
  const { clock, newcomers, gone, enter } = open(2, 1_000)
  enter('a')
  enter('b')
  clock.advance(500)
  for (const name of ['c', 'd', 'e']) enter(name)
  assert.deepEqual(gone, [])
  clock.advance(500)
  assert.deepEqual(gone, ['a', 'b'])
  clock.advance(500)
  assert.deepEqual(gone, ['a', 'b', 'c'])
  clock.advance(10_000)
  assert.equal(newcomers.count, 2)
})

test('beyond the hard limit there is no grace', () => {
  const { newcomers, gone, enter } = open(1, 1_000, 3)
  for (const name of ['a', 'b', 'c', 'd', 'e']) enter(name)
  assert.deepEqual([gone, newcomers.count], [['a', 'b'], 3])
})

test('a burst that is let in within its grace loses nobody', () => {
  const { clock, gone, enter } = open(1, 1_000)
  const leaves = Array.from({ length: 100 }, (_, index) => enter(String(index)))
  clock.advance(999)
  for (const leave of leaves) leave()
  clock.advance(10_000)
  assert.deepEqual(gone, [])
})
