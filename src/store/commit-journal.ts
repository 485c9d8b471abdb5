/**
 * A second place where a commit can be durable: a journal that many stores share, so that one sync
 * serves the commits of many tenants. The store has such a commit as well, in a log that nobody has
 * synced; only where the machine ends before that has happened does the journal say more than the
 * store, and then what it says is brought home before anybody reads the store (`replay.ts`).
 *
 * What a journal keeps is what the commit was made of, so it is the same commit when it is made
 * again: of the same version, the same owner and the same time.
 */
import type { Version } from '../base/ids.ts'
import type { Sync } from '../medium/medium.ts'
import type { StoreChanges } from './commit.ts'

/** One commit of main. */
export interface MadeCommit {
  readonly storeId: string
  /** Who made it; it was the store's owner before. */
  readonly epoch: number
  readonly owner: string
  readonly version: Version
  readonly atMs: number
  /** Without an origin. */
  readonly changes: StoreChanges
}

/** The journal as one store sees it. */
export interface CommitJournal {
  /**
   * Takes a commit that its medium has, and has not made durable. The promise is kept when it is
   * durable; broken, nothing is known. Undefined: the journal cannot take it now.
   * @param sync makes the store durable by itself: called later, so that the journal may forget
   */
  write(commit: MadeCommit, sync: Sync): Promise<void> | undefined
}
