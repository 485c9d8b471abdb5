/** The slots of one shard behind their entries: made, looked up, given up. */
import type { Log } from '../base/log.ts'
import type { Engine, Slot } from '../engine/engine.ts'
import { type PoolEvent, SlotEntry } from './pool-model.ts'
import type { PoolCounters } from './pool-statistics.ts'

export class SlotRack {
  readonly #engine: Engine
  readonly #log: Log
  readonly #slots = new Map<SlotEntry, Slot>()
  /** Those of them that somebody has lent, and may give to others. */
  readonly #lent = new Map<SlotEntry, Slot>()
  #count = 0

  constructor(engine: Engine, log: Log) {
    this.#engine = engine
    this.#log = log
  }

  /** Linear memory of all slots in bytes. */
  get memoryBytes(): number {
    let bytes = 0
    for (const slot of this.#slots.values()) bytes += slot.memoryBytes
    return bytes
  }

  get(entry: SlotEntry): Slot | undefined {
    return this.#slots.get(entry)
  }

  /** Those whose memory others have got. */
  *taken(): Iterable<SlotEntry> {
    for (const [entry, slot] of this.#lent) if (slot.lost === true) yield entry
  }

  /** Makes one more, or not, and reports what came of it. */
  async make(
    counters: Pick<PoolCounters, 'slotsCreated'>,
    report: (event: PoolEvent) => void,
  ): Promise<void> {
    let slot: Slot
    try {
      slot = await this.#engine.createSlot()
    } catch (error) {
      this.#log.error('a slot could not be made', { error })
      return report({ type: 'slotFailed', error })
    }
    const entry = new SlotEntry(this.#count++)
    this.#slots.set(entry, slot)
    if (slot.lost !== undefined) this.#lent.set(entry, slot)
    counters.slotsCreated++
    report({ type: 'slotCreated', slot: entry })
  }

  discard(entry: SlotEntry): void {
    const slot = this.#slots.get(entry)
    this.#slots.delete(entry)
    this.#lent.delete(entry)
    try {
      slot?.discard()
    } catch (error) {
      this.#log.warn('a slot did not go quietly', { error })
    }
  }
}
