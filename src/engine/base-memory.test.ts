import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { emptyRuns, imageOf, layOver, layOut } from './base-memory.ts'
import { DELTA_PAGE_BYTES } from './memory-delta.ts'
import { runsWithin } from './page-runs.ts'

const PAGES = 64
const limits = { minimumPages: 1, maximumPages: 16, shared: true }

/** Writes one byte into each of these pages, at an offset that depends on the page. */
const scribble = (heap: Uint8Array, pages: readonly number[]): void => {
  for (const page of pages) {
    heap[page * DELTA_PAGE_BYTES + ((page * 997) % DELTA_PAGE_BYTES)] = page + 1
  }
}

test('a base that is laid out equals the memory it was made of', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(PAGES - 1), { maxLength: 40 }), (written) => {
      const heap = new Uint8Array(PAGES * DELTA_PAGE_BYTES)
      scribble(heap, written)
      const { memory, endBytes } = layOut(imageOf(heap, heap.length), limits)
      const laidOut = new Uint8Array(memory.buffer, 0, endBytes)
      assert.deepEqual(laidOut.slice(), heap.slice(0, endBytes))
      assert.ok(heap.subarray(endBytes).every((byte) => byte === 0))
    }),
  )
})

test('a memory gets what the base holds, and keeps what lies where the base is empty', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(PAGES - 1), { maxLength: 40 }),
      fc.nat(PAGES - 1),
      (written, own) => {
        const heap = new Uint8Array(PAGES * DELTA_PAGE_BYTES)
        scribble(heap, written)
        const base = layOut(imageOf(heap, heap.length), limits)
        const fresh = new WebAssembly.Memory({ initial: PAGES / 16, maximum: 16, shared: true })
        new Uint8Array(fresh.buffer)[own * DELTA_PAGE_BYTES] = 99
        layOver(base, fresh)
        if (!written.includes(own)) heap[own * DELTA_PAGE_BYTES] = 99
        assert.deepEqual(new Uint8Array(fresh.buffer).slice(), heap)
      },
    ),
  )
})

test('an image holds only pages that are not empty', () => {
  const heap = new Uint8Array(PAGES * DELTA_PAGE_BYTES)
  scribble(heap, [3, 4, 9])
  const image = imageOf(heap, heap.length)
  assert.deepEqual([...image.runs], [3, 2, 9, 1])
  assert.equal(image.pages.length, 3 * DELTA_PAGE_BYTES)
})

test('runs that are empty in another memory are those of the base that it has not', () => {
  const heap = new Uint8Array(PAGES * DELTA_PAGE_BYTES)
  scribble(heap, [3, 4, 5, 9, 20, 21])
  const base = layOut(imageOf(heap, heap.length), limits)
  const other = new WebAssembly.Memory({ initial: PAGES / 16, maximum: 16, shared: true })
  scribble(new Uint8Array(other.buffer), [4, 9, 30])
  assert.deepEqual(emptyRuns(other, base), [3, 1, 5, 1, 20, 2])
  assert.deepEqual(runsWithin(emptyRuns(other, base), 0, 20), [3, 1, 5, 1])
  assert.deepEqual(emptyRuns(base.memory, base), [])
})
