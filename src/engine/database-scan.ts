/**
 * Lets a session see databases in `pg_database` that are not in its cluster: each of the others is
 * a tenant of its own, in files of its own. Nothing is written. Whoever scans the table gets their
 * rows behind those that are there, made as they are asked for; what filters, joins or sorts them
 * is Postgres's own executor.
 *
 * Postgres scans a table through its access method, a table of functions that a relation points at.
 * While a session that may see the others has the backend, `pg_database` points at a copy in which
 * a few functions are ours. All other tables, and `pg_database` for anybody else, are as they were:
 * nobody else pays for it, and no image knows of it.
 *
 * Rows are made up for reading only. Where the transaction has locked the table for more, it has
 * only its own rows: what is made up cannot be changed, and must not be copied to where it would be
 * kept. Scans with keys are Postgres's own, which look for its own database. The indexes hold only
 * what is there; the planner does not take them for a table of one page, unless it is made to. What
 * insists on the access method that tables have (VACUUM, REINDEX, amcheck) gets it.
 *
 * Source: Postgres 18, tableam.h (TableAmRoutine, TableScanDescData), rel.h, relcache.c
 * (RelIdCacheEnt), tuptable.h (TupleTableSlot, BufferHeapTupleTableSlot), htup.h (HeapTupleData),
 * htup_details.h (HeapTupleHeaderData), pg_database.h, lock.h (LOCKTAG); pointers of 32 bits.
 */
import { assert } from '../base/assert.ts'
import { textAt } from '../base/bytes.ts'
import { DATABASE_ID, paddedName } from './database-pages.ts'
import { DatabaseSight, madeUpId, type OtherDatabases } from './database-sight.ts'
import type { Instance } from './instance.ts'
import { type MemorySearch, onlyPlace } from './memory-search.ts'
import type { ScanCall, ScanFunctions } from './lent-functions.ts'
import type { ExportedFunction } from './wal-tail.ts'

/** Where Postgres keeps what a scan goes by. */
export interface ScanAnchors {
  /** Variable that points at the table of open relations, by object id. */
  readonly relations: number
  /** Where a relation points at its access method. */
  readonly methodAt: number
  /** The access method of all tables, and its copy with functions of ours. */
  readonly method: number
  readonly copy: number
  /** Functions that ours stand for. */
  readonly originals: ScanFunctions
}

const PG_DATABASE = 1262
const HASH_FIND = 0
/** struct RelIdCacheEnt: the relation behind its id. */
const ENTRY_RELATION_AT = 4
/** struct RelationData is about so long. */
const RELATION_BYTES = 400
/** struct TableAmRoutine: its tag, then functions; the first ones are required. */
const METHOD_BYTES = 256
const METHOD_CALLS_MIN = 20
const CALLS_AT: Readonly<Record<ScanCall, number>> = {
  begin: 8,
  end: 12,
  rescan: 16,
  next: 20,
  // index_build_range_scan
  build: 140,
}
const CALLS = Object.keys(CALLS_AT) as ScanCall[]
const eachCall = <Value>(make: (call: ScanCall) => Value): Record<ScanCall, Value> => ({
  begin: make('begin'),
  end: make('end'),
  rescan: make('rescan'),
  next: make('next'),
  build: make('build'),
})
/** Of `scan_begin`: how many keys there are. */
const KEY_COUNT_ARGUMENT = 2
const BACKWARD = -1

/** struct BufferHeapTupleTableSlot: the tuple that is in it. */
const SLOT_TUPLE_AT = 40
/** struct HeapTupleData: length, place, table, data; with what aligns the data behind it. */
const TUPLE_PLACE_AT = 4
const TUPLE_TABLE_AT = 12
const TUPLE_DATA_AT = 16
const TUPLE_BYTES = 24
/** struct HeapTupleHeaderData: flags, length, which columns are not null. */
const ROW_FLAGS_AT = 20
const ROW_HAS_NULLS = 1
const ROW_HEADER_BYTES_AT = 22
const ROW_NULLS_AT = 23
/** Of a row of `pg_database`: its name; its rights, the last column. */
const ROW_NAME_AT = 4
const RIGHTS_COLUMN = 17

/** struct LOCKTAG of a relation that all databases share, and RowShareLock. */
const LOCK_TAG = [0, PG_DATABASE, 0, 0x0100_0000] as const
const ROW_SHARE_LOCK = 2

/** Statements that read or copy the table by themselves. */
const SHY: ReadonlySet<string> = new Set(['ANALYZE', 'CLUSTER', 'VACUUM'])
/** Of `index_build_range_scan`: a scan that it ends. */
const BUILD_SCAN_ARGUMENT = 10
const WORDS_ROOM = 16

/** Room for {@link ScanAnchors.copy}: to be made where Postgres has not started. */
export function makeRoomForMethod({ module }: Pick<Instance, 'module'>): number {
  const at = module._malloc(METHOD_BYTES)
  assert(at !== 0, 'there is memory before anything runs')
  return at
}

/** Fills that room. The images of an engine keep it. */
export function copyMethod(instance: Instance, { method, copy }: ScanAnchors): void {
  const heap = instance.module.HEAPU8
  heap.copyWithin(copy, method, method + METHOD_BYTES)
  const view = new DataView(heap.buffer)
  for (const call of CALLS) view.setUint32(copy + CALLS_AT[call], instance.lent.scans[call], true)
}

/**
 * Finds out how `pg_database` is scanned, in the memory of a Postgres that has started.
 * @param copy see {@link makeRoomForMethod}
 */
export function findScanAnchors(
  memory: MemorySearch,
  instance: Instance,
  copy: number,
): ScanAnchors {
  const relations = onlyPlace(
    'the table of relations',
    memory.tablesNamed('Relcache by OID').filter((at) => at < instance.heapStart),
  )
  const relation = openRelation(instance, relations)
  const isMethod = (at: number): boolean => {
    if (at === 0 || at % 4 !== 0 || at >= instance.heapStart) return false
    return Array.from({ length: METHOD_CALLS_MIN }, (_, index) => at + 4 + 4 * index).every(
      (call) => memory.word(call) > 0 && memory.word(call) < instance.tableLength,
    )
  }
  const places = Array.from({ length: RELATION_BYTES / 4 }, (_, index) => 4 * index)
  const methodAt = onlyPlace(
    'the access method of a table',
    places.filter((at) => isMethod(memory.word(relation + at))),
  )
  const method = memory.word(relation + methodAt)
  const original = (call: ScanCall): number => memory.word(method + CALLS_AT[call])
  return { relations, methodAt, method, copy, originals: eachCall(original) }
}

/** A scan that the rows of others follow. */
interface Scan {
  /** The row of the database itself, as a model for the others. */
  model: Uint8Array | undefined
  /** What follows what is there; undefined until its end was reached. */
  names: readonly string[] | undefined
  /** Which of them was given out last; -1: none, it is among what is there. */
  at: number
}

/** Of one slot. */
export class DatabaseScans {
  readonly #instance: Instance
  readonly #anchors: ScanAnchors
  readonly #originals: Readonly<Record<ScanCall, ExportedFunction>>
  /** By their address. */
  readonly #scans = new Map<number, Scan>()
  /** Statements that must see only what is there, by the tags of their trees. */
  readonly #shy = new Map<number, boolean>()
  #relation = 0
  #words: Uint32Array = new Uint32Array(0)
  #others: OtherDatabases | undefined
  /** Made when somebody looks. */
  #sight: DatabaseSight | undefined

  constructor(instance: Instance, anchors: ScanAnchors) {
    this.#instance = instance
    this.#anchors = anchors
    this.#originals = eachCall((call) => instance.functionAt(anchors.originals[call]))
    instance.lent.onScan = (call, values) => this.#called(call, values)
  }

  /** What the session that has the backend sees, while it runs something. */
  get sight(): DatabaseSight | undefined {
    if (this.#others) this.#sight ??= new DatabaseSight(this.#others)
    return this.#sight
  }

  /** Another memory is in the slot. */
  forget(): void {
    this.#relation = 0
    this.#scans.clear()
  }

  /** From now on whoever runs has `others` in sight, until {@link hide}. */
  show(others: OtherDatabases): void {
    this.#relation ||= openRelation(this.#instance, this.#anchors.relations)
    this.#others = others
    this.#pointAt(this.#anchors.copy)
  }

  hide(): void {
    this.#others = this.#sight = undefined
    this.#pointAt(this.#anchors.method)
  }

  /** A cursor reads `pg_database`: where it stands is known here and not in memory. */
  get areOpen(): boolean {
    return this.#scans.size > 0
  }

  /** No scan goes on that has begun until now: an error ends them without a word. */
  settle(): void {
    if (this.#scans.size > 0) this.#scans.clear()
  }

  /** Carries a utility statement out. */
  utility(statement: number, process: () => void): void {
    if (!this.stepAside(statement)) return process()
    try {
      process()
    } finally {
      this.stepBack()
    }
  }

  /**
   * The same in two steps, with nothing of ours around the statement, so that it can pause.
   * @returns whether it reads `pg_database` in its own way: then {@link stepBack} follows its end
   */
  stepAside(statement: number): boolean {
    if (!this.#others || !this.#isShy(statement)) return false
    this.#pointAt(this.#anchors.method)
    return true
  }

  stepBack(): void {
    this.#pointAt(this.#anchors.copy)
  }

  /**
   * Does what reads `pg_database` past its access method, and refuses to if that is another one
   * than that of all tables.
   */
  #aside<Result>(work: () => Result): Result {
    this.#pointAt(this.#anchors.method)
    try {
      return work()
    } finally {
      this.stepBack()
    }
  }

  #isShy(statement: number): boolean {
    const heap = this.#instance.module.HEAPU8
    const node = new DataView(heap.buffer).getUint32(statement, true)
    let shy = this.#shy.get(node)
    if (shy === undefined) {
      const tag = Number(this.#instance.functionOf('CreateCommandTag')(statement))
      const name = Number(this.#instance.functionOf('GetCommandTagName')(tag))
      this.#shy.set(node, (shy = SHY.has(textAt(heap, name))))
    }
    return shy
  }

  #pointAt(method: number): void {
    const heap = this.#instance.module.HEAPU8
    // A memory that has grown has another buffer.
    if (this.#words.buffer !== heap.buffer) this.#words = new Uint32Array(heap.buffer)
    this.#words[(this.#relation + this.#anchors.methodAt) >> 2] = method
  }

  /** Postgres calls. Throws what wasm throws. */
  #called(call: ScanCall, values: readonly number[]): number {
    if (call === 'next') return this.#next(values)
    if (call === 'build') {
      this.#scans.delete(values[BUILD_SCAN_ARGUMENT] ?? 0)
      return Number(this.#aside(() => this.#originals.build(...values)))
    }
    const result = Number(this.#originals[call](...values) ?? 0)
    const scan = call === 'begin' ? result : (values[0] ?? 0)
    const follows =
      call === 'begin'
        ? values[KEY_COUNT_ARGUMENT] === 0
        : call === 'rescan' && this.#scans.has(scan)
    if (follows) this.#scans.set(scan, { model: undefined, names: undefined, at: -1 })
    else this.#scans.delete(scan)
    return result
  }

  #next(values: readonly number[]): number {
    const [scanAt = 0, direction = 0, slot = 0] = values
    const scan = this.#scans.get(scanAt)
    const isForward = direction !== BACKWARD
    if (scan && scan.at >= 0 && !isForward) scan.at--
    if (!scan || scan.at < 0) {
      if (Number(this.#originals.next(...values)) !== 0) {
        if (scan) scan.model ??= this.#modelIn(slot)
        return 1
      }
      if (!scan || !isForward) return 0
    }
    scan.names ??= scan.model && !this.#isForMore() ? (this.sight?.names ?? []) : []
    if (isForward) scan.at = Math.min(scan.at + 1, scan.names.length)
    const name = scan.names[scan.at]
    if (name === undefined || !scan.model) return 0
    this.#put(rowOf(scan.model, name), slot)
    return 1
  }

  /** A row that was just read, if it is that of the database itself. */
  #modelIn(slot: number): Uint8Array | undefined {
    const heap = this.#instance.module.HEAPU8
    const view = new DataView(heap.buffer)
    const tuple = view.getUint32(slot + SLOT_TUPLE_AT, true)
    assert(view.getUint32(tuple + TUPLE_TABLE_AT, true) === PG_DATABASE, 'a row of pg_database')
    const data = view.getUint32(tuple + TUPLE_DATA_AT, true)
    const id = view.getUint32(data + (heap[data + ROW_HEADER_BYTES_AT] ?? 0), true)
    return id === DATABASE_ID ? heap.slice(data, data + view.getUint32(tuple, true)) : undefined
  }

  #put(row: Uint8Array, slot: number): void {
    const tuple = Number(this.#instance.functionOf('palloc')(TUPLE_BYTES + row.length))
    const heap = this.#instance.module.HEAPU8
    const view = new DataView(heap.buffer)
    view.setUint32(tuple, row.length, true)
    view.setUint32(tuple + TUPLE_PLACE_AT, 0xffff_ffff, true)
    view.setUint16(tuple + TUPLE_PLACE_AT + 4, 0, true)
    view.setUint32(tuple + TUPLE_TABLE_AT, PG_DATABASE, true)
    view.setUint32(tuple + TUPLE_DATA_AT, tuple + TUPLE_BYTES, true)
    heap.set(row, tuple + TUPLE_BYTES)
    this.#instance.functionOf('ExecForceStoreHeapTuple')(tuple, slot, 1)
  }

  /** Whether this transaction has locked the table for more than reading. */
  #isForMore(): boolean {
    return withWords(this.#instance, LOCK_TAG, (tagAt) => {
      const held = this.#instance.functionOf('LockHeldByMe')
      return Number(held(tagAt, ROW_SHARE_LOCK, 1)) !== 0
    })
  }
}

/** The row of another database. */
function rowOf(model: Uint8Array, name: string): Uint8Array {
  const row = model.slice()
  const view = new DataView(row.buffer)
  const columns = row[ROW_HEADER_BYTES_AT] ?? 0
  view.setUint32(columns, madeUpId(name), true)
  row.set(paddedName(name), columns + ROW_NAME_AT)
  if ((view.getUint16(ROW_FLAGS_AT, true) & ROW_HAS_NULLS) !== 0) {
    const at = ROW_NULLS_AT + (RIGHTS_COLUMN >> 3)
    row[at] = (row[at] ?? 0) & ~(1 << (RIGHTS_COLUMN & 7))
  }
  return row
}

/** Calls with the address of a few words, which are gone afterwards. */
function withWords<Result>(
  { module }: Pick<Instance, 'module'>,
  words: readonly number[],
  use: (at: number) => Result,
): Result {
  const stackPointer = module.___stack_pointer
  const stackTop: unknown = stackPointer.value
  const at = Number(stackTop) - WORDS_ROOM
  stackPointer.value = at
  const view = new DataView(module.HEAPU8.buffer)
  for (const [index, word] of words.entries()) view.setUint32(at + 4 * index, word, true)
  const result = use(at)
  stackPointer.value = stackTop
  return result
}

/** Where the relation of `pg_database` is, which is open as long as Postgres runs. */
function openRelation(instance: Instance, relations: number): number {
  const word = (at: number): number =>
    new DataView(instance.module.HEAPU8.buffer).getUint32(at, true)
  return withWords(instance, [PG_DATABASE], (idAt) => {
    const entry = Number(instance.functionOf('hash_search')(word(relations), idAt, HASH_FIND, 0))
    assert(entry !== 0, 'pg_database is always open')
    return word(entry + ENTRY_RELATION_AT)
  })
}
