import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { timeText } from './time-text.ts'

test('never, and some times that calendars get wrong', () => {
  assert.equal(timeText(0), null)
  assert.equal(timeText(1), '1970-01-01 00:00:00 UTC')
  assert.equal(timeText(Date.UTC(2024, 1, 29, 23, 59, 59, 999)), '2024-02-29 23:59:59 UTC')
  assert.equal(timeText(Date.UTC(2100, 2, 1)), '2100-03-01 00:00:00 UTC')
})

test('says what Date says', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Date.UTC(9999, 11, 31) }), (ms) => {
      const expected = new Date(ms).toISOString().slice(0, 19).replace('T', ' ')
      assert.equal(timeText(ms), `${expected} UTC`)
    }),
  )
})
