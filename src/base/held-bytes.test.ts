import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Holder, HeldBytes } from './held-bytes.ts'

function open(bytesMax: number) {
  const held = new HeldBytes(bytesMax)
  const gone: string[] = []
  const holder = (name: string): Holder => ({ giveUp: () => void gone.push(name) })
  return { held, gone, holder }
}

test('when it is too much in all, whoever holds most goes, not who comes', () => {
  const { held, gone, holder } = open(100)
  const large = holder('large')
  held.set(holder('small'), 10)
  held.set(large, 40)
  held.set(large, 80)
  held.set(holder('newcomer'), 10)
  assert.deepEqual(gone, [])
  held.set(holder('another'), 10)
  assert.deepEqual(gone, ['large'])
  held.set(holder('next'), 70)
  assert.deepEqual(gone, ['large'])
  assert.equal(held.bytes, 100)
  assert.equal(held.givenUpCount, 1)
})

test('who has gone does not count any more', () => {
  const { held, gone, holder } = open(100)
  const one = holder('one')
  held.set(one, 90)
  held.delete(one)
  held.delete(one)
  held.set(holder('two'), 90)
  assert.deepEqual(gone, [])
  held.set(holder('three'), 95)
  assert.deepEqual(gone, ['three'])
})

test('many who hold a little go before one who holds more than each of them', () => {
  const { held, gone, holder } = open(100)
  held.set(holder('copy'), 40, 'other')
  for (let count = 1; count <= 6; count++) held.set(holder(`crowd ${count}`), 10 + count, 'crowd')
  assert.deepEqual(gone, ['crowd 5', 'crowd 6'])
  held.set(holder('crowd 7'), 1, 'crowd')
  assert.deepEqual(gone, ['crowd 5', 'crowd 6'])
  held.set(holder('crowd 8'), 30, 'crowd')
  assert.deepEqual(gone, ['crowd 5', 'crowd 6', 'crowd 8'])
})

test('where nobody can act for another, who comes gives up', () => {
  const held = new HeldBytes(100, 'who comes')
  const gone: string[] = []
  const holder = (name: string): Holder => ({ giveUp: () => void gone.push(name) })
  held.set(holder('first'), 50, 'greedy')
  held.set(holder('second'), 25, 'greedy')
  held.set(holder('third'), 1, 'greedy')
  assert.deepEqual(gone, ['third'], 'a quarter is for others')
  held.set(holder('other'), 25, 'other')
  assert.deepEqual(gone, ['third'])
  held.set(holder('late'), 1, 'late')
  assert.deepEqual(gone, ['third', 'late'])
  assert.equal(held.bytes, 100)
})

test('whoever gives up may set and delete while it does', () => {
  const held = new HeldBytes(100)
  const other: Holder = { giveUp: () => assert.fail('there is room for it') }
  const large: Holder = {
    giveUp() {
      held.delete(large)
      held.set(other, 50)
    },
  }
  held.set(large, 101)
  assert.equal(held.bytes, 50)
})

test('the account is the sum of what is held, and never above its limit', () => {
  const step = fc.record({
    name: fc.integer({ min: 0, max: 9 }),
    bytes: fc.option(fc.integer({ min: 0, max: 120 })),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const held = new HeldBytes(100)
      const model = new Map<number, number>()
      const holders = Array.from({ length: 10 }, (_, name): Holder => {
        return { giveUp: () => assert.ok(model.delete(name), 'it held something') }
      })
      for (const { name, bytes } of steps) {
        const holder = holders[name] as Holder
        if (bytes === null) model.delete(name)
        else model.set(name, bytes)
        if (bytes === null) held.delete(holder)
        else held.set(holder, bytes, name % 3)
        const sum = [...model.values()].reduce((total, each) => total + each, 0)
        assert.equal(held.bytes, sum)
        assert.ok(sum <= 100)
      }
    }),
  )
})
