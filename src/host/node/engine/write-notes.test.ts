import assert from 'node:assert/strict'
import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { release } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { pagesIn } from '../../../../test/support/page-runs.ts'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import {
  type Calls,
  loadCalls,
  openFaults,
  PageKernel,
  PROTECT,
  REGISTER,
  SCAN,
} from './page-kernel.ts'
import { isSound, KernelWriteNotes, noteWrites } from './write-notes.ts'

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
  assert.ok(notes)
  const endPage = heap.length / DELTA_PAGE_BYTES
  notes.watch([0, endPage])
  for (let at = 0; at < heap.length; at += 2 * DELTA_PAGE_BYTES) heap[at] = 1
  const told = pagesIn(notes.written(endPage))
  assert.equal(told.length, endPage / 2)
  assert.ok(told.every((one) => one % 2 === 0))
})

const ENTRY = JSON.stringify(import.meta.resolve('./write-notes.ts'))
/** A thread or process that takes notes once and says what it was told. */
const NOTE_ONCE = `
  import { noteWrites } from ${ENTRY}
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const notes = noteWrites(memory)
  notes?.watch([0, 16])
  new Uint8Array(memory.buffer)[4096 * 3] = 1
  const told = notes?.written(16)`

/** In a process where no thread has asked yet. */
test('what a thread has opened that has ended goes on serving the others', { skip }, () => {
  const code = `
    import { Worker } from 'node:worker_threads'
    import { shareWriteNotes, noteWrites } from ${ENTRY}
        shareWriteNotes()
    const inThread = ${JSON.stringify(`${NOTE_ONCE}
      import { parentPort } from 'node:worker_threads'
      parentPort.postMessage(told)`)}
    for (let round = 0; round < 2; round++) {
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(inThread)))
      worker.once('error', (error) => { throw error })
      const told = await new Promise((resolve) => worker.once('message', resolve))
      console.log(JSON.stringify(told))
      await worker.terminate()
    }
    ${NOTE_ONCE.replace(`import { noteWrites } from ${ENTRY}`, '')}
    console.log(JSON.stringify(told))`
  const { stdout, stderr } = run([], code)
  assert.equal(stderr, '')
  assert.deepEqual(stdout.trim().split('\n'), ['[3,1]', '[3,1]', '[3,1]'])
})

test(
  'where Node or the system forbids any of it there are no notes, and no error',
  { skip },
  () => {
    const code = `${NOTE_ONCE}
    console.log(notes, noteWrites(memory))`
    const folder = join(import.meta.dirname, '../../..')
    const mayRead = ['--permission', `--allow-fs-read=${folder}/*`]
    for (const flags of [mayRead, [...mayRead, '--allow-ffi'], ['--no-experimental-ffi']]) {
      const { stdout, stderr, status } = run(flags, code)
      assert.equal(stdout.trim(), 'undefined undefined', stderr)
      assert.equal(status, 0)
    }
  },
)

test('a memory that may be moved when it grows gets none', { skip }, () => {
  assert.equal(noteWrites(new WebAssembly.Memory({ initial: 1, maximum: 4 })), undefined)
})

test('a kernel that fails later has all of it looked at', { skip }, () => {
  const calls = loadCalls()
  const faults = calls && openFaults(calls)
  assert.ok(calls && faults !== undefined)
  const pageMap = openSync('/proc/self/pagemap', 'r')
  const all = [0, PAGES]
  try {
    let isFailing: (command: bigint) => boolean = () => false
    const failing: Calls = {
      ...calls,
      ioctl: (descriptor, command, argument) =>
        isFailing(command) ? -1 : calls.ioctl(descriptor, command, argument),
    }
    const kernel = new PageKernel(failing, { faults, pageMap })
    assert.ok(kernel.shakeHands())
    assert.ok(isSound(kernel))
    for (const failed of [REGISTER, PROTECT, SCAN]) {
      const notes = new KernelWriteNotes(kernel, newMemory())
      isFailing = (command) => command === failed
      assert.equal(isSound(kernel), false)
      notes.watch(all)
      assert.deepEqual(notes.written(PAGES), all)
      isFailing = () => false
      notes.watch(all)
      assert.deepEqual(notes.written(PAGES), [])
    }
  } finally {
    closeSync(pageMap)
    calls.close(faults)
  }
})

function run(flags: readonly string[], code: string): SpawnSyncReturns<string> {
  const words = [...flags, '--input-type=module', '-e', code]
  return spawnSync(process.execPath, words, { encoding: 'utf8', cwd: import.meta.dirname })
}
