import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compare, sectionsOf } from './sections.ts'

test('sections have names, and what differs between any two servers is alike', () => {
  const sections = sectionsOf('hello\n== one\nPostgreSQL 18.4 in pgnap_psql \n\n== two\npid 77\n')
  assert.deepEqual(
    [...sections],
    [
      ['start', 'hello'],
      ['one', 'PostgreSQL 18.N in DATABASE'],
      ['two', 'pid N'],
    ],
  )
})

test('a difference is known or it is wrong, and a known one must be one', () => {
  const oracle = sectionsOf('== a\n1\n== b\n2\n== c\n3\n== d\n4')
  const ours = sectionsOf('== a\n1\n== b\n0\n== c\n0\n== d\n4')
  const verdicts = compare(oracle, ours, { c: 'as documented', d: 'mended long ago' })
  assert.deepEqual(
    verdicts.map(({ test, outcome }) => [test, outcome]),
    [
      ['a', 'same'],
      ['b', 'different'],
      ['c', 'known'],
      ['d', 'different'],
    ],
  )
})

test('a test that one of them has not reached is a difference', () => {
  const verdicts = compare(sectionsOf('== a\n1\n== b\n2'), sectionsOf('== a\n1'), {})
  assert.equal(verdicts[1]?.outcome, 'different')
})
