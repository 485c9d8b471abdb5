/**
 * What programs (HTTP, the library, the command line) ask of a server, as opposed to what Postgres
 * clients do. One interface, so that all of them behave the same wherever the tenants live: in this
 * thread, in other threads, behind Durable Objects.
 *
 * Every method rejects with PgnapError, or with PostgresError of wire/result.ts where Postgres
 * itself said no; a query whose signal was aborted before it was handed on rejects with the
 * signal's reason.
 */
import type { SyncDelayFacts } from '../base/sync-delay.ts'
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

/** Statements that run in one transaction, in order. */
export interface Batch {
  readonly statements: readonly Pick<Statement, 'sql' | 'parameters'>[]
  /** Default: the tenant's own. */
  readonly isolationLevel?: 'serializable' | 'repeatableRead' | 'readCommitted' | 'readUncommitted'
  readonly readOnly?: boolean
  readonly deferrable?: boolean
  /** Of all answers together. Beyond: ANSWER_TOO_LARGE, and nothing has changed. */
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

export interface BatchAnswer {
  /** Of each statement. */
  readonly results: readonly ResultSet[]
  /** Sums over the transaction. */
  readonly timings: Timings
}

export type TenantState = 'awake' | 'waking' | 'napping' | 'asleep' | 'cold'

export interface TenantFacts {
  readonly name: string
  readonly state: TenantState
  /** Index of the shard that owns it. */
  readonly shard: number
  readonly clients: number
  /** Its image is kept in memory, whether it is used or not. */
  readonly pinned: boolean
  /** An administrator keeps it at rest, by its name or with all others. */
  readonly paused: boolean
  /** Bytes of its store on disk. */
  readonly storeBytes: number
  /** When its store was made, in milliseconds since 1970. */
  readonly createdMs: number
}

/** A role of one tenant: who may use it beside the administrators. */
export interface RoleFacts {
  readonly role: string
  /** In milliseconds since 1970. */
  readonly createdMs: number
}

/** A role with its password, which is told here and nowhere else. */
export interface RoleGrant {
  readonly tenant: string
  readonly role: string
  readonly connectionString: string
}

/** A new tenant, with its first role where passwords are asked for. */
export type NewTenant = TenantFacts & Partial<Pick<RoleGrant, 'role' | 'connectionString'>>

export type StoreFacts = Pick<TenantFacts, 'storeBytes' | 'createdMs'>

/** Sum and quantiles of a duration in milliseconds. */
export interface DurationFacts {
  readonly count: number
  readonly totalMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** How many did not exceed each of some durations, by the duration in milliseconds. */
  readonly histogram: Readonly<Record<string, number>>
}

/**
 * The numbers of one shard's pool, or the sums over several. What is added here is shown by
 * `GET /v1/pool` and `SHOW METRICS` without further work.
 */
export interface PoolFacts {
  readonly shards: number
  readonly slots: {
    readonly total: number
    readonly idle: number
    readonly inUse: number
    /** As many there may be. */
    readonly max: number
    /** Since the start: made, lost by an error, given up because they had grown. */
    readonly created: number
    readonly lost: number
    readonly retired: number
  }
  /** Linear memory of all slots in bytes. */
  readonly memoryBytes: number
  /** Copies of backends in slots, in which clients read beside an open transaction. */
  readonly forks: {
    readonly now: number
    /** Since the start: made, could not be made. */
    readonly made: number
    readonly refused: number
    /** Batches that were answered in one, and that had to wait for the backend after all. */
    readonly reads: number
    readonly withheld: number
  }
  /** Tenants that this process has met, by state. */
  readonly tenants: Readonly<Record<TenantState, number>>
  readonly tenantsWaitingForSlot: number
  /** What an administrator keeps at rest: all tenants, or those by their names. */
  readonly paused: { readonly all: boolean; readonly tenants: readonly string[] }
  readonly clients: number
  readonly clientsWaiting: number
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
  /** Tenants that were brought back into memory before they were asked for. */
  readonly keepWarm: {
    /** Tenants whose rhythm is known, and those that are pinned. */
    readonly known: number
    readonly pinned: number
    /** Since the start: brought back; of those asked for in time, and not in time; not possible. */
    readonly warmed: number
    readonly hits: number
    readonly wasted: number
    readonly failed: number
  }
  /** Requests that had to wait, for another client or for a slot. */
  readonly waits: number
  /** Requests that were turned away. */
  readonly rejections: number
  /** Errors that clients were told: Postgres's, and those of who was turned away. */
  readonly errors: {
    /** By the class of their SQLSTATE; `other` for those that Postgres does not define. */
    readonly byClass: Readonly<Record<string, number>>
    /** Of them, statements that were cancelled. */
    readonly cancelled: number
  }
  readonly bootFailures: number
  readonly moves: MoveFacts
  /** Steps of upkeep (checkpoint, vacuum, analyze, prune). */
  readonly upkeepSteps: number
  /** Tenants taken out of their slot, by reason. */
  readonly evictions: Readonly<Record<string, number>>
  /** Loading a tenant, by where it was. */
  readonly wakes: Readonly<Record<Exclude<Tier, 'awake'>, DurationFacts>>
  /** Taking a tenant out of its slot. */
  readonly leave: DurationFacts
  readonly wait: DurationFacts
  readonly execute: DurationFacts
  readonly commit: DurationFacts
  /** Commits that shared a sync with those of other tenants, and how many syncs that took. */
  readonly journal: { readonly commits: number; readonly syncs: number }
  /** How long users wait for loads (of tenants that are not in memory) and saves (commits). */
  readonly syncDelay: SyncDelayFacts
}

/** Tenants that leave their shard because it is busy and another is idle. */
export interface MoveFacts {
  /** Since the start: have left. */
  readonly done: number
  /** Stayed, because somebody used them. */
  readonly refused: number
  /** Stayed, because the thread of one of the shards has ended. */
  readonly failed: number
  /** Tenants that are here, and not in the shard of their hash, now. */
  readonly guests: number
}

/** Why a tenant could not be asked, as errors of `/v1` are told. */
export interface ErrorFacts {
  readonly code: string
  readonly sqlState: string
  readonly message: string
  readonly hint: string | null
  readonly detail: string | null
}

/** In a list. One whose store cannot be opened must not hide the others. */
export interface ListedTenant extends Omit<TenantFacts, keyof StoreFacts>, Partial<StoreFacts> {
  /** Then its store could not be opened, and what only the store tells is not there. */
  readonly error?: ErrorFacts
}

export interface TenantPage {
  /** In order of their names; fewer than asked for if some went away meanwhile. */
  readonly tenants: readonly ListedTenant[]
  /** Ask for the next page with this as `after`; undefined on the last page. */
  readonly next: string | undefined
}

/** The two ends of a client's connection, as the server sees them. */
export interface Peer {
  readonly address: string
  readonly port: number
  readonly localAddress: string
  readonly localPort: number
  /** It speaks inside of a WebSocket. Default: it does not. */
  readonly webSocket?: boolean
  /** Version and cipher of its TLS; absent without. */
  readonly tls?: string
  /**
   * What its TLS can bind a password to: the certificate it was shown, as `tls-server-end-point`
   * (RFC 5929). Absent without TLS, or where the certificate has no such binding.
   */
  readonly tlsEndPoint?: Uint8Array
  /** What it calls the server, in its TLS handshake or its HTTP request; absent if it does not. */
  readonly serverName?: string
}

export interface ClientFacts {
  /** As the client typed it; empty before its startup packet. */
  readonly database: string
  readonly user: string
  /** As it calls itself now. */
  readonly applicationName: string
  /**
   * `login`: not greeted yet; `waiting`: for its turn or for a slot; `active`: in a statement or a
   * transaction.
   */
  readonly state: 'login' | 'idle' | 'waiting' | 'active'
  readonly transaction: 'idle' | 'transaction' | 'failed'
  /** How long its request has waited; 0 if it does not wait. */
  readonly waitMs: number
  /** When it connected, in milliseconds since 1970. */
  readonly connectedMs: number
  /** When its last request was begun, or began to wait, in the same way; 0 if it has sent none. */
  readonly requestMs: number
  /** What it knows as the process id of its backend. */
  readonly processId: number
  readonly peer: Peer | undefined
}

/** What a tenant has kept its shard's thread busy with since its shard knows of it. */
export interface TenantTime {
  readonly name: string
  readonly busyMs: number
}

/** A tenant that has clients, a slot or an image. */
export interface TenantActivity {
  readonly name: string
  readonly state: TenantState
  readonly shard: number
  readonly pinned: boolean
  readonly paused: boolean
  /** Who has its backend: a client, the pool for upkeep, nobody. */
  readonly use: 'client' | 'upkeep' | 'nobody'
  readonly clients: number
  readonly waiting: number
  /** Of the client that has waited longest; 0 if none waits. */
  readonly longestWaitMs: number
}

export interface SlotFacts {
  readonly shard: number
  /** Counts up in one shard and is never used again. */
  readonly id: number
  readonly memoryBytes: number
  /** Undefined in a free slot. */
  readonly tenant: string | undefined
  readonly state: TenantState | undefined
  readonly use: TenantActivity['use']
  /** It holds a copy of that tenant's backend, for its clients to read in. */
  readonly isFork: boolean
  /** Since when its tenant is awake, and when it was last used; 0 if it is not awake. */
  readonly awakeSinceMs: number
  readonly lastUsedMs: number
}

/** Who is where at one moment. */
export interface Activity {
  readonly tenants: readonly TenantActivity[]
  readonly slots: readonly SlotFacts[]
  readonly clients: readonly ClientFacts[]
}

/** A shard as it looks from outside: known even when it does not answer. */
export interface ShardFacts {
  readonly shard: number
  readonly state: 'starting' | 'running' | 'dead' | 'closed'
  /** How long it has owed a sign of life; 0 if it owes none. */
  readonly silentMs: number
  /** How long its last sign of life took: what else came to its thread waited as long. */
  readonly lagMs: number
  /** What its thread has been doing since it began, as its event loop counts it. */
  readonly activeMs: number
  readonly idleMs: number
  /** Tenants that have left it for an idle shard since the start, and that would not. */
  readonly movedOut: number
  readonly moveRefusals: number
  /** Tenants that are here, and not in the shard of their hash. */
  readonly guests: number
}

/** A state of a tenant's storage, as the platform that keeps it names it. */
export interface Bookmark {
  readonly bookmark: string
}

/** Point-in-time recovery of a platform that keeps what every storage was. */
export interface Bookmarks {
  /**
   * Of the state that a tenant had at a time (ISO 8601, with its zone), or has now. NOT_SUPPORTED
   * where the platform keeps none; REQUEST_INVALID for what is no time, or not remembered.
   */
  bookmarkOf(tenant: string, at?: string): Promise<Bookmark>
  /**
   * Puts a tenant back to a bookmark of its own; its clients are sent away. Also brings back one
   * that was deleted. Errors as above.
   * @returns the state that this has replaced
   */
  restoreTenant(tenant: string, bookmark: string): Promise<Bookmark>
}

export interface Control {
  /**
   * Runs one statement on a tenant, in a session of its own that ends with it. When `signal` is
   * aborted, the statement is not begun, or cancelled.
   */
  query(tenant: string, statement: Statement, signal?: AbortSignal): Promise<Answer>
  /**
   * Runs statements in one transaction, in a session of its own: all of them or, if one fails,
   * none. When `signal` is aborted, what is left of it is not begun, or cancelled.
   */
  transaction(tenant: string, batch: Batch, signal?: AbortSignal): Promise<BatchAnswer>
  /**
   * Makes a tenant: an empty one, or one with all that is committed in `template` by now, whose
   * clients wait meanwhile. TENANT_EXISTS if it is there already; TENANT_UNKNOWN if the template is
   * not, TENANT_BUSY if a client of it keeps what it has open.
   */
  createTenant(tenant: string, template?: string): Promise<NewTenant>
  /** NOT_SUPPORTED where nobody is asked for a password, as of the two below. */
  rolesOf(tenant: string): Promise<readonly RoleFacts[]>
  /**
   * Gives a role a new password; makes the role if it is not there. Who is connected stays.
   * REQUEST_INVALID for a name that no role may have.
   */
  rotateRole(tenant: string, role: string): Promise<RoleGrant>
  /** Ends a role and its connections. ROLE_UNKNOWN */
  revokeRole(tenant: string, role: string): Promise<void>
  /** In order of names, after `after`, at most `limit`. */
  listTenants(page: { readonly after?: string; readonly limit: number }): Promise<TenantPage>
  showTenant(tenant: string): Promise<TenantFacts>
  /** Removes a tenant and its data. Its clients are told and disconnected. */
  deleteTenant(tenant: string): Promise<void>
  /** Takes a tenant out of its slot. TENANT_BUSY if a client is in the middle of something. */
  napTenant(tenant: string): Promise<TenantFacts>
  /** Loads a tenant before it is asked for. */
  wakeTenant(tenant: string): Promise<TenantFacts>
  /** Keeps a tenant's image in memory from now on. PINS_EXHAUSTED beyond pinnedTenantsMax. */
  pinTenant(tenant: string): Promise<TenantFacts>
  unpinTenant(tenant: string): Promise<TenantFacts>
  pool(): Promise<PoolFacts>
  /** The same of each shard, in their order. */
  pools(): Promise<PoolFacts[]>
  activity(): Promise<Activity>
  /** Those that have been busiest lately, the busiest first. */
  busiest(countMax: number): Promise<readonly TenantTime[]>
  /** Sizes of stores and their birth, for tenants that exist; none for those that do not. */
  storeFacts(tenants: readonly string[]): Promise<ReadonlyMap<string, StoreFacts>>
  shards(): readonly ShardFacts[]
  /** Whether requests would be taken: false while starting, draining, or with a shard down. */
  ready(): boolean
  /** Undefined: the host has none. */
  readonly bookmarks?: Bookmarks
}
