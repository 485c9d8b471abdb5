/**
 * What a SHOW command answers: columns, and the rows that are read when it is asked. A column's
 * name, type and value stand in one line, so that a new one is added in one place.
 */
import type { Clock } from '../../base/clock.ts'
import type { ClientFacts, Control } from '../control.ts'
import type { Operations } from '../operations.ts'

/** Where the console looks. It never reaches past this. */
export interface ConsoleSources {
  readonly control: Pick<Control, 'pool' | 'pools' | 'activity' | 'storeFacts' | 'shards'>
  readonly operations: Operations
  readonly clock: Clock
  /** Of pgnap and of Postgres, as SHOW VERSION tells them. */
  readonly version: string
  readonly serverVersion: string
  /** When the server was started, in milliseconds since 1970. */
  readonly startedMs: number
  /** In the order in which they are documented. */
  readonly settings: readonly SettingFacts[]
  /** Users of the password file; 0 if nobody is asked for one. */
  userCount(): Promise<number>
  /** Clients of the console itself. */
  clients(): readonly ClientFacts[]
}

export interface SettingFacts {
  readonly name: string
  readonly value: string | null
  readonly otherwise: string | null
}

export type ColumnType = 'text' | 'int4' | 'int8' | 'float8'
export type Cell = string | number | null

export interface Column {
  readonly name: string
  readonly type: ColumnType
}

/** A part of a long answer: `SHOW TENANTS AFTER 'acme' LIMIT 100`. */
export interface Page {
  readonly after: string | undefined
  readonly limit: number
}

export interface Rows {
  readonly rows: readonly (readonly Cell[])[]
  /** Something the client should know about them. */
  readonly notice?: string
}

export interface Table {
  /** What it shows, for SHOW HELP. */
  readonly about: string
  readonly columns: readonly Column[]
  /** Takes AFTER and LIMIT. */
  readonly paged: boolean
  read(sources: ConsoleSources, page: Page): Promise<Rows>
}

/** One column of a table whose rows are made of `Row`. */
export interface ColumnOf<Row> extends Column {
  readonly of: (row: Row) => Cell
}

export function column<Row>(name: string, type: ColumnType, of: (row: Row) => Cell): ColumnOf<Row> {
  return { name, type, of }
}

/** A table with a row of each of what `read` gives. */
export function table<Row>(
  about: string,
  read: (sources: ConsoleSources) => Promise<readonly Row[]>,
  columns: readonly ColumnOf<Row>[],
): Table {
  return {
    about,
    columns,
    paged: false,
    read: async (sources) => ({ rows: cellsOf(columns, await read(sources)) }),
  }
}

export function cellsOf<Row>(columns: readonly ColumnOf<Row>[], rows: readonly Row[]): Cell[][] {
  return rows.map((row) => columns.map((each) => each.of(row)))
}
