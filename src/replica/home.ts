/**
 * The home of a tenant: where its store is, as a compute sees it that is somewhere else. Calls go
 * from one object or thread to another, so they take time and may fail in all the ways in which
 * calls do.
 *
 *     compute                                home
 *       | fetch: what has moved since X? ----> |   slices of rows, all of one version
 *       | deliver: these commits, on X ------> |   all of them one by one, or fenced
 *
 * A home believes nobody: each delivery says what it stands on, by stamp, and is refused unless
 * that is what the home has now. So of two computes that write one tenant exactly one wins. It
 * remembers what each writer has brought last, so a delivery may be made again by whoever has not
 * heard of its end.
 */
import type { InodeNo, PageKey, Version } from '../base/ids.ts'

/** What a home has, named. Two homes, or two pasts of one, never have the same stamp. */
export interface HomeState {
  /** Epoch, owner and version are in it: `Store.stamp`. */
  readonly stamp: string
  readonly version: Version
  readonly nextInode: InodeNo
  readonly templateId: string
}

export interface FetchRequest {
  /** The stamp of what the asker has already. Left out: nothing. */
  readonly known?: string
  /** Whatever has moved, everything is to be sent. Default: what has moved, if that is known. */
  readonly whole?: boolean
  /** Of the slice before. Left out: the first one. */
  readonly cursor?: Cursor
}

/** Where a slice ended. All slices show one version, and are of one kind. */
export interface Cursor {
  readonly state: HomeState
  readonly kind: 'changes' | 'whole'
  /** Rows from this key on are still to come. */
  readonly from: PageKey
}

export interface Slice {
  /** What the asker has when it has applied all slices. */
  readonly state: HomeState
  /**
   * `same`: nothing has moved. `changes`: the rows are what may have moved. `whole`: they are all
   * there is, and what the asker had is worth nothing.
   */
  readonly kind: 'same' | 'changes' | 'whole'
  /** Packed (`src/store/packing.ts`). */
  readonly rows: Uint8Array
  /** Missing in the last slice. */
  readonly next?: Cursor
}

export interface Delivery {
  /** The stamp that the first of the commits stands on. */
  readonly base: string
  /** Who brings them: a name that no other compute has. */
  readonly writer: string
  /** Number of the first commit; the others follow. A writer never gives a number twice. */
  readonly sequence: number
  /** Packed, in order. At least one. */
  readonly commits: readonly Uint8Array[]
  /** Nothing was heard of these, or some of them, when they were brought before. */
  readonly again: boolean
}

/** Some of the commits are in the store now, durably. */
export interface Receipt {
  /** How many, from the first; fewer than were brought if the next one failed. */
  readonly count: number
  /** What the home had when the last of them was made. */
  readonly state: HomeState
}

export interface Home {
  /**
   * Rejects with SERVER_UNREACHABLE if no answer comes, VERSION_NOT_RETAINED if the version of a
   * cursor is gone (begin anew), and with STORE_*.
   */
  fetch(request: FetchRequest): Promise<Slice>
  /**
   * Rejects with STORE_FENCED, STORE_FULL, STORE_IO: nothing of it was stored. With OUTCOME_UNKNOWN
   * or SERVER_UNREACHABLE: that is not known.
   */
  deliver(delivery: Delivery): Promise<Receipt>
}
