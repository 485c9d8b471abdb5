/**
 * Freezes the clocks and the randomness of this process, for good. Only the engine build does it:
 * initdb writes times and random numbers into the cluster, and two machines that build the same
 * engine must get the same template, because a store is a difference from exactly one template.
 */
import crypto from 'node:crypto'
import { SeededRandom } from '../../../base/random.ts'

/** 2026-01-01 00:00:00 UTC: nothing depends on the date, it only has to be always the same. */
const FROZEN_MS = 1_767_225_600_000

export function freezeWorld(): void {
  const random = new SeededRandom(1)
  const RealDate = Date
  class FrozenDate extends RealDate {
    constructor(...values: [] | [number | string | Date]) {
      super(values.length === 0 ? FROZEN_MS : values[0])
    }

    static override now(): number {
      return FROZEN_MS
    }
  }
  globalThis.Date = FrozenDate as DateConstructor
  Math.random = () => random.below(2 ** 32) / 2 ** 32
  // Time moves by one microsecond per look, so that loops which wait for time still end.
  let elapsedMs = 0
  performance.now = () => (elapsedMs += 0.001)
  const fill = <View extends NodeJS.ArrayBufferView>(view: View): View => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    bytes.set(random.bytes(bytes.length))
    return view
  }
  Object.assign(crypto, { randomFillSync: fill })
  Object.assign(globalThis.crypto, { getRandomValues: fill })
}
