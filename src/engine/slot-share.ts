/**
 * One slot for many tenants that each believe to have one of their own: a host whose tenants share
 * memory and nothing else (Durable Objects of one isolate) gives each of them a pool over a *lent*
 * slot. Whoever runs something finds its own memory in the real slot, because whoever was there
 * before has been taken out as an image on the spot.
 *
 *                       run                         somebody else runs
 *     lent, image kept ------> in the real slot ---------------------> lent, image kept
 *           |                        | cannot be imaged                      |
 *           +-- images need room --> lost: its pool boots it from its store <+
 *
 * Taking another tenant out touches memory alone: not its store (the platform refuses to read or
 * write that of another object), not a promise or a timer of its. So no request ever waits for
 * another tenant's, and there is nothing to go wrong in somebody else's name.
 *
 * Images are kept within a budget of bytes. Beyond it the least recently used are dropped: first
 * those of tenants that are at rest, then those that hold a transaction, once there is twice too
 * much. Where everything has one budget (an isolate) they also go for what else needs memory: a
 * slot that grows is refused more only when nothing can be dropped any more. It must never use an
 * image over other files than it was taken with: the version of the files is kept with it and
 * compared.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { Engine, Slot } from './engine.ts'
import { LentSlot, lost, type SlotLender } from './lent-slot.ts'

/** One budget for all that its owner has in memory. */
export interface MemoryBudget {
  readonly bytesMax: number
  /** All but the slot, what is held for the tenant in it, and the images. */
  readonly otherBytes: () => number
  /** Lets go of what is kept only to be quick. */
  readonly shed: () => void
}

export interface SlotShareOptions {
  readonly engine: Engine
  /** Default: there is room for whatever the slot and its tenant need. */
  readonly budget?: MemoryBudget
  /** Bytes of the images of tenants that are not in the slot, with what is open for them. */
  readonly imageBytesMax: number
}

/** How far beyond the budget images may be if they all hold a transaction. */
const TRANSACTION_SLACK = 2

/** What has happened since the start. */
export interface ShareCounters {
  /** Tenants put back into the slot. */
  resumed: number
  /** Tenants taken out of it, for another one. */
  takenOut: number
  /** Images dropped for want of room. */
  dropped: number
  /** Tenants that no image could be taken of, or was to be, for another one. */
  displaced: number
  slotsMade: number
  /** Slots given up that were of use to one tenant alone, or to none. */
  slotsRetired: number
}

export class SlotShare implements SlotLender {
  readonly counters: ShareCounters = {
    resumed: 0,
    takenOut: 0,
    dropped: 0,
    displaced: 0,
    slotsMade: 0,
    slotsRetired: 0,
  }
  readonly #engine: Engine
  readonly #imageBytesMax: number
  readonly #budget: MemoryBudget | undefined
  #slot: Slot | undefined
  #holder: LentSlot | undefined
  /** Those that have an image, least recently used first, and what it weighs. */
  readonly #kept = new Map<LentSlot, number>()
  #keptBytes = 0

  constructor({ engine, imageBytesMax, budget }: SlotShareOptions) {
    assert(imageBytesMax >= 0, 'a budget is not negative')
    this.#engine = engine
    this.#imageBytesMax = imageBytesMax
    this.#budget = budget
  }

  /** Linear memory of the real slot in bytes; 0 if there is none. */
  get slotBytes(): number {
    return this.#slot?.memoryBytes ?? 0
  }

  /** Beside it: pages of the tenant that is in it, and its answers. */
  get heldBytes(): number {
    return (this.#slot?.answerBytes ?? 0) + (this.#holder?.heldBytes ?? 0)
  }

  /** Whether a tenant is in the real slot. */
  get isHeld(): boolean {
    return this.#holder !== undefined
  }

  get imageCount(): number {
    return this.#kept.size
  }

  get imageBytes(): number {
    return this.#keptBytes
  }

  /**
   * One more slot, for one tenant. Rejects if the real one cannot be made.
   * @param onLost as of {@link LentSlot}. Default: nobody is told
   * @param keepsImage as of {@link LentSlot}. Default: true
   */
  async lend(onLost: () => void = () => {}, keepsImage = true): Promise<LentSlot> {
    await this.prepare()
    return new LentSlot(this, onLost, keepsImage)
  }

  /** Whether `lent` can be run now, or anybody if it is left out. */
  isReady(lent?: LentSlot): boolean {
    if (!this.#slot) return false
    return this.#slot.reusable || (lent !== undefined && this.#holder === lent)
  }

  /**
   * Sees to it that `lent` can be run, or anybody if it is left out: makes a real slot where there
   * is none, or where that which is there is of use only to the tenant in it. To be awaited right
   * before something is run, which is synchronous.
   */
  async prepare(lent?: LentSlot): Promise<void> {
    for (let waiting = this.preparing(lent); waiting; waiting = this.preparing(lent)) await waiting
  }

  /**
   * The same in steps, for what others must not come in between. Undefined: it can be run now, in
   * this very turn. Otherwise whoever has waited asks again: others, too, may have waited.
   */
  preparing(lent?: LentSlot): Promise<void> | undefined {
    if (this.isReady(lent)) return undefined
    this.#retire()
    return this.#make(lent)
  }

  async #make(lent: LentSlot | undefined): Promise<void> {
    const slot = await this.#engine.createSlot((bytes) => this.#makeRoom(bytes))
    if (this.isReady(lent)) return slot.discard()
    // Another one may have been made meanwhile, and be of use to its tenant alone by now.
    this.#retire()
    this.counters.slotsMade++
    this.#slot = slot
  }

  // Called by lent slots

  /** Whether the memory of `lent` is in the real slot now. */
  holds(lent: LentSlot): boolean {
    return this.#holder === lent
  }

  /** The real slot with the memory of `lent` in it, which has to have some. */
  enter(lent: LentSlot): Slot {
    if (this.#holder === lent && this.#slot) return this.#slot
    const slot = this.#usable()
    // Before anybody is taken out: what that one's image needs room for is not this one's.
    this.#forget(lent)
    const image = lent.takeImage()
    if (!image) throw lost()
    try {
      this.#vacate(slot)
      slot.signalReceiver = lent.signalReceiver
      slot.resume(lent.files, image)
    } catch (error) {
      lent.lose()
      // What does not fit has left the slot as it was.
      if (!(error instanceof PgnapError && error.code === 'IMAGE_INVALID')) this.#discard()
      throw error
    }
    slot.recycle(image)
    this.#holder = lent
    this.counters.resumed++
    return slot
  }

  /** The real slot, empty, for `load`, which puts the memory of `lent` into it. */
  fill(lent: LentSlot, load: (slot: Slot) => void): void {
    const slot = this.#usable()
    try {
      this.#vacate(slot)
      load(slot)
    } catch (error) {
      this.#discard()
      throw error
    }
    this.#holder = lent
  }

  /** `empty` takes the memory of `lent` out of the real slot, for good. */
  leave<Result>(lent: LentSlot, empty: (slot: Slot) => Result): Result {
    const slot = this.enter(lent)
    try {
      const result = empty(slot)
      this.#holder = undefined
      return result
    } catch (error) {
      this.#discard()
      throw error
    }
  }

  /** Nobody needs the memory of `lent`: it is lost. */
  drop(lent: LentSlot): void {
    if (this.#holder === lent) this.leave(lent, (slot) => slot.unload())
    else this.#drop(lent)
    lent.lose()
  }

  /** The tenant in the slot has run something, and may have taken memory for it. */
  ran(): void {
    this.#makeRoom()
  }

  /**
   * Gives a slot up that has grown and is of no use to others, if `lent` is in it and at rest: what
   * it took is nobody's then. Its memory stays as an image if there is room for that.
   * @param keepsSession not if it would lose the session that it is in
   */
  retireGrown(lent: LentSlot, keepsSession: boolean): void {
    const slot = this.#slot
    if (!slot || this.#holder !== lent || !this.isOutgrown) return
    if (slot.transactionStatus !== 'idle' || !slot.canNap) return
    if (keepsSession && !(lent.keepsImage && this.#hasRoomForImage(slot, lent))) return
    this.#retire()
  }

  /** Whether the slot is of use only to the tenant in it. */
  get isOutgrown(): boolean {
    return this.#holder !== undefined && this.#slot?.reusable === false
  }

  /** `lent` is not used any more: whatever there is of it goes. */
  giveUp(lent: LentSlot): void {
    this.#forget(lent)
    // It is given up in the middle of something: what is in the slot is not to be trusted.
    if (this.#holder === lent) this.#discard()
  }

  /** The real slot, if others than who is in it can have it. */
  #usable(): Slot {
    if (this.#slot?.reusable) return this.#slot
    throw unprepared()
  }

  #vacate(slot: Slot): void {
    if (this.#holder) this.#takeOut(slot, this.#holder)
  }

  /** Gives up a real slot that is of no use to others; who is in it is taken out if possible. */
  #retire(): void {
    const [slot, holder] = [this.#slot, this.#holder]
    if (slot) this.counters.slotsRetired++
    if (slot && holder) this.#takeOut(slot, holder)
    this.#discard()
  }

  #takeOut(slot: Slot, holder: LentSlot): void {
    this.#holder = undefined
    try {
      holder.noteSession(slot)
      if (!slot.canNap || !holder.keepsImage || !this.#hasRoomForImage(slot, holder)) {
        this.counters.displaced++
        holder.lose()
        return slot.unload()
      }
      holder.keepImage(slot.nap())
    } catch (error) {
      holder.lose()
      this.#discard()
      throw error
    }
    this.counters.takenOut++
    this.#kept.set(holder, holder.keptBytes)
    this.#keptBytes += holder.keptBytes
    this.#makeRoom()
  }

  /** Drops what can be had again until there is room for `bytes` more. @returns whether it is */
  #makeRoom(bytes = 0): boolean {
    if (this.#missesBytes(bytes)) this.#budget?.shed()
    for (const lent of this.#kept.keys()) {
      if (this.#keptBytes <= this.#imageBytesMax && !this.#missesBytes(bytes)) return true
      if (lent.transactionStatus === 'idle') this.#dropForRoom(lent, bytes)
    }
    const transactionsMax = this.#imageBytesMax * TRANSACTION_SLACK
    for (const lent of this.#kept.keys()) {
      if (this.#keptBytes <= transactionsMax && !this.#missesBytes(bytes)) return true
      this.#dropForRoom(lent, bytes)
    }
    return !this.#missesBytes(bytes)
  }

  /** Beside a slot that has grown there may be none for what it has grown by once more. */
  #hasRoomForImage({ growthBytes = 0 }: Slot, holder: LentSlot): boolean {
    return this.#makeRoom(growthBytes + holder.heldBytes)
  }

  #dropForRoom(lent: LentSlot, bytes: number): void {
    this.counters.dropped++
    this.#drop(lent)
    // Its memory was to be used again.
    if (this.#missesBytes(bytes)) this.#budget?.shed()
  }

  #missesBytes(bytes: number): boolean {
    if (!this.#budget) return false
    const { bytesMax, otherBytes } = this.#budget
    return otherBytes() + this.slotBytes + this.heldBytes + this.#keptBytes + bytes > bytesMax
  }

  #drop(lent: LentSlot): void {
    this.#forget(lent)
    const image = lent.takeImage()
    if (image) this.#slot?.recycle(image)
    lent.lose()
  }

  #forget(lent: LentSlot): void {
    this.#keptBytes -= this.#kept.get(lent) ?? 0
    this.#kept.delete(lent)
  }

  #discard(): void {
    this.#holder?.lose()
    this.#holder = undefined
    this.#slot?.discard()
    this.#slot = undefined
  }
}

function unprepared(): PgnapError {
  return new PgnapError('SLOT_LOST', 'there is no backend at the moment', {
    detail: 'the one that all tenants of this isolate share is being replaced',
    hint: 'try again',
  })
}
