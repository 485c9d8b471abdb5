/**
 * Tables of a store and the facts in its `meta` table. The version of the format is a row and not
 * `user_version`, because a Durable Object refuses PRAGMA. docs/store-format.md describes every
 * column.
 *
 * `page` holds the current content flat, `undo` what commits replaced, `log` one row per commit.
 * `undo` is WITHOUT ROWID: one row written per replaced page instead of two.
 */
import { PgnapError } from '../base/errors.ts'
import type { Medium, SqlValue } from '../medium/medium.ts'
import { corrupt } from './varint.ts'

/** Raised when a store of before could not be read, or misread, by the code of before. */
export const FORMAT_VERSION = 1

const TABLES = `
CREATE TABLE meta (k TEXT PRIMARY KEY, v NOT NULL) WITHOUT ROWID;
CREATE TABLE layer (id INTEGER PRIMARY KEY, parent INTEGER, base INTEGER NOT NULL, name TEXT,
  at INTEGER NOT NULL, floor INTEGER NOT NULL, floor_at INTEGER NOT NULL,
  next_inode INTEGER NOT NULL, dead INTEGER NOT NULL);
CREATE TABLE page (id INTEGER PRIMARY KEY, since INTEGER NOT NULL, hist BLOB, data BLOB NOT NULL);
CREATE TABLE undo (id INTEGER NOT NULL, ver INTEGER NOT NULL, since INTEGER NOT NULL, hist BLOB,
  data BLOB NOT NULL, PRIMARY KEY (id, ver)) WITHOUT ROWID;
CREATE TABLE log (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, ids BLOB NOT NULL);
`

/** Facts of a store that are true for all its layers. */
export interface StoreMeta {
  readonly format: number
  /** The engine build that wrote last. */
  readonly fingerprint: string
  readonly postgresMajor: number
  /** The template that every page is a difference from. Never changes. */
  readonly templateId: string
  readonly nextLayer: number
  /** Counts owners; whoever writes with an older one is refused. */
  readonly epoch: number
}

/** 32 hex digits that no other store has. Stores of before there was one have none. */
const STORE_ID_KEY = 'store_id'

const KEYS = {
  format: 'format',
  fingerprint: 'fingerprint',
  postgresMajor: 'postgres_major',
  templateId: 'template',
  nextLayer: 'next_layer',
  epoch: 'epoch',
} as const satisfies Record<keyof StoreMeta, string>

/** Makes the tables of an empty medium. Call inside a transaction. */
export function createTables(medium: Medium, meta: StoreMeta): void {
  for (const statement of TABLES.split(';')) {
    if (statement.trim() !== '') medium.exec(statement)
  }
  for (const [fact, key] of Object.entries(KEYS)) {
    medium.run('INSERT INTO meta VALUES (?1, ?2)', key, meta[fact as keyof StoreMeta])
  }
  drawStoreId(medium)
}

/** Gives a store another id. Call inside a transaction. */
export function drawStoreId(medium: Medium): void {
  drawName(medium, STORE_ID_KEY)
}

/** Undefined for a store of before there was one. */
export function readStoreId(medium: Medium): string | undefined {
  const value = medium.get('SELECT v FROM meta WHERE k = ?1', STORE_ID_KEY)?.[0]
  return typeof value === 'string' ? value : undefined
}

/** Undefined for an empty medium. Throws STORE_FORMAT_UNKNOWN for what this code cannot read. */
export function readMeta(medium: Medium): StoreMeta | undefined {
  const tables = medium.all(`SELECT name FROM sqlite_schema WHERE type = 'table'`)
  const names = new Set(tables.map((row) => row[0]))
  if (!names.has('meta')) {
    // A Durable Object keeps tables of its own beside ours, so "empty" means only: none of ours.
    if (!names.has('page')) return undefined
    throw formatUnknown('it has no facts about itself')
  }
  const facts = new Map<SqlValue, SqlValue>()
  for (const [key, value] of medium.all('SELECT k, v FROM meta')) facts.set(key ?? '', value ?? '')
  const format = facts.get(KEYS.format)
  if (format !== FORMAT_VERSION) throw formatUnknown(`its format is ${String(format)}`)
  return {
    format,
    fingerprint: textFact(facts, KEYS.fingerprint),
    postgresMajor: numberFact(facts, KEYS.postgresMajor),
    templateId: textFact(facts, KEYS.templateId),
    nextLayer: numberFact(facts, KEYS.nextLayer),
    epoch: numberFact(facts, KEYS.epoch),
  }
}

export function setMeta(medium: Medium, fact: keyof StoreMeta, value: SqlValue): void {
  medium.run('UPDATE meta SET v = ?2 WHERE k = ?1', KEYS[fact], value)
}

/** The epoch as it is in the medium now. */
export function readEpoch(medium: Medium): number {
  return asNumber(medium.get(`SELECT v FROM meta WHERE k = 'epoch'`)?.[0])
}

/** 32 hex digits that each owner draws when it first writes. Missing where none has since. */
const OWNER_KEY = 'owner'

export function readOwner(medium: Medium): string | undefined {
  const value = medium.get('SELECT v FROM meta WHERE k = ?1', OWNER_KEY)?.[0]
  return typeof value === 'string' ? value : undefined
}

/** Draws a new one. Call inside a transaction. */
export function drawOwner(medium: Medium): string {
  drawName(medium, OWNER_KEY)
  const owner = readOwner(medium)
  if (owner === undefined) throw corrupt('an owner that was drawn is gone')
  return owner
}

function drawName(medium: Medium, key: string): void {
  medium.run(
    `INSERT INTO meta VALUES (?1, lower(hex(randomblob(16))))
     ON CONFLICT (k) DO UPDATE SET v = excluded.v`,
    key,
  )
}

const NOTES_KEY = 'notes'

/** What the pool keeps beside a tenant's data: not part of any version. Undefined: nothing yet. */
export function readNotes(medium: Medium): string | undefined {
  const value = medium.get('SELECT v FROM meta WHERE k = ?1', NOTES_KEY)?.[0]
  return typeof value === 'string' ? value : undefined
}

export function writeNotes(medium: Medium, notes: string): void {
  medium.transaction(() => {
    medium.run(
      'INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v',
      NOTES_KEY,
      notes,
    )
  })
}

/** A column that must hold an integer. */
export function asNumber(value: SqlValue | undefined): number {
  if (typeof value !== 'number') throw corrupt('a column that holds numbers does not')
  return value
}

/** A column that must hold bytes. */
export function asBytes(value: SqlValue | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw corrupt('a column that holds bytes does not')
  return value
}

function textFact(facts: ReadonlyMap<SqlValue, SqlValue>, key: string): string {
  const value = facts.get(key)
  if (typeof value !== 'string') throw corrupt(`the fact "${key}" is missing`)
  return value
}

function numberFact(facts: ReadonlyMap<SqlValue, SqlValue>, key: string): number {
  const value = facts.get(key)
  if (typeof value !== 'number') throw corrupt(`the fact "${key}" is missing`)
  return value
}

function formatUnknown(what: string): PgnapError {
  return new PgnapError('STORE_FORMAT_UNKNOWN', `this store cannot be read: ${what}`, {
    hint: `this pgnap reads format ${FORMAT_VERSION}; open the store with the pgnap that wrote it`,
  })
}
