/** A tenant as a compute has it, wherever its rows are, and how it is brought up to date. */
import type { Template } from '../store/template.ts'
import type { FileView } from '../store/view.ts'
import type { Home } from './home.ts'
import type { LoadReport, LoadStrategy } from './load-strategy.ts'
import type { Pending, WriteStrategy } from './write-back.ts'

/** Commits that were acknowledged and never came home. */
export interface Loss {
  commits: number
  bytes: number
}

export interface FreshenOptions {
  /**
   * How it is loaded, and how what is committed comes home, from now on. What was acknowledged
   * ahead is brought home first where that is not the way any more. Default: as before.
   */
  readonly strategies?: { readonly load: LoadStrategy; readonly write: WriteStrategy }
  /** What the home has said that it has, a moment ago. Default: it is asked. */
  readonly hint?: string
  /** If the home does not answer, what is here will do. Default: it will not. */
  readonly staleAllowed?: boolean
  /**
   * {@link ComputeTenant.unreachedCount} when the request came. If the home did not answer two
   * others since then, it is not asked again: whoever has queued is told at once. Default: that of
   * now.
   */
  readonly since?: number
}

export interface Freshened extends LoadReport {
  /** Set if the home did not answer: how long ago it did. Nothing may be written then. */
  readonly staleMs?: number
}

/** A tenant as a compute has it, wherever its rows are. */
export interface ComputeTenant {
  readonly template: Template
  /** Nobody has ever written anything: the files are the template. */
  readonly pristine: boolean
  /** Names what the files see: this store, its owner, its version, and what is on top here. */
  readonly stamp: string
  /** Another one: rows have moved under the views of before, and the memory over them is stale. */
  readonly generation: string
  readonly pending: Pending
  /** Of all that was acknowledged, since this was made. */
  readonly loss: Loss
  /** Requests that the home did not answer. */
  readonly unreachedCount: number
  /** Rows in memory, about. */
  readonly byteLength: number
  /**
   * Has what the home has. To be awaited before something is run for a request.
   * @throws PgnapError SERVER_UNREACHABLE, DATABASE_TOO_LARGE, STORE_*
   */
  freshen(home: Home, options?: FreshenOptions): Promise<Freshened>
  view(): FileView
  /**
   * Runs `work`, whose commits are on the rows here when it returns. The promise is kept when they
   * may be acknowledged; undefined: they may be now. Broken: they were taken back, and all that
   * stands on them is to be dropped. Rejects with STORE_FENCED, STORE_FULL, STORE_IO,
   * OUTCOME_UNKNOWN.
   */
  commitAhead(work: () => void): Promise<void> | undefined
  /** Brings home what is pending: somebody was asked to do so, or it is the end. */
  flush(home: Home): Promise<void>
  /**
   * Lets the rows go, unless the strategy keeps them or something is pending.
   * @param load Default: as before
   */
  leave(load?: LoadStrategy): void
}
