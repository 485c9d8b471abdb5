/**
 * Whom to bring back into memory before he is asked for. Pure: it keeps what it was told, reads no
 * clock and does nothing; `keep-warm.ts` asks it what to do and does it. The simulation
 * (`test/simulation`) asks the same class, with a model of memory and disk around it.
 *
 *     arrived --> rhythm of the tenant --> expected soon, not in memory, worth the room --> next()
 *                                                                                             |
 *     wasted <-- its time is over, or its image left memory <-- pending <----- warmed() <-----+
 *     hit    <-- arrived <------------------------------------------'
 *
 * Rules:
 * - A pinned tenant is always expected. All others by their rhythm (`rhythm.ts`).
 * - One attempt per expectation. A mistake costs one image read, and its room for an hour at most.
 * - Images that were read ahead and not used yet hold at most a share of the memory for images.
 * - Memory that is full is taken only from somebody who is less likely to be used: the image that
 *   has rested longest. One that has rested for `a` comes back within `h` with a chance of about
 *   h / (a + h), which needs nothing to be known about it.
 *
 * It must never hold more tenants than its limit, and never count a tenant twice.
 */
import type { TenantName } from '../base/ids.ts'
import { Rhythm } from './rhythm.ts'

/** How often all rhythms are looked at. */
export const SCAN_EVERY_MS = 30_000
/** Of them at once: 10,000 would take some five milliseconds, for which clients would wait. */
const SCAN_SLICE = 500
/** Below this chance more images would be read for nothing than for somebody. */
const CHANCE_MIN = 0.5
/** Of the memory for images, what may be read ahead and not used yet. */
const AHEAD_SHARE = 0.25
/** Pause after a pinned tenant was not to be had, doubled each time up to the maximum. */
const PIN_RETRY_MS_MIN = 60_000
const PIN_RETRY_MS_MAX = 3_600_000

/** The memory for images as it is now. */
export interface ImageRoom {
  readonly bytes: number
  readonly bytesMax: number
  /** Images in it. */
  readonly count: number
  /** How long the image that is next to go has not been used; 0 if there is none. */
  readonly oldestRestMs: number
}

/** What became of the tenants that were brought back. */
export interface KeepWarmCounts {
  /** Brought back before they were asked for. */
  warmed: number
  /** Of those: asked for in time; not in time, or out of memory again before. */
  hits: number
  wasted: number
  /** Those that could not be brought back. */
  failed: number
}

interface Known {
  readonly rhythm: Rhythm
  /** No second attempt before this time. */
  triedUntilMs: number
}

interface Pending {
  readonly untilMs: number
  readonly bytes: number
}

interface Candidate {
  readonly tenant: TenantName
  readonly chance: number
  readonly untilMs: number
}

export class KeepWarmPolicy {
  readonly counts: KeepWarmCounts = { warmed: 0, hits: 0, wasted: 0, failed: 0 }
  readonly #tenantsMax: number
  /** Least recently asked for first. */
  readonly #known = new Map<TenantName, Known>()
  /** Each with the time of its next attempt and the pause after that. */
  readonly #pinned = new Map<TenantName, { retryAtMs: number; retryMs: number }>()
  readonly #pending = new Map<TenantName, Pending>()
  #pendingBytes = 0
  /** The likeliest last. */
  #candidates: Candidate[] = []
  #scanAtMs = Number.NEGATIVE_INFINITY
  /** The time that was last heard. */
  #nowMs = Number.NEGATIVE_INFINITY
  /** What this scan has not come to yet. */
  #unseen: MapIterator<[TenantName, Known]> | undefined

  /** @param tenantsMax rhythms kept; beyond, the tenant that has not come for longest goes */
  constructor(tenantsMax: number) {
    this.#tenantsMax = tenantsMax
  }

  /** Tenants whose rhythm is known. */
  get knownCount(): number {
    return this.#known.size
  }

  get pinnedCount(): number {
    return this.#pinned.size
  }

  isPinned(tenant: TenantName): boolean {
    return this.#pinned.has(tenant)
  }

  pin(tenant: TenantName): void {
    if (this.isPinned(tenant)) return
    this.#pinned.set(tenant, { retryAtMs: Number.NEGATIVE_INFINITY, retryMs: PIN_RETRY_MS_MIN })
    this.#scanAtMs = Number.NEGATIVE_INFINITY
  }

  unpin(tenant: TenantName): void {
    this.#pinned.delete(tenant)
  }

  /** The same as {@link arrived}, but nothing is learned from it. */
  used(tenant: TenantName): void {
    if (this.#settle(tenant)) this.counts.hits++
  }

  /** Somebody asked for a tenant that was not awake. */
  arrived(tenant: TenantName, nowMs: number): void {
    this.used(tenant)
    const known = this.#known.get(tenant)
    this.#known.delete(tenant)
    if (known) {
      known.rhythm.visited(nowMs)
      this.#known.set(tenant, known)
      return
    }
    const triedUntilMs = Number.NEGATIVE_INFINITY
    this.#known.set(tenant, { rhythm: new Rhythm(nowMs), triedUntilMs })
    if (this.#known.size <= this.#tenantsMax) return
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest)
      break
    }
  }

  /** The image of a tenant has left memory. */
  left(tenant: TenantName): void {
    if (this.#settle(tenant)) this.counts.wasted++
  }

  /** Nothing is expected of a tenant any more; a pin stays. */
  unlearn(tenant: TenantName): void {
    this.left(tenant)
    this.#known.delete(tenant)
  }

  /** There is no such tenant any more, pinned or not. */
  forget(tenant: TenantName): void {
    this.unlearn(tenant)
    this.unpin(tenant)
  }

  /**
   * Tenants that were brought back for nobody: their time is over. Each is told once; their images
   * are the first that memory can do without.
   */
  takeExpired(nowMs: number): TenantName[] {
    this.#hear(nowMs)
    const expired: TenantName[] = []
    for (const [tenant, { untilMs }] of this.#pending) if (untilMs <= nowMs) expired.push(tenant)
    for (const tenant of expired) this.left(tenant)
    return expired
  }

  /**
   * The tenant to bring back now, if any. To be followed by {@link warmed}, {@link failed} or
   * {@link postponed}.
   */
  next(
    nowMs: number,
    isInMemory: (tenant: TenantName) => boolean,
    room: ImageRoom,
  ): TenantName | undefined {
    this.#hear(nowMs)
    if (this.#candidates.length === 0) this.#scan(nowMs, isInMemory)
    for (let next = this.#candidates.pop(); next; next = this.#candidates.pop()) {
      const { tenant, untilMs } = next
      if (untilMs <= nowMs || isInMemory(tenant)) continue
      const pin = this.#pinned.get(tenant)
      if (!pin && !this.#isWorth(next, nowMs, room)) continue
      if (pin) {
        pin.retryAtMs = nowMs + pin.retryMs
        return tenant
      }
      const known = this.#known.get(tenant)
      if (!known) continue
      known.triedUntilMs = untilMs
      return tenant
    }
    return undefined
  }

  /** When {@link next} should be asked again if it had nobody; in the past: soon. */
  get nextScanAtMs(): number {
    return this.#unseen ? Number.NEGATIVE_INFINITY : this.#scanAtMs
  }

  /** What {@link next} named is in memory, and takes `bytes` of it. */
  warmed(tenant: TenantName, bytes: number): void {
    this.#settle(tenant)
    this.counts.warmed++
    const pin = this.#pinned.get(tenant)
    if (pin) pin.retryMs = PIN_RETRY_MS_MIN
    const untilMs = pin ? Number.POSITIVE_INFINITY : (this.#known.get(tenant)?.triedUntilMs ?? 0)
    this.#pending.set(tenant, { untilMs, bytes: pin ? 0 : bytes })
    this.#pendingBytes += pin ? 0 : bytes
  }

  /** What {@link next} named cannot be brought back: not again for this expectation. */
  failed(tenant: TenantName): void {
    this.counts.failed++
    const pin = this.#pinned.get(tenant)
    if (pin) pin.retryMs = Math.min(2 * pin.retryMs, PIN_RETRY_MS_MAX)
  }

  /** It was not the moment for what {@link next} named. */
  postponed(tenant: TenantName): void {
    const known = this.#known.get(tenant)
    if (known) known.triedUntilMs = Number.NEGATIVE_INFINITY
    const pin = this.#pinned.get(tenant)
    if (pin) pin.retryAtMs = Number.NEGATIVE_INFINITY
  }

  /**
   * A clock that was far ahead and was set right has left times behind that may not come for years:
   * whoever waits for one may be tried now, and who was brought back was so for nobody.
   */
  #hear(nowMs: number): void {
    const isSetBack = nowMs < this.#nowMs - SCAN_EVERY_MS
    this.#nowMs = nowMs
    if (!isSetBack) return
    this.#scanAtMs = Number.NEGATIVE_INFINITY
    for (const known of this.#known.values()) known.triedUntilMs = Number.NEGATIVE_INFINITY
    for (const pin of this.#pinned.values()) pin.retryAtMs = Number.NEGATIVE_INFINITY
    for (const [tenant, { untilMs, bytes }] of this.#pending) {
      if (Number.isFinite(untilMs)) this.#pending.set(tenant, { untilMs: nowMs, bytes })
    }
  }

  /** The next slice of a scan, or the first one if it is time. */
  #scan(nowMs: number, isInMemory: (tenant: TenantName) => boolean): void {
    const found: Candidate[] = []
    const unseen = this.#unseen ?? (nowMs >= this.#scanAtMs ? this.#known.entries() : undefined)
    if (!unseen) return
    this.#unseen = unseen
    for (let count = 0; count < SCAN_SLICE; count++) {
      const { done, value } = unseen.next()
      if (done) {
        this.#unseen = undefined
        this.#scanAtMs = nowMs + SCAN_EVERY_MS
        found.push(...this.#pinnedAtRest(nowMs, isInMemory))
        break
      }
      const [tenant, { rhythm, triedUntilMs }] = value
      if (nowMs < triedUntilMs || this.isPinned(tenant)) continue
      const expected = rhythm.expects(nowMs)
      if (!expected || expected.chance < CHANCE_MIN || isInMemory(tenant)) continue
      found.push({ tenant, ...expected })
    }
    this.#candidates = found.toSorted((a, b) => a.chance - b.chance)
  }

  #pinnedAtRest(nowMs: number, isInMemory: (tenant: TenantName) => boolean): Candidate[] {
    return Array.from(this.#pinned)
      .filter(([tenant, { retryAtMs }]) => nowMs >= retryAtMs && !isInMemory(tenant))
      .map(([tenant]) => ({ tenant, chance: 1, untilMs: Number.POSITIVE_INFINITY }))
  }

  #isWorth({ chance, untilMs }: Candidate, nowMs: number, room: ImageRoom): boolean {
    if (this.#pendingBytes >= AHEAD_SHARE * room.bytesMax) return false
    // Memory is never beyond its budget for long: it is full when one more would not fit.
    const imageBytes = room.count === 0 ? 0 : room.bytes / room.count
    if (room.bytes + imageBytes <= room.bytesMax) return true
    const horizonMs = untilMs - nowMs
    return chance > horizonMs / (room.oldestRestMs + horizonMs)
  }

  /** False if it was not brought back, or that was settled before. */
  #settle(tenant: TenantName): boolean {
    const pending = this.#pending.get(tenant)
    if (!pending) return false
    this.#pendingBytes -= pending.bytes
    return this.#pending.delete(tenant)
  }
}
