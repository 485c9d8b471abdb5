import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type DirectoryEntry, RECORD_BYTES, writeRecords } from './directory-records.ts'

/** As musl reads one. */
function read(heap: Uint8Array, at: number) {
  const view = new DataView(heap.buffer)
  const name = heap.subarray(at + 19, at + RECORD_BYTES)
  return {
    ino: Number(view.getBigUint64(at, true)),
    next: Number(view.getBigUint64(at + 8, true)),
    length: view.getInt16(at + 16, true),
    type: heap[at + 18],
    name: Buffer.from(name.subarray(0, name.indexOf(0))).toString(),
  }
}

test('records are read as what was written, from any entry on', () => {
  const name = fc.oneof(
    fc.stringMatching(/^[0-9]{1,6}(_fsm)?$/),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !/\0/.test(text)),
  )
  const entry = fc.record({
    name,
    ino: fc.oneof(fc.nat(), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })),
    isDirectory: fc.boolean(),
  })
  const all = fc.array(entry, { maxLength: 8 })
  fc.assert(
    fc.property(all, fc.nat(8), fc.nat(8), (entries: DirectoryEntry[], from, count) => {
      const first = Math.min(from, entries.length)
      const end = Math.min(first + count, entries.length)
      const heap = new Uint8Array(40 + 9 * RECORD_BYTES).fill(0xff)
      const after = writeRecords(heap, 40, entries, { first, end })
      assert.equal(after, 40 + (end - first) * RECORD_BYTES)
      assert.ok(heap.subarray(0, 40).every((byte) => byte === 0xff))
      assert.ok(heap.subarray(after).every((byte) => byte === 0xff))
      for (let index = first; index < end; index++) {
        const { name, ino, isDirectory } = entries[index] as DirectoryEntry
        assert.deepEqual(read(heap, 40 + (index - first) * RECORD_BYTES), {
          ino,
          next: (index + 1) * RECORD_BYTES,
          length: RECORD_BYTES,
          type: isDirectory ? 4 : 8,
          name: Buffer.from(name).toString(),
        })
      }
    }),
  )
})

test('a name that is too long is cut off in its record', () => {
  for (const letter of ['x', 'ä']) {
    const heap = new Uint8Array(2 * RECORD_BYTES).fill(0xff)
    const entries = [{ name: letter.repeat(300), ino: 1, isDirectory: false }]
    assert.equal(writeRecords(heap, 0, entries, { first: 0, end: 1 }), RECORD_BYTES)
    assert.equal(heap[19 + 255], 0)
    assert.equal(heap.indexOf(0, 19), 19 + 255)
    assert.equal(heap[RECORD_BYTES], 0xff)
  }
})
