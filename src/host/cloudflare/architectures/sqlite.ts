/**
 * `/sqlite`: no Postgres at all. Each user's SQLite database is one object in R2, loaded whole into
 * the memory of the isolate (sql.js), and saved whole when something was written (seed 004).
 *
 *   GET  /sqlite?user=NAME     loads it, looks at it, saves it: how long each takes, in the words
 *                              and units of the seed
 *   POST /sqlite/query?user=NAME, /sqlite/timing     one statement or several, in SQLite's SQL
 *
 * An isolate keeps the databases that it has used last, and uses one again if the object still has
 * the tag that it was loaded or saved with. While a request uses one nobody else does: who comes at
 * the same time loads another copy, and of two that write the second one is told (STORE_FENCED).
 * It must never answer a write before R2 has it.
 */
import type { SqlValue } from 'sql.js'
import { LIMITS } from '../../../base/limits.ts'
import type { Phases } from '../../../base/phases.ts'
import { SYNC_ACTIONS, syncStatus } from '../../../base/sync-delay.ts'
import { parseTenantName } from '../../../router/tenant-name.ts'
import {
  BucketDatabase,
  type BucketDatabaseOptions,
  type SaveTiming,
} from '../../bucket-database.ts'
import { isOutOfMemory } from '../../sql-js-error.ts'
import {
  changesOf,
  runStatements,
  sqliteValues,
  type StatementsAnswer,
  tablesOf,
} from '../../sqlite-statements.ts'
import { workerClock } from '../clock.ts'
import { R2ObjectBucket } from '../r2-bucket.ts'
import { giveUpSqlJs, theSqlJs } from '../sql-js.ts'
import { type Architecture, type Ask, DEFAULT_TENANT, type JsonBody } from './architecture.ts'
import { delaysOf } from './isolate-delays.ts'

/** Whose database is looked at if nobody is named, as in the seed. */
const LOOKED_AT = 'test'

export const sqlite: Architecture = {
  what: 'SQLite in memory (sql.js) at Worker level, one object in R2 per user; no Postgres',
  durability: 'durable before it is answered: the whole database is in R2',
  status: async () => ({
    keptDatabases: kept.size,
    keptBytes: [...kept.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    syncDelay: delaysOf('sqlite').facts(),
  }),
  endpoints: {
    '': {
      method: 'GET',
      what: 'how long a load, a look and a save take (?user=)',
      answer: (ask) => toItsEnd(ask, look(ask)),
    },
    query: {
      method: 'POST',
      what: 'runs statements in SQLite (?user=)',
      answer: (ask) => toItsEnd(ask, query(ask)),
    },
    timing: {
      method: 'POST',
      what: 'the same, with the phases of the request',
      answer: async (ask) => ({
        ...(await toItsEnd(ask, query(ask))),
        timing: ask.phases.report(),
      }),
    },
  },
}

/** Databases at rest, by user, least recently used first. */
const kept = new Map<string, BucketDatabase>()

interface Loading {
  readonly wasmInitMs: number
  readonly downloadMs: number
  readonly parseMs: number
  readonly totalMs: number
  readonly isKept: boolean
}

interface Opened {
  readonly user: string
  readonly file: BucketDatabase
  readonly loading: Loading
}

/** Goes on when the client has gone: what is open is neither kept nor closed otherwise. */
function toItsEnd(ask: Ask, work: Promise<JsonBody>): Promise<JsonBody> {
  // Whoever waits for the answer is told of a failure.
  ask.waitUntil(work.catch(() => {}))
  return work
}

async function look(ask: Ask): Promise<JsonBody> {
  // Loaded anew each time: that is what is asked about.
  const opened = await open(ask, false)
  const { file, loading } = opened
  const startMs = workerClock.monotonicMs()
  const tables = ask.phases.measureSync('execute', () => tablesOf(file.database))
  const queryMs = workerClock.monotonicMs() - startMs
  const saving = await save(ask.phases, opened)
  rest(opened)
  return {
    success: true,
    delay_analysis: {
      load: delayOf(loading.totalMs),
      save: delayOf(saving.totalMs),
      thresholds: {
        optimal_ms: LIMITS.syncOptimalMs,
        acceptable_ms: LIMITS.syncAcceptableMs,
        warning_ms: LIMITS.syncWarningMs,
        critical_ms: LIMITS.syncCriticalMs,
      },
    },
    timing_breakdown: {
      ...loadBreakdown(loading),
      query_ms: hundredths(queryMs),
      ...saveBreakdown(saving),
    },
    db_info: { ...infoOf(file), tables },
  }
}

async function query(ask: Ask): Promise<JsonBody> {
  const { sql } = await ask.statement()
  const values = sqliteValues(await ask.values())
  const opened = await open(ask, true)
  const { user, file, loading } = opened
  const before = changesOf(file.database)
  const answer = ask.phases.measureSync('execute', () => runIn(file, sql, values))
  let saving: SaveTiming | undefined
  if (changesOf(file.database) !== before) saving = await save(ask.phases, opened)
  rest(opened)
  return {
    architecture: 'sqlite',
    tenant: user,
    servedBy: 'isolate',
    loaded: !loading.isKept,
    saved: saving !== undefined,
    ...answer,
    delay_analysis: {
      load: delayOf(loading.totalMs),
      ...(saving ? { save: delayOf(saving.totalMs) } : {}),
    },
    db_info: infoOf(file),
  }
}

/** The user's database, for this request alone. @param mayBeKept whether one at rest will do */
async function open(
  { environment, tenant, url, phases }: Ask,
  mayBeKept: boolean,
): Promise<Opened> {
  const fallback = !mayBeKept && tenant === DEFAULT_TENANT ? LOOKED_AT : tenant
  const user: string = parseTenantName(url.searchParams.get('user') ?? fallback)
  const startMs = workerClock.monotonicMs()
  const sqlJs = await phases.measure('wasm_init', theSqlJs)
  const wasmInitMs = workerClock.monotonicMs() - startMs
  const bucket = new R2ObjectBucket(environment.BUCKET)
  const key = `${user}/database.sqlite`
  const resting = kept.get(user)
  kept.delete(user)
  if (resting) {
    if (mayBeKept && (await isCurrent(resting, () => bucket.tagOf(key), phases))) {
      const totalMs = workerClock.monotonicMs() - startMs
      const loading = { wasmInitMs, downloadMs: 0, parseMs: 0, totalMs, isKept: true }
      return { user, file: resting, loading }
    }
    resting.close()
  }
  const waitedMs = workerClock.monotonicMs() - startMs
  const monitor: BucketDatabaseOptions['monitor'] = {
    // Who loads waits for all that comes before it, too, and is told of that.
    record: (kind, ms) => delaysOf('sqlite').record(kind, kind === 'load' ? waitedMs + ms : ms),
  }
  const file = await phases.measure('load', () =>
    BucketDatabase.load({ sqlJs, bucket, key, clock: workerClock, monitor }),
  )
  const { downloadMs, parseMs } = file.loadTiming
  const totalMs = workerClock.monotonicMs() - startMs
  return { user, file, loading: { wasmInitMs, downloadMs, parseMs, totalMs, isKept: false } }
}

/** Whether the object is still what it was loaded or saved as; closes it if nobody knows. */
async function isCurrent(
  resting: BucketDatabase,
  tagOf: () => Promise<string | undefined>,
  phases: Phases,
): Promise<boolean> {
  try {
    return (await phases.measure('check', tagOf)) === resting.tag
  } catch (error) {
    resting.close()
    throw error
  }
}

/** What has failed may have changed something before: nobody is to see that. */
function runIn(file: BucketDatabase, sql: string, values: readonly SqlValue[]): StatementsAnswer {
  try {
    return runStatements(file.database, sql, values)
  } catch (error) {
    file.close()
    if (isOutOfMemory(error)) giveUpMemory()
    throw error
  }
}

/** Its memory never shrinks, and is all databases': the next request begins with a new one. */
function giveUpMemory(): void {
  giveUpSqlJs()
  kept.clear()
}

/** Back to where the next request finds it. One that has failed is not: it is loaded anew. */
function rest({ user, file }: Opened): void {
  // Somebody who came at the same time may have been quicker.
  kept.get(user)?.close()
  kept.delete(user)
  kept.set(user, file)
  let bytes = [...kept.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  for (const [other, oldest] of kept) {
    if (kept.size <= LIMITS.isolateSqliteKeptMax && bytes <= LIMITS.isolateSqliteKeptBytesMax)
      return
    bytes -= oldest.sizeBytes
    kept.delete(other)
    oldest.close()
  }
}

/** What cannot be saved is not kept either: memory is ahead of the bucket. */
async function save(phases: Phases, { file }: Opened): Promise<SaveTiming> {
  try {
    return await phases.measure('save', () => file.save())
  } catch (error) {
    file.close()
    if (isOutOfMemory(error)) giveUpMemory()
    throw error
  }
}

function delayOf(ms: number): JsonBody {
  const status = syncStatus(ms)
  return { ms: Math.round(ms), status, action: SYNC_ACTIONS[status] }
}

function loadBreakdown({ totalMs, wasmInitMs, downloadMs, parseMs }: Loading): JsonBody {
  return {
    load: {
      total_ms: hundredths(totalMs),
      wasm_init_ms: hundredths(wasmInitMs),
      download_ms: hundredths(downloadMs),
      parse_ms: hundredths(parseMs),
    },
  }
}

function saveBreakdown({ totalMs, serializeMs, uploadMs }: SaveTiming): JsonBody {
  return {
    save: {
      total_ms: hundredths(totalMs),
      serialize_ms: hundredths(serializeMs),
      upload_ms: hundredths(uploadMs),
    },
  }
}

function infoOf({ sizeBytes }: BucketDatabase): JsonBody {
  return { size_kb: hundredths(sizeBytes / 1024), size_bytes: sizeBytes }
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100
}
