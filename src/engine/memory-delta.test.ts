import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { imageOf, layOut } from './base-memory.ts'
import { memoryDeltaCode } from './memory-delta-code.ts'
import { pagesIn } from '../../test/support/page-runs.ts'
import { addPage } from './page-runs.ts'
import {
  bindMemoryDelta,
  DELTA_PAGE_BYTES,
  type DeltaParts,
  type MemoryDelta,
  Scratch,
  SCRATCH_BYTES_MIN,
} from './memory-delta.ts'
import type { SharedPages } from './touched-pages.ts'
import { WASM_PAGE_BYTES } from './wasm-module.ts'

/** More than one piece of scratch when all of it differs. */
const SLOT_WASM_PAGES = 48
const BASE_WASM_PAGES = 40
const limits = { minimumPages: 1, maximumPages: 64, shared: true }
const newMemory = (initial: number): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial, maximum: 64, shared: true })
const code = new WebAssembly.Module(memoryDeltaCode(limits))
const endBytes = SLOT_WASM_PAGES * WASM_PAGE_BYTES

interface World {
  readonly slot: Uint8Array
  readonly base: Uint8Array
  readonly delta: MemoryDelta
}

type How = 'wasm' | 'in pieces' | 'shared' | 'portable'

/** Finds out what was written by a copy: the memory equals the base now. */
function sharedByCopy(memory: WebAssembly.Memory): SharedPages {
  const bytes = new Uint8Array(memory.buffer)
  const copy = bytes.slice()
  const isOwn = new Set<number>()
  const pageOf = (from: Uint8Array, page: number): Buffer =>
    Buffer.from(from.buffer, page * DELTA_PAGE_BYTES, DELTA_PAGE_BYTES)
  return {
    own: (endPage, firstPage = 0) => {
      const runs: number[] = []
      for (let page = firstPage; page < endPage; page++) {
        if (!pageOf(bytes, page).equals(pageOf(copy, page))) isOwn.add(page)
        if (isOwn.has(page)) addPage(runs, page)
      }
      return runs
    },
    giveBack: (runs) => {
      for (const page of pagesIn(runs)) {
        isOwn.delete(page)
        pageOf(bytes, page).set(pageOf(copy, page))
      }
    },
  }
}

function newWorld(how: How): World {
  const slot = newMemory(SLOT_WASM_PAGES)
  const baseBytes = new Uint8Array(BASE_WASM_PAGES * WASM_PAGE_BYTES)
  // Pages with content, pages without, and something in every line of one.
  for (let at = 0; at < baseBytes.length; at += 9 * DELTA_PAGE_BYTES + 40) baseBytes[at] = 1 + at
  baseBytes.fill(7, 5 * DELTA_PAGE_BYTES, 6 * DELTA_PAGE_BYTES)
  new Uint8Array(slot.buffer).set(baseBytes)
  const parts: DeltaParts = {
    slot,
    base: layOut(imageOf(baseBytes, baseBytes.length), limits),
    ...(how === 'portable' ? {} : { code }),
    ...(how === 'shared' ? { shared: sharedByCopy(slot) } : {}),
    scratch: new Scratch(how === 'in pieces' ? SCRATCH_BYTES_MIN : undefined),
  }
  return { slot: new Uint8Array(slot.buffer), base: baseBytes, delta: bindMemoryDelta(parts) }
}

const writes = fc.array(
  fc.record({ at: fc.nat(endBytes - 1), length: fc.nat(9000), value: fc.nat(255) }),
  { maxLength: 12 },
)

function write(bytes: Uint8Array, all: readonly { at: number; length: number; value: number }[]) {
  for (const { at, length, value } of all) bytes.fill(value, at, at + length)
}

const HOW = ['wasm', 'in pieces', 'shared', 'portable'] as const
const worlds: Readonly<Record<How, World>> = {
  wasm: newWorld('wasm'),
  'in pieces': newWorld('in pieces'),
  shared: newWorld('shared'),
  portable: newWorld('portable'),
}

for (const how of HOW) {
  test(`${how}: pages are emptied, whatever was in them, and no others`, () => {
    const { slot, delta } = worlds[how]
    const page = fc.nat(endBytes / DELTA_PAGE_BYTES)
    fc.assert(
      fc.property(writes, page, page, (all, one, other) => {
        delta.revert(endBytes)
        write(slot, all)
        const [first, end] = [Math.min(one, other), Math.max(one, other)]
        const expected = slot.slice().fill(0, first * DELTA_PAGE_BYTES, end * DELTA_PAGE_BYTES)
        delta.empty(first, end)
        return Buffer.from(slot).equals(expected)
      }),
    )
  })

  test(`${how}: take brings a memory to the base, apply brings it back`, () => {
    const { slot, delta } = worlds[how]
    fc.assert(
      fc.property(writes, writes, (first, second) => {
        delta.revert(endBytes)
        write(slot, first)
        const expected = slot.slice()
        const copied = delta.capture(endBytes)
        assert.ok(Buffer.from(slot).equals(expected))
        const one = delta.take(endBytes)
        assert.deepEqual(one, copied)
        delta.settle(one)
        assert.equal(delta.countDifferent(endBytes), 0)
        write(slot, second)
        const other = delta.take(endBytes)
        delta.settle(other)
        delta.apply(one)
        assert.ok(Buffer.from(slot).equals(expected))
        assert.ok(one.endBytes <= endBytes && one.bytes.length <= (endBytes / 4096) * 4112)
      }),
      { numRuns: 40 },
    )
  })

  test(`${how}: everything different is captured and taken`, () => {
    const { slot, base, delta } = worlds[how]
    delta.revert(endBytes)
    for (let at = 0; at < slot.length; at++) slot[at] = (slot[at] ?? 0) ^ 0x5a
    const all = delta.capture(endBytes)
    assert.equal(all.bytes.length, (endBytes / DELTA_PAGE_BYTES) * (16 + DELTA_PAGE_BYTES))
    assert.equal(all.endBytes, endBytes)
    assert.equal(delta.countDifferent(endBytes), endBytes / DELTA_PAGE_BYTES)
    assert.deepEqual(delta.take(endBytes), all)
    assert.ok(Buffer.from(slot.subarray(0, base.length)).equals(base))
    assert.ok(slot.subarray(base.length).every((byte) => byte === 0))
  })

  test(`${how}: revert counts and mends exactly the pages that differ`, () => {
    const { slot, delta } = worlds[how]
    delta.revert(endBytes)
    for (const page of [0, 5, 300, BASE_WASM_PAGES * 16 + 3])
      slot.fill(99, page * DELTA_PAGE_BYTES + 64, page * DELTA_PAGE_BYTES + 65)
    assert.equal(delta.countDifferent(endBytes), 4)
    assert.equal(delta.revert(endBytes), 4)
    assert.equal(delta.revert(endBytes), 0)
    assert.deepEqual(delta.capture(endBytes), { bytes: new Uint8Array(0), endBytes: 0 })
  })

  test(`${how}: clear empties its runs and nothing else`, () => {
    const { slot, base, delta } = worlds[how]
    delta.revert(endBytes)
    slot.fill(99, base.length)
    const expected = slot.slice()
    const runs = [0, 2, 5, 1, BASE_WASM_PAGES * 16 - 1, 2]
    for (let index = 0; index < runs.length; index += 2) {
      const [page = 0, count = 0] = runs.slice(index)
      expected.fill(0, page * DELTA_PAGE_BYTES, (page + count) * DELTA_PAGE_BYTES)
    }
    delta.clear(runs)
    assert.ok(Buffer.from(slot).equals(expected))
  })
}

test('all ways pack the same bytes', () => {
  fc.assert(
    fc.property(writes, (all) => {
      const packed = HOW.map((how) => {
        const { slot, delta } = worlds[how]
        delta.revert(endBytes)
        delta.settle()
        write(slot, all)
        return delta.capture(endBytes)
      })
      for (const other of packed.slice(1)) assert.deepEqual(other, packed[0])
    }),
    { numRuns: 40 },
  )
})

test('only pages that are a memory of its own are looked at, wherever they are', () => {
  let own: readonly number[] = []
  const asked: number[] = []
  const slot = newMemory(SLOT_WASM_PAGES)
  const heap = new Uint8Array(slot.buffer)
  const delta = bindMemoryDelta({
    slot,
    base: { memory: newMemory(BASE_WASM_PAGES), endBytes: 0 },
    code,
    scratch: new Scratch(),
    shared: {
      own: (endPage) => {
        asked.push(endPage)
        return own
      },
      giveBack: () => assert.fail('nothing has rested'),
    },
  })
  const change = (page: number): number => (heap[page * DELTA_PAGE_BYTES] = 1)
  const lastPage = endBytes / DELTA_PAGE_BYTES - 1
  change(lastPage)
  own = [lastPage, 1]
  delta.settle(delta.take(DELTA_PAGE_BYTES))
  assert.equal(heap[lastPage * DELTA_PAGE_BYTES], 0, 'beyond the end of the heap, too')
  assert.deepEqual(asked, [lastPage + 1])
  change(3)
  change(8)
  own = [8, 1]
  assert.equal(delta.take(endBytes).endBytes, 9 * DELTA_PAGE_BYTES)
  assert.deepEqual([heap[3 * DELTA_PAGE_BYTES], heap[8 * DELTA_PAGE_BYTES]], [1, 0])
  change(8)
  assert.equal(delta.revert(endBytes), 1)
  assert.equal(delta.countDifferent(endBytes), 1, 'and this one looks at everything')
})
