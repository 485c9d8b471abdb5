import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { ByteRing } from './byte-ring.ts'

interface RecordCopy {
  readonly connection: number
  readonly kind: number
  readonly bytes: Uint8Array
}

/** Head and tail of a ring that has already carried nearly 2^32 bytes. */
function startNear(memory: SharedArrayBuffer, count: number): void {
  const words = new Int32Array(memory)
  words[0] = count | 0
  words[16] = count | 0
}

const steps = fc.array(
  fc.oneof(
    fc.record({
      push: fc.uint8Array({ maxLength: 64 }),
      connection: fc.nat({ max: 2 ** 32 - 1 }),
      kind: fc.nat({ max: 9 }),
    }),
    fc.record({ drain: fc.nat({ max: 400 }) }),
  ),
  { maxLength: 200 },
)

test('whatever is pushed and drained, a ring behaves as a bounded queue', () => {
  fc.assert(
    fc.property(steps, fc.nat({ max: 255 }), (script, offset) => {
      const memory = ByteRing.allocate(256)
      // Starts anywhere, across the point where the 32-bit counters wrap.
      startNear(memory, 2 ** 32 - 512 + offset * 4)
      const producer = new ByteRing(memory)
      const consumer = new ByteRing(memory)
      const model: RecordCopy[] = []
      let used = 0
      const size = (bytes: Uint8Array): number => 12 + Math.ceil(bytes.length / 4) * 4
      for (const step of script) {
        if ('push' in step) {
          const room = used + size(step.push) <= 256
          assert.equal(producer.push(step.connection, step.kind, step.push), room)
          if (!room) continue
          model.push({ connection: step.connection, kind: step.kind, bytes: step.push })
          used += size(step.push)
        } else {
          let taken = 0
          consumer.drain((connection, kind, bytes) => {
            const expected = model.shift()
            assert.ok(expected)
            assert.deepEqual({ connection, kind, bytes: Uint8Array.from(bytes) }, expected)
            taken += size(bytes)
          }, step.drain)
          used -= taken
          assert.ok(taken >= step.drain || model.length === 0, 'stops early only when empty')
        }
        assert.equal(consumer.isEmpty, model.length === 0)
      }
    }),
    { numRuns: 300 },
  )
})

test('a record that a visitor failed on is gone, and the ring goes on', () => {
  const ring = new ByteRing(ByteRing.allocate(256))
  ring.push(1, 0, Uint8Array.of(1))
  ring.push(2, 0, Uint8Array.of(2))
  assert.throws(() =>
    ring.drain(() => {
      throw new Error('visitor')
    }, 256),
  )
  const seen: number[] = []
  ring.drain((connection) => seen.push(connection), 256)
  assert.deepEqual(seen, [2])
})

test('a record above its limit, or a capacity that is no power of two, is a bug', () => {
  const ring = new ByteRing(ByteRing.allocate(256))
  assert.throws(() => ring.push(1, 0, new Uint8Array(65)), { name: 'AssertionError' })
  for (const bytes of [0, 32, 100, 2 ** 31]) {
    assert.throws(() => ByteRing.allocate(bytes), { name: 'AssertionError' })
  }
})

test('promises of change settle for both sides, and are not made after the change', async () => {
  const memory = ByteRing.allocate(64)
  const producer = new ByteRing(memory)
  const consumer = new ByteRing(memory)
  const filled = consumer.whenFilled()
  assert.ok(filled)
  producer.push(1, 0, new Uint8Array(16))
  await filled
  assert.equal(consumer.whenFilled(), undefined)
  const { head } = producer
  while (producer.push(1, 0, new Uint8Array(16)));
  const drained = producer.whenDrained(head)
  assert.ok(drained)
  consumer.drain(() => {}, 1)
  await drained
  assert.equal(producer.whenDrained(head), undefined)
})

test('a million bytes cross two threads through a small ring, in order and exact', async () => {
  const memory = ByteRing.allocate(4096)
  const program = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(async ({ ByteRing }) => {
      const ring = new ByteRing(workerData.memory)
      for (let record = 0; record < 4000; record++) {
        const bytes = new Uint8Array(record % 500).fill(record)
        for (;;) {
          const head = ring.head
          if (ring.push(record, record % 7, bytes)) break
          await ring.whenDrained(head)
        }
      }
    })
    parentPort.on('message', () => parentPort.close())`
  const module = import.meta.resolve('./byte-ring.ts')
  const worker = new Worker(program, { eval: true, workerData: { memory, module } })
  const ring = new ByteRing(memory)
  let next = 0
  while (next < 4000) {
    await ring.whenFilled()
    ring.drain((connection, kind, bytes) => {
      assert.equal(connection, next)
      assert.equal(kind, next % 7)
      assert.equal(bytes.length, next % 500)
      assert.ok(bytes.every((byte) => byte === (next & 255)))
      next++
    }, 4096)
  }
  worker.postMessage('done')
  await new Promise((resolve) => worker.once('exit', resolve))
})
