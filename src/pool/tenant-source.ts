/**
 * Where a pool gets its tenants from. A host implements it over its media; the pool knows neither
 * folders nor databases. Creating and deleting tenants is the business of the router's directory.
 */
import type { TenantName } from '../base/ids.ts'
import type { Slot } from '../engine/engine.ts'

/** The files of a tenant as a slot takes them. */
export type TenantFiles = Parameters<Slot['boot']>[0]

/** A tenant's store, opened. There is at most one per tenant and pool at any time. */
export interface OpenTenant {
  readonly files: TenantFiles
  /**
   * One bounded slice of the store's own housekeeping: history past its retention, space of deleted
   * files. Called between batches of an idle tenant. True: there is more to do.
   */
  tidy(): boolean
  /** What `writeNotes` last kept, or undefined. Throws STORE_IO. */
  readNotes(): string | undefined
  /**
   * Keeps the pool's notes on this tenant (a few KB of counters) beside its data. Throws STORE_IO.
   */
  writeNotes(notes: string): void
  /** Lets go of the store. What was not committed is lost, on purpose. Does not throw. */
  close(): void
}

export interface TenantSource {
  /**
   * Opens the store of a tenant. Synchronous where the medium is. Throws or rejects with
   * TENANT_UNKNOWN, STORE_IO, STORE_CORRUPT, STORE_ENGINE_MISMATCH, STORE_LOCKED: the waiting
   * clients are told.
   */
  open(tenant: TenantName): OpenTenant | Promise<OpenTenant>
}
