/**
 * Looking at one tenant's store without serving it: facts for `pgnap inspect`, checks for `pgnap
 * verify`. Both need the data folder for themselves, because a store has one owner.
 *
 * Verify checks three layers, each on its own terms: the SQLite file, the invariants of the store,
 * and, booted in a slot whose changes are thrown away, Postgres's own (amcheck: every btree against
 * its heap, every heap page).
 */
import type { TenantName } from '../../base/ids.ts'
import type { WasmEngine } from '../../engine/wasm-engine.ts'
import type { WasmSlot } from '../../engine/wasm-slot.ts'
import { queryMessage, readAnswer, type ResultSet } from '../../front/wire/result.ts'
import { parseTenantName } from '../../router/tenant-name.ts'
import type { StoreFacts } from '../../store/inspect.ts'
import { systemClock } from './clock.ts'
import { systemRandom } from './random.ts'
import type { Config } from './config.ts'
import { openSettledFolder } from './journal/settled-folder.ts'
import { openLog } from './log.ts'
import { createEngine, loadEngineParts } from './engine/load-engine.ts'
import { StoreFactory } from './store-factory.ts'

export interface TenantCheck {
  readonly tenant: string
  /** What is wrong, one sentence each; empty if nothing is. */
  readonly problems: readonly string[]
  /** What was looked at. */
  readonly checked: {
    readonly btrees: number
    readonly tables: number
  }
}

/**
 * Facts of a tenant's store.
 * Errors: TENANT_UNKNOWN, CONFIG_INVALID (no data folder), DATA_FOLDER_IN_USE, STORE_*.
 */
export async function inspectTenant(config: Config, tenant: string): Promise<StoreFacts> {
  return withStores(config, async (stores) => {
    using store = stores.openStore(parseTenantName(tenant))
    return store.inspect()
  })
}

/** Checks everything about a tenant. Reads the whole database. Errors: as {@link inspectTenant}. */
export async function verifyTenant(config: Config, tenant: string): Promise<TenantCheck> {
  const name = parseTenantName(tenant)
  return withStores(config, async (stores, engine) => {
    const problems = storeProblems(stores, name)
    // A store that is wrong is not booted: Postgres would only report the same damage less clearly.
    if (problems.length > 0) return { tenant, problems, checked: { btrees: 0, tables: 0 } }
    const slot = await engine.createSlot()
    const open = stores.open(name)
    try {
      slot.boot(open.files, name)
      return { tenant, ...checkWithAmcheck(slot) }
    } finally {
      // Not committed: what recovery and CREATE EXTENSION wrote is thrown away.
      open.close()
      slot.discard()
    }
  })
}

function storeProblems(stores: StoreFactory, tenant: TenantName): readonly string[] {
  using store = stores.openStore(tenant)
  return [...store.damage(), ...store.verify()]
}

function checkWithAmcheck(slot: WasmSlot): Omit<TenantCheck, 'tenant'> {
  const problems: string[] = []
  // What Postgres stumbles over is a finding like any other, and not the end of the search.
  const rowsOf = (what: string, sql: string): ResultSet['rows'] => {
    const { result, error } = readAnswer(slot.run(queryMessage(sql)))
    if (error) problems.push(`${what}: ${error.message}`)
    return error ? [] : result.rows
  }
  rowsOf('amcheck', 'CREATE EXTENSION IF NOT EXISTS amcheck')
  const btrees = rowsOf('the list of indexes', BTREES)
  for (const [oid] of btrees) rowsOf(`index ${oid}`, `SELECT bt_index_check(${oid}, true)`)
  const tables = rowsOf('the list of tables', TABLES)
  for (const [oid] of tables) {
    const found = rowsOf(`table ${oid}`, `SELECT blkno, offnum, msg FROM verify_heapam(${oid})`)
    for (const [block, item, text] of found) {
      problems.push(`table ${oid}, block ${block}, item ${item}: ${text}`)
    }
  }
  return { problems, checked: { btrees: btrees.length, tables: tables.length } }
}

const BTREES = `SELECT c.oid::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam
  JOIN pg_index i ON i.indexrelid = c.oid
  WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisvalid`
const TABLES = `SELECT oid::text FROM pg_class WHERE relkind IN ('r', 't', 'm')
  AND relpersistence = 'p'`

async function withStores<Result>(
  config: Config,
  use: (stores: StoreFactory, engine: WasmEngine) => Promise<Result>,
): Promise<Result> {
  const place = { path: config.data, clock: systemClock, mustExist: true }
  using folder = await openSettledFolder(place, openLog({ level: config.logLevel }))
  const engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
  })
  const stores = new StoreFactory({
    dataPath: folder.path,
    tenantsPath: folder.tenantsPath,
    clock: systemClock,
    engine,
    retentionMs: config.retentionMs,
    createMissing: false,
  })
  return use(stores, engine)
}
