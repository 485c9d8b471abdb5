import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FineWallClock, interruptibleClock } from './module-clock.ts'

/** What a sleep may take: an int of milliseconds. */
const LONGEST_NS = 2n ** 31n * 1_000_000n
const START_MS = 1_800_000_000_000

/** The time `microseconds` after the start, in microseconds, as the clock has it. */
function look(clock: FineWallClock, microseconds: number, startMs = START_MS): number {
  const wallMs = startMs + Math.floor(microseconds / 1000)
  const now = clock.at(wallMs, 777 + microseconds / 1000)
  assert.equal(Math.floor(now), wallMs, 'it stays in its millisecond')
  return (now - startMs) * 1000
}

test('wall time has microseconds once a millisecond has begun, and never goes back', () => {
  const clock = new FineWallClock()
  let last = -1
  for (let at = 300; at < 20_000; at += 7) {
    const now = look(clock, at)
    assert.ok(now > last, `${now} after ${last}`)
    // The first beginning of a millisecond is noticed by the look behind it.
    if (at > 1_010) assert.ok(Math.abs(at - now) < 8, `${now} at ${at}`)
    last = now
  }
})

test('wall time follows when the time of the machine is set, to either side', () => {
  const clock = new FineWallClock()
  for (const startMs of [START_MS, START_MS - 3_600_000, START_MS + 86_400_000]) {
    for (let at = 0; at < 3_000; at += 100) look(clock, at, startMs)
    assert.ok(Math.abs(look(clock, 3_050, startMs) - 3_050) <= 100)
  }
})

/** The clock, and the flag that makes it jump. */
function interruptible() {
  const memory = new WebAssembly.Memory({ initial: 1 })
  const view = new DataView(memory.buffer)
  let interruptPending = false
  const glue = (id: number, _precision: bigint, timeAt: number): number => {
    view.setBigInt64(timeAt, id === 0 ? 5_000_000n : 1_234n, true)
    return 0
  }
  const clock = interruptibleClock(glue, memory, () => interruptPending)
  const read = (id: number): bigint => {
    assert.equal(clock(id, 1n, 8), 0)
    return view.getBigInt64(8, true)
  }
  return { read, raise: (pending: boolean) => (interruptPending = pending) }
}

test('a pending interrupt moves the monotonic clock alone, and only while it is pending', () => {
  const { read, raise } = interruptible()
  assert.deepEqual([read(0), read(1)], [5_000_000n, 1_234n])
  raise(true)
  assert.equal(read(0), 5_000_000n)
  assert.ok(read(1) > LONGEST_NS)
  raise(false)
  assert.deepEqual([read(0), read(1)], [5_000_000n, 1_234n])
})

test('it ends a sleep, also one that begins when it is pending already', () => {
  const { read, raise } = interruptible()
  const fromNs = read(1)
  raise(true)
  assert.ok(read(1) >= fromNs + LONGEST_NS)
  for (let count = 0; count < 100; count++) {
    const beganNs = read(1)
    assert.ok(read(1) >= beganNs + LONGEST_NS, 'as if it had taken so long')
  }
})

test('however long it is pending, the time fits its 63 bits and does not go back', () => {
  const { read, raise } = interruptible()
  raise(true)
  let last = 0n
  for (let count = 0; count < 10_000; count++) {
    const now = read(1)
    assert.ok(now >= last)
    last = now
  }
})
