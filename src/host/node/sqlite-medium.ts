/**
 * A medium on `node:sqlite`: one file per tenant, and while it is open its write-ahead log beside
 * it.
 *
 * Durability is SQLite's: WAL mode with synchronous=FULL makes one fsync per commit, of the log.
 * While the log grows, that fsync also writes file metadata: 0.29 ms measured, against 0.145 ms
 * once the log has its size and commits overwrite what is there, which is what a bare fdatasync of
 * 8 KiB costs. So the log is kept small and is not truncated: it begins again after every
 * checkpoint. The pool checkpoints on idle; SQLite does it by itself beyond a bound, at the cost of
 * about one more fsync for that commit.
 *
 * A commit ahead (`commitAhead`) is one with synchronous=NORMAL, which writes the same bytes and
 * leaves out that fsync. A journal that tenants share makes it durable (`journal/`), or a sync
 * through a descriptor of our own. SQLite still syncs the log by itself before it begins it again
 * and before a checkpoint copies from it: the file never gets ahead of the log. If our sync fails,
 * nothing is known of what is in the log (Linux reports a failure once and drops the pages): the
 * medium is of no use from then on.
 *
 * A failure is told to each descriptor that was open when it happened, once. It may happen in a
 * sync of SQLite's own, in a checkpoint that it makes by itself or while it closes, and of those it
 * says nothing. So our descriptor is there before anything is written that nobody has synced; our
 * syncs come one after the other, because of two at once only one would be told; and a log that is
 * left when SQLite has closed it is synced once more.
 *
 * A log that is found at open was left by a crash, or by a medium whose sync has failed. SQLite
 * reads it, and may read what is in the system's memory and never came to the disk: another sync
 * of the log need not bring it there, and what is acknowledged on top of it would be lost with it.
 * So it is brought into the file, which is synced, before anybody sees what it says.
 *
 * The lock is exclusive and taken at open: a second process is refused at once (STORE_LOCKED), and
 * no shared-memory file is made.
 */
import { closeSync, fdatasyncSync, openSync, realpathSync, statSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { assert } from '../../base/assert.ts'
import { PgnapError } from '../../base/errors.ts'
import type { Medium, SqlRow, SqlValue, Sync } from '../../medium/medium.ts'
import { syncData } from './durable-file.ts'
import { sqliteError, syncError } from './sqlite-medium-error.ts'

const PAGE_BYTES = 4096
/** SQLite's own cache per open tenant; Postgres pages are cached above it. */
const CACHE_KIB = 512
/** Pages in the log beyond which a commit pays for a checkpoint (1 MB). Idle ones come before. */
const CHECKPOINT_PAGES = 256
/** A log that one huge commit made longer than this is cut when it begins again. */
const LOG_BYTES_MAX = 4 * 1024 * 1024
/** Prepared statements kept; the store has about forty. */
const STATEMENTS_MAX = 128

/**
 * Where SQLite keeps the log of a database, while there is one: beside the file itself, if `path`
 * is a link to it.
 */
export function sqliteLogOf(path: string): string {
  return `${realPath(path)}-wal`
}

function realPath(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    // There is nothing, or a link that leads nowhere: then nobody has a log of it open, either.
    return path
  }
}

type Durability = 'FULL' | 'NORMAL'

export interface NodeSqliteMediumOptions {
  /**
   * FULL: an acknowledged commit survives a power failure. NORMAL: it survives the end of the
   * process, and a power failure may take the newest commits, whole ones only.
   */
  readonly synchronous?: Durability
}

export class NodeSqliteMedium implements Medium {
  readonly #database: DatabaseSync
  /** Undefined in memory. */
  readonly #logPath: string | undefined
  /**
   * By what they are for, then by text: statements that return rows, and those that change them.
   */
  readonly #readers = new Map<string, StatementSync>()
  readonly #writers = new Map<string, StatementSync>()
  readonly #durability: Durability
  /** What SQLite was last told. */
  #synchronous: Durability
  /** Transactions of now need not be durable when they return, and some are not. */
  #ahead = false
  #unsynced = false
  /** Our own descriptor of the log, made before the first commit ahead. */
  #log: number | undefined
  /** Syncs that were asked for and have not come back, and the last of them. */
  #syncCount = 0
  #lastSync: Promise<void> = Promise.resolve()
  /**
   * Why nothing can be done any more: a transaction could be neither committed nor rolled back, or
   * a sync has failed.
   */
  #failure: PgnapError | undefined
  #inTransaction = false

  /**
   * Opens the file, or makes it. Throws STORE_LOCKED when another process has it, STORE_IO,
   * STORE_FULL, and STORE_CORRUPT when it is no SQLite file.
   */
  constructor(path: string, options: NodeSqliteMediumOptions = {}) {
    const synchronous = options.synchronous ?? 'FULL'
    this.#durability = this.#synchronous = synchronous
    assert(synchronous === 'FULL' || synchronous === 'NORMAL', 'a known durability')
    let database: DatabaseSync | undefined
    try {
      database = new DatabaseSync(path)
      // The lock before the file is looked at, else a shared-memory file is made.
      database.exec('PRAGMA locking_mode = EXCLUSIVE')
      if (database.prepare('PRAGMA page_count').get()?.['page_count'] === 0) {
        // Only before anything is written: of a file that is there, auto_vacuum would rewrite the
        // header each time it is opened, which costs a commit and cannot be done on a full disk.
        database.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL`)
      }
      database.exec(`
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = ${synchronous}; PRAGMA cache_size = -${CACHE_KIB};
        PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};
        PRAGMA journal_size_limit = ${LOG_BYTES_MAX}; PRAGMA temp_store = MEMORY;
        PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE; COMMIT`)
      this.#database = database
      this.#logPath = path === ':memory:' ? undefined : sqliteLogOf(path)
      if (this.#logBytes() > 0) this.#settleLog()
    } catch (error) {
      database?.close()
      throw sqliteError(error)
    }
  }

  /** A medium that is gone when it is closed. */
  static inMemory(): NodeSqliteMedium {
    return new NodeSqliteMedium(':memory:')
  }

  exec(sql: string): void {
    this.#guard(() => this.#database.exec(sql))
  }

  run(sql: string, ...parameters: readonly SqlValue[]): number {
    return this.#guard(() => Number(this.#writer(sql).run(...parameters).changes))
  }

  get(sql: string, ...parameters: readonly SqlValue[]): SqlRow | undefined {
    return this.#guard(() => this.#reader(sql).get(...parameters) as SqlRow | undefined)
  }

  all(sql: string, ...parameters: readonly SqlValue[]): readonly SqlRow[] {
    return this.#guard(() => this.#reader(sql).all(...parameters) as unknown as SqlRow[])
  }

  transaction<Result>(body: () => Result): Result {
    assert(!this.#inTransaction, 'transactions do not nest')
    this.#setSynchronous(this.#ahead ? 'NORMAL' : this.#durability)
    this.run('BEGIN IMMEDIATE')
    this.#inTransaction = true
    try {
      const result = body()
      this.run('COMMIT')
      this.#unsynced = this.#ahead
      return result
    } catch (error) {
      this.#rollback()
      throw error
    } finally {
      this.#inTransaction = false
    }
  }

  commitAhead(work: () => void): Sync | undefined {
    assert(!this.#inTransaction && !this.#ahead, 'a commit ahead is one of its own')
    this.#ahead = this.#durability === 'FULL' && this.#watchesLog()
    try {
      work()
    } finally {
      this.#ahead = false
    }
    if (!this.#unsynced) return undefined
    this.#unsynced = false
    return () => this.#sync()
  }

  sizeBytes(): number {
    const pages = Number(this.get('PRAGMA page_count')?.[0] ?? 0)
    return pages * this.#pageBytes() + this.#logBytes()
  }

  spareBytes(): number {
    return Number(this.get('PRAGMA freelist_count')?.[0] ?? 0) * this.#pageBytes()
  }

  compact(bytesMax: number): number {
    assert(bytesMax >= 0, 'bytes are not negative')
    const pages = Math.floor(Math.min(this.spareBytes(), bytesMax) / this.#pageBytes())
    if (pages === 0) return 0
    const before = Number(this.get('PRAGMA page_count')?.[0] ?? 0)
    // exec, because each step of this statement frees one page and `run` would take one step only.
    this.exec(`PRAGMA incremental_vacuum(${pages})`)
    const after = Number(this.get('PRAGMA page_count')?.[0] ?? 0)
    return (before - after) * this.#pageBytes()
  }

  checkpoint(): void {
    if (this.#logBytes() > 0) this.get('PRAGMA wal_checkpoint(PASSIVE)')
  }

  damage(): readonly string[] {
    const rows = this.all('PRAGMA integrity_check')
    return rows.map((row) => String(row[0])).filter((text) => text !== 'ok')
  }

  /** Copies the log into the file and leaves that one file. Closing twice is allowed. */
  [Symbol.dispose](): void {
    if (!this.#database.isOpen) return
    assert(!this.#inTransaction, 'a medium is not closed inside a transaction')
    this.#readers.clear()
    this.#writers.clear()
    try {
      this.#database.close()
    } catch (error) {
      throw sqliteError(error)
    }
    this.#syncLeftLog()
    this.#closeLog()
  }

  /** A full disk must not keep anybody from reading: the log was synced before it was copied. */
  #settleLog(): void {
    try {
      this.checkpoint()
    } catch (error) {
      if (!(error instanceof PgnapError) || error.code !== 'STORE_FULL') throw error
    }
  }

  /** Costs a few microseconds if it changes anything, which in the middle of a load is rare. */
  #setSynchronous(synchronous: Durability): void {
    if (this.#synchronous === synchronous) return
    this.exec(`PRAGMA synchronous = ${synchronous}`)
    this.#synchronous = synchronous
  }

  /** Whether a sync of ours will be told of all that goes wrong from now on. */
  #watchesLog(): boolean {
    if (this.#log !== undefined) return true
    if (this.#logPath === undefined) return false
    try {
      this.#log = openSync(this.#logPath, 'r+')
    } catch {
      // For want of descriptors, for example. SQLite syncs for itself then, and nothing is lost.
      return false
    }
    return true
  }

  async #sync(): Promise<void> {
    this.#syncCount++
    const synced = this.#lastSync.then(() => this.#syncNow())
    this.#lastSync = synced.catch(() => {})
    try {
      await synced
    } finally {
      this.#syncCount--
      this.#closeLog()
    }
  }

  async #syncNow(): Promise<void> {
    // Asked once more, Linux would say that all is well.
    if (this.#failure !== undefined) throw this.#failure
    try {
      this.#log ??= openSync(this.#logPath ?? '', 'r+')
      await syncData(this.#log)
    } catch (error) {
      this.#failure ??= syncError(error)
      throw this.#failure
    }
  }

  /** Where SQLite could not put its log away when it closed it: whoever asks for a sync is told. */
  #syncLeftLog(): void {
    if (this.#log === undefined || this.#logBytes() === 0) return
    try {
      fdatasyncSync(this.#log)
    } catch (error) {
      this.#failure ??= syncError(error)
    }
  }

  /** Not under a sync: its number could be that of another file by then. */
  #closeLog(): void {
    if (this.#log === undefined || this.#syncCount > 0 || this.#database.isOpen) return
    closeSync(this.#log)
    this.#log = undefined
  }

  #reader(sql: string): StatementSync {
    const known = this.#readers.get(sql)
    if (known !== undefined) return known
    const statement = this.#prepare(sql)
    statement.setReturnArrays(true)
    this.#readers.set(sql, statement)
    return statement
  }

  #writer(sql: string): StatementSync {
    const known = this.#writers.get(sql)
    if (known !== undefined) return known
    const statement = this.#prepare(sql)
    // `run` reports the last row id, and as a number it throws beyond 2^53: from layer 512 on.
    statement.setReadBigInts(true)
    this.#writers.set(sql, statement)
    return statement
  }

  #prepare(sql: string): StatementSync {
    const count = this.#readers.size + this.#writers.size
    assert(count < STATEMENTS_MAX, 'values are bound, not written into SQL')
    return this.#database.prepare(sql)
  }

  #rollback(): void {
    // SQLite rolls back by itself after some errors; then there is nothing left to do.
    if (!this.#database.isTransaction) return
    try {
      this.#database.exec('ROLLBACK')
    } catch (error) {
      this.#failure = new PgnapError('STORE_IO', 'the store failed and must be opened again', {
        cause: error,
        hint: 'check the disk; what was acknowledged is in the file',
      })
    }
  }

  #guard<Result>(action: () => Result): Result {
    if (this.#failure !== undefined) throw this.#failure
    try {
      return action()
    } catch (error) {
      throw sqliteError(error)
    }
  }

  #pageBytes(): number {
    return Number(this.get('PRAGMA page_size')?.[0] ?? PAGE_BYTES)
  }

  #logBytes(): number {
    if (this.#logPath === undefined) return 0
    return statSync(this.#logPath, { throwIfNoEntry: false })?.size ?? 0
  }
}
