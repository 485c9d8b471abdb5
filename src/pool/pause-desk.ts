/**
 * Which tenants are kept at rest, as a part of `pool-state.ts`: those that an administrator has
 * paused, one by one or all, and those that somebody holds because he needs their stores for a
 * moment. The two know nothing of each other, and each ends his own.
 *
 *                      paused                      nobody holds the backend
 *     as it comes ----------------> comes to rest ---------------------------> rests
 *          ^                              |                                      |
 *          +------------------------------+--------------------------------------+
 *                                     resumed
 *
 * Who has the backend of a paused tenant keeps it until the transaction, or what else holds it, has
 * ended. Everybody else waits as for a slot, within the same limits, and the tenant leaves its own.
 * What cannot leave yet (`evictionRefused`) is asked again; it serves nobody meanwhile.
 *
 * Tenants that are not known to the pool are paused by their names: what comes is paused from its
 * first client on.
 */
import type { TenantName } from '../base/ids.ts'
import { ClientEntry, isResting } from './pool-model.ts'
import type { PauseEvent, PoolEffect, TenantEntry } from './pool-model.ts'

export interface PauseHost {
  readonly tenants: ReadonlyMap<TenantName, TenantEntry>
  /** Of the event that is being taken in. */
  readonly effects: PoolEffect[]
}

export class PauseDesk {
  readonly #host: PauseHost
  #all = false
  #ended = false
  readonly #names = new Set<TenantName>()
  /** How many hold a tenant. */
  readonly #holds = new Map<TenantName, number>()
  /** Paused, and not at rest yet. */
  readonly #coming = new Set<TenantEntry>()

  constructor(host: PauseHost) {
    this.#host = host
  }

  get isPausedAll(): boolean {
    return this.#all
  }

  isPausedByName(name: TenantName): boolean {
    return this.#names.has(name)
  }

  isPaused(name: TenantName): boolean {
    return this.#all || this.#names.has(name) || this.#holds.has(name)
  }

  /** Whether somebody needs its store, whoever else has paused it. */
  isHeld(name: TenantName): boolean {
    return this.#holds.has(name)
  }

  /** Whether what is paused is at rest: one tenant, or all that are. */
  isAtRest(name: TenantName | undefined): boolean {
    for (const tenant of this.#coming) if (name === undefined || tenant.name === name) return false
    return true
  }

  /** @returns the tenants for which something has changed */
  take(event: PauseEvent): TenantEntry[] {
    if (this.#ended) return []
    this.#note(event)
    const changed: TenantEntry[] = []
    for (const tenant of this.#host.tenants.values()) {
      const paused = this.isPaused(tenant.name)
      if (paused === tenant.paused) continue
      tenant.paused = paused
      if (paused) this.#coming.add(tenant)
      else this.#coming.delete(tenant)
      changed.push(tenant)
    }
    return changed
  }

  /** The end of the pool is near: nobody is kept waiting for a word that will not come. */
  end(): void {
    this.#ended = true
    this.#all = false
    this.#names.clear()
    this.#holds.clear()
    this.#coming.clear()
    for (const tenant of this.#host.tenants.values()) tenant.paused = false
  }

  #note(event: PauseEvent): void {
    const { type, name } = event
    if (type === 'held' || type === 'letGo') {
      const count = (this.#holds.get(event.name) ?? 0) + (type === 'held' ? 1 : -1)
      if (count > 0) this.#holds.set(event.name, count)
      else this.#holds.delete(event.name)
    } else if (name === undefined) this.#all = type === 'paused'
    else if (type === 'paused') this.#names.add(name)
    else this.#names.delete(name)
  }

  /** Tells of those that have come to rest with this event. */
  report(): void {
    for (const tenant of this.#coming) {
      const holds = tenant.holder instanceof ClientEntry
      if (holds || !isResting(tenant.phase)) continue
      this.#coming.delete(tenant)
      this.#host.effects.push({ type: 'rested', tenant })
    }
  }
}
