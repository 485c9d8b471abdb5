/**
 * What programs (HTTP, the library, the command line) ask of a server, as opposed to what Postgres
 * clients do. One interface, so that all of them behave the same wherever the tenants live: in this
 * thread, in other threads, behind Durable Objects.
 *
 * Every method rejects with PgnapError, or with PostgresError of wire/result.ts where Postgres
 * itself said no; a query whose signal was aborted before it was handed on rejects with the
 * signal's reason.
 */
import type { ResultSet } from './wire/result.ts'

/** One statement with its parameters in text form; null is NULL. */
export interface Statement {
  readonly sql: string
  readonly parameters: readonly (string | null)[]
  /**
   * Bytes of the answer as the backend writes it. Beyond: ANSWER_TOO_LARGE before any of it is read
   * or handed to another thread; what the statement has changed stays. Default: no limit.
   */
  readonly answerBytesMax?: number
}

/**
 * Where a request finds its tenant: in a slot, as an image in memory or on disk, as a store, or as
 * a store that holds nothing yet.
 */
export type Tier = 'awake' | 'napping' | 'asleep' | 'cold' | 'new'

/** Where the time of a request went, in milliseconds; as Server-Timing shows it. */
export interface Timings {
  /** Finding the tenant's shard and getting there. */
  readonly routeMs: number
  /** Waiting for others: for the backend, or for a slot. */
  readonly queueMs: number
  /** Loading the tenant; 0 if it was awake. */
  readonly wakeMs: number
  /** What the request found the tenant to be. */
  readonly wokenFrom: Tier
  readonly executeMs: number
  /** Making the changes durable. */
  readonly persistMs: number
}

export interface Answer {
  readonly result: ResultSet
  readonly timings: Timings
}

export type TenantState = 'awake' | 'waking' | 'napping' | 'asleep' | 'cold'

export interface TenantFacts {
  readonly name: string
  readonly state: TenantState
  /** Index of the shard that owns it. */
  readonly shard: number
  readonly clients: number
  /** Bytes of its store on disk. */
  readonly storeBytes: number
  /** When its store was made, in milliseconds since 1970. */
  readonly createdMs: number
}

/** Quantiles of a duration in milliseconds. */
export interface DurationFacts {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export interface PoolFacts {
  readonly shards: number
  readonly slots: { readonly total: number; readonly idle: number; readonly inUse: number }
  /** Linear memory of all slots in bytes. */
  readonly memoryBytes: number
  /** Tenants that this process has met, by state. */
  readonly tenants: Readonly<Record<TenantState, number>>
  readonly clients: number
  /** Requests that were served, by where they found their tenant. */
  readonly found: Readonly<Record<Tier, number>>
  /** Share of them that found it awake; 1 if there were none. */
  readonly hitRate: number
  readonly requests: number
  /** Images of napping tenants in memory. */
  readonly images: {
    readonly count: number
    readonly bytes: number
    /** Since the start: went to disk, or was dropped, for want of room. */
    readonly toDisk: number
    readonly dropped: number
  }
  /** Tenants taken out of their slot, by reason. */
  readonly evictions: Readonly<Record<string, number>>
  /** Slots that were given up because they had grown too large or were no longer like others. */
  readonly slotsRetired: number
  /** Loading a tenant, by where it was. */
  readonly wakes: Readonly<Record<Exclude<Tier, 'awake'>, DurationFacts>>
  /** Taking a tenant out of its slot. */
  readonly leave: DurationFacts
  readonly execute: DurationFacts
  readonly commit: DurationFacts
}

export interface TenantPage {
  /** In order of their names; fewer than asked for if some went away meanwhile. */
  readonly tenants: readonly TenantFacts[]
  /** Ask for the next page with this as `after`; undefined on the last page. */
  readonly next: string | undefined
}

export interface Control {
  /**
   * Runs one statement on a tenant, in a session of its own that ends with it. `signal` is looked
   * at before the statement is handed on, and not again.
   */
  query(tenant: string, statement: Statement, signal?: AbortSignal): Promise<Answer>
  /** TENANT_EXISTS if it is there already. */
  createTenant(tenant: string): Promise<TenantFacts>
  /** In order of names, after `after`, at most `limit`. */
  listTenants(page: { readonly after?: string; readonly limit: number }): Promise<TenantPage>
  showTenant(tenant: string): Promise<TenantFacts>
  /** Removes a tenant and its data. Its clients are told and disconnected. */
  deleteTenant(tenant: string): Promise<void>
  /** Takes a tenant out of its slot. TENANT_BUSY if a client is in the middle of something. */
  napTenant(tenant: string): Promise<TenantFacts>
  /** Loads a tenant before it is asked for. */
  wakeTenant(tenant: string): Promise<TenantFacts>
  pool(): Promise<PoolFacts>
  /** Whether requests would be taken: false while starting, draining, or with a shard down. */
  ready(): boolean
}
