/**
 * Lets the main thread know the slots of a shard, so that it can interrupt a query there while the
 * shard's own thread is busy with it.
 */
import type { Engine, Slot } from '../../../engine/engine.ts'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import type { WasmEngine } from '../../../engine/wasm-engine.ts'

export interface SlotWatcher {
  slotCreated(slotNo: number, flags: InterruptFlags): void
  slotDiscarded(slotNo: number): void
}

/** `engine`, with every slot it makes and gives up announced. */
export function watchEngine(engine: WasmEngine, watcher: SlotWatcher | undefined): Engine {
  if (!watcher) return engine
  let slotNo = 0
  return {
    fingerprint: engine.fingerprint,
    postgresMajor: engine.postgresMajor,
    createSlot: async (): Promise<Slot> => {
      const slot = await engine.createSlot()
      const own = slotNo++
      watcher.slotCreated(own, slot.interruptFlags)
      const discard = slot.discard.bind(slot)
      slot.discard = () => {
        watcher.slotDiscarded(own)
        discard()
      }
      return slot
    },
  }
}
