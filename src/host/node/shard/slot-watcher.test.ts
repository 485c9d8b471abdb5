import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PauseHost } from '../../../engine/pausing.ts'
import type { WasmEngine } from '../../../engine/wasm-engine.ts'
import type { WasmSlot } from '../../../engine/wasm-slot.ts'
import { type ClientWishes, watchEngine } from './slot-watcher.ts'
import { allocateSign, SIGN, ThreadSign } from './thread-sign.ts'

/** A slot of an engine that is watched; `during` is called while it runs something. */
async function watched(wishes: ClientWishes, during: (cells: Int32Array) => void = () => {}) {
  const memory = allocateSign()
  const cells = new Int32Array(memory)
  const seen: string[] = []
  const isRunning = (): string => ((cells[SIGN.batches] ?? 0) % 2 === 1 ? 'runs' : 'rests')
  const flags = {
    memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
    interruptPendingAt: 8,
    queryCancelPendingAt: 12,
    timeoutTableAt: 64,
    commandReadAt: 16,
  }
  const run = (messages: Uint8Array): Uint8Array => {
    seen.push(isRunning())
    during(cells)
    return messages
  }
  const slot = {
    interruptFlags: flags,
    discard: () => {},
    expectCommand: () => void seen.push(`expects ${isRunning()}`),
    run,
    runPausing: run,
  }
  const engine = { createSlot: async () => slot as unknown as WasmSlot }
  const watcher = {
    sign: new ThreadSign(memory, 0),
    slotCreated: () => {},
    slotDiscarded: () => {},
  }
  const wishesOf = (client: number): ClientWishes | undefined =>
    client === 11 ? wishes : undefined
  const made = await watchEngine(engine as unknown as WasmEngine, watcher, wishesOf).createSlot()
  return { slot: made, cells, seen, isRunning }
}

test('that a command is expected shows before it shows that something runs', async () => {
  const wishes = { begunByte: 5, spentWish: 2, fulfilled: () => {} }
  const { slot, cells, seen, isRunning } = await watched(wishes)
  slot.run(new Uint8Array(1), 11)
  assert.deepEqual([...seen, isRunning()], ['expects rests', 'runs', 'rests'])
  assert.deepEqual([cells[SIGN.client], cells[SIGN.begunByte], cells[SIGN.spentWish]], [11, 5, 2])
})

test('a client hears of its wish when what it was about has ended', async () => {
  const heard: number[] = []
  const fulfilled = (wish: number): void => void heard.push(wish)
  const { slot } = await watched({ begunByte: 0, spentWish: 0, fulfilled }, (cells) => {
    Atomics.store(cells, SIGN.canceled, Atomics.load(cells, SIGN.batches))
    Atomics.store(cells, SIGN.wish, 77)
    assert.deepEqual(heard, [])
  })
  slot.run(new Uint8Array(1), 11)
  assert.deepEqual(heard, [77])
})

test('what else runs in a slot takes nothing from the time that its thread was away', async () => {
  const { slot } = await watched({ begunByte: 0, spentWish: 0, fulfilled: () => {} })
  const { pauseHost } = slot as unknown as { pauseHost: PauseHost }
  void slot.runPausing?.(new Uint8Array(1), 11)
  pauseHost.leave()
  await new Promise((resolve) => setTimeout(resolve, 2))
  pauseHost.goOn()
  const { awayMs } = pauseHost
  assert.ok(awayMs > 0)
  slot.run(new Uint8Array(1))
  assert.equal(pauseHost.awayMs, awayMs)
})
