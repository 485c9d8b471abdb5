/**
 * What is asked of the tenants of one pool from outside: to be at rest, until further notice or
 * for as long as somebody needs the store, or to be loaded anew. The rules are the state machine's
 * (`pause-desk.ts`); here is who waits for them.
 *
 * At rest means: out of the slot, all of it durable, the store closed, so that its file is
 * complete.
 */
import type { TenantName } from '../base/ids.ts'
import type { ImageShelf } from './image-shelf.ts'
import type { LiveTenants } from './live-tenants.ts'
import type { LiveTenant } from './pool-client.ts'
import type { PoolEvent } from './pool-model.ts'
import type { PoolState } from './pool-state.ts'
import type { RestingUpkeep } from './resting-upkeep.ts'
import type { TenantSource } from './tenant-source.ts'

export interface PausesOptions {
  readonly state: PoolState
  readonly shelf: ImageShelf
  readonly resting: Pick<RestingUpkeep, 'letGoPaused'>
  readonly tenants: LiveTenants
  readonly source: TenantSource
  readonly event: (event: PoolEvent) => void
}

interface Wait {
  /** Undefined: all tenants. */
  readonly name: TenantName | undefined
  /** @param isAtRest false: it was resumed before */
  readonly end: (isAtRest: boolean) => void
}

export class Pauses {
  readonly #options: PausesOptions
  readonly #waits = new Set<Wait>()

  constructor(options: PausesOptions) {
    this.#options = options
  }

  /**
   * From now on nobody is given the backend of a tenant, or of any if there is no name; who has it
   * keeps it. Requests wait for `queryWaitMs`. Idempotent.
   */
  pause(name: TenantName | undefined): void {
    this.#options.event({ type: 'paused', name })
    this.#closeStores()
  }

  /** Takes {@link pause} back; what was paused by its name stays so if all are resumed. */
  resume(name: TenantName | undefined): void {
    this.#options.event({ type: 'resumed', name })
    this.#review()
  }

  /** The same for whoever needs the store of a tenant. Each calls {@link letGo} once. */
  hold(name: TenantName): void {
    this.#options.event({ type: 'held', name })
    this.#closeStores()
  }

  letGo(name: TenantName): void {
    this.#options.event({ type: 'letGo', name })
    this.#review()
  }

  /** Whether a tenant is kept at rest, for whatever reason. */
  has(name: TenantName): boolean {
    return this.#options.state.pauses.isPaused(name)
  }

  /** Until what is paused is at rest; false if it is resumed before. */
  untilRested(name: TenantName | undefined): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waits.add({ name, end: resolve })
    this.#review()
    return promise
  }

  /** A tenant that is paused has come to rest. */
  rested(tenant: LiveTenant): void {
    this.#options.shelf.closeStore(tenant)
    this.#review()
  }

  /** Whether {@link renew} has seen to a tenant: it has clients, a slot or an image here. */
  isKnown(name: TenantName): boolean {
    return this.#options.state.tenants.has(name)
  }

  /**
   * Takes the backend of a tenant, or of all that the pool knows, from the store anew: once nobody
   * is in the middle of something, it is shut down, and it boots when it is asked for again.
   * Sessions are carried over.
   */
  renew(name: TenantName | undefined): void {
    const { tenants, source } = this.#options
    const known = name === undefined ? [...tenants.values()] : [tenants.get(name)]
    for (const tenant of known) if (tenant) this.#renew(tenant)
    if (name !== undefined && !this.isKnown(name)) source.images?.remove(name)
  }

  /** Those of tenants that rest already; the others' are closed when they do. */
  #closeStores(): void {
    const { tenants, shelf, resting } = this.#options
    for (const tenant of tenants.values()) if (tenant.entry.paused) shelf.closeStore(tenant)
    resting.letGoPaused()
  }

  /** An image that nobody has a session in is dropped; another is left when it is next loaded. */
  #renew(tenant: LiveTenant): void {
    const { shelf, source, event } = this.#options
    const { entry } = tenant
    if (entry.clientCount > 0) return event({ type: 'renewalRequested', tenant: entry })
    if (entry.phase === 'napping') shelf.drop(tenant)
    if (entry.phase === 'asleep') source.images?.remove(entry.name)
    const isImage = entry.phase === 'napping' || entry.phase === 'asleep'
    if (isImage) event({ type: 'imageMoved', tenant: entry, to: 'cold' })
    else event({ type: 'renewalRequested', tenant: entry })
  }

  #review(): void {
    const { pauses } = this.#options.state
    for (const wait of this.#waits) {
      const { name, end } = wait
      const isPaused = name === undefined ? pauses.isPausedAll : pauses.isPaused(name)
      if (isPaused && !pauses.isAtRest(name)) continue
      this.#waits.delete(wait)
      end(isPaused)
    }
  }
}
