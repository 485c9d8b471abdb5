import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeltaBuffers } from './delta-buffers.ts'

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

test('memory that was given is used again, and whoever still has it finds nothing', () => {
  const buffers = new DeltaBuffers()
  const first = buffers.copy(filled(100_000, 1))
  buffers.give(first)
  assert.equal(first.length, 0)
  assert.equal(buffers.keptBytes, 114_688)
  const second = buffers.copy(filled(110_000, 2))
  assert.equal(buffers.keptBytes, 0)
  assert.deepEqual(second, filled(110_000, 2))
  buffers.give(first)
  assert.equal(buffers.keptBytes, 0, 'what was given cannot be given again')
})

test('parts are one copy', () => {
  const buffers = new DeltaBuffers()
  const parts = [filled(2, 1), filled(0, 2), filled(1, 3)]
  assert.deepEqual(buffers.copy(...parts), new Uint8Array([1, 1, 3]))
  assert.deepEqual(buffers.copy(), new Uint8Array(0))
})

test('a small delta does not sit in a large buffer', () => {
  const buffers = new DeltaBuffers()
  buffers.give(buffers.copy(filled(10_000_000, 1)))
  assert.ok(buffers.copy(filled(500_000, 2)).buffer.byteLength <= 524_288)
})

test('memory of others is left alone', () => {
  const buffers = new DeltaBuffers()
  for (const buffer of [new SharedArrayBuffer(10), new ArrayBuffer(10)]) {
    const bytes = new Uint8Array(buffer)
    buffers.give(bytes)
    assert.equal(bytes.length, 10)
  }
})

test('whatever comes and goes, each has its own bytes, and little is kept', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(400_000), fc.boolean()), { maxLength: 60 }), (steps) => {
      const buffers = new DeltaBuffers()
      const held = new Map<Uint8Array, number>()
      for (const [value, [length, givesBack]] of steps.entries()) {
        held.set(buffers.copy(filled(length, value)), value)
        const [oldest] = held.keys()
        if (givesBack && oldest) {
          held.delete(oldest)
          buffers.give(oldest)
        }
        for (const [bytes, expected] of held) {
          assert.ok(bytes.every((byte) => byte === expected))
        }
      }
      assert.ok(buffers.keptBytes <= 8 * 458_752)
    }),
    { numRuns: 30 },
  )
})
