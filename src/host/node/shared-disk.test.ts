import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { diskOf } from './shared-disk.ts'

const MIB = 1_048_576
const GIB = 1024 * MIB

test('a disk keeps something free, of a small one a quarter', () => {
  const disk = { totalBytes: 100 * GIB, freeBytes: LIMITS.diskReserveBytes + 10 * MIB }
  const { hasRoom } = diskOf('/some/store', new ManualClock(), () => disk)
  assert.deepEqual([hasRoom(0), hasRoom(10 * MIB), hasRoom(10 * MIB + 1)], [true, true, false])
  disk.freeBytes = LIMITS.diskReserveBytes - 1
  assert.equal(hasRoom(0), false, 'asked anew where there is little')
  assert.deepEqual([hasRoom(0, 1 / 4), hasRoom(LIMITS.diskReserveBytes, 0)], [true, false])
  disk.freeBytes = LIMITS.diskReserveBytes / 4 - 1
  assert.deepEqual([hasRoom(0, 1 / 4), hasRoom(1000, 0)], [false, true])
  const small = { totalBytes: 40 * MIB, freeBytes: 30 * MIB }
  const { hasRoom: hasSmallRoom } = diskOf('/some/store', new ManualClock(), () => small)
  assert.deepEqual([hasSmallRoom(20 * MIB), hasSmallRoom(20 * MIB + 1)], [true, false])
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
  assert.equal(hasRoom(49 * GIB), true)
  assert.equal(asked, 11, 'what would use it up is no such write')
  assert.equal(hasRoom(60 * GIB), false)
})

test('a disk that gives no answer has room', () => {
  const { hasRoom } = diskOf('/there/is/no/such/store', new ManualClock())
  assert.equal(hasRoom(GIB), true)
})

test('the real disk is asked', () => {
  const { hasRoom } = diskOf(import.meta.filename, new ManualClock())
  assert.equal(hasRoom(Number.MAX_SAFE_INTEGER), false)
})
