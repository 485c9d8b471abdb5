/**
 * Which tenants exist. A host implements it over its media: a folder of files, a table, a bucket.
 * The pool never asks: it opens what it is told to open.
 */
import type { TenantName } from '../base/ids.ts'
import type { OtherDatabases } from '../pool/database-service.ts'

/** What is known of a tenant without waking it. */
export interface TenantFacts {
  readonly name: TenantName
  /** Milliseconds since the Unix epoch. */
  readonly createdAtMs: number
  /** Size of the store, its history included. */
  readonly storedBytes: number
  /** Whether there is an image of its memory on disk; if it fits is seen when it is used. */
  readonly hasImage: boolean
}

export interface TenantPage {
  /** In order of name. */
  readonly tenants: readonly TenantFacts[]
  /** Ask for the next page with this as `after`; undefined on the last page. */
  readonly next: TenantName | undefined
}

export interface TenantDirectory {
  exists(tenant: TenantName): Promise<boolean>
  /** All tenants but one, for sessions of that one which may make others. */
  beside(tenant: TenantName): OtherDatabases
  /** Makes an empty tenant. Rejects with TENANT_EXISTS, STORE_IO, STORE_FULL. */
  create(tenant: TenantName): Promise<void>
  /**
   * Removes a tenant and all its data. Its store must not be open: expel its clients first. Rejects
   * with TENANT_UNKNOWN, TENANT_BUSY, STORE_IO.
   */
  delete(tenant: TenantName): Promise<void>
  /** Rejects with TENANT_UNKNOWN. */
  facts(tenant: TenantName): Promise<TenantFacts>
}

/** All tenants, page by page. */
export interface TenantList {
  /**
   * Of the first `limit` tenants whose names come after `after`, those that still exist. Costs what
   * the page costs, not what the directory holds, unless it is the first one for a while.
   */
  page(options: { readonly after?: string; readonly limit: number }): Promise<TenantPage>
}
