/**
 * The images of one shard's napping tenants, in memory, least recently used first, within a budget
 * of bytes. Beyond it the oldest go to disk; where there is no disk for them, or it cannot keep up,
 * they are dropped: their tenants boot from their stores.
 *
 * Beside its image a tenant that left a moment ago keeps its store open, which saves the opening
 * when it comes back; the oldest of those are closed.
 *
 * What an image holds besides a cache is its clients' session. While they are connected it is not
 * dropped as long as there is another; an open transaction is in memory or nowhere.
 */
import type { Clock } from '../base/clock.ts'
import { LIMITS } from '../base/limits.ts'
import { toPgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import type { Log } from '../base/log.ts'
import { imageBytes } from '../engine/slot-image.ts'
import type { LiveTenant } from './pool-client.ts'
import type { ImageStore, TenantImage } from './tenant-source.ts'
import type { RestingUpkeep } from './resting-upkeep.ts'
import type { Upkeep } from './upkeep.ts'

export interface ImageShelfOptions {
  readonly bytesMax: number
  /** Where images go that are not wanted for a while. */
  readonly images: ImageStore | undefined
  readonly upkeep: Upkeep
  /** Hears of each store before it is closed. Default: nobody does. */
  readonly resting?: Pick<RestingUpkeep, 'closing'>
  /** Whose image is to stay in memory while that is not crowded. Default: nobody's. */
  readonly isPinned?: (tenant: TenantName) => boolean
  readonly clock: Clock
  readonly log: Log
  /** The image of a tenant is on disk now, and no longer here. */
  readonly onMoved: (tenant: LiveTenant) => void
  /** The image of a tenant is gone. */
  readonly onDropped: (tenant: LiveTenant) => void
}

/** Images that are written at the same time when the server ends. */
const WRITERS_AT_END = 4
/** What an open store costs beside its pages: its tree, its statements. Measured, rounded up. */
const OPEN_STORE_BYTES = 300_000
/** How far beyond its budget the shelf may be while images are on their way to disk. */
const SLACK = 1.25
/**
 * The same where the session of a connected client would be lost with an image. The largest image
 * always finds room: a small budget must not end every connection whose tenant naps, while its
 * image is on its way to disk.
 */
const SESSION_SLACK = 2
const SESSION_BYTES_MIN = LIMITS.slotRetireBytes
/** After a write has failed, the next is not tried before: a full disk stays full for a while. */
const PAUSE_AFTER_FAILURE_MS = 1_000

export class ImageShelf {
  readonly #options: ImageShelfOptions
  /** Least recently used first. */
  readonly #tenants = new Map<LiveTenant, number>()
  /** Those of them whose store is open, least recently used first. */
  readonly #open = new Set<LiveTenant>()
  /** Those whose image is on its way to disk; settles when it is there, or will not be. */
  readonly #leaving = new Map<LiveTenant, Promise<boolean>>()
  /** Images that the disk has no room for. */
  readonly #refused = new WeakSet<TenantImage>()
  #bytes = 0
  #leavingBytes = 0
  #writeAfterMs = Number.NEGATIVE_INFINITY

  constructor(options: ImageShelfOptions) {
    this.#options = options
  }

  /** Bytes of memory that images and open stores take. */
  get bytes(): number {
    return this.#bytes
  }

  get bytesMax(): number {
    return this.#options.bytesMax
  }

  get count(): number {
    return this.#tenants.size
  }

  /** Beyond its budget, so that whoever can leave without an image should. */
  get crowded(): boolean {
    return this.#bytes > this.#options.bytesMax * SLACK
  }

  /** All tenants on the shelf, least recently used first. */
  tenants(): IterableIterator<LiveTenant> {
    return this.#tenants.keys()
  }

  /** Whether there is a place for images at all. */
  get exists(): boolean {
    return this.#options.bytesMax > 0
  }

  /**
   * Takes a tenant in that has just left its slot with an image. @param atRest close its store now:
   * whoever sent it away wants its file to be complete and free
   */
  put(tenant: LiveTenant, atRest: boolean): void {
    this.#weigh(tenant)
    if (tenant.open) this.#open.add(tenant)
    if (atRest) this.closeStore(tenant)
    for (const oldest of this.#open) {
      if (this.#open.size <= LIMITS.nappingStoresOpenMax) break
      this.closeStore(oldest)
    }
  }

  /** Gives the image of a tenant back; what of its store is open stays so. */
  take(tenant: LiveTenant): TenantImage | undefined {
    const { image } = tenant
    this.#forget(tenant)
    tenant.image = undefined
    return image
  }

  /** An image of it is being written, and read for that. */
  isLeaving(tenant: LiveTenant): boolean {
    return this.#leaving.has(tenant)
  }

  /** Drops the image of a tenant that is of no use any more. */
  drop(tenant: LiveTenant): void {
    this.#letGo(tenant)
    if (tenant.progress) this.#options.upkeep.lose(tenant.progress)
    tenant.progress = undefined
  }

  /** Sends an image to disk that is wanted less than others, if it may go there. */
  putAway(tenant: LiveTenant): void {
    if (this.#tenants.has(tenant) && this.#mayLeave(tenant)) void this.#moveToDisk(tenant)
  }

  /**
   * Lets go of a tenant that is to be another pool's: when this settles, its image is on disk if it
   * can be, nothing of it is being written, and its store is closed. @param tenant the one of this
   * name, if any is known
   */
  async release(name: TenantName, tenant: LiveTenant | undefined): Promise<void> {
    for (const [leaving, writing] of this.#leaving) {
      if (leaving.entry.name === name) await writing
    }
    if (!tenant || !this.#tenants.has(tenant)) return
    if (this.#mayLeave(tenant)) await this.#moveToDisk(tenant)
    if (this.#tenants.has(tenant)) this.#moved(tenant)
  }

  /**
   * The end: images go to disk, the most recent ones first, for as long as there is time; all
   * stores are closed. What is not written boots from its store.
   */
  async close(): Promise<void> {
    const { clock } = this.#options
    const untilMs = clock.monotonicMs() + LIMITS.drainImagesMs
    await Promise.all(this.#leaving.values())
    const newest = [...this.#tenants.keys()].toReversed()
    const inTime = newest.filter((tenant) => this.#mayLeave(tenant))
    const write = async (): Promise<void> => {
      for (let next = inTime.shift(); next; next = inTime.shift()) {
        if (clock.monotonicMs() < untilMs) await this.#moveToDisk(next)
      }
    }
    await Promise.all(Array.from({ length: WRITERS_AT_END }, write))
    for (const tenant of newest) this.drop(tenant)
  }

  #weigh(tenant: LiveTenant): void {
    this.#forget(tenant)
    if (!tenant.image) return
    const openBytes = tenant.open ? OPEN_STORE_BYTES + tenant.open.files.held.cacheBytes : 0
    const bytes = imageBytes(tenant.image.image) + openBytes
    this.#tenants.set(tenant, bytes)
    this.#bytes += bytes
  }

  #forget(tenant: LiveTenant): void {
    this.#bytes -= this.#tenants.get(tenant) ?? 0
    this.#tenants.delete(tenant)
    this.#open.delete(tenant)
  }

  /** Closes the store of a tenant on the shelf. What only open files have keeps them open. */
  closeStore(tenant: LiveTenant): void {
    this.#open.delete(tenant)
    if (!this.#tenants.has(tenant) || !tenant.open || tenant.open.files.irreplaceable) return
    this.#closeOpen(tenant)
    const before = this.#tenants.get(tenant) ?? 0
    const bytes = tenant.image ? imageBytes(tenant.image.image) : 0
    this.#tenants.set(tenant, bytes)
    this.#bytes += bytes - before
  }

  /** Back into the budget. To be called when all tenants are where the pool believes them to be. */
  makeRoom(): void {
    const { bytesMax } = this.#options
    for (const tenant of this.#tenants.keys()) {
      if (this.#bytes - this.#leavingBytes <= bytesMax) break
      if (!this.#isSpared(tenant) && this.#mayLeave(tenant)) void this.#moveToDisk(tenant)
    }
    // An image that is dropped while it is being written is still of use once it is on disk.
    for (const tenant of this.#tenants.keys()) {
      if (!this.crowded) return
      if (tenant.clients.size === 0) this.#dropForRoom(tenant)
    }
    const sessionBytesMax = Math.max(bytesMax * SESSION_SLACK, SESSION_BYTES_MIN)
    for (const tenant of this.#tenants.keys()) {
      if (this.#bytes <= sessionBytesMax) return
      this.#dropForRoom(tenant)
    }
  }

  /** Others leave first; where there are too many pinned ones, they leave as well. */
  #isSpared({ entry }: LiveTenant): boolean {
    return !this.crowded && this.#options.isPinned?.(entry.name) === true
  }

  #mayLeave(tenant: LiveTenant): boolean {
    const { images, clock } = this.#options
    if (!images?.keepsAny || this.#leaving.has(tenant)) return false
    if (clock.monotonicMs() < this.#writeAfterMs) return false
    if (tenant.image?.image.status !== 'idle' || tenant.entry.holder) return false
    if (this.#refused.has(tenant.image)) return false
    return !tenant.open?.files.irreplaceable
  }

  async #moveToDisk(tenant: LiveTenant): Promise<void> {
    const { image, progress } = tenant
    const bytes = this.#tenants.get(tenant)
    if (!image || !progress || bytes === undefined) return
    const writing = this.#write(tenant, image, this.#options.upkeep.notesOf(progress))
    this.#leaving.set(tenant, writing)
    this.#leavingBytes += bytes
    const kept = await writing
    this.#leaving.delete(tenant)
    this.#leavingBytes -= bytes
    // It may have been woken, or woken and put to sleep again, while its image was written.
    if (tenant.image !== image || !this.#tenants.has(tenant)) return this.makeRoom()
    if (kept) this.#moved(tenant)
  }

  async #write(tenant: LiveTenant, image: TenantImage, notes: string): Promise<boolean> {
    const { images, clock, log } = this.#options
    const { name } = tenant.entry
    try {
      const kept = (await images?.write(name, { ...image, notes })) ?? false
      if (!kept) this.#refused.add(image)
      return kept
    } catch (error) {
      const { code } = toPgnapError(error)
      log.warn('an image was not written', { tenant: name, code, error })
      this.#writeAfterMs = clock.monotonicMs() + PAUSE_AFTER_FAILURE_MS
      return false
    }
  }

  #dropForRoom(tenant: LiveTenant): void {
    this.drop(tenant)
    this.#options.onDropped(tenant)
  }

  #moved(tenant: LiveTenant): void {
    this.#letGo(tenant)
    tenant.progress = undefined
    this.#options.onMoved(tenant)
  }

  #letGo(tenant: LiveTenant): void {
    this.#forget(tenant)
    this.#closeOpen(tenant)
    tenant.image = undefined
  }

  #closeOpen(tenant: LiveTenant): void {
    const { open } = tenant
    if (!open) return
    this.#options.resting?.closing(tenant.entry.name, open)
    open.close()
    tenant.open = undefined
  }
}
