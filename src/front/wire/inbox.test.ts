import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Inbox } from './inbox.ts'

const step = fc.oneof(
  fc.record({ append: fc.uint8Array({ maxLength: 300_000 }) }),
  fc.record({ consume: fc.double({ min: 0, max: 1, noNaN: true }) }),
)

test('bytes come out in the order they came in, and none are kept for a few', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const inbox = new Inbox()
      let model = Buffer.alloc(0)
      for (const each of steps) {
        if ('append' in each) {
          inbox.append(each.append)
          model = Buffer.concat([model, each.append])
        } else {
          const count = Math.floor(model.length * each.consume)
          inbox.consume(count)
          model = model.subarray(count)
        }
        assert.ok(model.equals(inbox.view()))
        assert.ok(inbox.heldBytes >= inbox.length)
        assert.ok(inbox.heldBytes <= Math.max(65_536, 5 * inbox.length + 300_000))
      }
      inbox.consume(model.length)
      assert.ok(inbox.heldBytes <= 65_536)
    }),
    { numRuns: 50 },
  )
})

test('a large message is not kept for the first byte of the next one', () => {
  const inbox = new Inbox()
  inbox.append(new Uint8Array(1_000_001))
  assert.equal(inbox.heldBytes, 1_000_001)
  inbox.consume(1_000_000)
  assert.deepEqual([inbox.length, inbox.heldBytes], [1, 1])
})
