/**
 * A medium over a bucket: a SQLite database that is one object, loaded whole and kept in memory by
 * sql.js (`bucket-database.ts`).
 *
 * **Durability.** A bucket cannot be asked synchronously, so this medium promises less than others:
 * when `transaction` has returned, its changes are in memory and on their way. They survive the end
 * of the process once `settled` is kept, and who answers for them has to wait for that. Of
 * `commitAhead` the promise means what it means everywhere. What was on its way when the process
 * ended is there whole or not at all, in order: an object is replaced as a whole, and each one
 * holds all that came before it.
 *
 * Everything is written each time, but once for all commits that have come while the bucket was
 * busy. So a commit takes what the whole database takes: this is for small ones.
 *
 * If the bucket has refused, or somebody else has written the object (STORE_FENCED), what is in
 * memory is not what is stored: every later call throws that, and the medium is to be opened again.
 */
import { assert, AssertionError } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { Medium, SqlRow, SqlValue, Sync } from '../medium/medium.ts'
import type { Statement } from 'sql.js'
import { BucketDatabase, type BucketDatabaseOptions } from './bucket-database.ts'
import { sqlJsFailure } from './sql-js-error.ts'

/** Prepared statements kept; the store has about forty. */
const STATEMENTS_MAX = 128

export class SqlJsMedium implements Medium {
  readonly #file: BucketDatabase
  readonly #statements = new Map<string, Statement>()
  #inTransaction = false
  #closed = false
  /** Counts changes; those up to `#savedChange` are in the bucket. */
  #change = 0
  #savedChange = 0
  #saving: Promise<void> | undefined
  /** Why nothing can be done any more. */
  #failure: PgnapError | undefined

  private constructor(file: BucketDatabase) {
    this.#file = file
  }

  /** Rejects with STORE_CORRUPT and STORE_IO. */
  static async open(options: BucketDatabaseOptions): Promise<SqlJsMedium> {
    return new SqlJsMedium(await BucketDatabase.load(options))
  }

  /**
   * Kept when everything that has been changed until now is in the bucket. Rejects with
   * STORE_FENCED and STORE_IO: what is there is not known then, only that it is whole.
   */
  async settled(): Promise<void> {
    const change = this.#change
    await this.#saving
    if (this.#failure) throw this.#failure
    if (this.#savedChange < change) throw closed()
  }

  /** Waits until all is settled, and closes it; by a throw of that, too. */
  async close(): Promise<void> {
    try {
      await this.settled()
    } finally {
      this[Symbol.dispose]()
    }
  }

  exec(sql: string): void {
    this.#guard(() => this.#file.database.exec(sql))
    this.#changed()
  }

  run(sql: string, ...parameters: readonly SqlValue[]): number {
    const count = this.#guard(() => {
      this.#prepared(sql).run([...parameters])
      return this.#file.database.getRowsModified()
    })
    this.#changed()
    return count
  }

  get(sql: string, ...parameters: readonly SqlValue[]): SqlRow | undefined {
    return this.all(sql, ...parameters)[0]
  }

  all(sql: string, ...parameters: readonly SqlValue[]): readonly SqlRow[] {
    return this.#guard(() => {
      const statement = this.#prepared(sql)
      try {
        statement.bind([...parameters])
        const rows: SqlRow[] = []
        while (statement.step()) rows.push(statement.get())
        return rows
      } finally {
        statement.reset()
      }
    })
  }

  transaction<Result>(body: () => Result): Result {
    assert(!this.#inTransaction, 'transactions do not nest')
    this.#command('BEGIN IMMEDIATE')
    this.#inTransaction = true
    try {
      const result = body()
      this.#command('COMMIT')
      this.#inTransaction = false
      this.#changed()
      return result
    } catch (error) {
      this.#rollback()
      throw error
    } finally {
      this.#inTransaction = false
    }
  }

  commitAhead(work: () => void): Sync | undefined {
    assert(!this.#inTransaction, 'a commit ahead is one of its own')
    const before = this.#change
    work()
    return this.#change === before ? undefined : () => this.settled()
  }

  /** Of the database as it is in memory. */
  sizeBytes(): number {
    return this.#pragma('page_count') * this.#pragma('page_size')
  }

  spareBytes(): number {
    return this.#pragma('freelist_count') * this.#pragma('page_size')
  }

  compact(bytesMax: number): number {
    assert(bytesMax >= 0, 'bytes are not negative')
    const pageBytes = this.#pragma('page_size')
    const pages = Math.min(this.#pragma('freelist_count'), Math.floor(bytesMax / pageBytes))
    if (pages === 0) return 0
    const before = this.#pragma('page_count')
    this.exec(`PRAGMA incremental_vacuum(${pages})`)
    return (before - this.#pragma('page_count')) * pageBytes
  }

  checkpoint(): void {
    // There is no log beside the object.
  }

  damage(): readonly string[] {
    const rows = this.all('PRAGMA integrity_check')
    return rows.map((row) => String(row[0])).filter((text) => text !== 'ok')
  }

  /** What is not settled is lost, if it is not under way: {@link close} waits for it. */
  [Symbol.dispose](): void {
    if (this.#closed) return
    assert(!this.#inTransaction, 'a medium is not closed inside a transaction')
    this.#closed = true
    for (const statement of this.#statements.values()) statement.free()
    this.#statements.clear()
    this.#file.close()
  }

  /** Whatever may have changed something, in a transaction or by itself. */
  #changed(): void {
    if (this.#inTransaction) return
    this.#change++
    this.#saving ??= this.#save().finally(() => (this.#saving = undefined))
  }

  /** Saves until nothing is left that is newer. Does not reject. */
  async #save(): Promise<void> {
    try {
      // What is done in one go is saved in one go.
      await Promise.resolve()
      while (this.#savedChange < this.#change && !this.#closed) {
        const change = this.#change
        await this.#file.save()
        this.#savedChange = change
      }
    } catch (error) {
      this.#failure ??= sqlJsFailure(error)
    }
  }

  #rollback(): void {
    // SQLite rolls back by itself after some errors; then there is nothing left to do.
    try {
      this.#file.database.exec('ROLLBACK')
    } catch (error) {
      if (/no transaction is active/.test(String(error))) return
      this.#failure ??= new PgnapError('STORE_IO', 'the store failed and must be opened again', {
        cause: error,
        hint: 'open it again: what was settled is in the bucket',
      })
    }
  }

  #command(sql: string): void {
    this.#guard(() => this.#prepared(sql).run())
  }

  #pragma(name: string): number {
    return Number(this.get(`PRAGMA ${name}`)?.[0] ?? 0)
  }

  #prepared(sql: string): Statement {
    const known = this.#statements.get(sql)
    if (known) return known
    assert(this.#statements.size < STATEMENTS_MAX, 'values are bound, not written into SQL')
    const statement = this.#file.database.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }

  #guard<Result>(action: () => Result): Result {
    if (this.#failure) throw this.#failure
    if (this.#closed) throw closed()
    try {
      return action()
    } catch (error) {
      if (error instanceof AssertionError) throw error
      throw sqlJsFailure(error)
    }
  }
}

function closed(): PgnapError {
  return new PgnapError('STORE_IO', 'the store is closed')
}
