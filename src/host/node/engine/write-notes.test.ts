import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { release } from 'node:os'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { eachRun, type PageRuns } from '../../../engine/page-runs.ts'
import { noteWrites, shareWriteNotes } from './write-notes.ts'

const PAGES = 128
const PAGES_MAX = 512
const newMemory = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: PAGES / 16, maximum: PAGES_MAX / 16, shared: true })

/** Where it must be possible, to have no notes is a failure. */
function whyNot(): string | false {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  if (process.platform !== 'linux' || major < 6 || (major === 6 && minor < 7)) {
    return 'the kernel is not Linux 6.7 or later'
  }
  if (!isBuiltin('node:ffi')) return 'this Node has no ffi'
  const isConfined = !/^Seccomp:\s*0$/m.test(readFileSync('/proc/self/status', 'utf8'))
  const isRefused = isConfined && noteWrites(newMemory()) === undefined
  return isRefused ? 'whoever confines this process does not let it' : false
}

const skip = whyNot()

function pagesIn(runs: PageRuns): Set<number> {
  const pages = new Set<number>()
  for (const [first, count] of eachRun(runs)) {
    for (let page = first; page < first + count; page++) pages.add(page)
  }
  return pages
}

const page = fc.nat(PAGES - 1)
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant('write' as const), page }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('read a file' as const), page }) },
    {
      weight: 2,
      arbitrary: fc.record({
        does: fc.constant('watch' as const),
        page,
        count: fc.integer({ min: 1, max: 40 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('grow' as const), page }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('look' as const), page }) },
  ),
  { maxLength: 60 },
)

test('exactly what was written since it was watched, or never was, is told', { skip }, () => {
  const zeros = openSync('/dev/zero', 'r')
  fc.assert(
    fc.property(steps, (all) => {
      const memory = newMemory()
      const notes = noteWrites(memory)
      assert.ok(notes)
      let heap = new Uint8Array(memory.buffer)
      const written = new Set(Array.from({ length: PAGES }, (_, index) => index))
      for (const step of all) {
        const at = step.page * DELTA_PAGE_BYTES
        if (step.does === 'write') heap[at + 77] = (heap[at + 77] ?? 0) + 1
        if (step.does === 'read a file') readSync(zeros, heap, at, 5, null)
        if (step.does === 'write' || step.does === 'read a file') written.add(step.page)
        const endPage = heap.length / DELTA_PAGE_BYTES
        if (step.does === 'watch') {
          const count = Math.min(step.count, endPage - step.page)
          notes.watch([step.page, count])
          for (const one of pagesIn([step.page, count])) written.delete(one)
        }
        if (step.does === 'grow' && endPage < PAGES_MAX) {
          memory.grow(1)
          heap = new Uint8Array(memory.buffer)
          for (const one of pagesIn([endPage, 16])) written.add(one)
        }
        const told = pagesIn(notes.written(heap.length / DELTA_PAGE_BYTES))
        assert.deepEqual(
          [...told],
          [...written].toSorted((one, other) => one - other),
        )
        assert.deepEqual(
          [...pagesIn(notes.written(7))],
          [...told].filter((one) => one < 7),
        )
      }
    }),
    { numRuns: 60 },
  )
  closeSync(zeros)
})

test('more regions than one answer of the kernel holds', { skip }, () => {
  const memory = new WebAssembly.Memory({ initial: 512, maximum: 512, shared: true })
  const heap = new Uint8Array(memory.buffer)
  const notes = noteWrites(memory)
  const endPage = heap.length / DELTA_PAGE_BYTES
  notes?.watch([0, endPage])
  for (let at = 0; at < heap.length; at += 2 * DELTA_PAGE_BYTES) heap[at] = 1
  const told = pagesIn(notes?.written(endPage) ?? [])
  assert.equal(told.size, endPage / 2)
  assert.ok([...told].every((one) => one % 2 === 0))
})

test('a thread that has ended leaves the notes of the others alone', { skip }, async () => {
  shareWriteNotes()
  const code = `
    import { noteWrites } from ${JSON.stringify(import.meta.resolve('./write-notes.ts'))}
    import { parentPort } from 'node:worker_threads'
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
    const notes = noteWrites(memory)
    notes.watch([0, 16])
    new Uint8Array(memory.buffer)[4096 * 3] = 1
    parentPort.postMessage(notes.written(16))`
  const memory = newMemory()
  const notes = noteWrites(memory)
  notes?.watch([0, PAGES])
  for (let round = 0; round < 2; round++) {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`))
    const told = await new Promise((resolve, reject) => {
      worker.once('message', resolve).once('error', reject)
    })
    assert.deepEqual(told, [3, 1])
    await worker.terminate()
  }
  new Uint8Array(memory.buffer)[DELTA_PAGE_BYTES * 20] = 1
  assert.deepEqual(notes?.written(PAGES), [20, 1])
})
