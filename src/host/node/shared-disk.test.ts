import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { ManualClock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { DirtyCount, forgetDirtyOf, shareDirtyCounts } from './dirty-count.ts'
import { diskOf } from './shared-disk.ts'

const MIB = 1_048_576
const GIB = 1024 * MIB

/** What pages take: in SQLite's log and in its file. */
const taken = (bytes: number): number => 2.25 * bytes

test('a disk keeps something free, of a small one a quarter', () => {
  const disk = { totalBytes: 100 * GIB, freeBytes: LIMITS.diskReserveBytes + taken(10 * MIB) }
  const { hasRoom, addDirty } = diskOf('/some/store', new ManualClock(), () => disk)
  assert.deepEqual([hasRoom(0), hasRoom(10 * MIB), hasRoom(10 * MIB + 1)], [true, true, false])
  const { addDirty: addOfOther } = diskOf('/another/store', new ManualClock(), () => disk)
  addDirty(2 * MIB)
  addOfOther(3 * MIB + 1)
  assert.deepEqual([hasRoom(5 * MIB - 1024), hasRoom(5 * MIB)], [true, false], 'all that is dirty')
  addDirty(-2 * MIB)
  addOfOther(-3 * MIB - 1)
  assert.equal(hasRoom(10 * MIB), true)
  disk.freeBytes = LIMITS.diskReserveBytes - 1
  assert.equal(hasRoom(0), false, 'asked anew where there is little')
  assert.deepEqual([hasRoom(0, 1 / 4), hasRoom(LIMITS.diskReserveBytes, 0)], [true, false])
  disk.freeBytes = LIMITS.diskReserveBytes / 4 - 1
  assert.deepEqual([hasRoom(0, 1 / 4), hasRoom(1000, 0)], [false, true])
  const small = { totalBytes: 40 * MIB, freeBytes: 10 * MIB + taken(8 * MIB) }
  const { hasRoom: hasSmallRoom } = diskOf('/some/store', new ManualClock(), () => small)
  assert.deepEqual([hasSmallRoom(8 * MIB), hasSmallRoom(8 * MIB + 1)], [true, false])
})

test('a disk with plenty is asked ten times a second at most', () => {
  let asked = 0
  const clock = new ManualClock()
  const { hasRoom } = diskOf('/some/store', clock, () => {
    asked++
    return { totalBytes: 100 * GIB, freeBytes: 50 * GIB }
  })
  for (let write = 0; write < 1000; write++) {
    assert.equal(hasRoom(8192), true)
    clock.advance(1)
  }
  assert.equal(asked, 10)
  assert.equal(hasRoom(22 * GIB), true)
  assert.equal(asked, 11, 'what would use it up is no such write')
  assert.equal(hasRoom(23 * GIB), false)
})

test('what another thread has dirtied counts, until it has ended', async () => {
  shareDirtyCounts()
  const count = new DirtyCount()
  assert.equal(count.bytes, 0)
  const other = new Worker(
    `const { parentPort, threadId } = require('node:worker_threads')
    import(${JSON.stringify(new URL('dirty-count.ts', import.meta.url).href)}).then((module) => {
      new module.DirtyCount().add(5000)
      parentPort.postMessage(threadId)
      setTimeout(() => {}, 60_000)
    })`,
    { eval: true },
  )
  const [ended] = (await once(other, 'message')) as [number]
  count.add(1)
  assert.equal(count.bytes, 6 * 1024)
  await other.terminate()
  forgetDirtyOf(ended)
  assert.equal(count.bytes, 1024)
  count.add(-1)
  assert.equal(count.bytes, 0)
})

test('a disk that gives no answer has room', () => {
  const { hasRoom } = diskOf('/there/is/no/such/store', new ManualClock())
  assert.equal(hasRoom(GIB), true)
})

test('the real disk is asked', () => {
  const { hasRoom } = diskOf(import.meta.filename, new ManualClock())
  assert.equal(hasRoom(Number.MAX_SAFE_INTEGER), false)
})
