/**
 * Lets the main thread know the slots of a shard, so that it can interrupt a query there while the
 * shard's own thread is busy with it.
 */
import type { Engine, Slot } from '../../../engine/engine.ts'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import type { WasmEngine } from '../../../engine/wasm-engine.ts'
import type { WasmSlot } from '../../../engine/wasm-slot.ts'
import type { BatchPlace, ThreadSign } from './thread-sign.ts'

export interface SlotWatcher {
  slotCreated(slotNo: number, flags: InterruptFlags): void
  slotDiscarded(slotNo: number): void
  /** Says what runs in them. */
  readonly sign: ThreadSign
}

/** What the shard knows of a client's cancel requests. */
export interface ClientWishes extends BatchPlace {
  /** A wish was about the batch that has just ended. */
  fulfilled(wish: number): void
}

/**
 * `engine`, with every slot it makes and gives up announced. The first one is `prepared`, if there
 * is such a one.
 * @param wishesOf of a client, by its number; undefined of one that has none
 */
export function watchEngine(
  engine: WasmEngine,
  watcher: SlotWatcher | undefined,
  wishesOf: (client: number) => ClientWishes | undefined,
  prepared?: Promise<WasmSlot>,
): Engine {
  let slotNo = 0
  let first = prepared
  return {
    fingerprint: engine.fingerprint,
    postgresMajor: engine.postgresMajor,
    createSlot: async (): Promise<Slot> => {
      const making = first ?? engine.createSlot()
      first = undefined
      const slot = await making
      if (!watcher) return slot
      const own = slotNo++
      watcher.slotCreated(own, slot.interruptFlags)
      const { sign } = watcher
      const run = slot.run.bind(slot)
      slot.run = (messages, client = 0, others) => {
        const wishes = client > 0 ? wishesOf(client) : undefined
        slot.expectCommand()
        sign.begin(own, client, wishes)
        try {
          return sign.answered(run(messages, client, others))
        } finally {
          const wish = sign.end(slot.interruptFlags)
          if (wish !== 0) wishes?.fulfilled(wish)
        }
      }
      const discard = slot.discard.bind(slot)
      slot.discard = () => {
        watcher.slotDiscarded(own)
        discard()
      }
      return slot
    },
  }
}
