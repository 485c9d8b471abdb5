/**
 * Brings tenants back into memory before they are asked for: carries out what
 * `keep-warm-policy.ts` decides, one tenant at a time, with a pause between two.
 *
 *   asleep   its image is taken from disk into the shelf; no slot, no Postgres
 *   cold     it is booted in a slot that nobody wants, while the shard rests, and naps at once
 *
 * The first takes the thread about a millisecond and the disk the rest; the second takes the thread
 * some ten, so a busy shard does without. While anybody waits for anything, neither happens.
 *
 * It must never make a request wait for its own work, never bring an image back that is older than
 * the tenant's last wake or that disk still has, and never make a tenant that does not exist.
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { imageBytes } from '../engine/slot-image.ts'
import type { ImageShelf } from './image-shelf.ts'
import {
  type ImageRoom,
  type KeepWarmCounts,
  KeepWarmPolicy,
  SCAN_EVERY_MS,
} from './keep-warm-policy.ts'
import type { LiveTenants } from './live-tenants.ts'
import type { LiveTenant } from './pool-client.ts'
import type { PoolEvent, TenantEntry } from './pool-model.ts'
import { isQuiet, slotToWarmIn, somebodyWaits } from './pool-policy.ts'
import type { PoolState } from './pool-state.ts'
import type { ImageAhead, TenantImage, TenantSource } from './tenant-source.ts'
import type { Upkeep } from './upkeep.ts'

export interface KeepWarmOptions {
  readonly state: PoolState
  readonly shelf: ImageShelf
  readonly source: TenantSource
  readonly upkeep: Upkeep
  readonly clock: Clock
  /** Whether rhythms are learned; pinned tenants are kept warm in any case. */
  readonly learns: boolean
  readonly tenants: LiveTenants
  readonly event: (event: PoolEvent) => void
}

export interface KeepWarmStatistics extends Readonly<KeepWarmCounts> {
  /** Tenants whose rhythm is known. */
  readonly known: number
  readonly pinned: number
}

/** Where a tenant is that could be brought back. */
const AT_REST: ReadonlySet<string> = new Set(['cold', 'asleep'])

export class KeepWarm {
  readonly #options: KeepWarmOptions
  readonly #policy = new KeepWarmPolicy(LIMITS.keepWarmTenantsMax)
  /** Images that were brought back and not used yet. */
  readonly #ahead = new Map<TenantName, TenantImage>()
  /** Whose image is being read. Cleared by whatever makes that image old. */
  #reading: TenantName | undefined
  #timer: Timer | undefined
  #working = false

  constructor(options: KeepWarmOptions) {
    this.#options = options
  }

  /** From now on its image stays in memory, and is brought back if it is not there. */
  pin(tenant: TenantName): void {
    this.#policy.pin(tenant)
    this.#arm(LIMITS.keepWarmPauseMs)
  }

  unpin(tenant: TenantName): void {
    this.#policy.unpin(tenant)
  }

  isPinned(tenant: TenantName): boolean {
    return this.#policy.isPinned(tenant)
  }

  /** A tenant is about to be loaded into a slot. */
  waking({ entry }: LiveTenant): void {
    this.#forgetImage(entry.name)
    if (entry.waiting.size === 0) return
    if (!this.#options.learns) return this.#policy.used(entry.name)
    this.#policy.arrived(entry.name, this.#options.clock.nowMs())
    if (!this.#timer) this.#armForScan()
  }

  /** The image of a tenant has left memory. */
  left(tenant: TenantName): void {
    this.#ahead.delete(tenant)
    this.#policy.left(tenant)
  }

  /** The tenant is to be another pool's: what is being read of it is not for this one. */
  moves(tenant: TenantName): void {
    this.#forgetImage(tenant)
    this.#policy.unlearn(tenant)
  }

  /** The tenant is being deleted. */
  forget(tenant: TenantName): void {
    this.#forgetImage(tenant)
    this.#policy.forget(tenant)
  }

  statistics(): KeepWarmStatistics {
    const { knownCount, pinnedCount, counts } = this.#policy
    return { known: knownCount, pinned: pinnedCount, ...counts }
  }

  get #ends(): boolean {
    return this.#options.state.drainDeadlineMs !== undefined
  }

  #forgetImage(tenant: TenantName): void {
    this.#ahead.delete(tenant)
    if (this.#reading === tenant) this.#reading = undefined
  }

  // Time

  #arm(delayMs: number): void {
    if (this.#working || this.#ends) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.setTimer(delayMs, () => void this.#beat())
  }

  #armForScan(): void {
    const untilMs = this.#policy.nextScanAtMs - this.#options.clock.nowMs()
    // Not later, should the clock have been set back.
    this.#arm(Math.min(SCAN_EVERY_MS, Math.max(LIMITS.keepWarmPauseMs, untilMs)))
  }

  async #beat(): Promise<void> {
    this.#timer = undefined
    if (this.#ends) return
    this.#working = true
    const found = await this.#work()
    this.#working = false
    if (found) return this.#arm(LIMITS.keepWarmPauseMs)
    // Nothing is learned or pinned: the next arrival starts it again.
    if (this.#policy.knownCount + this.#policy.pinnedCount > 0) this.#armForScan()
  }

  /** One tenant at most. True: look again soon. */
  async #work(): Promise<boolean> {
    const { state, clock } = this.#options
    const nowMs = clock.nowMs()
    for (const tenant of this.#policy.takeExpired(nowMs)) this.#release(tenant)
    if (somebodyWaits(state) || state.supply.creating) return true
    const tenant = this.#policy.next(nowMs, (each) => !this.#mayWarm(each), this.#room())
    if (tenant === undefined) return false
    await this.#warm(tenant)
    return true
  }

  #mayWarm(tenant: TenantName): boolean {
    const { state, source } = this.#options
    if (state.pauses.isPaused(tenant)) return false
    return this.#isAtRest(tenant) && source.owns?.(tenant) !== false
  }

  #isAtRest(tenant: TenantName): boolean {
    return AT_REST.has(this.#options.state.tenants.get(tenant)?.phase ?? 'cold')
  }

  #room(): ImageRoom {
    const { shelf, clock } = this.#options
    // A pinned one may be older, but it is not the next to go.
    const oldest = firstOf(shelf.tenants(), ({ entry }) => !this.isPinned(entry.name))
    const oldestRestMs = oldest ? clock.monotonicMs() - oldest.entry.lastUsedMs : 0
    return { bytes: shelf.bytes, bytesMax: shelf.bytesMax, count: shelf.count, oldestRestMs }
  }

  // Work

  async #warm(tenant: TenantName): Promise<void> {
    const { source } = this.#options
    if (source.exists && !source.exists(tenant)) return this.#policy.forget(tenant)
    const image = await this.#readAhead(tenant)
    // Somebody asked for it meanwhile, it was deleted, or the pool ends.
    if (!image) return
    if (image !== 'none' && this.#shelve(tenant, image)) {
      return this.#policy.warmed(tenant, imageBytes(image.stored.image))
    }
    this.#warmInSlot(tenant)
  }

  async #readAhead(tenant: TenantName): Promise<ImageAhead | 'none' | undefined> {
    const { images } = this.#options.source
    if (!images?.readAhead) return 'none'
    this.#reading = tenant
    const image = await images.readAhead(tenant)
    if (this.#reading !== tenant || this.#ends) return undefined
    this.#reading = undefined
    return image ?? 'none'
  }

  /** False: with this image the tenant is better off in a slot, which knows what to do with it. */
  #shelve(tenant: TenantName, ahead: ImageAhead): boolean {
    const { state, shelf, upkeep } = this.#options
    const { image, stamp, sessionCount, notes } = ahead.stored
    const known: Pick<TenantEntry, 'phase' | 'clientCount'> | undefined = state.tenants.get(tenant)
    // A session of a former life has to be cleaned up; clients of a cold tenant have another one.
    const isOwn =
      known?.phase === 'asleep' || (sessionCount === 0 && (known?.clientCount ?? 0) === 0)
    if (!isOwn || !shelf.exists || !this.#mayWarm(tenant)) return false
    // From here on it is in memory or nowhere: what runs on it later is not on disk.
    if (!ahead.claim()) return false
    const live = this.#live(tenant)
    live.image = { image, stamp, sessionCount }
    live.progress = upkeep.fromNotes(tenant, notes)
    this.#ahead.set(tenant, live.image)
    shelf.put(live, false)
    this.#options.event({ type: 'imageRead', tenant: live.entry })
    shelf.makeRoom()
    return true
  }

  #warmInSlot(tenant: TenantName): void {
    const { state, shelf, event, clock } = this.#options
    const isFree = this.#mayWarm(tenant) && isQuiet(state, clock.monotonicMs())
    const slot = isFree ? slotToWarmIn(state) : undefined
    if (!shelf.exists || !slot) return this.#policy.postponed(tenant)
    const { entry } = this.#live(tenant)
    event({ type: 'warmRequested', tenant: entry, slot })
    // Where stores open at once it is awake now. If not, it naps when its time is over.
    event({ type: 'napRequested', tenant: entry, reason: 'warmed' })
    if (entry.phase === 'cold') return this.#policy.failed(tenant)
    const image = this.#live(tenant).image?.image
    this.#policy.warmed(tenant, image ? imageBytes(image) : 0)
  }

  /** The pool's own record of a tenant, made if there is none. */
  #live(tenant: TenantName): LiveTenant {
    const { state, tenants } = this.#options
    return tenants.of(state.tenant(tenant))
  }

  /** Nobody came for it: it goes back to disk, before others do. */
  #release(tenant: TenantName): void {
    const { state, shelf } = this.#options
    const image = this.#ahead.get(tenant)
    this.#ahead.delete(tenant)
    const entry = state.tenants.get(tenant)
    if (!image || entry?.phase !== 'napping' || entry.clientCount > 0) return
    const live = this.#live(tenant)
    if (live.image === image) shelf.putAway(live)
  }
}

function firstOf<Item>(items: Iterable<Item>, fits: (item: Item) => boolean): Item | undefined {
  for (const item of items) if (fits(item)) return item
  return undefined
}
