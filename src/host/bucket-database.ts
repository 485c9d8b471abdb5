/**
 * One SQLite database as one object of a bucket: loaded whole into memory (sql.js), changed there,
 * and saved whole. Seed 004 asks how long that takes, so both tell where their time went.
 *
 * **Nothing is durable before `save` has been kept.** Two who have loaded the same one cannot both
 * save it: the second one is told (STORE_FENCED), and has to load it again.
 */
import type { Database, SqlJsStatic } from 'sql.js'
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { SyncDelayMonitor } from '../base/sync-delay.ts'
import type { Bucket } from '../medium/bucket.ts'
import { sqlJsFailure } from './sql-js-error.ts'

export interface BucketDatabaseOptions {
  readonly sqlJs: SqlJsStatic
  readonly bucket: Bucket
  readonly key: string
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** Told of each load and save, whether it went well or not. */
  readonly monitor: Pick<SyncDelayMonitor, 'record'>
}

export interface LoadTiming {
  readonly totalMs: number
  readonly downloadMs: number
  readonly parseMs: number
}

export interface SaveTiming {
  readonly totalMs: number
  readonly serializeMs: number
  readonly uploadMs: number
}

/** Pages that are smaller than SQLite's default gain nothing over an object. */
const NEW_DATABASE = 'PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL'
/** Its file is memory, so a journal beside it is, too. */
const SETTINGS = 'PRAGMA journal_mode = MEMORY; PRAGMA foreign_keys = OFF'

export class BucketDatabase {
  readonly database: Database
  readonly loadTiming: LoadTiming
  /** Of the object as it was loaded or saved last; 0 if there is none. */
  #sizeBytes: number
  #tag: string | undefined
  readonly #options: BucketDatabaseOptions

  private constructor(
    options: BucketDatabaseOptions,
    loaded: {
      readonly database: Database
      readonly tag: string | undefined
      readonly sizeBytes: number
      readonly timing: LoadTiming
    },
  ) {
    this.#options = options
    this.database = loaded.database
    this.#tag = loaded.tag
    this.#sizeBytes = loaded.sizeBytes
    this.loadTiming = loaded.timing
  }

  /**
   * Loads it; an empty one if there is none, which is not saved by that.
   * Rejects with STORE_CORRUPT if the object is no database, and what the bucket rejects with.
   */
  static async load(options: BucketDatabaseOptions): Promise<BucketDatabase> {
    const { sqlJs, bucket, key, clock, monitor } = options
    const startMs = clock.monotonicMs()
    try {
      const object = await bucket.get(key)
      const loadedMs = clock.monotonicMs()
      const database = parse(sqlJs, object?.bytes)
      const endMs = clock.monotonicMs()
      const timing = {
        totalMs: endMs - startMs,
        downloadMs: loadedMs - startMs,
        parseMs: endMs - loadedMs,
      }
      const sizeBytes = object?.bytes.length ?? 0
      return new BucketDatabase(options, { database, tag: object?.tag, sizeBytes, timing })
    } finally {
      // One that fails has kept its user waiting, too.
      monitor.record('load', clock.monotonicMs() - startMs)
    }
  }

  /** Of the object as it was loaded or saved last; undefined if there is none. */
  get tag(): string | undefined {
    return this.#tag
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /**
   * Saves it as it is now; what is changed meanwhile is not in it. One at a time.
   * Rejects with STORE_FENCED if somebody else has saved since, and with STORE_IO.
   */
  async save(): Promise<SaveTiming> {
    const { bucket, key, clock, monitor } = this.#options
    const startMs = clock.monotonicMs()
    try {
      const bytes = this.#serialize()
      const serializedMs = clock.monotonicMs()
      this.#tag = await bucket.put(key, bytes, this.#tag)
      this.#sizeBytes = bytes.length
      const endMs = clock.monotonicMs()
      return {
        totalMs: endMs - startMs,
        serializeMs: serializedMs - startMs,
        uploadMs: endMs - serializedMs,
      }
    } finally {
      monitor.record('save', clock.monotonicMs() - startMs)
    }
  }

  /** What was not saved is lost. */
  close(): void {
    this.database.close()
  }

  #serialize(): Uint8Array {
    try {
      return this.database.export()
    } catch (error) {
      throw sqlJsFailure(error)
    }
  }
}

function parse({ Database }: SqlJsStatic, bytes: Uint8Array | undefined): Database {
  const database = new Database(bytes)
  try {
    if (!bytes) database.run(NEW_DATABASE)
    database.run(SETTINGS)
    // It is looked at when it is first asked for something, and not before.
    database.exec('SELECT count(*) FROM sqlite_schema')
    return database
  } catch (error) {
    database.close()
    const failure = sqlJsFailure(error)
    if (failure.code !== 'INTERNAL') throw failure
    throw new PgnapError('STORE_CORRUPT', 'the object is no SQLite database', {
      cause: error,
      ...(failure.detail === undefined ? {} : { detail: failure.detail }),
      hint: 'restore it from a backup, or remove it: it begins empty then',
    })
  }
}
