import assert from 'node:assert/strict'
import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { pagesIn } from '../../../../test/support/page-runs.ts'
import { copyPieces } from '../../../base/sparse-bytes.ts'
import { type BaseImage, layOut } from '../../../engine/base-memory.ts'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { slotMemory } from '../../../engine/slot-memory.ts'
import { layOutShared, pageBytes } from './base-file.ts'
import type { MemoryCalls } from './memory-calls.ts'
import { type BaseInFile, baseSharer, isSound, MappedPages, openSight } from './shared-pages.ts'

const PAGES = 128
const PAGES_MAX = 512
const newMemory = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: PAGES / 16, maximum: PAGES_MAX / 16, shared: true })

/** Where it must be possible, not to share is a failure. */
const skip =
  process.platform === 'linux' && isBuiltin('node:ffi') ? false : 'no Linux, or a Node without ffi'

/** Content near the beginning, far away from it, and in single pages near each other. */
const RUNS = [0, 9, 12, 1, 14, 1, 100, 3]
const image: BaseImage = {
  runs: Uint32Array.from(RUNS),
  pages: Uint8Array.from(
    { length: pagesIn(RUNS).length * DELTA_PAGE_BYTES },
    (_, index) => 1 + (index % 251),
  ),
}

function newBase(): BaseInFile {
  const { base, baseFile } = layOutShared(image, copyPieces)
  assert.ok(baseFile)
  return { base, file: baseFile }
}

function open(memory: WebAssembly.Memory, of = newBase()): MappedPages {
  const sight = openSight()
  const shared = sight && MappedPages.open(sight, of, memory)
  assert.ok(shared)
  return shared
}

const page = fc.nat(PAGES - 1)
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant('write' as const), page }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('read' as const), page }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('read a file' as const), page }) },
    {
      weight: 2,
      arbitrary: fc.record({
        does: fc.constant('give back' as const),
        page,
        count: fc.integer({ min: 1, max: 40 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('grow' as const), page }) },
  ),
  { maxLength: 60 },
)

test(
  'a memory shows the base but for what was written, and says which pages those are',
  {
    skip,
  },
  () => {
    const zeros = openSync('/dev/zero', 'r')
    const of = newBase()
    const base = new Uint8Array(PAGES_MAX * DELTA_PAGE_BYTES)
    base.set(new Uint8Array(layOut(image, slotMemory).memory.buffer))
    fc.assert(
      fc.property(steps, (all) => {
        const memory = newMemory()
        // What was there before it was shared is gone.
        new Uint8Array(memory.buffer).fill(9)
        const shared = open(memory, of)
        let heap = new Uint8Array(memory.buffer)
        const expected = base.slice()
        const written = new Set<number>()
        const readWhereNothingIs = new Set<number>()
        for (const step of all) {
          const at = step.page * DELTA_PAGE_BYTES
          const endPage = heap.length / DELTA_PAGE_BYTES
          if (step.does === 'write') {
            heap[at + 77] = expected[at + 77] = (expected[at + 77] ?? 0) + 1
            written.add(step.page)
          } else if (step.does === 'read a file') {
            readSync(zeros, heap, at, 5, null)
            expected.fill(0, at, at + 5)
            written.add(step.page)
          } else if (step.does === 'read') {
            assert.equal(heap[at + 3], expected[at + 3])
            readWhereNothingIs.add(step.page)
          } else if (step.does === 'give back') {
            const count = Math.min(step.count, endPage - step.page)
            shared.giveBack([step.page, count])
            for (const one of pagesIn([step.page, count])) {
              written.delete(one)
              readWhereNothingIs.delete(one)
              const bytes = [one * DELTA_PAGE_BYTES, (one + 1) * DELTA_PAGE_BYTES] as const
              expected.set(base.subarray(...bytes), bytes[0])
            }
          } else if (endPage < PAGES_MAX) {
            memory.grow(1)
            heap = new Uint8Array(memory.buffer)
          }
          const told = pagesIn(shared.own(heap.length / DELTA_PAGE_BYTES))
          assert.ok([...written].every((one) => told.includes(one)))
          // Nothing that was only read, but for the empty page that the kernel has for all.
          const mayBe = new Set([...written, ...readWhereNothingIs])
          assert.ok(told.every((one) => mayBe.has(one)))
          assert.deepEqual(
            pagesIn(shared.own(7)),
            told.filter((one) => one < 7),
          )
          assert.deepEqual(
            pagesIn(shared.own(PAGES, 3)),
            told.filter((one) => one >= 3 && one < PAGES),
          )
        }
        assert.ok(Buffer.from(heap).equals(expected.subarray(0, heap.length)))
      }),
      { numRuns: 60 },
    )
    closeSync(zeros)
  },
)

test(
  'what is only read is not the memory’s own, wherever the base holds anything',
  { skip },
  () => {
    const memory = newMemory()
    const shared = open(memory)
    let sum = 0
    for (const one of pagesIn(RUNS)) sum += pageBytes(memory, one, 1)[0] ?? 0
    assert.ok(sum > 0)
    assert.deepEqual(shared.own(PAGES), [])
  },
)

test('memories of one base see nothing of each other, and cannot change it', { skip }, () => {
  const of = newBase()
  const [one, other] = [newMemory(), newMemory()]
  open(one, of)
  new Uint8Array(one.buffer).fill(7)
  const shared = open(other, of)
  const expected = layOut(image, slotMemory).memory.buffer.slice(0)
  const shown = other.buffer.slice(0, expected.byteLength)
  assert.ok(Buffer.from(shown).equals(Buffer.from(expected)))
  assert.throws(() => writeSync(of.file.descriptor, 'x', 0), { code: 'EPERM' })
  shared.giveBack([0, PAGES])
})

test('a file that is not the base is not shown, whatever number it has', { skip }, () => {
  const { base, file } = newBase()
  const sight = openSight()
  assert.ok(sight)
  const other = layOut({ ...image, pages: image.pages.map((byte) => byte ^ 1) }, slotMemory)
  const wrong: readonly BaseInFile[] = [
    { base, file: { ...file, inode: file.inode + 1 } },
    { base, file: { ...file, device: file.device + 1 } },
    { base, file: { ...file, descriptor: 1_000_000 } },
    { base: other, file },
  ]
  for (const of of wrong) {
    assert.equal(MappedPages.open(sight, of, newMemory()), undefined)
    assert.equal(isSound(sight, of), false)
  }
  const tooLong = { base, file: { ...file, runs: [0, PAGES + 1] } }
  assert.equal(MappedPages.open(sight, tooLong, newMemory()), undefined)
})

test('a memory whose mapping fails can still be written, or is given up', { skip }, () => {
  const of = newBase()
  const sight = openSight()
  assert.ok(sight)
  // As kernels do that take away what was there before they find that they cannot.
  const calls: MemoryCalls = { ...sight.calls, map: () => false }
  const memory = newMemory()
  assert.equal(MappedPages.open({ ...sight, calls }, of, memory), undefined)
  const heap = new Uint8Array(memory.buffer)
  assert.ok(heap.every((byte) => byte === 0))
  heap.fill(1)
  const hopeless = { ...sight, calls: { ...calls, mapNothing: () => false } }
  assert.throws(() => MappedPages.open(hopeless, of, newMemory()), {
    code: 'SLOT_MEMORY_EXHAUSTED',
  })
})

test('a memory that may be moved when it grows shows nothing', { skip }, () => {
  const { base, file } = newBase()
  const share = baseSharer(base, file)
  assert.ok(share)
  assert.ok(share(newMemory()))
  assert.equal(share(new WebAssembly.Memory({ initial: 8, maximum: 32 })), undefined)
})

test('a kernel that refuses any of it, or means something else, is not believed', { skip }, () => {
  const of = newBase()
  const sight = openSight()
  assert.ok(sight && isSound(sight, of))
  const refusing: readonly Partial<MemoryCalls>[] = [
    { map: () => false },
    { drop: () => false },
    // Says that it has, and has not.
    { map: () => true },
    { drop: () => true },
  ]
  for (const refused of refusing) {
    assert.equal(isSound({ ...sight, calls: { ...sight.calls, ...refused } }, of), false)
  }
  for (const path of ['/dev/zero', '/dev/null']) {
    const pageMap = openSync(path, 'r')
    assert.equal(isSound({ ...sight, pageMap }, of), false, path)
    closeSync(pageMap)
  }
})

test('a page map that can be read no more has all pages looked at', { skip }, () => {
  const sight = openSight()
  const shared = sight && MappedPages.open(sight, newBase(), newMemory())
  assert.ok(sight && shared)
  closeSync(sight.pageMap)
  assert.deepEqual(shared.own(PAGES), [0, PAGES])
})

test('what cannot be given back stays the memory’s own', { skip }, () => {
  const sight = openSight()
  assert.ok(sight)
  let isRefusing = false
  const calls: MemoryCalls = {
    ...sight.calls,
    drop: (bytes) => !isRefusing && sight.calls.drop(bytes),
  }
  const memory = newMemory()
  const shared = MappedPages.open({ ...sight, calls }, newBase(), memory)
  pageBytes(memory, 5, 1).fill(1)
  isRefusing = true
  shared?.giveBack([5, 1])
  assert.deepEqual(shared?.own(PAGES), [5, 1])
})

test('what a thread has laid out is closed with it, whatever way it ends', { skip }, () => {
  const { stdout, stderr } = run(
    [],
    `
    import { Worker } from 'node:worker_threads'
    import { fstatSync } from 'node:fs'
    const inThread = ${JSON.stringify(`${LAY_OUT}
      import { parentPort } from 'node:worker_threads'
      parentPort.postMessage(baseFile)`)}
    const isThere = ({ descriptor, inode }) => {
      try { return fstatSync(descriptor).ino === inode } catch { return false }
    }
    for (const endsBy of ['itself', 'force']) {
      const code = inThread + (endsBy === 'force' ? ';setInterval(() => {}, 1000)' : '')
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(code)))
      worker.once('error', (error) => { throw error })
      const ended = new Promise((resolve) => worker.once('exit', resolve))
      const theirs = await new Promise((resolve) => worker.once('message', resolve))
      if (endsBy === 'force') {
        console.log(isThere(theirs))
        await worker.terminate()
      }
      await ended
      console.log(isThere(theirs))
    }
    ${LAY_OUT}
    console.log(isThere(baseFile))`,
  )
  assert.equal(stderr, '')
  assert.deepEqual(stdout.trim().split('\n'), ['false', 'true', 'false', 'true'])
})

test(
  'where Node or the system forbids any of it slots copy the base, and nothing throws',
  {
    skip,
  },
  () => {
    const folder = join(import.meta.dirname, '../../..')
    const mayRead = ['--permission', `--allow-fs-read=${folder}/*`]
    for (const flags of [mayRead, ['--no-experimental-ffi']]) {
      const { stdout, stderr, status } = run(
        flags,
        `${LAY_OUT}
      console.log(baseFile, new Uint8Array(base.memory.buffer)[8 * 4096 + 3])`,
      )
      assert.equal(stdout.trim(), 'undefined 7', stderr)
      assert.equal(status, 0)
    }
  },
)

const MODULE = JSON.stringify(import.meta.resolve('./base-file.ts'))
const LAY_OUT = `
  import { layOutShared } from ${MODULE}
  const { base, baseFile } = layOutShared(
    { runs: Uint32Array.from([8, 1]), pages: new Uint8Array(4096).fill(7) },
    (source, [target]) => target.set(source),
  )`

function run(flags: readonly string[], code: string): SpawnSyncReturns<string> {
  const words = [...flags, '--input-type=module', '-e', code]
  return spawnSync(process.execPath, words, { encoding: 'utf8', cwd: import.meta.dirname })
}
