/**
 * What an administrator has paused, as the main thread knows it: each shard is told, and one whose
 * thread is started anew reads it then. In memory only: after a restart of the server nothing is
 * paused.
 *
 * That all are paused and that one is are two things, as in PgBouncer: the end of the first leaves
 * the second.
 */
import type { TenantName } from '../base/ids.ts'

/** What the thread of a shard has to know when it starts. */
export interface PauseList {
  readonly all: boolean
  readonly tenants: readonly TenantName[]
}

/** Stands for one PAUSE: who takes it back must not take back another's. */
export type PauseNumber = number

export class PauseBook {
  /** Without a name: all tenants. */
  readonly #pauses = new Map<TenantName | undefined, PauseNumber>()
  #last: PauseNumber = 0

  /** Undefined: it was paused before, and stays so. */
  begin(tenant: TenantName | undefined): PauseNumber | undefined {
    if (this.#pauses.has(tenant)) return undefined
    this.#pauses.set(tenant, ++this.#last)
    return this.#last
  }

  /** @returns whether it was paused: by this PAUSE, if `number` is given */
  end(tenant: TenantName | undefined, number?: PauseNumber): boolean {
    if (number !== undefined && this.#pauses.get(tenant) !== number) return false
    return this.#pauses.delete(tenant)
  }

  /** Whether it is, be it by its name or with all. */
  isPaused(tenant: TenantName): boolean {
    return this.#pauses.has(undefined) || this.#pauses.has(tenant)
  }

  list(): PauseList {
    const tenants = [...this.#pauses.keys()].filter((name) => name !== undefined)
    return { all: this.#pauses.has(undefined), tenants }
  }
}
