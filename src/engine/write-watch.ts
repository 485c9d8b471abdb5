/**
 * Whether what ran in a fork was more than reading: then its answer must not leave, because what it
 * did is lost with the fork.
 *
 * Nothing is forbidden in here. A transaction that is READ ONLY would refuse most of it, but the
 * client can see that: a function that catches errors would catch this one, and go on as it would
 * nowhere else. So everything is done as always, and afterwards these are looked at:
 *
 * - Transaction ids. Whatever changes a row, a sequence by WAL, the catalog or a large object, or
 *   locks rows takes one.
 * - Utility statements, at any depth, by Postgres's own hook: only those count as reading that
 *   leave nothing behind but settings and cursors, and those by which a session forgets something:
 *   what that was is noted, for whoever keeps the session.
 * - Functions, by Postgres's own hook for whoever watches objects. Some of those that come with
 *   Postgres change or tell what is not the same here: sequences whose numbers are at hand, locks
 *   that a transaction gives back, which transactions are running, where the WAL ends. What is
 *   notified takes an id only when it is committed, which a transaction here may never be.
 * - Names of files: what is written beside the tables.
 * - Libraries of extensions: the session that goes on would miss the settings that they define.
 *
 * Pages and WAL say nothing: who reads sets hint bits and prunes pages, and makes room for what
 * others have changed. What a reader does to its session is the pool's business.
 *
 * Source: Postgres 18, utility.c, objectaccess.h, plannodes.h, parsenodes.h, pg_proc.dat; pointers
 * of 32 bits.
 */
import { assert } from '../base/assert.ts'
import { textAt } from '../base/bytes.ts'
import type { EngineFunction, EngineVariable } from './engine-symbols.ts'
import type { StatementAnchors } from './database-statements.ts'
import type { EmscriptenModule } from './emscripten.ts'
import { NOT_OF_THE_SESSION } from './session-memory.ts'
import type { SlotFiles } from './slot-files.ts'
import type { ExportedFunction, WalTail } from './wal-tail.ts'

/** CopyStmt: is_from, filename. */
const COPY_IS_FROM_AT = 16
const COPY_FILE_AT = 20
/** VariableSetStmt: name. */
const SET_NAME_AT = 8
/** DeallocateStmt: name; null: all. */
const DEALLOCATE_NAME_AT = 4
/** As the grammar calls SET TRANSACTION. */
const SET_TRANSACTION = 'TRANSACTION'
/** enum ObjectAccessType. */
const FUNCTION_EXECUTE = 4

/** FirstNormalObjectId: below are Postgres's own. */
const FIRST_OWN_ID = 16_384

/** Command tags. Whatever else a statement does, it does by other statements, or takes an id. */
const READING: ReadonlySet<string> = new Set([
  'BEGIN',
  'CALL',
  'CLOSE CURSOR',
  'CLOSE CURSOR ALL',
  'COMMIT',
  'DEALLOCATE',
  'DEALLOCATE ALL',
  'DECLARE CURSOR',
  'DISCARD ALL',
  'DISCARD PLANS',
  'DISCARD SEQUENCES',
  'DISCARD TEMP',
  'DO',
  'EXECUTE',
  'EXPLAIN',
  'FETCH',
  'MOVE',
  'RELEASE',
  'RESET',
  'ROLLBACK',
  'SAVEPOINT',
  'SET',
  'SET CONSTRAINTS',
  'SHOW',
  'START TRANSACTION',
  'UNLISTEN',
])

/** Those of them of which nothing is left in the transaction that they are part of. */
const PASSING: ReadonlySet<string> = new Set([
  'BEGIN',
  'COMMIT',
  'COPY',
  'DEALLOCATE',
  'DEALLOCATE ALL',
  'DISCARD PLANS',
  'DISCARD SEQUENCES',
  'EXECUTE',
  'EXPLAIN',
  'ROLLBACK',
  'SHOW',
  'START TRANSACTION',
])

/**
 * Functions of Postgres that take no transaction id, and whose effect would be lost, or whose
 * answer is another one beside an open transaction, by object id.
 */
export const NOT_FOR_FORKS: Readonly<Record<number, string>> = {
  765: 'lo_export',
  1371: 'pg_lock_status',
  1574: 'nextval',
  1576: 'setval',
  1599: 'setseed',
  1765: 'setval',
  2274: 'pg_stat_reset',
  2561: 'pg_blocking_pids',
  2621: 'pg_reload_conf',
  2848: 'pg_switch_wal',
  2849: 'pg_current_wal_lsn',
  2852: 'pg_current_wal_insert_lsn',
  2880: 'pg_advisory_lock',
  2881: 'pg_advisory_lock_shared',
  2882: 'pg_try_advisory_lock',
  2883: 'pg_try_advisory_lock_shared',
  2886: 'pg_advisory_lock',
  2887: 'pg_advisory_lock_shared',
  2888: 'pg_try_advisory_lock',
  2889: 'pg_try_advisory_lock_shared',
  2944: 'txid_current_snapshot',
  3036: 'pg_notify',
  3089: 'pg_advisory_xact_lock',
  3090: 'pg_advisory_xact_lock_shared',
  3091: 'pg_try_advisory_xact_lock',
  3092: 'pg_try_advisory_xact_lock_shared',
  3093: 'pg_advisory_xact_lock',
  3094: 'pg_advisory_xact_lock_shared',
  3095: 'pg_try_advisory_xact_lock',
  3096: 'pg_try_advisory_xact_lock_shared',
  3098: 'pg_create_restore_point',
  3330: 'pg_current_wal_flush_lsn',
  3360: 'txid_status',
  3577: 'pg_logical_emit_message',
  3578: 'pg_logical_emit_message',
  3775: 'pg_stat_reset_shared',
  3776: 'pg_stat_reset_single_table_counters',
  3777: 'pg_stat_reset_single_function_counters',
  3789: 'gin_clean_pending_list',
  3878: 'pg_replication_slot_advance',
  3952: 'brin_summarize_new_values',
  3999: 'brin_summarize_range',
  4014: 'brin_desummarize_range',
  5061: 'pg_current_snapshot',
  5066: 'pg_xact_status',
}

/** What was more than reading: one of them was loaded. */
export const A_LIBRARY = 'a library'
/** Opens a descriptor that lasts until the end of its transaction. */
export const LO_OPEN = 952

/** What of an instance is needed here. */
export interface WatchedInstance {
  readonly module: Pick<EmscriptenModule, 'HEAPU8' | 'addFunction'>
  readonly files: Pick<SlotFiles, 'namesChanged'>
  readonly libraryHandles: readonly number[]
  addressOf(variable: EngineVariable): number
  functionOf(name: EngineFunction): ExportedFunction
  functionAt(index: number): ExportedFunction
}

/** What the two hooks were before. */
type Hooks = readonly [utility: number, access: number]

/** What was said to be forgotten of a session, whether that was done or refused. */
export interface Forgotten {
  /** Prepared statements. */
  readonly names: readonly string[]
  readonly allStatements: boolean
  /** What currval knows. */
  readonly sequences: boolean
}

const NOTHING_FORGOTTEN: Forgotten = { names: [], allStatements: false, sequences: false }
/** DISCARD, DEALLOCATE, by their tags; one statement has its name with it. */
const FORGETS: ReadonlyMap<string, Partial<Forgotten>> = new Map([
  ['DEALLOCATE', {}],
  ['DEALLOCATE ALL', { allStatements: true }],
  ['DISCARD ALL', { allStatements: true, sequences: true }],
  ['DISCARD SEQUENCES', { sequences: true }],
])

/** Of one slot. */
export class WriteWatch {
  readonly #instance: WatchedInstance
  readonly #wal: Pick<WalTail, 'nextTransaction'>
  /** Entries of the function table. */
  readonly #utilityHook: number
  readonly #accessHook: number
  readonly #tagOf: ExportedFunction
  readonly #nameOf: ExportedFunction
  /** Functions that clients have made and that were called since `arm`, by object id. */
  readonly calledFunctions: Set<number> = new Set()
  /** Where a utility statement hangs in its plan. */
  readonly #utilityAt: number
  /** What the hook for utility statements calls in its turn. */
  #next: ExportedFunction
  readonly #standard: ExportedFunction
  /** While the backend itself is watched. */
  #before: Hooks | undefined
  #watched = 0
  #seen: string | undefined
  #lasting = false
  #forgotten = NOTHING_FORGOTTEN
  #transaction = 0
  #names = 0
  #libraries = 0

  /** Every slot has to have one, since all function tables are to be the same. */
  constructor(
    instance: WatchedInstance,
    wal: Pick<WalTail, 'nextTransaction'>,
    { utilityAt }: Pick<StatementAnchors, 'utilityAt'>,
  ) {
    this.#instance = instance
    this.#wal = wal
    this.#utilityAt = utilityAt
    this.#tagOf = instance.functionOf('CreateCommandTag')
    this.#nameOf = instance.functionOf('GetCommandTagName')
    this.#next = this.#standard = instance.functionOf('standard_ProcessUtility')
    const { module } = instance
    this.#utilityHook = module.addFunction((...values) => {
      this.#utility(values[0] ?? 0)
      this.#next(...values)
      return 0
    }, 'viiiiiiii')
    this.#accessHook = module.addFunction((access, _class, id = 0) => {
      if (access !== FUNCTION_EXECUTE) return 0
      this.#seen ??= NOT_FOR_FORKS[id]
      this.#lasting ||= id === LO_OPEN
      if (id >>> 0 >= FIRST_OWN_ID) this.calledFunctions.add(id >>> 0)
      return 0
    }, 'viiiii')
  }

  /** Hangs the hooks into the memory that is in the slot now; they go with it. */
  arm(): void {
    this.calledFunctions.clear()
    this.#next = this.#standard
    this.#hooks = [this.#utilityHook, this.#accessHook]
  }

  /** Watches a backend in which everything is done as without, from now on to {@link endWatch}. */
  beginWatch(): number {
    this.endWatch()
    const before = this.#hooks
    assert(before[0] !== this.#utilityHook, 'a backend is not watched twice')
    this.arm()
    if (before[0] !== 0) this.#next = this.#instance.functionAt(before[0])
    this.#before = before
    this.begin()
    return ++this.#watched
  }

  endWatch(): void {
    if (this.#before) this.#hooks = this.#before
    this.forget()
  }

  /** The memory that was watched has gone. */
  forget(): void {
    this.#before = undefined
  }

  /** Whether what {@link beginWatch} began goes on. */
  isWatching(watch: number): boolean {
    return this.#before !== undefined && watch === this.#watched
  }

  /** What has happened until now does not count. */
  begin(): void {
    this.#seen = undefined
    this.#lasting = false
    this.#forgotten = NOTHING_FORGOTTEN
    this.#transaction = this.#wal.nextTransaction
    this.#names = this.#instance.files.namesChanged
    this.#libraries = this.#instance.libraryHandles.length
  }

  /** What was more than reading since {@link begin}, in a word or two; undefined: nothing. */
  get seen(): string | undefined {
    if (this.#seen !== undefined) return this.#seen
    if (this.#wal.nextTransaction !== this.#transaction) return 'a transaction id'
    if (this.#instance.files.namesChanged !== this.#names) return 'a file'
    return this.#instance.libraryHandles.length === this.#libraries ? undefined : A_LIBRARY
  }

  /** Whether something may be left in its transaction: a setting, a cursor, a large object. */
  get lasting(): boolean {
    return this.#lasting
  }

  /** Since {@link begin}. */
  get forgotten(): Forgotten {
    return this.#forgotten
  }

  get #hooks(): Hooks {
    const view = new DataView(this.#instance.module.HEAPU8.buffer)
    return [view.getUint32(this.#utilityAddress, true), view.getUint32(this.#accessAddress, true)]
  }

  set #hooks([utility, access]: Hooks) {
    const view = new DataView(this.#instance.module.HEAPU8.buffer)
    view.setUint32(this.#utilityAddress, utility, true)
    view.setUint32(this.#accessAddress, access, true)
  }

  get #utilityAddress(): number {
    return this.#instance.addressOf('ProcessUtility_hook')
  }

  get #accessAddress(): number {
    return this.#instance.addressOf('object_access_hook')
  }

  /** Some settings are the backend's, so that nobody could take them back from here. */
  #setsWhatIsLost(tag: string, statement: number): boolean {
    return tag === 'SET' && NOT_OF_THE_SESSION.has(this.#nameIn(statement).toLowerCase())
  }

  /** Of the transaction: they can be asked for. */
  #setsModes(tag: string, statement: number): boolean {
    return tag === 'SET' && this.#nameIn(statement) === SET_TRANSACTION
  }

  #noteForgotten(tag: string, statement: number): void {
    const more = FORGETS.get(tag)
    if (!more) return
    const name = tag === 'DEALLOCATE' ? [this.#nameIn(statement, DEALLOCATE_NAME_AT)] : []
    const { names, allStatements, sequences } = this.#forgotten
    this.#forgotten = {
      names: [...names, ...name],
      allStatements: allStatements || more.allStatements === true,
      sequences: sequences || more.sequences === true,
    }
  }

  #nameIn(statement: number, at = SET_NAME_AT): string {
    const heap = this.#instance.module.HEAPU8
    const nameAt = new DataView(heap.buffer).getUint32(statement + at, true)
    return nameAt === 0 ? '' : textAt(heap, nameAt)
  }

  #utility(planned: number): void {
    if (this.#seen !== undefined && this.#lasting) return
    const heap = this.#instance.module.HEAPU8
    const view = new DataView(heap.buffer)
    const statement = view.getUint32(planned + this.#utilityAt, true)
    const tag = textAt(heap, Number(this.#nameOf(Number(this.#tagOf(statement)))))
    this.#noteForgotten(tag, statement)
    this.#lasting ||= !PASSING.has(tag) && !this.#setsModes(tag, statement)
    if (READING.has(tag) && !this.#setsWhatIsLost(tag, statement)) return
    const isFrom = heap[statement + COPY_IS_FROM_AT] !== 0
    const isToClient =
      tag === 'COPY' && !isFrom && view.getUint32(statement + COPY_FILE_AT, true) === 0
    if (!isToClient) this.#seen ??= tag
  }
}
