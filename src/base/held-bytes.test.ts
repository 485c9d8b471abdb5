import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Holder, HeldBytes } from './held-bytes.ts'

/** Whoever has to give up has done so by then. */
const reviewed = (): Promise<void> => Promise.resolve()

function open(bytesMax: number) {
  const held = new HeldBytes(bytesMax)
  const gone: string[] = []
  const holder = (name: string): Holder => ({ giveUp: () => void gone.push(name) })
  return { held, gone, holder }
}

test('when it is too much in all, whoever holds most goes, not who comes', async () => {
  const { held, gone, holder } = open(100)
  const large = holder('large')
  held.set(holder('small'), 10)
  held.set(large, 40)
  held.set(large, 80)
  held.set(holder('newcomer'), 10)
  assert.deepEqual(gone, [])
  held.set(holder('another'), 10)
  assert.deepEqual(gone, [], 'not within the call')
  await reviewed()
  assert.deepEqual(gone, ['large'])
  held.set(holder('next'), 70)
  await reviewed()
  assert.deepEqual(gone, ['large'])
  assert.equal(held.bytes, 100)
  assert.equal(held.givenUpCount, 1)
})

test('who has gone does not count any more', async () => {
  const { held, gone, holder } = open(100)
  const one = holder('one')
  held.set(one, 90)
  held.delete(one)
  held.delete(one)
  held.set(holder('two'), 90)
  await reviewed()
  assert.deepEqual(gone, [])
  held.set(holder('three'), 95)
  await reviewed()
  assert.deepEqual(gone, ['three'])
})

test('many who hold a little go before one who holds more than each of them', async () => {
  const { held, gone, holder } = open(100)
  held.set(holder('copy'), 40, 'other')
  for (let count = 1; count <= 6; count++) {
    held.set(holder(`crowd ${count}`), 10 + count, 'crowd')
    await reviewed()
  }
  assert.deepEqual(gone, ['crowd 5', 'crowd 6'])
  held.set(holder('crowd 7'), 1, 'crowd')
  await reviewed()
  assert.deepEqual(gone, ['crowd 5', 'crowd 6'])
  held.set(holder('crowd 8'), 30, 'crowd')
  await reviewed()
  assert.deepEqual(gone, ['crowd 5', 'crowd 6', 'crowd 8'])
})

test('where nobody can act for another, who comes gives up', async () => {
  const held = new HeldBytes(100, 'who comes')
  const gone: string[] = []
  const holder = (name: string): Holder => ({ giveUp: () => void gone.push(name) })
  held.set(holder('first'), 50, 'greedy')
  held.set(holder('second'), 25, 'greedy')
  held.set(holder('third'), 1, 'greedy')
  await reviewed()
  assert.deepEqual(gone, ['third'], 'a quarter is for others')
  held.set(holder('other'), 25, 'other')
  await reviewed()
  assert.deepEqual(gone, ['third'])
  held.set(holder('late'), 1, 'late')
  await reviewed()
  assert.deepEqual(gone, ['third', 'late'])
  assert.equal(held.bytes, 100)
})

test('whoever gives up may set and delete while it does', async () => {
  const held = new HeldBytes(100)
  const other: Holder = { giveUp: () => assert.fail('there is room for it') }
  const large: Holder = {
    giveUp() {
      held.delete(large)
      held.set(other, 50)
    },
  }
  held.set(large, 101)
  await reviewed()
  assert.equal(held.bytes, 50)
})

test('nobody gives up for what was let go within the same moment', async () => {
  for (const gives of ['most', 'who comes'] as const) {
    const held = new HeldBytes(100, gives)
    const holder: Holder = { giveUp: () => assert.fail('it is gone, or holds less') }
    held.set(holder, 101)
    held.delete(holder)
    await reviewed()
    held.set(holder, 101)
    held.set(holder, 70)
    await reviewed()
    assert.equal(held.bytes, 70)
  }
})

test('the account is the sum of what is held, and soon not above its limit', async () => {
  const step = fc.record({
    name: fc.integer({ min: 0, max: 9 }),
    bytes: fc.option(fc.integer({ min: 0, max: 120 })),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
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
        await reviewed()
        const sum = [...model.values()].reduce((total, each) => total + each, 0)
        assert.equal(held.bytes, sum)
        assert.ok(sum <= 100)
      }
    }),
  )
})
