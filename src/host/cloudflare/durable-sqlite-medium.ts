/**
 * A medium on the SQLite storage of a Durable Object: one database per object, hence per tenant.
 *
 * Durability is the platform's. `transactionSync` is atomic when it returns, and whatever leaves
 * the object after it (a response, a message on a WebSocket, a call of another object) is held back
 * by the output gate until the write is durable; if it cannot be made so, the object is restarted
 * and nothing of it leaves. So a commit costs no wait here, and an answer is still never seen
 * before what it answers for is safe (promise 1). There is nothing to put off in `commitAhead`.
 *
 * A medium belongs to one object, since the platform refuses the storage of any other, and to one
 * life of it: when the object is made anew, it goes on with the new one's (`rebind`).
 */
import { assert, AssertionError } from '../../base/assert.ts'
import { PgnapError, errorText } from '../../base/errors.ts'
import type { Medium, SqlRow, SqlValue } from '../../medium/medium.ts'
import { sqliteFailure } from '../../medium/sqlite-error.ts'

/** Of the platform's API, what a store needs. */
export type SqlStorageHost = Pick<DurableObjectStorage, 'sql' | 'transactionSync'>

/** In the platform's messages, at their end: `...: SQLITE_CONSTRAINT_PRIMARYKEY`. */
const RESULT_NAME = /\b(SQLITE_[A-Z_]+)/

export class DurableSqliteMedium implements Medium {
  #storage: SqlStorageHost
  #inTransaction = false
  #closed = false

  constructor(storage: SqlStorageHost) {
    this.#storage = storage
  }

  /** The same database, as the object's new life reaches it. */
  rebind(storage: SqlStorageHost): void {
    assert(!this.#inTransaction, 'nothing is under way in an object that has ended')
    this.#storage = storage
  }

  exec(sql: string): void {
    this.#execute(sql, []).toArray()
  }

  run(sql: string, ...parameters: readonly SqlValue[]): number {
    return this.#guard(() => {
      const cursor = this.#execute(sql, parameters)
      cursor.toArray()
      // Rows of indexes count as well, but no table of a store has one beside its key. To ask
      // SQLite itself (`changes()`) would be a second statement each time.
      return cursor.rowsWritten
    })
  }

  get(sql: string, ...parameters: readonly SqlValue[]): SqlRow | undefined {
    return this.all(sql, ...parameters)[0]
  }

  all(sql: string, ...parameters: readonly SqlValue[]): readonly SqlRow[] {
    return this.#guard(() => {
      const rows: SqlRow[] = []
      for (const values of this.#execute(sql, parameters).raw()) rows.push(values.map(received))
      return rows
    })
  }

  transaction<Result>(body: () => Result): Result {
    assert(!this.#inTransaction, 'transactions do not nest')
    this.#inTransaction = true
    let ownError: unknown
    try {
      return this.#storage.transactionSync(() => {
        try {
          return body()
        } catch (error) {
          ownError = error
          throw error
        }
      })
    } catch (error) {
      throw error === ownError ? error : storageError(error)
    } finally {
      this.#inTransaction = false
    }
  }

  commitAhead(work: () => void): undefined {
    assert(!this.#inTransaction, 'a commit ahead is one of its own')
    work()
    return undefined
  }

  sizeBytes(): number {
    return this.#guard(() => this.#storage.sql.databaseSize)
  }

  /** Free pages are used again and never given back: the platform has no way to ask for that. */
  spareBytes(): number {
    return 0
  }

  compact(): number {
    return 0
  }

  checkpoint(): void {
    // Of the write-ahead log the platform takes care.
  }

  damage(): readonly string[] {
    const rows = this.all('PRAGMA quick_check')
    return rows.map((row) => String(row[0])).filter((text) => text !== 'ok')
  }

  [Symbol.dispose](): void {
    assert(!this.#inTransaction, 'a medium is not closed inside a transaction')
    this.#closed = true
  }

  #execute(sql: string, parameters: readonly SqlValue[]): SqlStorageCursor<never> {
    if (this.#closed) throw new PgnapError('STORE_IO', 'the store is closed')
    return this.#guard(() => this.#storage.sql.exec(sql, ...parameters.map(sent)))
  }

  #guard<Result>(action: () => Result): Result {
    try {
      return action()
    } catch (error) {
      throw storageError(error)
    }
  }
}

/** The platform takes and gives blobs as whole buffers; ours may be views of larger ones. */
function sent(value: SqlValue): string | number | ArrayBuffer | null {
  if (!(value instanceof Uint8Array)) return value
  const { buffer } = value
  const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === value.byteLength
  return isWhole ? buffer : new Uint8Array(value).buffer
}

function received(value: SqlStorageValue): SqlValue {
  return value instanceof ArrayBuffer ? new Uint8Array(value) : value
}

/** What the platform threw, as a {@link PgnapError}. */
function storageError(error: unknown): PgnapError | AssertionError {
  if (error instanceof PgnapError || error instanceof AssertionError) return error
  const text = errorText(error)
  const [, resultName] = RESULT_NAME.exec(text) ?? []
  if (resultName !== undefined) return sqliteFailure({ resultName, text, cause: error })
  return new PgnapError('STORE_IO', 'the storage of this tenant failed', {
    cause: error,
    detail: text,
    hint: 'try again: the next request starts from what is stored',
  })
}
