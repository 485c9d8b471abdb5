import { strict as assert } from 'node:assert'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { closeIfSame, identify, loadDuplicate } from './descriptors.ts'

const duplicate = loadDuplicate()

test('a duplicate outlives its original', { skip: !duplicate && 'no ffi here' }, () => {
  const original = openSync(import.meta.filename, 'r')
  const copy = duplicate?.(original)
  assert.ok(copy !== undefined)
  closeSync(original)
  assert.ok(fstatSync(copy).size > 0)
  closeSync(copy)
})

test('what is not open cannot be duplicated', { skip: !duplicate && 'no ffi here' }, () => {
  assert.equal(duplicate?.(1_000_000), undefined)
  assert.equal(duplicate?.(-1), undefined)
})

test('a number is closed only while it refers to the same thing', () => {
  const first = openSync(import.meta.filename, 'r')
  const identity = identify(first)
  closeSync(first)
  closeIfSame(first, identity)
  const second = openSync('/', 'r')
  assert.equal(second, first, 'the kernel gives the lowest free number')
  closeIfSame(second, identity)
  assert.ok(identify(second), 'somebody else has the number now')
  closeIfSame(second, undefined)
  closeIfSame(second, { device: 0, inode: 0 })
  assert.ok(identify(second), 'nothing is closed without a proof')
  closeIfSame(second, identify(second))
  assert.equal(identify(second), undefined)
})
