/** Size and kind of the memory of a slot: what a compiled module declares and each slot gets. */
import { SLOT_MEMORY_BYTES_MIN } from './recipe.ts'
import { type MemoryLimits, wasmPages } from './wasm-module.ts'

export type SlotMemory = MemoryLimits

/** With a memory that other threads can reach into, to interrupt what runs. */
export const slotMemory: SlotMemory = {
  minimumPages: wasmPages(SLOT_MEMORY_BYTES_MIN),
  // What the module itself allows; the ceiling of one slot is set on its memory, not on the module.
  maximumPages: 32_768,
  shared: true,
}

/** The same where there are no threads. Images of the two kinds of slot are not interchangeable. */
export const unsharedSlotMemory: SlotMemory = { ...slotMemory, shared: false }
