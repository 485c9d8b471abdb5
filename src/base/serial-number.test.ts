import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCountedBefore } from './serial-number.ts'

test('counts are in order where they begin anew, too', () => {
  for (const first of [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5]) {
    assert.equal(isCountedBefore(first, first + 1), true)
    assert.equal(isCountedBefore(first | 0, first + 2 ** 30), true)
    assert.equal(isCountedBefore(first, first), false)
    assert.equal(isCountedBefore(first + 1, first | 0), false)
  }
})
