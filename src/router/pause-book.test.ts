import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { PauseBook } from './pause-book.ts'

const ACME = 'acme' as TenantName

test('all and one are two things; only who began a pause takes it back', () => {
  const book = new PauseBook()
  const first = book.begin(ACME)
  assert.ok(first !== undefined && book.begin(undefined) !== undefined)
  assert.equal(book.begin(ACME), undefined, 'it is paused already')
  assert.deepEqual(book.list(), { all: true, tenants: [ACME] })
  assert.equal(book.end(undefined), true)
  assert.deepEqual(book.list(), { all: false, tenants: [ACME] })
  assert.deepEqual([book.end(ACME), book.end(ACME)], [true, false])
  const second = book.begin(ACME)
  assert.equal(book.end(ACME, first), false, 'another PAUSE has begun meanwhile')
  assert.equal(book.end(ACME, second), true)
})
