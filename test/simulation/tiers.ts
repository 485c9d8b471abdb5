/**
 * The tiers of one server as a model: who is in a slot, in memory, on disk, or cold, under the
 * pool's own rules (a nap after ten seconds, the least recently used first, pinned images stay in
 * memory until that is crowded). It holds names and sizes instead of images.
 */
import type { TenantName } from '../../src/base/ids.ts'
import type { ImageRoom } from '../../src/pool/keep-warm-policy.ts'

export type Tier = 'awake' | 'napping' | 'asleep' | 'cold' | 'new'

export interface TierSizes {
  readonly slots: number
  readonly imageCacheBytes: number
  readonly imageDiskBytes: number
  readonly napAfterMs: number
}

export interface TierEvents {
  readonly isPinned: (tenant: TenantName) => boolean
  /** The image of a tenant has left memory for disk. */
  readonly onLeft: (tenant: TenantName) => void
}

/** As the shelf of images has it. */
const CROWDED = 1.25
const IMAGE_BYTES_MIN = 100_000
const IMAGE_BYTES_SPREAD = 800_000
/** On disk an image is compressed. */
const DISK_SHARE = 0.3

export class Tiers {
  readonly #sizes: TierSizes
  readonly #events: TierEvents
  /** Each with the time of its last use, least recently used first. */
  readonly #awake = new Map<TenantName, number>()
  readonly #napping = new Map<TenantName, number>()
  readonly #asleep = new Set<TenantName>()
  readonly #known = new Set<TenantName>()
  #napBytes = 0
  #diskBytes = 0

  constructor(sizes: TierSizes, events: TierEvents) {
    this.#sizes = sizes
    this.#events = events
  }

  isInMemory(tenant: TenantName): boolean {
    return this.#awake.has(tenant) || this.#napping.has(tenant)
  }

  room(nowMs: number): ImageRoom {
    const free = this.#napping.entries().find(([tenant]) => !this.#events.isPinned(tenant))
    const [, oldestMs = nowMs] = free ?? []
    const { imageCacheBytes: bytesMax } = this.#sizes
    const count = this.#napping.size
    return { bytes: this.#napBytes, bytesMax, count, oldestRestMs: nowMs - oldestMs }
  }

  /** Those whose time in a slot is over leave it. */
  advance(nowMs: number): void {
    for (const [tenant, usedMs] of this.#awake) {
      if (usedMs + this.#sizes.napAfterMs > nowMs) break
      this.#nap(tenant, usedMs)
    }
  }

  /** A request: tells where it finds its tenant, which is awake then. */
  use(tenant: TenantName, nowMs: number): Tier {
    this.advance(nowMs)
    const tier = this.#take(tenant)
    this.#awake.set(tenant, nowMs)
    for (const [oldest, usedMs] of this.#awake) {
      if (this.#awake.size <= this.#sizes.slots) break
      this.#nap(oldest, usedMs)
    }
    return tier
  }

  /** Reads an image ahead, or boots the tenant and lets it nap at once. @returns its bytes */
  warm(tenant: TenantName, nowMs: number): number {
    this.#take(tenant)
    this.#nap(tenant, nowMs)
    return bytesOf(tenant)
  }

  /** An image that was read ahead for nobody: it is on disk as well. */
  release(tenant: TenantName): void {
    if (!this.#napping.delete(tenant)) return
    this.#napBytes -= bytesOf(tenant)
    this.#sleep(tenant)
  }

  #take(tenant: TenantName): Tier {
    if (this.#awake.delete(tenant)) return 'awake'
    if (this.#napping.delete(tenant)) {
      this.#napBytes -= bytesOf(tenant)
      return 'napping'
    }
    if (this.#asleep.delete(tenant)) {
      this.#diskBytes -= bytesOf(tenant) * DISK_SHARE
      return 'asleep'
    }
    if (this.#known.has(tenant)) return 'cold'
    this.#known.add(tenant)
    return 'new'
  }

  #nap(tenant: TenantName, usedMs: number): void {
    this.#awake.delete(tenant)
    this.#napping.set(tenant, usedMs)
    this.#napBytes += bytesOf(tenant)
    const { imageCacheBytes } = this.#sizes
    for (const oldest of this.#napping.keys()) {
      if (this.#napBytes <= imageCacheBytes) break
      const crowded = this.#napBytes > imageCacheBytes * CROWDED
      if (this.#events.isPinned(oldest) && !crowded) continue
      this.#napping.delete(oldest)
      this.#napBytes -= bytesOf(oldest)
      this.#sleep(oldest)
      this.#events.onLeft(oldest)
    }
  }

  #sleep(tenant: TenantName): void {
    this.#asleep.add(tenant)
    this.#diskBytes += bytesOf(tenant) * DISK_SHARE
    for (const oldest of this.#asleep) {
      if (this.#diskBytes <= this.#sizes.imageDiskBytes) break
      this.#asleep.delete(oldest)
      this.#diskBytes -= bytesOf(oldest) * DISK_SHARE
    }
  }
}

/** Always the same for the same tenant. */
function bytesOf(tenant: TenantName): number {
  let mixed = 0
  for (const letter of tenant) mixed = Math.imul(mixed ^ (letter.codePointAt(0) ?? 0), 0x9e3779b1)
  return IMAGE_BYTES_MIN + ((mixed >>> 8) % IMAGE_BYTES_SPREAD)
}
