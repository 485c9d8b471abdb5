import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CANCEL_SECRET_BYTES, CancelKeys } from './cancel-keys.ts'
import { systemRandom } from './random.ts'

const keys = new CancelKeys(systemRandom.bytes(CANCEL_SECRET_BYTES))

test('a key is right for the client that it was given to, and for nobody else', () => {
  for (const byteLength of [4, 32]) {
    const key = keys.keyFor(4711, byteLength)
    assert.equal(key.length, byteLength)
    assert.equal(keys.isRight(4711, key), true)
    assert.equal(keys.isRight(4712, key), false)
    const bent = key.with(byteLength - 1, (key.at(-1) ?? 0) ^ 1)
    assert.equal(keys.isRight(4711, bent), false)
  }
})

test('a key says nothing about a shorter or longer one, or one of another server', () => {
  const key = keys.keyFor(4711, 32)
  assert.equal(keys.isRight(4711, key.subarray(0, 4)), false)
  assert.equal(keys.isRight(4711, new Uint8Array(256)), false, 'longer than any key')
  assert.equal(keys.isRight(4711, new Uint8Array(0)), false, 'nothing is no key')
  const other = new CancelKeys(systemRandom.bytes(CANCEL_SECRET_BYTES))
  assert.equal(other.isRight(4711, key), false)
})
