/**
 * What the main thread asks of a shard, beside handing it connections. A shard lives in a thread of
 * its own (`worker-shard.ts`) or in the caller's (`shard.ts` directly); both look like this.
 */
import type { TenantName } from '../../../base/ids.ts'
import type {
  Answer,
  Batch,
  BatchAnswer,
  ClientFacts,
  SlotFacts,
  Statement,
} from '../../../front/control.ts'
import type { UserList } from '../../../router/credentials.ts'
import type { MoveParty } from '../../../router/tenant-move.ts'
import type { TenantTime } from '../../../pool/busiest-tenants.ts'
import type { PoolLoad } from '../../../pool/resting-tenants.ts'
import type { SlotPicture, TenantPicture } from '../../../pool/pool-overview.ts'
import type { PoolStatistics } from '../../../pool/pool-statistics.ts'
import type { TenantPhase } from '../../../pool/pool-model.ts'
import type { DeletionWay } from './goodbyes.ts'
import type { TemplateUse } from './tenant-copies.ts'
import type { ClientWish } from './thread-watch.ts'

/** Told by a shard, before whoever asked for it, that there is one tenant more or one less. */
export interface TenantWatcher {
  made(tenant: TenantName): void
  removed(tenant: TenantName): void
  /** A shard has died: what it made or removed last was perhaps not told. */
  missed(): void
}

/** How a tenant of this shard stands. */
export interface TenantStanding {
  readonly phase: TenantPhase
  readonly clients: number
}

/** Who is where in this shard. */
export interface ShardActivity {
  readonly tenants: readonly TenantPicture[]
  readonly slots: readonly (Omit<SlotPicture, 'awakeMs' | 'restMs'> &
    Pick<SlotFacts, 'awakeSinceMs' | 'lastUsedMs'>)[]
  readonly clients: readonly ClientFacts[]
}

export interface ShardApi extends MoveParty {
  /** Runs one statement as a client of its own. @param number by which it can be cancelled */
  query(tenant: string, statement: Statement, number: number): Promise<Answer>
  /** Runs statements in one transaction as a client of its own. */
  transaction(tenant: string, batch: Batch, number: number): Promise<BatchAnswer>
  /** @param copy the file that becomes its store. Default: it is empty */
  createTenant(tenant: string, copy?: string): Promise<void>
  /** Writes a copy of the store of a tenant to `path`, which no tenant knows. */
  copyTenant(tenant: string, path: string, use: TemplateUse): Promise<void>
  /** Sends the clients away, or refuses if there are any, closes the store and removes it. */
  deleteTenant(tenant: string, way: DeletionWay): Promise<void>
  /** Sends all clients of a tenant away, after the batches that run. */
  dismissAll(tenant: string): Promise<void>
  /** Keeps a tenant at rest from now on, or all; or lets them go. Whether it is here or not. */
  setPaused(tenant: string | undefined, paused: boolean): Promise<void>
  /** Settles when what is paused is at rest; false if it is resumed before. */
  untilRested(tenant: string | undefined): Promise<boolean>
  /** Has the backend of a tenant, or of all, loaded from the store anew. */
  renew(tenant: string | undefined): Promise<void>
  /** These are the administrators from now on. */
  adoptUsers(users: UserList): Promise<void>
  /** Sends the connections of one role of a tenant away, after the batches that run. */
  dismiss(tenant: string, role: string): Promise<void>
  /** Of each of these tenants, in order. */
  standings(tenants: readonly string[]): Promise<readonly TenantStanding[]>
  nap(tenant: string): Promise<void>
  wake(tenant: string): Promise<void>
  /** Pinned: its image stays in memory, and is brought back if it is not there. */
  setPinned(tenant: string, pinned: boolean): Promise<void>
  statistics(): Promise<PoolStatistics>
  activity(): Promise<ShardActivity>
  /** Those that have kept the thread busiest lately, the busiest first. */
  busiest(countMax: number): Promise<readonly TenantTime[]>
  /** What its tenants have kept it busy with; of those that nobody is connected to, which. */
  load(): Promise<PoolLoad>
  /**
   * Ends the wait of the first batch that a client had sent by then, also if it has yet to be read.
   * Settles when there is none any more. A batch that has begun is not reached here: its
   * thread would hear of this only when it has ended (`thread-watch.ts`).
   */
  cancel(wish: ClientWish): Promise<void>
  /** Lets clients finish what they are doing, then puts every tenant away. */
  drain(graceMs: number): Promise<void>
  /** Answers: the thread is alive. */
  ping(): Promise<void>
}
