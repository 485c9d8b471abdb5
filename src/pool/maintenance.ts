/**
 * What upkeep a tenant needs: the decisions that Postgres leaves to its autovacuum daemon, which a
 * Postgres in single-user mode does not have. Pure: SQL texts, thresholds, and a ledger of
 * counters.
 *
 * The thresholds are autovacuum's own, with the tenant's settings and each table's storage
 * parameters:
 *
 *   vacuum    dead rows     > least(50 + 0.2 * reltuples, autovacuum_vacuum_max_threshold)
 *   vacuum    rows inserted > 1000 + 0.2 * reltuples * (share of pages not yet frozen)
 *   vacuum    age(relfrozenxid) > autovacuum_freeze_max_age, or the same for multixacts: even if
 *             autovacuum is switched off, because the alternative is a database that stops
 *   analyze   rows changed  > 50 + 0.1 * reltuples
 *
 * The counters live in Postgres's memory and are lost whenever a tenant leaves its slot, since
 * coming back is a crash recovery, and that resets statistics. Therefore the pool reads them
 * before a tenant leaves and keeps the sums in a ledger: in memory, and beside the store after
 * each idle time. A `kill -9` loses what was counted since the tenant was last idle: a vacuum then
 * comes later, by at most those rows. Rows counted twice or for nothing cost one early vacuum;
 * nothing depends on them.
 *
 * It must never decide by anything that a client can set for its session only.
 */
import type { Row } from './backend-query.ts'

/** Rows that changed since somebody last cleaned up after them. */
export interface TableCounters {
  readonly dead: number
  readonly inserted: number
  readonly modified: number
}

/** Counters by table (its OID), as they stood when Postgres last started on the tenant. */
export type Ledger = ReadonlyMap<number, TableCounters>

/** One table as the survey sees it. */
export interface TableFacts {
  readonly oid: number
  /** Quoted and qualified. */
  readonly name: string
  readonly isToast: boolean
  /** As of the last vacuum or analyze; negative if there was none. */
  readonly reltuples: number
  /** Share of pages that are not yet frozen, in [0, 1]. */
  readonly unfrozenShare: number
  /** Since Postgres was started on this tenant. */
  readonly live: TableCounters
  /** Whether they were vacuumed or analyzed since then, by anybody: older counts are settled. */
  readonly vacuumed: boolean
  readonly analyzed: boolean
  readonly xidAge: number
  readonly multixactAge: number
  /** The table's own storage parameters. */
  readonly options: ReadonlyMap<string, string>
}

/** The autovacuum settings of a tenant, by name. */
export type MaintenanceSettings = ReadonlyMap<string, string>

/** A table that needs work now. */
export interface MaintenanceTask {
  readonly oid: number
  readonly vacuum: boolean
  readonly analyze: boolean
  /** It is due because of the age of what is in it. */
  readonly freezes: boolean
  readonly statement: string
}

const SETTINGS = [
  'autovacuum',
  'autovacuum_vacuum_threshold',
  'autovacuum_vacuum_scale_factor',
  'autovacuum_vacuum_max_threshold',
  'autovacuum_vacuum_insert_threshold',
  'autovacuum_vacuum_insert_scale_factor',
  'autovacuum_analyze_threshold',
  'autovacuum_analyze_scale_factor',
  'autovacuum_freeze_max_age',
  'autovacuum_multixact_freeze_max_age',
] as const

type SettingName = (typeof SETTINGS)[number]

/**
 * Makes Postgres publish the counters of this backend before the next query; else they lag by
 * seconds.
 */
export const FLUSH_COUNTERS_SQL = 'select pg_catalog.pg_stat_force_next_flush()'

/** One row of the settings, in the order that {@link readSettings} expects. */
export const SETTINGS_SQL: string = `select ${SETTINGS.map(
  (name) => `pg_catalog.current_setting('${name}')`,
).join(', ')}`

/** WAL in bytes that a crash recovery would have to read. */
export const WAL_BYTES_SQL =
  'select pg_catalog.pg_current_wal_insert_lsn() - redo_lsn from pg_catalog.pg_control_checkpoint()'

/**
 * Asks for every table that may need work: changed since the start, in the ledger, or old. It
 * reads the counters by function, because the view `pg_stat_all_tables` takes 5 ms where this
 * takes less than one.
 */
export function surveySql(ledger: Ledger): string {
  const known = [...ledger.keys()].map(Number).join(', ')
  return `select c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind, c.reltuples,
    case when c.relpages > 0
      then 1 - least(c.relallfrozen, c.relpages)::float8 / c.relpages else 1 end,
    c.dead, c.inserted, c.modified,
    pg_catalog.pg_stat_get_last_vacuum_time(c.oid) is not null,
    pg_catalog.pg_stat_get_last_analyze_time(c.oid) is not null,
    c.xid_age, c.multixact_age, pg_catalog.array_to_string(c.reloptions, ',')
  from (
    select *, pg_catalog.pg_stat_get_dead_tuples(oid) as dead,
      pg_catalog.pg_stat_get_ins_since_vacuum(oid) as inserted,
      pg_catalog.pg_stat_get_mod_since_analyze(oid) as modified,
      pg_catalog.age(relfrozenxid) as xid_age, pg_catalog.mxid_age(relminmxid) as multixact_age
    from pg_catalog.pg_class where relkind in ('r', 'm', 't') and relpersistence <> 't'
    offset 0
  ) c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.dead + c.inserted + c.modified > 0 or c.xid_age > 100000 or c.multixact_age > 10000
    or ${known === '' ? 'false' : `c.oid in (${known})`}
  order by c.oid`
}

/** The row of {@link SETTINGS_SQL} by name. */
export function readSettings(row: Row): MaintenanceSettings {
  return new Map(SETTINGS.map((name, index) => [name, row[index] ?? '']))
}

/** One row of {@link surveySql}. */
export function readTable(row: Row): TableFacts {
  const number = (column: number): number => Number(row[column] ?? 0)
  const options = (row[12] ?? '').split(',').map((option) => option.split('='))
  return {
    oid: number(0),
    name: row[1] ?? '',
    isToast: row[2] === 't',
    reltuples: number(3),
    unfrozenShare: number(4),
    live: { dead: number(5), inserted: number(6), modified: number(7) },
    vacuumed: row[8] === 't',
    analyzed: row[9] === 't',
    xidAge: number(10),
    multixactAge: number(11),
    options: new Map(options.map(([name, value]) => [name ?? '', value ?? ''])),
  }
}

/** All that is known to have changed in a table: before this start of Postgres, and since. */
export function totalCounters(table: TableFacts, ledger: Ledger): TableCounters {
  const before = ledger.get(table.oid)
  const unvacuumed = table.vacuumed ? undefined : before
  const unanalyzed = table.analyzed ? undefined : before
  return {
    dead: table.live.dead + (unvacuumed?.dead ?? 0),
    inserted: table.live.inserted + (unvacuumed?.inserted ?? 0),
    modified: table.live.modified + (unanalyzed?.modified ?? 0),
  }
}

/** The ledger for the time after the tenant has left its slot. Tables that are gone drop out. */
export function carryOver(tables: readonly TableFacts[], ledger: Ledger): Ledger {
  const carried = new Map<number, TableCounters>()
  for (const table of tables) {
    const total = totalCounters(table, ledger)
    if (total.dead + total.inserted + total.modified > 0) carried.set(table.oid, total)
  }
  return carried
}

/** What to do about `table`, or undefined. */
export function taskFor(
  table: TableFacts,
  ledger: Ledger,
  settings: MaintenanceSettings,
): MaintenanceTask | undefined {
  const total = totalCounters(table, ledger)
  const value = (name: SettingName): number => settingOf(table, settings, name)
  const rows = Math.max(0, table.reltuples)
  const mustFreeze =
    table.xidAge > value('autovacuum_freeze_max_age') ||
    table.multixactAge > value('autovacuum_multixact_freeze_max_age')
  const enabled = isOn(settings.get('autovacuum')) && isOn(table.options.get('autovacuum_enabled'))
  const vacuum = mustFreeze || (enabled && vacuumDue(total, rows, table.unfrozenShare, value))
  const analyzeAbove =
    value('autovacuum_analyze_threshold') + value('autovacuum_analyze_scale_factor') * rows
  // TOAST tables have no statistics of their own.
  const analyze = enabled && !table.isToast && total.modified > analyzeAbove
  if (!vacuum && !analyze) return undefined
  const verb = vacuum ? (analyze ? 'vacuum (analyze)' : 'vacuum') : 'analyze'
  const statement = `${verb} ${table.name}`
  return { oid: table.oid, vacuum, analyze, freezes: mustFreeze, statement }
}

/**
 * What follows once tables were frozen: the database is as young as its oldest table, and so are
 * `template0` and `template1`, to which nobody can connect here. They were frozen when they were
 * made and nothing is ever written in them, but Postgres counts the age of the oldest database:
 * without this it would refuse all writes after two billion transactions, and keep the status of
 * each until then. A VACUUM makes it take notice.
 */
export function afterFreezing(tasks: readonly MaintenanceTask[]): readonly MaintenanceTask[] {
  if (!tasks.some(({ freezes }) => freezes)) return []
  const task = { analyze: false, freezes: true }
  return [
    { ...task, oid: 0, vacuum: false, statement: RENEW_TEMPLATES_SQL },
    { ...task, oid: DATABASES_OID, vacuum: true, statement: 'vacuum pg_catalog.pg_database' },
  ]
}

/** Of `pg_database`. */
const DATABASES_OID = 1262

const RENEW_TEMPLATES_SQL = `update pg_catalog.pg_database t
  set datfrozenxid = own.datfrozenxid, datminmxid = own.datminmxid
  from pg_catalog.pg_database own
  where own.datname operator(pg_catalog.=) pg_catalog.current_database()
    and t.datname operator(pg_catalog.=) any (array['template0', 'template1']::pg_catalog.name[])
    and pg_catalog.age(own.datfrozenxid) operator(pg_catalog.<) pg_catalog.age(t.datfrozenxid)`

function vacuumDue(
  total: TableCounters,
  rows: number,
  unfrozenShare: number,
  value: (name: SettingName) => number,
): boolean {
  const max = value('autovacuum_vacuum_max_threshold')
  const scaled =
    value('autovacuum_vacuum_threshold') + value('autovacuum_vacuum_scale_factor') * rows
  const deadAbove = max >= 0 ? Math.min(scaled, max) : scaled
  if (total.dead > deadAbove) return true
  const insertBase = value('autovacuum_vacuum_insert_threshold')
  // -1 switches vacuums for inserts off.
  if (insertBase < 0) return false
  const insertScale = value('autovacuum_vacuum_insert_scale_factor')
  return total.inserted > insertBase + insertScale * rows * unfrozenShare
}

function settingOf(table: TableFacts, settings: MaintenanceSettings, name: SettingName): number {
  const general = Number(settings.get(name))
  const own = table.options.get(name)
  if (own === undefined) return general
  // A table can only ask to be frozen earlier, as in autovacuum itself.
  return name.endsWith('freeze_max_age') ? Math.min(Number(own), general) : Number(own)
}

function isOn(value: string | undefined): boolean {
  return value === undefined || !['off', 'false', 'no', '0'].includes(value.toLowerCase())
}

/** The ledger after `task` was done: what it cleaned up no longer counts. */
export function settle(ledger: Ledger, task: MaintenanceTask): Ledger {
  const before = ledger.get(task.oid)
  if (!before) return ledger
  const settled = new Map(ledger)
  settled.set(task.oid, {
    dead: task.vacuum ? 0 : before.dead,
    inserted: task.vacuum ? 0 : before.inserted,
    modified: task.analyze ? 0 : before.modified,
  })
  return settled
}

const NOTES_VERSION = 1

/** A ledger as text to be kept beside the store. */
export function writeLedger(ledger: Ledger): string {
  const tables = [...ledger].map(([oid, each]) => [oid, each.dead, each.inserted, each.modified])
  return JSON.stringify({ version: NOTES_VERSION, tables })
}

/**
 * Reads {@link writeLedger}. Notes are a help, never a truth: whatever is not understood (an older
 * or newer version, damage) counts as no notes.
 */
export function readLedger(notes: string | undefined): Ledger {
  const ledger = new Map<number, TableCounters>()
  for (const row of rowsOfNotes(notes)) {
    if (!Array.isArray(row) || row.length !== 4) continue
    const [oid, dead, inserted, modified] = row.map(Number)
    if (![oid, dead, inserted, modified].every(isCount)) continue
    ledger.set(oid ?? 0, { dead: dead ?? 0, inserted: inserted ?? 0, modified: modified ?? 0 })
  }
  return ledger
}

function isCount(value: number | undefined): boolean {
  return Number.isSafeInteger(value) && (value ?? -1) >= 0
}

function rowsOfNotes(notes: string | undefined): readonly unknown[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(notes ?? 'null')
  } catch {
    return []
  }
  if (typeof parsed !== 'object' || parsed === null || !('tables' in parsed)) return []
  if (!('version' in parsed) || parsed.version !== NOTES_VERSION) return []
  return Array.isArray(parsed.tables) ? parsed.tables : []
}
