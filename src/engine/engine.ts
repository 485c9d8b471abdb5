/**
 * What the pool needs to know of an engine: slots that can hold one tenant at a time.
 *
 * A slot is one instantiated WASM Postgres. Everything after `createSlot` is synchronous: while a
 * slot works, its thread does nothing else. A slot never talks to a store by itself except through
 * the tenant's files, which fault pages in when Postgres reads them; making changes durable is the
 * caller's act (`TenantFiles.commit`), so that nothing is acknowledged by accident.
 */
import type { Fingerprint } from '../base/ids.ts'
import type { TenantFiles } from '../store/tenant-files.ts'
import type { LockedOut } from './advisory-locks.ts'
import type { SignalReceiver } from './backend-signals.ts'
import type { OtherDatabases } from './database-sight.ts'
import type { DatabaseStatement } from './database-statements.ts'
import type { BackendSession, SessionRemains } from './session-memory.ts'
import type { SlotImage } from './slot-image.ts'
import type { MayGrow } from './slot-memory.ts'
import type { WriteWatch } from './write-watch.ts'

/** Transaction status of the backend, as ReadyForQuery reports it. */
export type TransactionStatus = 'idle' | 'transaction' | 'failed'

export interface Engine {
  readonly fingerprint: Fingerprint
  /** Major version of Postgres: a store of another major cannot be opened. */
  readonly postgresMajor: number
  /**
   * Instantiates one more slot (about 40 ms, once). It holds no tenant yet.
   * @param mayGrow asked before its memory grows, where no threads share it. Default: it may, up to
   *   its ceiling
   */
  createSlot(mayGrow?: MayGrow): Promise<Slot>
}

export interface Slot {
  /**
   * Loads a cold tenant: Postgres is started on the tenant's files, which recovers after a crash.
   * About 8 ms. This and the two other ways in need a slot that holds no tenant. A throw leaves the
   * slot unusable: `discard` it.
   * @param database what the tenant's database is to be called. Default: `postgres`
   */
  boot(files: TenantFiles, database?: string): void
  /**
   * Loads a tenant that has never written anything: Postgres is there at once, as the engine's
   * build left it. Under a millisecond. The files must be the template as it is
   * (`OpenTenant.pristine`).
   * @param database as for {@link boot}
   */
  begin(files: TenantFiles, database?: string): void
  /**
   * Loads a tenant from its image: the session that it left goes on, in the middle of a transaction
   * if that was so. Under a millisecond. The files must be of the version at which the image was
   * taken: **the caller checks that**, nothing here can. The database keeps the name that it had.
   * @throws PgnapError IMAGE_INVALID if the image is of another build or has files open that are
   *   not there; the slot is as it was then
   */
  resume(files: TenantFiles, image: SlotImage): void
  /**
   * Runs complete frontend messages and returns the backend's answer. The answer is a view that the
   * next call overwrites. Whatever ended in it is in the tenant's files then, that of a rollback
   * too (`wal-tail.ts`), but nothing has been committed: the caller must commit them before the
   * answer leaves. A throw (a wasm trap, a store that failed under a page fault) means
   * that the memory is not to be trusted: discard the slot.
   * @param client by which number a watcher knows for whom this is; default 0: nobody's, and it
   *   leaves no trace in `session.query`. Who has one above 0 talks in the encoding of the session,
   *   all others UTF-8; of what comes right before the last ReadyForQuery, notifications are UTF-8
   *   for everybody
   * @param others databases that are seen in `pg_database` beside the tenant's own; default: none
   */
  run(messages: Uint8Array, client?: number, others?: OtherDatabases): Uint8Array
  /**
   * As {@link run}, for a statement that may take its time: the thread may do something else in the
   * middle of it, anything but use this slot, and then the answer comes later. `messages` is read
   * until then. Default: it is run in one go.
   * @param pause asked at each pause, in the middle of it: kept when it is to go on. Default: that
   *   is up to whoever watches the slot, if anybody does
   */
  runPausing?(
    messages: Uint8Array,
    client?: number,
    others?: OtherDatabases,
    pause?: () => Promise<void>,
  ): Uint8Array | Promise<Uint8Array>
  /**
   * Ends what has paused as soon as it goes on, with SQLSTATE 57014.
   * @param forGood again whenever it goes on, if it catches that: nobody wants it any more
   */
  cancel?(forGood?: boolean): void
  /** For how much of all its runs so far the thread did something else, in ms. */
  readonly awayMs?: number
  /** Goes up whenever a `run` has an error in its answer. */
  readonly errorsRaised: number
  /** Which advisory lock the last `run` could not have, for which it was ended. */
  readonly lockedOut?: LockedOut | undefined
  /** Of the backend, after the last `run`. */
  readonly transactionStatus: TransactionStatus
  /**
   * Whom statements can send signals to: the clients of the tenant that is loaded. Forgotten when
   * it leaves.
   */
  signalReceiver: SignalReceiver | undefined
  /**
   * CREATE DATABASE and DROP DATABASE that have been read since the last time, and answered as if
   * they were done: they are the caller's to carry out, before the answer leaves.
   */
  takeDatabaseStatements(): readonly DatabaseStatement[]
  /** What the backend's clients have set up, so that several can have it by turns. */
  readonly session: BackendSession
  /**
   * Whether `nap` is possible: not after a library was loaded that is not in every slot, nor after
   * ALTER SYSTEM, whose settings count from the next start; nor while a cursor reads databases that
   * are no tenant's own (`run`).
   */
  readonly canNap: boolean
  /**
   * Takes the tenant out as an image; about a millisecond. The files must be committed, and stay
   * as they are until the image is resumed.
   */
  nap(): SlotImage
  /**
   * Whether `copy` is possible: as for `nap`, of a memory that fits any slot. Also in the middle of
   * a statement that has paused.
   */
  readonly canCopy: boolean
  /**
   * The same image while the tenant stays and goes on: a *fork*, to be resumed in another slot over
   * files of the version that is committed now (`Store.view` of the past). About a millisecond, in
   * the middle of a transaction too; what the copy writes is nobody's.
   */
  copy(): SlotImage
  /**
   * Loads such a copy to read in it: a `resume` in which whatever a reader must not do leaves a
   * trace. The transaction that was open in the tenant is open here too: the caller ends it.
   */
  fork(files: TenantFiles, image: SlotImage): WriteWatch
  /** Tells whether the backend itself does more than read; undefined: that cannot be told here. */
  readonly watch?: WriteWatch
  /**
   * Whether a transaction has got an id since the tenant was loaded, though nothing of it may have
   * reached a file.
   */
  readonly hasTransacted: boolean
  /**
   * Which transaction is open, by a number that its backend gives to no other; 0: none. After a
   * batch that was answered in the same transaction as the one before, nothing was committed.
   */
  readonly transaction: number
  /** Takes the memory of an image back that nobody will use again, for the next nap. */
  recycle(image: SlotImage): void
  /** Takes the tenant out without writing anything; the slot can be loaded again. */
  unload(): void
  /**
   * Ends Postgres as `pg_ctl stop` does, with a checkpoint, and takes the tenant out: the next boot
   * has nothing to recover, UNLOGGED tables keep their rows and sequences their place. About 2 ms.
   * Nothing has been committed: commit the tenant's files. A throw means what it means of `run`.
   */
  shutDown(): void
  /** Bytes of linear memory. It never shrinks. */
  readonly memoryBytes: number
  /** Bytes beside it that answers are collected in, until the tenant leaves. Default: not known. */
  readonly answerBytes?: number
  /**
   * By how many bytes the heap of its tenant has outgrown that of an idle one: so much larger an
   * image may be. Default: not known.
   */
  readonly growthBytes?: number
  /**
   * False when another tenant must not be loaded here: heap grown past its limit, library loaded,
   * trapped.
   */
  readonly reusable: boolean
  /**
   * Whoever has lent this slot has given its memory to others, and has kept no image: whatever is
   * run in it throws SLOT_LOST, and the tenant is to be loaded anew, into another slot. Default:
   * false; slots that are nobody else's never are.
   */
  readonly lost?: boolean
  /**
   * What the session was made of that the backend was in when its memory was last given to others;
   * undefined if it was in a transaction, or never left. Default: undefined.
   */
  readonly remains?: SessionRemains | undefined
  /**
   * Whoever has lent this slot may have to get hold of memory before a tenant is loaded. Undefined:
   * it can be loaded now, in this very turn. Otherwise wait, and ask again. Default: undefined.
   */
  ready?(): Promise<void> | undefined
  /** Gives the memory up. The slot cannot be used afterwards. */
  discard(): void
}
