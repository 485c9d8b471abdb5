import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { captureMemory, IMAGE_PAGE_BYTES, restoreMemory } from './memory-image.ts'
import { bindPageClearer, pageClearerCode } from './page-clearer.ts'

const PAGES = 64
const facts = { stackPointer: 1, tableLength: 2, heapEnd: PAGES * IMAGE_PAGE_BYTES }
const code = new WebAssembly.Module(
  pageClearerCode({ minimumPages: 1, maximumPages: 16, shared: false }),
)

const newMemory = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: (PAGES * IMAGE_PAGE_BYTES) / 65_536, maximum: 16 })

/** Writes one byte into each of these pages, at an offset that depends on the page. */
const scribble = (heap: Uint8Array, pages: readonly number[], value: number): void => {
  for (const page of pages)
    heap[page * IMAGE_PAGE_BYTES + ((page * 997) % IMAGE_PAGE_BYTES)] = value
}

const somePages = fc.array(fc.nat(PAGES - 1), { maxLength: 40 })

test('a restored heap equals the captured one, whatever was written in between', () => {
  fc.assert(
    fc.property(somePages, somePages, (before, after) => {
      const memory = newMemory()
      const heap = new Uint8Array(memory.buffer)
      scribble(heap, before, 1)
      const expected = heap.slice()
      const image = captureMemory(heap, facts)
      scribble(heap, after, 2)
      restoreMemory(heap, image, heap.length, bindPageClearer(code, memory))
      assert.deepEqual(heap, expected)
    }),
  )
})

test('an image holds only pages that are not empty', () => {
  const heap = new Uint8Array(newMemory().buffer)
  scribble(heap, [3, 4, 9], 1)
  const image = captureMemory(heap, facts)
  assert.deepEqual([...image.runs], [3, 2, 9, 1])
  assert.equal(image.pages.length, 3 * IMAGE_PAGE_BYTES)
})

test('the clearer counts and clears exactly the pages that hold something', () => {
  const memory = newMemory()
  const heap = new Uint8Array(memory.buffer)
  scribble(heap, [0, 5, 6, 63], 7)
  const clear = bindPageClearer(code, memory)
  assert.equal(clear(0, 6 * IMAGE_PAGE_BYTES), 2)
  assert.equal(heap[6 * IMAGE_PAGE_BYTES + ((6 * 997) % IMAGE_PAGE_BYTES)], 7)
  assert.equal(clear(0, heap.length), 2)
  assert.ok(heap.every((byte) => byte === 0))
  assert.throws(() => clear(1, 4096), /whole/)
})
