import assert from 'node:assert/strict'
import { test } from 'node:test'
import { growInSteps } from './slot-memory.ts'

const MIB = 2 ** 20

test('an unshared memory grows to the next step, and not beyond its ceiling', () => {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 50 })
  assert.equal(growInSteps(memory, MIB), false, 'it is there')
  assert.equal(growInSteps(memory, MIB + 1), true)
  assert.equal(memory.buffer.byteLength, 2 * MIB)
  assert.equal(growInSteps(memory, 3 * MIB), true)
  assert.equal(memory.buffer.byteLength, 3 * MIB)
  assert.equal(growInSteps(memory, 3 * MIB + 1), false)
  assert.equal(memory.buffer.byteLength, 3 * MIB)
})

test('an unshared memory grows only if it may', () => {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 50 })
  const asked: number[] = []
  const answer = (isAllowed: boolean) => (bytes: number) => {
    asked.push(bytes)
    return isAllowed
  }
  assert.equal(growInSteps(memory, MIB, answer(false)), false, 'nobody is asked for nothing')
  assert.equal(growInSteps(memory, MIB + 1, answer(false)), undefined)
  assert.equal(memory.buffer.byteLength, MIB)
  assert.equal(growInSteps(memory, MIB + 1, answer(true)), true)
  assert.deepEqual(asked, [MIB, MIB])
})
