/**
 * Where a pool gets its tenants from. A host implements it over its media; the pool knows neither
 * folders nor databases. Creating and deleting tenants is the business of the router's directory.
 */
import type { TenantName } from '../base/ids.ts'
import type { Slot } from '../engine/engine.ts'
import type { SlotImage } from '../engine/slot-image.ts'

/** The files of a tenant as a slot takes them. */
export type TenantFiles = Parameters<Slot['boot']>[0]

/** A tenant's store, opened. There is at most one per tenant and pool at any time. */
export interface OpenTenant {
  readonly files: TenantFiles
  /**
   * Names what the files show now: this store, its owner, its version. Never the same for two
   * different contents. **An image is used only if it was taken at this very stamp.**
   */
  stamp(): string
  /** Nothing was ever committed, and the store stands on the template of this engine. */
  readonly pristine: boolean
  /**
   * One bounded slice of the store's own housekeeping: history past its retention, space of deleted
   * files. Called between batches of an idle tenant. True: there is more to do.
   */
  tidy(): boolean
  /** There is little room on its disk: what gives some back does not wait until all are at rest. */
  readonly hasLittleRoom?: boolean
  /** And `tidy` can give some back. Costs next to nothing. */
  readonly owesRoom?: boolean
  /**
   * When `tidy` will find all history past its retention, in ms since 1970. Undefined: there is
   * none. Costs nothing. Missing where stores are not tidied at rest.
   */
  historyEndsMs?(): number | undefined
  /** Whether a closed store should be opened for that. Missing: never. Throws STORE_IO. */
  isWorthTidying?(): boolean
  /** What `writeNotes` last kept, or undefined. Throws STORE_IO. */
  readNotes(): string | undefined
  /**
   * Keeps the pool's notes on this tenant (a few KB of counters) beside its data. Throws STORE_IO.
   */
  writeNotes(notes: string): void
  /**
   * Runs `work`, whose commits need not have reached the disk when it returns. The promise is kept
   * when all that was committed is durable; undefined: it is already. **Broken: what the store
   * holds is not known, it must be closed.** Missing where commits are always durable at once.
   */
  commitAhead?(work: () => void): Promise<void> | undefined
  /**
   * The store is elsewhere: what is committed is there only when the promise of `commitAhead` is
   * kept, so every answer waits for that. What is committed otherwise (upkeep) goes there with the
   * next commit that somebody waits for. Default: false.
   */
  readonly isElsewhere?: boolean
  /**
   * The files as they are committed now, whatever is committed later: what is written to them goes
   * nowhere. The caller closes them, before or after `close`. Missing where that is not possible.
   */
  asCommitted?(): TenantFiles
  /** Lets go of the store. What was not committed is lost, on purpose. Does not throw. */
  close(): void
}

/** Commits that were made durable together with those of other tenants, and by how many syncs. */
export interface JournalCounts {
  readonly commits: number
  readonly syncs: number
}

export interface TenantSource {
  /**
   * Opens the store of a tenant. Synchronous where the medium is. Throws or rejects with
   * TENANT_UNKNOWN, STORE_IO, STORE_CORRUPT, STORE_ENGINE_MISMATCH, STORE_LOCKED: the waiting
   * clients are told.
   */
  open(tenant: TenantName): OpenTenant | Promise<OpenTenant>
  /** Whether there is such a tenant; `open` may make one. Default: all exist. Does not throw. */
  exists?(tenant: TenantName): boolean
  /** Whether a tenant is this pool's to wake now. Default: all are. Does not throw. */
  owns?(tenant: TenantName): boolean
  /** Where images may be kept that memory has no room for. */
  readonly images?: ImageStore
  /** Since the start. Undefined where each tenant's commits are made durable for themselves. */
  readonly journal?: JournalCounts | undefined
}

/** The image of a tenant, with what has to be known to use it. */
export interface TenantImage {
  readonly image: SlotImage
  /** What the tenant's files showed when it was taken. */
  readonly stamp: string
  /** Sessions of clients in it, used ones. */
  readonly sessionCount: number
}

/** An image that was put away, with the pool's notes on the run that it holds (upkeep.ts). */
export interface StoredImage extends TenantImage {
  readonly notes: string
}

/** An image that was read before it is used. It still belongs to whoever kept it. */
export interface ImageAhead {
  readonly stored: StoredImage
  /**
   * Hands it out, as {@link ImageStore.take} does: nothing is kept of it. **False: it must not be
   * used**, since it was taken, removed, let go or written anew meanwhile, or could not be removed.
   * Does not throw.
   */
  claim(): boolean
}

/**
 * Keeps images beside the stores. It is a cache: whatever is in it may be lost or stale.
 *
 * **An image is used once.** What runs after it was taken may change memory and no file (a sequence
 * hands out 32 numbers per record of the log), so that its stamp still fits when it is old. So a
 * tenant that wakes, wherever from, leaves no image here.
 */
export interface ImageStore {
  /** Whether images are kept at all. */
  readonly keepsAny: boolean
  /**
   * Hands the image of a tenant out, whole and as it was written, and keeps nothing of it; what is
   * just being written is given up as by {@link remove}. Undefined if there is none, or if it could
   * not be removed. Does not throw.
   */
  take(tenant: TenantName): StoredImage | undefined
  /**
   * Reads what {@link take} would hand out, without holding anybody up, and leaves it there until
   * it is claimed. Does not reject.
   */
  readAhead?(tenant: TenantName): Promise<ImageAhead | undefined>
  /**
   * Writes without holding anybody up. False: the image is not kept, for want of room or because
   * the tenant was taken or removed meanwhile. Rejects with STORE_IO.
   */
  write(tenant: TenantName, image: StoredImage): Promise<boolean>
  /** Removes what is there or just being written. Does not throw. */
  remove(tenant: TenantName): void
  /** What is kept of a tenant stays, and is another's to count and to remove from now on. */
  letGo(tenant: TenantName): void
}
