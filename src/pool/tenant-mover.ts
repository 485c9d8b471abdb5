/**
 * Puts tenants into slots and takes them out of them, each time the fastest way that is right:
 *
 *     in:   image in memory, image on disk, the base for a tenant that never wrote, boot
 *     out:  image; or, where no image is possible, a shutdown with the session said again later
 *
 * An image is used only at the stamp at which it was taken. Whatever is wrong with one, it is
 * dropped, and the tenant boots from its store.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import type { Log } from '../base/log.ts'
import { LIMITS } from '../base/limits.ts'
import type { Slot } from '../engine/engine.ts'
import { ABORT } from './backend-query.ts'
import { commitIfDue, takeOut } from './commit-rule.ts'
import type { ImageShelf } from './image-shelf.ts'
import type { LiveTenant } from './pool-client.ts'
import type { EvictionReason, RestingPhase, WakeTier } from './pool-model.ts'
import { signalReceiverOf } from './tenant-signals.ts'
import type { OpenTenant, TenantImage, TenantSource } from './tenant-source.ts'
import type { RestingUpkeep } from './resting-upkeep.ts'
import type { Upkeep } from './upkeep.ts'

export interface TenantMoverOptions {
  readonly source: TenantSource
  readonly upkeep: Upkeep
  readonly shelf: ImageShelf
  readonly resting: Pick<RestingUpkeep, 'forget' | 'letGo'>
  readonly clock: Clock
  readonly log: Log
}

/** What is to be loaded, and where the pool believes it to be. */
export interface Loading {
  readonly open: OpenTenant
  readonly from: RestingPhase
}

/** What a clean-up has to do. */
export interface CleanUp {
  /** Roll back, or end whatever else is open. */
  readonly abort: boolean
  /** Forget settings, prepared statements, temporary tables. */
  readonly discardAll: boolean
}

/** Where a tenant went; `stays`: its clients' session would be lost, or the price is too high. */
export type Destination = 'napping' | 'cold' | 'stays'

export class TenantMover {
  readonly #options: TenantMoverOptions

  constructor(options: TenantMoverOptions) {
    this.#options = options
  }

  /** The store of a tenant, opened now or still open from its last wake. */
  open(tenant: LiveTenant): OpenTenant | Promise<OpenTenant> {
    const { source, resting } = this.#options
    resting.letGo(tenant.entry.name)
    return tenant.open ?? source.open(tenant.entry.name)
  }

  /**
   * Loads a tenant whose store is open into an empty slot; tells where it came from. A throw leaves
   * the slot unusable.
   */
  load(tenant: LiveTenant, slot: Slot, { open, from }: Loading): WakeTier {
    slot.signalReceiver = signalReceiverOf(tenant, this.#options.clock)
    const tier = this.#loadMemory(tenant, slot, { open, from })
    tenant.slot = slot
    tenant.mayFork = open.asCommitted !== undefined
    tenant.wokenAt = open.files.version
    return tier
  }

  /**
   * Takes a tenant out of its slot. What it has dirtied is committed first.
   * @throws what a commit throws, and whatever the slot throws: it is lost then
   */
  leave(tenant: LiveTenant, reason: EvictionReason): Destination {
    const { slot, open, progress } = tenant
    assert(slot && open && progress, 'only a loaded tenant can leave')
    const canNap = reason !== 'renewal' && this.#canNap(slot, open)
    // The image of a slot that has grown is large: it is taken only of what nothing else carries.
    const isUsual = slot.reusable || tenant.entry.holder !== undefined
    const nap = (): Destination => {
      this.#nap(tenant, { slot, open, atRest: reason === 'requested' })
      return 'napping'
    }
    const hasSession = tenant.clients.size > 0 && reason !== 'drain'
    const wantsRoom = this.#options.shelf.crowded && hasSession && !tenant.entry.holder
    if (canNap && isUsual && !wantsRoom) return nap()
    // Only an image carries a transaction, and nobody waits yet who would be worth a shutdown.
    if (tenant.entry.holder || reason === 'ahead') return 'stays'
    if (hasSession && !tenant.sessions.carry(slot)) return canNap ? nap() : 'stays'
    this.#options.upkeep.leave(progress, { slot, open, hurried: reason === 'pressure' })
    takeOut(slot, open.files, tenant.wokenAt)
    return 'cold'
  }

  /** Ends what a departed client has left open. Throws as {@link leave}. */
  cleanUp({ slot, open, sessions }: LiveTenant, { abort, discardAll }: CleanUp): void {
    assert(slot && open, 'only a loaded tenant needs cleaning')
    if (abort) slot.run(ABORT)
    if (discardAll) sessions.discard(slot)
    assert(slot.transactionStatus === 'idle', 'nothing is open after a clean-up')
    commitIfDue(open.files, 'idle')
  }

  /** The tenant is deleted: another of its name must not inherit anything. */
  forget(tenant: TenantName): void {
    this.#options.upkeep.forget(tenant)
    this.#options.resting.forget(tenant)
    this.#options.source.images?.remove(tenant)
  }

  #loadMemory(tenant: LiveTenant, slot: Slot, { open, from }: Loading): WakeTier {
    const { shelf, source, upkeep } = this.#options
    const { name } = tenant.entry
    const { progress } = tenant
    const inMemory = shelf.take(tenant)
    // Whatever comes of it: from here on memory goes ahead of every image there is.
    const onDisk = inMemory ? undefined : source.images?.take(name)
    if (inMemory) source.images?.remove(name)
    if (inMemory && progress && this.#resume(name, slot, open, inMemory)) {
      if (!shelf.isLeaving(tenant)) slot.recycle(inMemory.image)
      upkeep.goOn(progress, open)
      return 'napping'
    }
    if (progress) upkeep.lose(progress)
    // Sessions that a former life has put aside cannot be found in its memory again.
    if (from === 'cold') tenant.sessions.clear()
    const isStrange = from === 'cold' && (onDisk?.sessionCount ?? 0) > 1
    if (onDisk && !isStrange && this.#resume(name, slot, open, onDisk)) {
      tenant.progress = upkeep.fromNotes(name, onDisk.notes)
      upkeep.goOn(tenant.progress, open)
      // Clients of this life find their session; those of a former one are gone.
      if (onDisk.sessionCount > 0 && from === 'cold') {
        this.cleanUp({ ...tenant, slot, open }, { abort: false, discardAll: true })
      }
      return 'asleep'
    }
    tenant.sessions.clear()
    const tier = open.pristine ? 'new' : 'cold'
    if (open.pristine) slot.begin(open.files, name)
    else slot.boot(open.files, name)
    tenant.sessions.bringBack(slot)
    tenant.progress = upkeep.begin(name, open)
    return tier
  }

  /** False: the image cannot be used, and the slot is as it was. */
  #resume(name: TenantName, slot: Slot, open: OpenTenant, image: TenantImage): boolean {
    // Whoever renames the file of a tenant, or copies it, may have done so with its image.
    if (image.stamp !== open.stamp() || image.image.database !== name) return false
    try {
      slot.resume(open.files, image.image)
      return true
    } catch (error) {
      if (!(error instanceof PgnapError) || error.code !== 'IMAGE_INVALID') throw error
      this.#options.log.warn('an image does not fit', { tenant: name, error })
      return false
    }
  }

  #canNap(slot: Slot, open: OpenTenant): boolean {
    // What is not logged would be emptied by the recovery that follows the loss of an image.
    return slot.canNap && !open.files.hasUnlogged && this.#options.shelf.exists
  }

  #nap(
    tenant: LiveTenant,
    { slot, open, atRest }: { slot: Slot; open: OpenTenant; atRest: boolean },
  ): void {
    const { shelf, upkeep } = this.#options
    const { progress, sessions } = tenant
    assert(progress, 'a loaded tenant has its upkeep')
    sessions.beforeNap(slot)
    upkeep.pause(progress, open)
    open.files.commit()
    const sessionCount = tenant.entry.sessionUsed ? Math.max(1, sessions.countInImage) : 0
    tenant.image = { image: slot.nap(), stamp: open.stamp(), sessionCount }
    tenant.slot = undefined
    open.files.shrinkCache(LIMITS.nappingCacheBytesMax)
    shelf.put(tenant, atRest)
  }
}
