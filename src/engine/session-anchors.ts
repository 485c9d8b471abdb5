/**
 * Finds the variables of `session-memory.ts`. No module exports them, so they are looked for when
 * the engine is built, by what they point at after a few statements have used them; the places are
 * the same in every instance of a build. An assertion fails if one is not in exactly one place.
 */
import { assert } from '../base/assert.ts'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { message } from '../base/protocol-message.ts'
import { MemorySearch, onlyPlace } from './memory-search.ts'
import { findProcessAnchors, type ProcessProbe } from './process-memory.ts'
import { findActivity } from './session-activity.ts'
import {
  LINK_NEXT_AT,
  LIST_ELEMENTS_AT,
  type SessionAnchors,
  SETTING_LINK_AT,
  SETTING_SOURCE_AT,
  SOURCE_SESSION,
} from './session-memory.ts'
import {
  TIMEOUT_BYTES,
  TIMEOUT_COUNT,
  TIMEOUT_NAMES,
  type TimeoutAnchors,
} from './timeout-memory.ts'

const PROBE = 'pgnap_probe'
/** How far variables that are declared together may lie apart. */
const BESIDE_BYTES = 16
/** struct CachedPlanSource begins with it. */
const PLAN_SOURCE_MAGIC = 195_726_186
/** Values that nothing else has. */
const TIMEOUT_PROBE_MS = 1_234_567
/** struct config_int: where the address of the variable stands. */
const SETTING_VARIABLE_AT = 92
/** To be run before {@link findSessionAnchors}, one simple query each. */
export const probeStatements: readonly string[] = [
  `create temporary sequence ${PROBE}`,
  `select nextval('${PROBE}')`,
  `select pg_advisory_lock(1)`,
  `listen ${PROBE}`,
  ...TIMEOUT_NAMES.map((name, index) => `set ${name} = ${TIMEOUT_PROBE_MS + index}`),
  `set application_name = '${PROBE}'`,
  `prepare ${PROBE} as select 1`,
]

/** What {@link ProbeIds} are answered to. */
export const probeQuestions: Readonly<Record<keyof ProbeIds, string>> = {
  schema: 'select pg_my_temp_schema()::int',
  toastSchema: `select oid::int from pg_namespace where nspname like 'pg_toast_temp_%'`,
  sequence: `select '${PROBE}'::regclass::int`,
}

/** Makes an unnamed statement. To be run last. */
export const probeParse: Uint8Array = concatBytes([
  message('P', utf8('\0select 1\0\0\0')),
  message('S', new Uint8Array(0)),
])

/** Ids of the two schemas of temporary tables, and of the sequence in one of them. */
export interface ProbeIds {
  readonly schema: number
  readonly toastSchema: number
  readonly sequence: number
}

/** What the variables are known by. */
export interface SessionProbe {
  readonly ids: ProbeIds
  readonly process: ProcessProbe
  /** End of the static variables: whatever lies beyond is heap. */
  readonly staticEnd: number
}

/**
 * Finds the variables in the memory of a backend in which the probes have run.
 */
export function findSessionAnchors(
  heap: Uint8Array,
  { ids: { sequence }, process, staticEnd }: SessionProbe,
): Omit<
  SessionAnchors,
  | 'reporting'
  | 'signals'
  | 'statements'
  | 'commandRead'
  | 'transactionStart'
  | 'firstSnapshot'
  | 'scans'
  | 'databaseFunctions'
  | 'encoding'
  | 'temporary'
  | 'advisory'
  | 'activityFunction'
> {
  const memory = new MemorySearch(heap)
  const inStatic = (value: number): number[] => memory.wordsEqualTo(value, staticEnd)
  /** Static pointers to hash tables of a name. */
  const tables = (name: string): number[] => memory.tablesNamed(name, staticEnd)
  const lockTables = tables('PROCLOCK hash')
  const processAnchors = findProcessAnchors(memory, process, staticEnd)
  const sequences = onlyPlace('the table of sequences', tables('Sequence values'))
  return {
    preparedStatements: onlyPlace('the table of statements', tables('Prepared Queries')),
    unnamedStatement: onlyPlace(
      'the unnamed statement',
      memory.wordsEqualTo(PLAN_SOURCE_MAGIC).flatMap(inStatic),
    ),
    sequences,
    // Others remember the relation as well: it is the one declared beside the table.
    lastSequence: onlyPlace(
      'the last sequence',
      memory
        .wordsEqualTo(sequence)
        .flatMap(inStatic)
        .filter(isBeside([sequences])),
    ),
    // Whoever walks a table leaves a pointer to it behind: the three of lock.c lie together.
    localLocks: onlyPlace(
      'the table of locks',
      tables('LOCALLOCK hash').filter(isBeside(lockTables)),
    ),
    portals: onlyPlace('the table of portals', tables('Portal hash')),
    channels: onlyPlace(
      'the list of channels',
      memory
        .textsEqualTo(PROBE)
        .flatMap((text) => memory.wordsEqualTo(text))
        .flatMap((element) => memory.wordsEqualTo(element))
        .flatMap((at) => inStatic(at - LIST_ELEMENTS_AT)),
    ),
    settings: findSettings(memory, staticEnd),
    timeouts: findTimeouts(memory, staticEnd),
    timeoutTable: onlyPlace('the table of timeouts', findTimeoutTables(memory, staticEnd)),
    process: processAnchors,
    activity: findActivity(memory, { ...processAnchors, ...process, probe: PROBE }),
  }
}

function findTimeouts(memory: MemorySearch, staticEnd: number): TimeoutAnchors {
  const found = TIMEOUT_NAMES.map((name, index) => {
    const places = memory
      .textsEqualTo(name)
      .flatMap((text) => memory.wordsEqualTo(text))
      .map((setting) => memory.word(setting + SETTING_VARIABLE_AT))
      .filter((at) => at < staticEnd && memory.word(at) === TIMEOUT_PROBE_MS + index)
    const [at] = new Set(places)
    assert(at, `the variable behind ${name} is found`)
    return [name, at] as const
  })
  return Object.fromEntries(found) as TimeoutAnchors
}

/** Its entries begin with their numbers. */
function findTimeoutTables(memory: MemorySearch, staticEnd: number): number[] {
  const ids = Array.from({ length: TIMEOUT_COUNT }, (_, id) => id)
  return memory
    .wordsEqualTo(TIMEOUT_COUNT - 1)
    .map((last) => last - (TIMEOUT_COUNT - 1) * TIMEOUT_BYTES)
    .filter((at) => at > 0 && at < staticEnd)
    .filter((at) => ids.every((id) => memory.word(at + id * TIMEOUT_BYTES) === id))
}

/** The head is the only link of the list that is no part of a setting. */
function findSettings(memory: MemorySearch, staticEnd: number): number {
  const isSetting = (at: number): boolean => memory.text(memory.word(at)) === 'application_name'
  const found = memory
    .textsEqualTo('application_name')
    .flatMap((text) => memory.wordsEqualTo(text))
    .filter((at) => at < staticEnd && isSetting(at))
    .filter((at) => memory.word(at + SETTING_SOURCE_AT) === SOURCE_SESSION)
  const [setting] = found
  assert(setting && found.length === 1, 'a setting that was set is in one place')
  // It was the last to be set, and the list grows at its end.
  const head = memory.word(setting + SETTING_LINK_AT + LINK_NEXT_AT)
  assert(memory.word(head) === setting + SETTING_LINK_AT, 'the list of settings is closed')
  return head
}

const isBeside =
  (others: readonly number[]) =>
  (at: number): boolean =>
    others.some((other) => Math.abs(other - at) <= BESIDE_BYTES)
