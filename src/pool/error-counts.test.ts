import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { message } from '../base/protocol-message.ts'
import { addUpErrors, ErrorCounts } from './error-counts.ts'

const error = (state: string): Uint8Array =>
  message('E', utf8(`SERROR\0VERROR\0C${state}\0MC42P01 is in the text\0\0`))

test('errors are counted by class, wherever they stand in an answer', () => {
  const counts = new ErrorCounts()
  counts.recordAnswer(
    concatBytes([error('42P01'), message('Z', utf8('I')), error('42601'), error('57014')]),
  )
  assert.deepEqual(counts.toData(), { byClass: { '42': 2, '57': 1 }, cancelled: 1 })
})

test('what a client makes up cannot make a class of its own', () => {
  const counts = new ErrorCounts()
  for (const state of ['ZZ999', 'Q1Q1Q', '', '__pro', '42', 'con']) counts.record(state)
  assert.deepEqual(counts.toData(), { byClass: { other: 6 }, cancelled: 0 })
})

test('rows and notices are no errors', () => {
  const counts = new ErrorCounts()
  counts.recordAnswer(
    concatBytes([
      message('D', utf8('\0\x01\0\0\0\x05C4260')),
      message('N', utf8('SNOTICE\0C00000\0\0')),
    ]),
  )
  assert.deepEqual(counts.toData(), { byClass: {}, cancelled: 0 })
})

test('sums over shards', () => {
  assert.deepEqual(
    addUpErrors([
      { byClass: { '42': 1, '57': 2 }, cancelled: 2 },
      { byClass: { '42': 3 }, cancelled: 0 },
    ]),
    { byClass: { '42': 4, '57': 2 }, cancelled: 2 },
  )
})
