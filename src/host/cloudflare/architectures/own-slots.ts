/**
 * Slots that belong to one object each, as in the seeds, where every object has a Postgres of its
 * own. Some 28 MB each: an isolate has room for two beside what it has anyway, so the one that was
 * used least lately ends when another object wants one, and its object is cold again.
 *
 * A slot outlives its object, as the memory over it does: the platform puts objects away after ten
 * idle seconds, and the next life goes on with it.
 */
import { LIMITS } from '../../../base/limits.ts'
import { SlotShare } from '../../../engine/slot-share.ts'
import { theIsolate } from '../isolate.ts'
import { TenantRuntime } from '../tenant-runtime.ts'

/** By the object's id, least recently used first. */
const slots = new Map<string, SlotShare>()

/** That of an object, if it has one. It is used from now on. */
export function ownSlot(id: string): SlotShare | undefined {
  const known = slots.get(id)
  if (!known) return undefined
  slots.delete(id)
  slots.set(id, known)
  return known
}

/**
 * Makes one; some 40 ms, and 100 more for the first slot of an isolate. That of another object may
 * end for it, in memory alone.
 */
export async function makeOwnSlot(id: string): Promise<SlotShare> {
  const { engine, ownShares } = theIsolate()
  const share = new SlotShare({ engine, imageBytesMax: 0 })
  await share.prepare()
  slots.set(id, share)
  ownShares.add(share)
  for (const oldest of slots.keys()) {
    if (slots.size <= LIMITS.isolateOwnSlotsMax) break
    endOwnSlot(oldest)
  }
  return share
}

/** Gives it up, with the memory over it. Nothing is written. */
export function endOwnSlot(id: string): void {
  const share = slots.get(id)
  if (share) theIsolate().ownShares.delete(share)
  slots.delete(id)
  TenantRuntime.end(id)
}

export function ownSlotCount(): number {
  return slots.size
}
