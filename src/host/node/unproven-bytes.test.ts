import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Holder, UnprovenBytes } from './unproven-bytes.ts'

function open(bytesMax: number) {
  const bytes = new UnprovenBytes(bytesMax)
  const gone: string[] = []
  const holder = (name: string): Holder => ({ giveUp: () => void gone.push(name) })
  return { bytes, gone, holder }
}

test('when it is too much in all, whoever holds most goes, not who comes', () => {
  const { bytes, gone, holder } = open(100)
  const large = holder('large')
  bytes.set(holder('small'), 10)
  bytes.set(large, 40)
  bytes.set(large, 80)
  bytes.set(holder('newcomer'), 10)
  assert.deepEqual(gone, [])
  bytes.set(holder('another'), 10)
  assert.deepEqual(gone, ['large'])
  bytes.set(holder('next'), 70)
  assert.deepEqual(gone, ['large'])
})

test('who is let in or has gone does not count any more', () => {
  const { bytes, gone, holder } = open(100)
  const one = holder('one')
  bytes.set(one, 90)
  bytes.delete(one)
  bytes.delete(one)
  bytes.set(holder('two'), 90)
  assert.deepEqual(gone, [])
  bytes.set(holder('three'), 95)
  assert.deepEqual(gone, ['three'])
})
