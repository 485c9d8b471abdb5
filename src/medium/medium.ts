/**
 * The durable thing under a store: one SQL database, spoken to synchronously. Implementations:
 * `node:sqlite` (host/node, on a file or in memory), a fault-injecting wrapper (faulty-medium.ts)
 * and Durable Object SQLite (host/cloudflare). One conformance suite, test/conformance/medium.ts,
 * runs on all of them.
 *
 * What an implementation may rely on: only the store of one tenant uses it, from one thread. What a
 * user may rely on: when `transaction` has returned, its changes survive the end of the process and
 * of the machine; when it has thrown, either none of them are there or, if the throw came from
 * making them durable, all of them may be. Never some. Errors are `PgnapError` with a STORE_ code.
 */

/**
 * What SQLite can hold. Integers are exact up to 2^53; ids above it are computed and masked in SQL.
 */
export type SqlValue = number | string | Uint8Array | null

/** One row, in the order of the selected columns. */
export type SqlRow = readonly SqlValue[]

/** Makes durable all that a medium has committed; the promise is kept when it is. */
export type Sync = () => Promise<void>

export interface Medium extends Disposable {
  /** Runs statements without parameters (DDL). No PRAGMA: a Durable Object refuses it. */
  exec(sql: string): void
  /** Runs one statement; returns how many rows it changed. */
  run(sql: string, ...parameters: readonly SqlValue[]): number
  /** First row, or undefined. A blob of the row belongs to the caller. */
  get(sql: string, ...parameters: readonly SqlValue[]): SqlRow | undefined
  /** All rows. */
  all(sql: string, ...parameters: readonly SqlValue[]): readonly SqlRow[]
  /** Runs `body` in one transaction and makes it durable; a throw rolls back. Does not nest. */
  transaction<Result>(body: () => Result): Result
  /**
   * Runs `work`, whose transactions may return before their changes survive the end of the machine.
   * Undefined: they do already. Else they do when what is returned has been called, and its promise
   * kept. Meanwhile the medium can be used; a transaction of the ordinary kind makes durable what
   * came before it, too. If the promise is broken, what is durable is not known, and every later
   * call throws.
   */
  commitAhead(work: () => void): Sync | undefined
  /** Bytes that this database occupies now, with what its write-ahead log occupies. */
  sizeBytes(): number
  /** Of that, what {@link compact} can give back. Costs microseconds. */
  spareBytes(): number
  /**
   * Gives free space back to the file system, a bounded slice at a time; returns bytes given back.
   */
  compact(bytesMax: number): number
  /**
   * Moves what a write-ahead log has collected into the main file, so that no client's commit has
   * to. For idle moments; a medium that has no such log does nothing. Costs two fsyncs at most.
   */
  checkpoint(): void
  /**
   * What the database engine itself finds wrong with the file, one sentence each. Reads everything.
   */
  damage(): readonly string[]
}
