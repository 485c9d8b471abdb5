/** What a slot is made of. */
import type { Random } from '../base/random.ts'
import type { SlotAssets } from './engine-assets.ts'
import type { Instance } from './instance.ts'
import type { MemoryDelta } from './memory-delta.ts'

export interface WasmSlotOptions {
  readonly instance: Instance
  /** The memory of `instance` against the base of `assets`, which it equals. */
  readonly delta: MemoryDelta
  readonly assets: SlotAssets
  /** End of the base. */
  readonly baseEndBytes: number
  readonly random: Random
  /** Command line of Postgres, without the data folder and the database. */
  readonly startParameters: readonly string[]
  /** Heap beyond which the slot is not used for another tenant, in bytes. */
  readonly retireBytes: number
  readonly answerBytesMax: number
  /** Compare the whole memory with the base whenever a tenant has left. */
  readonly verifySwaps: boolean
}
