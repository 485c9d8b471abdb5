import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { ManualClock } from '../../../base/clock.ts'
import { systemClock } from '../clock.ts'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import { errorResponse } from '../../../base/error-message.ts'
import { readAnswer } from '../../../front/wire/result.ts'
import { PgnapError } from '../../../base/errors.ts'
import { allocateSign, SIGN, ThreadSign } from './thread-sign.ts'
import { ThreadWatch } from './thread-watch.ts'

const TIMEOUT_BYTES = 40
const [STATEMENT, TRANSACTION] = [3, 8]
const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1)

/** The part of a slot's memory that interrupts are about. */
function newFlags(): InterruptFlags {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  return {
    memory,
    interruptPendingAt: 8,
    queryCancelPendingAt: 12,
    timeoutTableAt: 64,
    commandReadAt: 16,
  }
}

function isCanceled({ memory, queryCancelPendingAt }: InterruptFlags): boolean {
  return new DataView(memory.buffer).getUint32(queryCancelPendingAt, true) !== 0
}

/** What Postgres does when it takes note of a cancel. */
function takeNote({ memory, queryCancelPendingAt }: InterruptFlags): void {
  new DataView(memory.buffer).setUint32(queryCancelPendingAt, 0, true)
}

function setTimeoutAt({ memory, timeoutTableAt }: InterruptFlags, id: number, dueMs: number): void {
  const view = new DataView(memory.buffer, timeoutTableAt + id * TIMEOUT_BYTES)
  view.setUint8(4, 1)
  view.setBigInt64(24, BigInt(dueMs - POSTGRES_EPOCH_MS) * 1000n, true)
}

const toldOfTimeout = ({ memory, timeoutTableAt }: InterruptFlags): number =>
  new DataView(memory.buffer).getUint8(timeoutTableAt + STATEMENT * TIMEOUT_BYTES + 5)

const CANCEL = errorResponse(new PgnapError('QUERY_CANCELED', 'canceling statement'), 'ERROR')

function world({
  neighbourWaitMs = 0,
  clock = new ManualClock(Date.UTC(2030, 0, 1)),
  hasGone = (_client: number): boolean => false,
  sentBytes = (_client: number): number | undefined => undefined,
  isAwaited = (): boolean => false,
} = {}) {
  const memory = allocateSign()
  const flags = newFlags()
  const kept: string[] = []
  const sign = new ThreadSign(memory, neighbourWaitMs)
  const watch = new ThreadWatch({
    memory,
    slots: new Map([[5, flags]]),
    neighbourWaitMs,
    clock,
    hasGone,
    sentBytes,
    isAwaited,
    onKeptOthers: () => kept.push('kept'),
  })
  return { clock, sign, watch, flags, kept, cells: new Int32Array(memory) }
}

const messageIn = (answer: Uint8Array): string | undefined => readAnswer(answer).error?.message

test('a thread is held by what was seen to run and has not ended or paused since', () => {
  const { clock, sign, watch, flags } = world()
  assert.equal(watch.isHeld, false)
  sign.begin(5, 11)
  assert.equal(watch.isHeld, false, 'it has perhaps just begun')
  clock.advance(60)
  assert.equal(watch.isHeld, false, 'others are as short')
  clock.advance(100)
  assert.equal(watch.isHeld, true)
  sign.end(flags)
  sign.begin(5, 11)
  assert.equal(watch.isHeld, false)
})

test('what a look has seen to run is looked at again soon: its client may have gone', () => {
  const { clock, sign, flags } = world({ hasGone: () => true })
  sign.begin(5, 11)
  clock.advance(50)
  assert.equal(isCanceled(flags), false, 'it may be a short one')
  clock.advance(20)
  assert.equal(isCanceled(flags), true)
})

test('a wish meets what runs for that client, and nothing else', () => {
  const { sign, watch, flags } = world()
  sign.begin(5, 11)
  assert.equal(watch.cancel(12)?.client, 12)
  assert.equal(isCanceled(flags), false)
  assert.equal(watch.cancel(11), undefined)
  assert.equal(isCanceled(flags), true)
  assert.equal(messageIn(sign.answered(CANCEL)), 'canceling statement', 'Postgres knows why')
  sign.end(flags)
  assert.equal(isCanceled(flags), false, 'what came too late is taken back')
})

test('it goes on so when more batches have run than fit the count', () => {
  const { sign, watch, flags, cells } = world()
  cells[SIGN.batches] = 2 ** 31 - 2
  for (let round = 0; round < 3; round++) {
    sign.begin(5, 11)
    assert.equal(watch.cancel(11), undefined)
    assert.equal(isCanceled(flags), true)
    assert.equal(messageIn(sign.answered(CANCEL)), 'canceling statement')
    sign.end(flags)
    assert.equal(isCanceled(flags), false)
  }
  assert.ok((cells[SIGN.batches] ?? 0) < 0)
})

test('what does not take note of a cancel is known, from the first one on', () => {
  const { clock, sign, watch, flags } = world({ neighbourWaitMs: 1_000 })
  const unheeded = (): typeof watch.unheeded => watch.unheeded
  sign.shared = true
  sign.begin(5, 11)
  assert.equal(unheeded(), undefined)
  clock.advance(1_300)
  const first = unheeded()
  assert.ok(first && !first.isOwn)
  clock.advance(2_000)
  assert.equal(unheeded()?.sinceMs, first.sinceMs, 'however often it was told')
  assert.equal(watch.cancel(11), undefined)
  assert.deepEqual(unheeded(), { ...first, isOwn: true })
  assert.equal(watch.isAwaited, false)
  sign.waited = true
  assert.equal(watch.isAwaited, true)
  takeNote(flags)
  assert.equal(unheeded(), undefined, 'it catches cancels and goes on')
  clock.advance(300)
  assert.ok((unheeded()?.sinceMs ?? 0) > first.sinceMs, 'a new one has its own time')
  sign.end(flags)
  sign.begin(5, 11)
  assert.equal(unheeded(), undefined, 'nor does the next one have to do with it')
  sign.end(flags)
})

test('a wish that finds its client waiting is kept until the shard has heard of it', () => {
  const { clock, sign, watch, flags } = world()
  assert.equal(watch.cancel(11)?.client, 11)
  sign.begin(5, 11)
  clock.advance(50)
  assert.equal(isCanceled(flags), true)
  takeNote(flags)
  sign.end(flags)
  sign.begin(5, 11)
  clock.advance(500)
  assert.equal(isCanceled(flags), false, 'one wish, one cancel')
  sign.end(flags)
  const forgotten = watch.cancel(11)
  assert.equal(sign.hasWishes, true)
  if (forgotten) watch.forget(forgotten)
  assert.equal(sign.hasWishes, false)
  sign.begin(5, 11)
  clock.advance(500)
  assert.equal(isCanceled(flags), false, 'it was forgotten')
})

test('what Postgres has not read yet is cancelled when it has', () => {
  const { clock, sign, watch, flags } = world()
  const reading = new Uint8Array(flags.memory.buffer, flags.commandReadAt, 1)
  sign.begin(5, 11)
  reading[0] = 1
  assert.equal(watch.cancel(11)?.client, 11)
  clock.advance(50)
  assert.equal(isCanceled(flags), false, 'it would be forgotten')
  reading[0] = 0
  clock.advance(50)
  assert.equal(isCanceled(flags), true)
})

test('a wish is about what was sent before it', () => {
  const { clock, sign, watch, flags } = world({ sentBytes: () => 100 })
  const wish = watch.cancel(11)
  for (const begunByte of [100, 101, 2 ** 30]) {
    sign.begin(5, 11, { begunByte, spentWish: 0 })
    clock.advance(500)
    assert.equal(isCanceled(flags), false, `${begunByte} is younger`)
    assert.equal(sign.end(flags), 0)
  }
  sign.begin(5, 11, { begunByte: 99, spentWish: 0 })
  clock.advance(50)
  assert.equal(isCanceled(flags), true)
  assert.equal(sign.end(flags), wish?.number, 'the shard hears which wish it was')
})

test('so it is where counts of bytes begin anew', () => {
  const { clock, sign, watch, flags } = world({ sentBytes: () => 2 ** 32 + 10 })
  watch.cancel(11)
  sign.begin(5, 11, { begunByte: 2 ** 32 + 10, spentWish: 0 })
  clock.advance(50)
  assert.equal(isCanceled(flags), false)
  sign.end(flags)
  sign.begin(5, 11, { begunByte: 2 ** 32 - 10, spentWish: 0 })
  clock.advance(50)
  assert.equal(isCanceled(flags), true)
})

test('a wish that the shard has made use of ends nothing more', () => {
  const { clock, sign, watch, flags } = world({ sentBytes: () => 100 })
  const spentWish = watch.cancel(11)?.number ?? 0
  assert.notEqual(spentWish, 0)
  sign.begin(5, 11, { begunByte: 50, spentWish })
  clock.advance(500)
  assert.equal(isCanceled(flags), false)
  assert.equal(watch.cancel(11), undefined, 'a second one does')
})

test('what is forgotten late takes no later wish along', () => {
  let sentBytes = 100
  const { clock, sign, watch, flags } = world({ sentBytes: () => sentBytes })
  const early = watch.cancel(11)
  sentBytes = 200
  watch.cancel(11)
  if (early) watch.forget(early)
  sign.begin(5, 11, { begunByte: 150, spentWish: 0 })
  clock.advance(50)
  assert.equal(isCanceled(flags), true)
})

test('nobody is nobody’s client', () => {
  const { clock, sign, watch, flags } = world()
  sign.begin(5, 0)
  watch.cancel(11)
  clock.advance(500)
  assert.equal(isCanceled(flags), false)
  watch.cancelAny()
  assert.equal(isCanceled(flags), true, 'but the shard has to go on')
})

test('a statement that is overdue by Postgres’s own books is cancelled once', () => {
  const { clock, sign, flags } = world()
  setTimeoutAt(flags, STATEMENT, clock.nowMs() + 200)
  sign.begin(5, 11)
  clock.advance(150)
  assert.equal(isCanceled(flags), false)
  clock.advance(100)
  assert.equal(isCanceled(flags), true)
  assert.equal(toldOfTimeout(flags), 1)
  takeNote(flags)
  clock.advance(500)
  assert.equal(isCanceled(flags), false, 'a function that catches it goes on')
  sign.end(flags)
  assert.equal(toldOfTimeout(flags), 0, 'the next cancel has another reason')
})

test('a transaction that is overdue is cancelled in our words, and until it ends', () => {
  const { clock, sign, flags } = world()
  setTimeoutAt(flags, TRANSACTION, clock.nowMs() + 100)
  sign.begin(5, 11)
  clock.advance(200)
  assert.equal(isCanceled(flags), true)
  takeNote(flags)
  clock.advance(200)
  assert.equal(isCanceled(flags), true, 'a function that catches it does not go on')
  assert.match(messageIn(sign.answered(CANCEL)) ?? '', /due to transaction timeout/)
})

test('a statement that keeps others waiting is cancelled until it ends, and logged once', () => {
  const { clock, sign, flags, kept } = world({ neighbourWaitMs: 1000 })
  sign.begin(5, 11)
  clock.advance(5000)
  assert.equal(isCanceled(flags), false, 'it is alone')
  sign.shared = true
  clock.advance(1200)
  assert.equal(isCanceled(flags), true)
  takeNote(flags)
  clock.advance(1000)
  assert.equal(isCanceled(flags), true)
  assert.deepEqual(kept, ['kept'])
  assert.match(messageIn(sign.answered(CANCEL)) ?? '', /kept other tenants waiting/)
})

test('upkeep ends as soon as anybody waits, and is told why', () => {
  let waits = false
  const { clock, sign, flags } = world({ isAwaited: () => waits, neighbourWaitMs: 1000 })
  sign.shared = true
  sign.beginUpkeep(0)
  sign.begin(5, 0)
  clock.advance(5_000)
  assert.equal(isCanceled(flags), false, 'nobody waits, however long it takes')
  waits = true
  clock.advance(10)
  assert.equal(isCanceled(flags), true, 'it is looked at often')
  assert.equal(messageIn(sign.answered(CANCEL)), 'canceling statement')
  sign.end(flags)
  assert.equal(sign.endUpkeep(), true)
  assert.equal(isCanceled(flags), false)
  sign.beginUpkeep(0)
  sign.begin(5, 0)
  sign.end(flags)
  assert.equal(sign.endUpkeep(), false, 'the next one is another')
  sign.begin(5, 11)
  clock.advance(500)
  assert.equal(isCanceled(flags), false, 'what a client runs ends for nobody')
})

test('upkeep with patience lets others wait for so long, each time anew', () => {
  let waits = true
  const { clock, sign, flags } = world({ isAwaited: () => waits })
  sign.beginUpkeep(250)
  sign.begin(5, 0)
  clock.advance(200)
  waits = false
  clock.advance(100)
  waits = true
  clock.advance(240)
  assert.equal(isCanceled(flags), false, 'who waited first is served, or gone')
  clock.advance(40)
  assert.equal(isCanceled(flags), true)
  sign.end(flags)
  assert.equal(sign.endUpkeep(), true)
  sign.beginUpkeep(Number.POSITIVE_INFINITY)
  sign.begin(5, 0)
  clock.advance(1e6)
  assert.equal(isCanceled(flags), false)
})

test('a statement whose client has gone is cancelled, soon, and again if it goes on', () => {
  const asked: number[] = []
  const gone = new Set([11])
  const { clock, sign, flags } = world({
    sentBytes: () => undefined,
    hasGone: (client) => {
      asked.push(client)
      return gone.has(client)
    },
  })
  for (const client of [12, -7, 0]) {
    sign.begin(5, client)
    clock.advance(1_000)
    assert.equal(isCanceled(flags), false)
    sign.end(flags)
  }
  assert.equal(new Set(asked).size, 1, 'only clients of the wire are asked for')
  asked.length = 0
  for (let count = 0; count < 10; count++) {
    sign.begin(5, 11)
    clock.advance(10)
    sign.end(flags)
  }
  assert.deepEqual(asked, [], 'nobody is asked for in the middle of short statements')
  sign.begin(5, 11)
  clock.advance(100)
  assert.equal(isCanceled(flags), true)
  takeNote(flags)
  clock.advance(50)
  assert.equal(isCanceled(flags), true)
  sign.end(flags)
  assert.equal(isCanceled(flags), false)
})

test('two threads: no batch is ever cancelled that was not asked to be', async () => {
  const memory = allocateSign()
  const flags = newFlags()
  const watch = new ThreadWatch({
    memory,
    slots: new Map([[5, flags]]),
    neighbourWaitMs: 0,
    clock: systemClock,
    hasGone: () => false,
    sentBytes: () => undefined,
    isAwaited: () => false,
    onKeptOthers: () => {},
  })
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    const { memory, flags, url } = workerData
    import(url).then(({ ThreadSign }) => {
      const sign = new ThreadSign(memory, 0)
      const words = new Int32Array(flags.memory.buffer)
      let [wrong, right] = [0, 0]
      // Odd clients are asked for, even ones are not.
      for (let client = 1; client <= 300000; client++) {
        sign.begin(5, 1 + (client % 2))
        for (let spin = 0; spin < client % 50; spin++) Atomics.load(words, 0)
        if (Atomics.load(words, 3) === 1) client % 2 ? wrong++ : right++
        sign.end(flags)
        if (Atomics.load(words, 3) === 1) wrong++
      }
      parentPort.postMessage({ wrong, right })
    })`
  const url = new URL('./thread-sign.ts', import.meta.url).href
  const worker = new Worker(code, { eval: true, workerData: { memory, flags, url } })
  let result: { wrong: number; right: number } | undefined
  worker.once('message', (message: typeof result) => (result = message))
  while (!result) {
    for (let count = 0; count < 2000; count++) watch.cancel(1)
    await new Promise((resolve) => setImmediate(resolve))
  }
  watch.stop()
  await worker.terminate()
  assert.equal(result.wrong, 0)
  assert.ok(result.right > 0, 'some were in time')
})
