/**
 * Temporary tables of several sessions in one backend. A server gives each backend a schema for
 * them, by the backend's own number: `pg_temp_3`. Here many sessions share one backend, so each
 * that has temporary tables has a schema by a letter (`pg_temp_b`), and what says whose turn it is
 * are a few variables: the ids of the two schemas, the list of tables that are emptied or dropped
 * at COMMIT, and the text by which Postgres makes the names of new ones.
 *
 * What has been looked up by a name may be another table in another session. So whenever the
 * schemas change, the search path is computed anew and plans are made anew, by the functions that
 * Postgres itself calls when a schema has changed; functions are compiled anew, as if they had been
 * replaced, since the types of their variables were looked up by names; and tables that are open
 * are marked as the session's own or as somebody else's, which Postgres does not let anybody read.
 *
 * Names are letters, because Postgres takes the number of another backend from them for the names
 * of files; and all these tables are this one's, number 0.
 *
 * Source: Postgres 18, namespace.c (InitTempTableNamespace, GetTempNamespaceProcNumber),
 * tablecmds.c (on_commits), plancache.c (InitPlanCache), funccache.c, inval.c, ipc.c, rel.h,
 * pg_class.h and relcache.c; pointers of 32 bits.
 */
import { assert } from '../base/assert.ts'
import { textAt, utf8 } from '../base/bytes.ts'
import { entriesOf } from './hash-table.ts'
import type { Instance } from './instance.ts'
import { MemorySearch, onlyPlace } from './memory-search.ts'

/** Addresses of variables, unless it is said otherwise. */
export interface TemporaryAnchors {
  /** Ids of the schema of temporary tables and of that of their long values, or 0. */
  readonly schema: number
  readonly toastSchema: number
  /** List of tables that COMMIT empties or drops, or null. */
  readonly onCommits: number
  /** The texts by which the names of the two are made; static memory. */
  readonly schemaText: number
  readonly toastSchemaText: number
  /** Table of open relations, by id. */
  readonly relations: number
  /** Table of what functions have been compiled to; null until the first. */
  readonly compiled: number
  /** Functions that are called when a schema has changed, and what they call schemas. */
  readonly schemaCallbacks: readonly number[]
  readonly schemaCache: number
  /** What is called when the backend ends: a list, its length, and which function drops tables. */
  readonly exitCallbacks: number
  readonly exitCallbackCount: number
  readonly dropsAtExit: number
}

/** Whose turn it is. */
export interface TemporaryFrame {
  /** 0: as Postgres itself would call the schema. */
  readonly number: number
  readonly schema: number
  readonly toastSchema: number
  readonly onCommits: number
}

/** Of a session that has had no temporary table. */
export const NO_TEMPORARY: TemporaryFrame = { number: 0, schema: 0, toastSchema: 0, onCommits: 0 }

/** Sessions of one backend that can have schemas of their own. */
export const TEMPORARY_SCHEMAS_MAX = 1_027

const SCHEMA_PREFIX = 'pg_temp_'
const TOAST_SCHEMA_PREFIX = 'pg_toast_temp_'
/** What the texts end with in the beginning: the backend's own number is printed there. */
const OWN_NUMBER = '%d'
/** No digit comes first, so that the name has no number. */
const FIRST = 'abcdefghijklmnopqrstuvwxyz_'
const SECOND = `${FIRST}0123456789`

/** struct RelationData: number of its backend, whether it is the session's, row of pg_class. */
const RELATION_BACKEND_AT = 20
const RELATION_IS_OWN_AT = 24
const RELATION_ROW_AT = 48
/** FormData_pg_class: name, schema, persistence. */
const ROW_NAME_AT = 4
const ROW_SCHEMA_AT = 68
const ROW_PERSISTENCE_AT = 118
const TEMPORARY = 't'.charCodeAt(0)
/** An entry of the table of relations: id, address. */
const ENTRY_RELATION_AT = 4
/** struct CachedFunctionHashEntry: the function, behind a key with room for 100 types. */
const ENTRY_COMPILED_AT = 428
/** struct CachedFunction: its entry, transaction that has written what it is compiled from. */
const FUNCTION_WRITTEN_BY_AT = 4
/** No transaction. */
const INVALID_TRANSACTION = 0
/** struct OnCommitItem: table, what to do; struct List: where the elements are. */
const ON_COMMIT_DELETE_ROWS = 2
const LIST_ELEMENTS_AT = 12
/** struct ONEXIT: function, argument. */
const EXIT_CALLBACK_BYTES = 8
/** struct SYSCACHECALLBACK: cache and link, two bytes each; function; argument. */
const CACHE_CALLBACK_BYTES = 12
const CACHES_MAX = 128
/** Callbacks of plancache.c for functions and types, and for all else; the first is for schemas. */
const PLAN_CALLBACKS = 7
const PLAN_SCHEMA_CALLBACK = 2
/** How far variables that are declared together may lie apart. */
const BESIDE_BYTES = 16
const PROBE = 'pgnap_probe_rows'
const PROBE_FUNCTION = 'pgnap_probe_function'

function suffixOf(number: number): string {
  assert(number >= 0 && number < TEMPORARY_SCHEMAS_MAX, 'a session has a schema of its own')
  if (number === 0) return OWN_NUMBER
  if (number <= FIRST.length) return FIRST.charAt(number - 1)
  const rest = number - 1 - FIRST.length
  return FIRST.charAt(Math.floor(rest / SECOND.length)) + SECOND.charAt(rest % SECOND.length)
}

function numberOf(suffix: string): number {
  if (suffix === OWN_NUMBER) return 0
  const first = FIRST.indexOf(suffix.charAt(0))
  if (suffix.length === 1) return 1 + first
  return 1 + FIRST.length + first * SECOND.length + SECOND.indexOf(suffix.charAt(1))
}

/** The schemas of the session that a backend is in. Valid outside of a transaction. */
export class TemporarySchemas {
  readonly #anchors: TemporaryAnchors
  readonly #instance: Pick<Instance, 'module' | 'word' | 'setWord' | 'functionAt' | 'functionOf'>

  constructor(
    anchors: TemporaryAnchors,
    instance: Pick<Instance, 'module' | 'word' | 'setWord' | 'functionAt' | 'functionOf'>,
  ) {
    this.#anchors = anchors
    this.#instance = instance
  }

  /** Whether the session has had temporary tables, functions or types. */
  get areThere(): boolean {
    return this.#instance.word(this.#anchors.schema) !== 0
  }

  get frame(): TemporaryFrame {
    const { schema, toastSchema, onCommits, schemaText } = this.#anchors
    const suffix = textAt(this.#instance.module.HEAPU8, schemaText + SCHEMA_PREFIX.length)
    if (!this.areThere && suffix === OWN_NUMBER) return NO_TEMPORARY
    return {
      number: numberOf(suffix),
      schema: this.#instance.word(schema),
      toastSchema: this.#instance.word(toastSchema),
      onCommits: this.#instance.word(onCommits),
    }
  }

  /** Throws what wasm throws. */
  set frame(to: TemporaryFrame) {
    const { schema, toastSchema, onCommits, schemaText, toastSchemaText } = this.#anchors
    const { HEAPU8: heap } = this.#instance.module
    const before = this.#instance.word(schema)
    this.#instance.setWord(schema, to.schema)
    this.#instance.setWord(toastSchema, to.toastSchema)
    this.#instance.setWord(onCommits, to.onCommits)
    const suffix = utf8(`${suffixOf(to.number)}\0`)
    heap.set(suffix, schemaText + SCHEMA_PREFIX.length)
    heap.set(suffix, toastSchemaText + TOAST_SCHEMA_PREFIX.length)
    if (before === to.schema) return
    this.#lookUpAnew()
    compileAnew(this.#instance, this.#anchors)
    this.#markRelations(to)
    dropRepeated(this.#instance, this.#anchors)
  }

  #lookUpAnew(): void {
    const { schemaCallbacks, schemaCache } = this.#anchors
    for (const each of schemaCallbacks) this.#instance.functionAt(each)(0, schemaCache, 0)
  }

  /** As relcache.c would, if they were opened now. */
  #markRelations({ schema, toastSchema }: TemporaryFrame): void {
    const table = this.#instance.word(this.#anchors.relations)
    const entries = entriesOf(this.#instance, table)
    const { HEAPU8: heap } = this.#instance.module
    for (const entry of entries) {
      const relation = this.#instance.word(entry + ENTRY_RELATION_AT)
      const row = this.#instance.word(relation + RELATION_ROW_AT)
      if (heap[row + ROW_PERSISTENCE_AT] !== TEMPORARY) continue
      const id = this.#instance.word(row + ROW_SCHEMA_AT)
      heap[relation + RELATION_IS_OWN_AT] = id === schema || id === toastSchema ? 1 : 0
    }
  }
}

/** Between two batches nobody is in one of them. */
function compileAnew(
  instance: Pick<Instance, 'functionOf' | 'word' | 'setWord'>,
  { compiled }: Pick<TemporaryAnchors, 'compiled'>,
): void {
  const table = instance.word(compiled)
  if (table === 0) return
  for (const entry of entriesOf(instance, table)) {
    const compiledTo = instance.word(entry + ENTRY_COMPILED_AT)
    instance.setWord(compiledTo + FUNCTION_WRITTEN_BY_AT, INVALID_TRANSACTION)
  }
}

/** With each schema that a session begins, Postgres notes once more to empty it at its end. */
function dropRepeated(
  instance: Pick<Instance, 'word' | 'setWord'>,
  anchors: Pick<TemporaryAnchors, 'exitCallbacks' | 'exitCallbackCount' | 'dropsAtExit'>,
): void {
  const { exitCallbacks: list, exitCallbackCount, dropsAtExit } = anchors
  const count = instance.word(exitCallbackCount)
  const places = Array.from({ length: count }, (_, index) => list + index * EXIT_CALLBACK_BYTES)
  const calls = places.map((at) => [instance.word(at), instance.word(at + 4)] as const)
  const first = calls.findIndex(([call]) => call === dropsAtExit)
  const kept = calls.filter(([call], index) => call !== dropsAtExit || index === first)
  for (const [index, at] of places.entries()) {
    const [call, argument] = kept[index] ?? [0, 0]
    instance.setWord(at, call)
    instance.setWord(at + 4, argument)
  }
  instance.setWord(exitCallbackCount, kept.length)
}

export interface TemporaryProbe {
  readonly instance: Instance
  /** Ids of the schemas that the backend has made already. */
  readonly schema: number
  readonly toastSchema: number
  /** Table of open relations; see {@link TemporaryAnchors}. */
  readonly relations: number
  readonly run: (statement: string) => void
  /** The number that a question is answered with. */
  readonly ask: (question: string) => number
}

/** In a backend that has had a temporary table, and that nobody will use afterwards. */
export function findTemporarySchemas(probe: TemporaryProbe): TemporaryAnchors {
  const { instance, relations, run, ask } = probe
  const { heapStart: staticEnd } = instance
  run(`create temporary table ${PROBE} (n int) on commit delete rows`)
  run(`insert into ${PROBE} values (1)`)
  const table = ask(`select '${PROBE}'::regclass::int`)
  checkRelation(probe, table)
  run(`create function ${PROBE_FUNCTION}() returns int language plpgsql as 'begin return 1; end'`)
  run(`select ${PROBE_FUNCTION}()`)
  const memory = new MemorySearch(instance.module.HEAPU8)
  const text = (value: string): number =>
    onlyPlace(`"${value}"`, memory.textsEqualTo(`${value}${OWN_NUMBER}`))
  const anchors = {
    ...findSchemas(memory, probe),
    onCommits: onlyPlace(
      'the list of tables that COMMIT empties',
      memory
        .wordsEqualTo(table)
        .filter((at) => memory.word(at + 4) === ON_COMMIT_DELETE_ROWS && at >= staticEnd)
        .flatMap((item) => memory.wordsEqualTo(item))
        .flatMap((elements) => memory.wordsEqualTo(elements))
        .flatMap((at) => memory.wordsEqualTo(at - LIST_ELEMENTS_AT, staticEnd)),
    ),
    schemaText: text(SCHEMA_PREFIX),
    toastSchemaText: text(TOAST_SCHEMA_PREFIX),
    relations,
    compiled: findCompiled(memory, probe),
    ...findSchemaCallbacks(memory, instance),
  }
  const exit = findExitCallbacks(instance)
  const count = instance.word(exit.exitCallbackCount)
  const atEnd = exit.exitCallbacks + count * EXIT_CALLBACK_BYTES
  // What follows the schemas that it has now is a session that has to make its own.
  instance.setWord(anchors.schema, 0)
  instance.setWord(anchors.toastSchema, 0)
  run(`create temporary table ${PROBE}_again (n int)`)
  assert(instance.word(exit.exitCallbackCount) === count + 1, 'its end is noted')
  return { ...anchors, ...exit, dropsAtExit: instance.word(atEnd) }
}

function findSchemas(
  memory: MemorySearch,
  { instance, schema, toastSchema }: TemporaryProbe,
): Pick<TemporaryAnchors, 'schema' | 'toastSchema'> {
  const inStatic = (value: number): number[] => memory.wordsEqualTo(value, instance.heapStart)
  // The search path has the first one as well: these are declared together.
  const pairs = inStatic(schema).flatMap((at) =>
    inStatic(toastSchema)
      .filter((toast) => Math.abs(toast - at) <= BESIDE_BYTES)
      .map((toast) => ({ schema: at, toastSchema: toast })),
  )
  const [pair] = pairs
  assert(pair && pairs.length === 1, `the temporary schemas are in one place, not ${pairs.length}`)
  return pair
}

/** What a relation looks like: it differs by version. */
function checkRelation({ instance, relations, schema }: TemporaryProbe, table: number): void {
  const entries = entriesOf(instance, instance.word(relations))
  const entry = entries.find((at) => instance.word(at) === table)
  assert(entry, 'a table that was asked for is open')
  const { HEAPU8: heap } = instance.module
  const relation = instance.word(entry + ENTRY_RELATION_AT)
  const row = instance.word(relation + RELATION_ROW_AT)
  assert(textAt(heap, row + ROW_NAME_AT) === PROBE, 'a relation has its row')
  assert(instance.word(row + ROW_SCHEMA_AT) === schema, 'a row has its schema')
  assert(heap[row + ROW_PERSISTENCE_AT] === TEMPORARY, 'a row says how long it lasts')
  assert(instance.word(relation + RELATION_BACKEND_AT) === 0, 'this backend has the number 0')
  assert(heap[relation + RELATION_IS_OWN_AT] === 1, 'a relation says whether it is of this one')
}

/** Where what functions are compiled to is, which looks as it is supposed to. */
function findCompiled(memory: MemorySearch, { instance, ask }: TemporaryProbe): number {
  const compiled = onlyPlace(
    'the table of compiled functions',
    memory.tablesNamed('Cached function hash', instance.heapStart),
  )
  const id = ask(`select '${PROBE_FUNCTION}'::regproc::int`)
  const entries = entriesOf(instance, instance.word(compiled))
  const entry = entries.find((at) => instance.word(at) === id)
  assert(entry, 'a function that was called is compiled')
  const compiledTo = instance.word(entry + ENTRY_COMPILED_AT)
  assert(instance.word(compiledTo) === entry, 'what a function is compiled to has its entry')
  const writtenBy = ask(`select xmin::text::int from pg_proc where oid = ${id}`)
  const known = instance.word(compiledTo + FUNCTION_WRITTEN_BY_AT)
  assert(known === writtenBy, 'a compiled function says who has written it')
  return compiled
}

/** Those of plancache.c are known by their order; that of namespace.c is for the same cache. */
function findSchemaCallbacks(
  memory: MemorySearch,
  { heapStart, tableLength }: Instance,
): Pick<TemporaryAnchors, 'schemaCallbacks' | 'schemaCache'> {
  const call = (at: number): number => memory.word(at + 4)
  const cache = (at: number): number => memory.word(at) & 0xffff
  const isCallback = (at: number): boolean =>
    at > 0 && call(at) > 0 && call(at) < tableLength && cache(at) < CACHES_MAX
  const isPlanCallbacks = (at: number): boolean => {
    const all = Array.from({ length: PLAN_CALLBACKS }, (_, n) => at + n * CACHE_CALLBACK_BYTES)
    const [objects, other] = [call(at), call(at + PLAN_SCHEMA_CALLBACK * CACHE_CALLBACK_BYTES)]
    if (objects === other || !all.every((each) => isCallback(each))) return false
    if (!all.every((each) => memory.word(each + 8) === 0)) return false
    return all.every((each, n) => call(each) === (n < PLAN_SCHEMA_CALLBACK ? objects : other))
  }
  const places: number[] = []
  for (let at = 0; at < heapStart; at += 4) if (isPlanCallbacks(at)) places.push(at)
  const first = onlyPlace('what plans are told of', places)
  const schemaCache = cache(first + PLAN_SCHEMA_CALLBACK * CACHE_CALLBACK_BYTES)
  const found = new Set<number>()
  for (const step of [-CACHE_CALLBACK_BYTES, CACHE_CALLBACK_BYTES]) {
    for (let at = first; isCallback(at); at += step) {
      if (cache(at) === schemaCache) found.add(call(at))
    }
  }
  assert(found.size === 2, `plans and the search path are told of schemas, not ${found.size}`)
  return { schemaCallbacks: [...found], schemaCache }
}

/** By what one more of them changes. */
function findExitCallbacks(
  instance: Instance,
): Pick<TemporaryAnchors, 'exitCallbacks' | 'exitCallbackCount'> {
  const [call, argument] = [0x7e57_0001, 0x7e57_0002]
  const words = (): Uint32Array =>
    new Uint32Array(instance.module.HEAPU8.slice(0, instance.heapStart).buffer)
  const before = words()
  instance.functionOf('before_shmem_exit')(call, argument)
  const after = words()
  const changed = [...after.keys()].filter((index) => after[index] !== before[index])
  instance.functionOf('cancel_before_shmem_exit')(call, argument)
  const place = onlyPlace(
    'what is called at the end',
    changed.filter((index) => after[index] === call && after[index + 1] === argument),
  )
  const exitCallbackCount =
    4 *
    onlyPlace(
      'how much is called at the end',
      changed.filter((index) => after[index] === (before[index] ?? 0) + 1),
    )
  const count = before[exitCallbackCount / 4] ?? 0
  return { exitCallbacks: place * 4 - count * EXIT_CALLBACK_BYTES, exitCallbackCount }
}
