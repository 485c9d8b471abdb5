/** Size and kind of the memory of a slot: what a compiled module declares and each slot gets. */
import { SLOT_MEMORY_BYTES_MIN } from './recipe.ts'
import { type MemoryLimits, WASM_PAGE_BYTES, wasmPages } from './wasm-module.ts'

export type SlotMemory = MemoryLimits

/** With a memory that other threads can reach into, to interrupt what runs. */
export const slotMemory: SlotMemory = {
  minimumPages: wasmPages(SLOT_MEMORY_BYTES_MIN),
  // What the module itself allows; the ceiling of one slot is set on its memory, not on the module.
  maximumPages: 32_768,
  shared: true,
}

/** Whether a slot's memory may become larger by so many bytes; else what asks for it gets none. */
export type MayGrow = (bytes: number) => boolean

/** By how much an unshared memory grows at a time. */
const STEP_BYTES = 1_048_576

/**
 * Makes an unshared memory reach so far, and little further: Emscripten adds a fifth, which of the
 * memory of an isolate is a tenth of all that all of its tenants have. Whoever looked at the memory
 * before looks at nothing.
 * @returns whether it was possible; undefined: it is not to grow
 */
export function growInSteps(
  memory: WebAssembly.Memory,
  bytes: number,
  mayGrow?: MayGrow,
): boolean | undefined {
  const wanted = Math.ceil(bytes / STEP_BYTES) * STEP_BYTES
  const missing = wasmPages(wanted) - wasmPages(memory.buffer.byteLength)
  if (missing <= 0) return false
  if (mayGrow?.(missing * WASM_PAGE_BYTES) === false) return undefined
  try {
    memory.grow(missing)
    return true
  } catch {
    // Its ceiling is nearer, or there is no memory: then less is tried.
    return false
  }
}

/** The same where there are no threads. Images of the two kinds of slot are not interchangeable. */
export const unsharedSlotMemory: SlotMemory = { ...slotMemory, shared: false }
