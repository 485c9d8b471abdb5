import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PgnapError } from '../base/errors.ts'
import { sessionEnded } from './pool-rejection.ts'

test('who had a session where the disk failed is told of the disk, others of the end', () => {
  for (const code of ['STORE_FULL', 'STORE_IO'] as const) {
    const cause = new PgnapError(code, 'the disk has no room', { hint: 'free space' })
    assert.equal(sessionEnded(cause), cause)
  }
  const crash = new PgnapError('SLOT_LOST', 'the process crashed', { detail: 'an unlucky query' })
  for (const cause of [crash, undefined]) {
    const { sqlState, message } = sessionEnded(cause)
    assert.deepEqual([sqlState, message], ['57P01', 'the session of this connection has ended'])
  }
})
