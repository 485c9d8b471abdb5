/**
 * Brings the WAL of transactions that have ended into Postgres's files.
 *
 * Postgres flushes at a commit what the transaction has written, and leaves the rest in memory: the
 * WAL of what was rolled back, and of what only tidied up. Elsewhere a WAL writer brings it to disk
 * within 200 ms; here nobody would, and others may depend on it. A sequence says 32 numbers ahead
 * in one record: if its transaction is rolled back, those who are given the other numbers have
 * nothing of their own to flush, and a crash gives the same numbers out again.
 *
 * What may stay in memory, because losing it takes nothing from anybody:
 * - the WAL of the transaction that is still open; its end will be looked at, or flush it;
 * - WAL that no transaction id stands behind: pruned pages, hint bits, the work of VACUUM;
 * - the one record that says that a transaction ended, where it wrote nothing else to the WAL: it
 *   has changed temporary or UNLOGGED tables, which a crash ends or empties.
 *
 * A batch is the end of no transaction more often than not: then this costs one look at Postgres's
 * counter of WAL records.
 *
 * Source: Postgres 18, xact.c (RecordTransactionCommit, RecordTransactionAbort), sequence.c
 * (nextval_internal), xlog.c (XLogInsertRecord, XLogFlush), transam.h, proc.h.
 */
import type { EngineFunction, EngineVariable } from './engine-symbols.ts'
import type { EmscriptenModule } from './emscripten.ts'
import { WAL_SEGMENT_BYTES } from './recipe.ts'

/** TransamVariablesData.nextXid, behind two words about object ids. */
const NEXT_TRANSACTION_AT = 8
/** PGPROC.xid: the open transaction, if it has an id. Zero as soon as its end is in the WAL. */
const OPEN_TRANSACTION_AT = 36
/** PGPROC.vxid.lxid: the open transaction, with an id or without. Each one has another number. */
const LOCAL_TRANSACTION_AT = 56
/** Object id of the SQL function pg_current_wal_insert_lsn(). */
const CURRENT_WAL_INSERT_LSN = 2852
const WAL_PAGE_BYTES = 8192
/** XLogPageHeaderData, and at the start of a segment XLogLongPageHeaderData. */
const PAGE_HEADER_BYTES = 24
const SEGMENT_HEADER_BYTES = 40

/** A function as the module exports it; 64-bit numbers are BigInts. */
export type ExportedFunction = (...values: (number | bigint)[]) => unknown

/** What of an instance is needed here. */
export interface WalModule {
  readonly module: Pick<EmscriptenModule, 'HEAPU8'>
  /** Where a variable of Postgres lies. */
  addressOf(variable: EngineVariable): number
  functionOf(name: EngineFunction): ExportedFunction
}

export class WalTail {
  readonly #module: WalModule['module']
  readonly #recordsAt: number
  readonly #transamAt: number
  readonly #procAt: number
  readonly #callByOid: ExportedFunction
  readonly #flushedTo: ExportedFunction
  readonly #flushTo: ExportedFunction
  #view: DataView = new DataView(new ArrayBuffer(0))
  /** How many WAL records this backend had written when nothing was left to flush. */
  #records = Number.NaN
  /** The first transaction id that nobody had got when this run of Postgres began here. */
  #nextAtBegin = Number.NaN
  /** The first transaction id that no transaction had that had ended by then. */
  #transaction = Number.NaN

  constructor(instance: WalModule) {
    this.#module = instance.module
    this.#recordsAt = instance.addressOf('pgWalUsage')
    this.#transamAt = instance.addressOf('TransamVariables')
    this.#procAt = instance.addressOf('MyProc')
    this.#callByOid = instance.functionOf('OidFunctionCall1Coll')
    this.#flushedTo = instance.functionOf('GetFlushRecPtr')
    this.#flushTo = instance.functionOf('XLogFlush')
  }

  /**
   * A run of Postgres is in memory, in which {@link flush} came after whatever ended in it. What
   * its open transaction has written is not known.
   */
  begin(): void {
    const view = this.#currentView()
    const open = this.#openTransaction(view)
    this.#nextAtBegin = this.#nextTransaction(view)
    this.#records = open === 0 ? view.getUint32(this.#recordsAt, true) : Number.NaN
    this.#transaction = open || this.#nextTransaction(view)
  }

  /**
   * Flushes what transactions that have ended have left in memory. To be called between two runs of
   * the main loop. Throws whatever wasm throws: a write that fails is a PANIC.
   */
  flush(): void {
    const view = this.#currentView()
    const records = view.getUint32(this.#recordsAt, true)
    if (records === this.#records) return
    const transaction = this.#openTransaction(view) || this.#nextTransaction(view)
    if (transaction === this.#transaction) return
    if (records !== this.#records + 1) this.#flushAll()
    this.#records = records
    this.#transaction = transaction
  }

  /** Whether a transaction has got an id since {@link begin}, be it in memory only. */
  get hasTransacted(): boolean {
    return this.nextTransaction !== this.#nextAtBegin
  }

  /** The first transaction id that nobody has got yet. */
  get nextTransaction(): number {
    return this.#nextTransaction(this.#currentView())
  }

  /** The open transaction by a number that this backend gives to no other; 0: there is none. */
  get localTransaction(): number {
    const view = this.#currentView()
    return view.getUint32(view.getUint32(this.#procAt, true) + LOCAL_TRANSACTION_AT, true)
  }

  #flushAll(): void {
    const insertedTo = this.#insertedTo()
    if (Number(this.#flushedTo(0)) < insertedTo) this.#flushTo(BigInt(insertedTo))
  }

  /** End of the newest WAL record. */
  #insertedTo(): number {
    // It needs no argument, and Postgres exports no way to call it without. It answers where its
    // result is, in memory that ends with the next message.
    const resultAt = Number(this.#callByOid(CURRENT_WAL_INSERT_LSN, 0, 0))
    const next = Number(this.#currentView().getBigUint64(resultAt, true))
    // Where the next record will begin, behind the header of a page that is not there yet.
    if (next % WAL_SEGMENT_BYTES === SEGMENT_HEADER_BYTES) return next - SEGMENT_HEADER_BYTES
    return next % WAL_PAGE_BYTES === PAGE_HEADER_BYTES ? next - PAGE_HEADER_BYTES : next
  }

  #openTransaction(view: DataView): number {
    return view.getUint32(view.getUint32(this.#procAt, true) + OPEN_TRANSACTION_AT, true)
  }

  #nextTransaction(view: DataView): number {
    return view.getUint32(view.getUint32(this.#transamAt, true) + NEXT_TRANSACTION_AT, true)
  }

  /** Memory that has grown is another buffer. */
  #currentView(): DataView {
    const { buffer } = this.#module.HEAPU8
    if (this.#view.buffer !== buffer) this.#view = new DataView(buffer)
    return this.#view
  }
}
