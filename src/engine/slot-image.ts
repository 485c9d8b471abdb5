/**
 * A tenant's slot as data: everything that Postgres and the JavaScript around it know of a run, so
 * that it can leave the slot and go on later, in this slot or in another one of the same build.
 *
 * What is not in linear memory is listed here by hand, and each item was a bug once: the stack
 * pointer is a wasm global, descriptors and library handles live in JavaScript. The self-pipe and
 * the working folder are the same for all; timers are never armed (instance.ts).
 *
 * An image is a cache. It is right only for the files as they were when it was taken: old memory
 * over newer files corrupts silently. Whoever keeps one keeps the version with it, and compares.
 */
import type { Fingerprint } from '../base/ids.ts'
import type { Descriptor } from './descriptors.ts'
import type { SignalReceiver } from './backend-signals.ts'
import type { TransactionStatus } from './engine.ts'
import type { PackedDelta } from './memory-delta.ts'
import type { RunStart } from './midway.ts'

/** What of a run is not in memory. */
export interface RunState {
  /** Value of `__stack_pointer`. */
  readonly stackPointer: number
  readonly descriptors: readonly Descriptor[]
  /** dlopen(3) handles, as addresses. */
  readonly libraryHandles: readonly number[]
}

/** With what is in memory. */
export interface NamedRunState extends RunState {
  /** What its database is called: memory and files must agree on that. */
  readonly database: string
}

export interface SlotImage extends NamedRunState {
  /** Of the engine's assets: what the delta is a difference from. */
  readonly memoryId: Fingerprint
  readonly delta: PackedDelta
  /** End of the heap (sbrk): what a memory must reach to take it. */
  readonly heapEnd: number
  readonly status: TransactionStatus
  /** Of a copy that was taken in the middle of a statement, which is to end in it. */
  readonly midway?: RunStart | undefined
  /**
   * The image is of another life of this tenant: a session that it holds is a copy, and its random
   * numbers must not be repeated.
   */
  readonly copied: boolean
  /** Of a copy of a tenant that is awake: whom statements in it can send signals to. */
  readonly signalReceiver?: SignalReceiver | undefined
}

/** What an image costs in memory, in bytes. */
export function imageBytes({ delta, descriptors }: SlotImage): number {
  const { buffer, length } = delta.bytes
  // Its memory is a little larger, unless it is a part of what all slots are made of.
  const bytes = buffer instanceof ArrayBuffer ? buffer.byteLength : length
  return bytes + descriptors.length * DESCRIPTOR_BYTES
}

/** Its place in a list; what stands there is shared (`descriptors.ts`). */
const DESCRIPTOR_BYTES = 8
