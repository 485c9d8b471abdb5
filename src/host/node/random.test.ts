import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { systemRandom } from './random.ts'

test('bytes come in the asked number, from a buffer of their own, and differ', () => {
  for (const count of [0, 1, 16, 5000]) {
    const bytes = systemRandom.bytes(count)
    assert.equal(bytes.length, count)
    assert.equal(bytes.buffer.byteLength, count)
  }
  assert.notDeepEqual(systemRandom.bytes(16), systemRandom.bytes(16))
})

test('below covers [0, bound) and nothing else', () => {
  const seen = new Set<number>()
  for (let draw = 0; draw < 2000; draw++) seen.add(systemRandom.below(5))
  assert.deepEqual(seen, new Set([0, 1, 2, 3, 4]))
  assert.equal(systemRandom.below(1), 0)
})

test('a bound that means nothing is refused', () => {
  for (const bound of [0, -1, 1.5, NaN, 2 ** 48]) {
    assert.throws(() => systemRandom.below(bound), { name: 'AssertionError' })
  }
})
