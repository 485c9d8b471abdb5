/**
 * Clients that wait for an advisory lock of another client of their tenant. A backend cannot wait,
 * so the batch was ended as if it had not been said, its client has given the backend back, and to
 * the pool's rules it is thinking. When the lock is free the batch is run from its beginning.
 *
 * As in a server nothing but `lock_timeout`, `statement_timeout`, a cancel, and a circle of clients
 * that wait for each other (40P01) ends such a wait, and nobody else is kept waiting by it.
 */
import { PgnapError } from '../base/errors.ts'
import type { AdvisoryLock } from '../engine/advisory-locks.ts'
import type { LiveClient, LiveTenant } from './pool-client.ts'

interface Waiter {
  readonly client: LiveClient
  readonly lock: AdvisoryLock
  readonly goOn: () => void
}

/** A batch that could not have a lock. Its bytes are its own. */
export interface LockedOutBatch {
  readonly lock: AdvisoryLock
  readonly messages: Uint8Array
  readonly complete: boolean
}

export class AdvisoryDesk {
  /** In order of their coming. */
  readonly #waiting = new Map<LiveTenant, Set<Waiter>>()

  /** Settles with the answer, when there is one. Rejects as {@link LiveClient.run} does. */
  wait(client: LiveClient, { lock, messages, complete }: LockedOutBatch): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const { tenant } = client
    if (this.#isCircle(client, lock)) {
      reject(deadlock())
      return promise
    }
    const waiters = this.#waiting.get(tenant) ?? new Set()
    const leave = (): void => {
      client.limits?.works()
      client.giveUpLock = undefined
      waiters.delete(waiter)
      if (waiters.size === 0) this.#waiting.delete(tenant)
    }
    const waiter: Waiter = {
      client,
      lock,
      goOn: () => {
        leave()
        try {
          resolve(client.run(messages, complete))
        } catch (error) {
          reject(error)
        }
      },
    }
    this.#waiting.set(tenant, waiters.add(waiter))
    client.giveUpLock = (error) => {
      leave()
      reject(error)
    }
    client.limits?.waits(false)
    return promise
  }

  /** A batch has ended in the tenant's backend, or somebody has left it. */
  review(tenant: LiveTenant): void {
    const waiters = this.#waiting.get(tenant)
    if (!waiters) return
    // What is run now may lock, and the next one is asked about after that.
    queueMicrotask(() => {
      for (const waiter of waiters) {
        if (this.#holdersFor(waiter).length === 0) waiter.goOn()
      }
    })
  }

  #holdersFor({ client, lock }: Pick<Waiter, 'client' | 'lock'>): readonly LiveClient[] {
    const { sessions, slot } = client.tenant
    return sessions.holdersOf(lock, client, slot)
  }

  /** Whether somebody whom it would wait for waits for it. */
  #isCircle(client: LiveClient, lock: AdvisoryLock): boolean {
    const waits = [...(this.#waiting.get(client.tenant) ?? [])]
    const seen = new Set<LiveClient>()
    const next = [...this.#holdersFor({ client, lock })]
    for (let holder = next.pop(); holder; holder = next.pop()) {
      if (holder === client) return true
      if (seen.has(holder)) continue
      seen.add(holder)
      const waiting = waits.find((each) => each.client === holder)
      if (waiting) next.push(...this.#holdersFor(waiting))
    }
    return false
  }
}

function deadlock(): PgnapError {
  return new PgnapError('DEADLOCK', 'deadlock detected', {
    detail: 'each of several sessions of this database waits for an advisory lock of another one',
    hint: 'take advisory locks in the same order everywhere',
  })
}
