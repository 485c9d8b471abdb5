import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SharedDescriptors } from './descriptors.ts'

test('what is equal is one object, and what is not is another', () => {
  const shared = new SharedDescriptors()
  const one = { fd: 7, ino: 1259, flags: 2, position: 0 }
  const first = shared.of({ ...one })
  assert.equal(shared.of({ ...one }), first)
  assert.deepEqual(first, one)
  for (const other of [
    { fd: 8 },
    { ino: 1 },
    { flags: 0 },
    { position: 1 },
    { device: '/dev/x' },
  ]) {
    assert.deepEqual(shared.of({ ...one, ...other }), { ...one, ...other })
  }
  assert.deepEqual(first, one, 'it is nobody else by now')
})

test('whatever was asked before, the answer is what was asked for', () => {
  const number = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.nat({ max: 2 ** 31 }))
  const descriptor = fc.record(
    { fd: number, ino: number, flags: number, position: number },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(fc.array(descriptor), (all) => {
      const shared = new SharedDescriptors()
      for (const each of all) assert.deepEqual(shared.of(each), each)
    }),
  )
})
