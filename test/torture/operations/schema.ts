/** Operations that change the schema, and those on sequences. */
import { type DomainState, type Row, type TableState, withTable } from '../ledger.ts'
import type { Session } from '../session.ts'
import { MAIN_TABLE, type Operation, quote, someRow, someText, valuesText } from './operation.ts'
import { someTable } from './rows.ts'

/** Tables of one domain beside its main one. */
const EXTRA_TABLES = ['one', 'two', 'three']
const COLUMNS_MAX = 5
const INDEXES_MAX = 3

const NEW_TABLE: TableState = { columns: ['id', 'value'], rows: new Map(), indexes: [] }

const tableText = (name: string): string =>
  `create table ${name}(id bigint primary key, value text)`

/** Makes what every domain has. */
export async function openDomain(session: Session): Promise<void> {
  const { expected } = session.domain
  const name = session.name(MAIN_TABLE)
  const after: DomainState = { ...withTable(expected, name, NEW_TABLE), sequence: 0 }
  await session.settle(`${tableText(name)}; create sequence ${session.name('numbers')}`, after)
}

/** Makes a table that is not there, or drops it. */
const createOrDrop: Operation = {
  name: 'createOrDrop',
  weight: 4,
  run: async (session) => {
    const { expected } = session.domain
    const name = session.name(session.pick(EXTRA_TABLES))
    if (expected.tables.has(name)) {
      await session.settle(`drop table ${name}`, withTable(expected, name, undefined))
      return
    }
    const first: Row = ['1', someText(session.random, 40)]
    const table: TableState = { ...NEW_TABLE, rows: new Map([[1, first]]) }
    const sql = `${tableText(name)}; insert into ${name} values ${valuesText(first)}`
    await session.settle(sql, withTable(expected, name, table))
  },
}

/** Fills a table from a query, which writes its pages in bulk. */
const createAsSelect: Operation = {
  name: 'createAsSelect',
  weight: 2,
  run: async (session) => {
    const { expected } = session.domain
    const name = session.name(session.pick(EXTRA_TABLES))
    const source = session.name(MAIN_TABLE)
    const rows = expected.tables.get(source)?.rows ?? new Map<number, Row>()
    const copied = [...rows].map(([id, row]): [number, Row] => [id, row.slice(0, 2)])
    await session.run('begin')
    await session.run(`drop table if exists ${name}`)
    await session.run(`create table ${name} as select id, value from ${source}`)
    await session.run(`alter table ${name} add primary key (id)`)
    const table: TableState = { ...NEW_TABLE, rows: new Map(copied) }
    await session.settle('commit', withTable(expected, name, table))
  },
}

const addColumn: Operation = {
  name: 'addColumn',
  weight: 3,
  run: async (session) => {
    const { expected } = session.domain
    const { name, table } = someTable(session)
    if (table.columns.length >= COLUMNS_MAX) return
    const column = `extra${table.columns.length}`
    const value = someText(session.random, 20)
    const rows = [...table.rows].map(([id, row]): [number, Row] => [id, [...row, value]])
    const columns = [...table.columns, column]
    const sql = `alter table ${name} add column ${column} text default ${quote(value)}`
    await session.settle(sql, withTable(expected, name, { ...table, columns, rows: new Map(rows) }))
  },
}

const createIndex: Operation = {
  name: 'createIndex',
  weight: 3,
  run: async (session) => {
    const { expected } = session.domain
    const { name, table } = someTable(session)
    const [oldest = ''] = table.indexes
    if (table.indexes.length >= INDEXES_MAX) {
      const indexes = table.indexes.slice(1)
      await session.settle(`drop index ${oldest}`, withTable(expected, name, { ...table, indexes }))
      return
    }
    const column = session.pick(table.columns.slice(1))
    const index = `${name}_by_${column}`
    if (table.indexes.includes(index)) return
    // A big value does not fit into an index row, its hash always does.
    const sql = `create index ${index} on ${name} (md5(${column}), id)`
    const indexes = [...table.indexes, index].toSorted()
    await session.settle(sql, withTable(expected, name, { ...table, indexes }))
  },
}

const truncate: Operation = {
  name: 'truncate',
  weight: 1,
  run: async (session) => {
    const { name, table } = someTable(session)
    const after = withTable(session.domain.expected, name, { ...table, rows: new Map() })
    await session.settle(`truncate ${name}`, after)
  },
}

/** Tables made, emptied and dropped by a transaction that does not commit. */
const abortedSchema: Operation = {
  name: 'abortedSchema',
  weight: 2,
  run: async (session) => {
    const { name, table } = someTable(session)
    await session.run('begin')
    await session.run(`truncate ${name}`)
    await session.run(`alter table ${name} add column gone text default 'gone'`)
    const row = someRow(session.random, 1, [...table.columns, 'gone'])
    await session.run(`insert into ${name} values ${valuesText(row)}`)
    await session.run(`create table ${session.name('gone')}(n int)`)
    await session.run(`drop table ${session.name(MAIN_TABLE)}`)
    await session.run('rollback')
  },
}

/** A sequence never gives a number again that a client has seen, also one of a rollback. */
const nextNumber: Operation = {
  name: 'nextNumber',
  weight: 4,
  run: async (session) => {
    const { expected } = session.domain
    const undone = session.random.below(2) === 0
    if (undone) await session.run('begin')
    const { result } = await session.run(`select nextval('${session.name('numbers')}')`)
    const sequence = Number(result.rows[0]?.[0])
    const last = expected.sequence ?? 0
    session.demand(sequence > last, `the sequence gives more than ${last}, not ${sequence}`)
    if (undone) await session.run('rollback')
    session.domain.begin({ ...expected, sequence })
    session.domain.acknowledge()
  },
}

export const SCHEMA_OPERATIONS: readonly Operation[] = [
  createOrDrop,
  createAsSelect,
  addColumn,
  createIndex,
  truncate,
  abortedSchema,
  nextNumber,
]
