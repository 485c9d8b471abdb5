/** Single statements that write rows: each is its own transaction. */
import { queryMessage } from '../../../src/front/wire/result.ts'
import { type DomainState, type Row, type TableState, withRows } from '../ledger.ts'
import type { PipelinedMessage, Session } from '../session.ts'
import {
  bigText,
  freshId,
  type Operation,
  quote,
  ROWS_MAX,
  someRow,
  someText,
  valuesText,
} from './operation.ts'

interface Target {
  readonly name: string
  readonly table: TableState
  readonly ids: readonly number[]
}

/** One of the client's tables. */
export function someTable(session: Session): Target {
  const tables = [...session.domain.expected.tables]
  const [name, table] = session.pick(tables)
  return { name, table, ids: [...table.rows.keys()] }
}

/** Half of a table's rows, chosen by the seed. */
async function removeSome(session: Session, { name, ids }: Target): Promise<void> {
  const remove = ids.filter(() => session.random.below(2) === 0)
  if (remove.length === 0) return
  const after = withRows(session.domain.expected, name, { remove })
  await session.settle(`delete from ${name} where id in (${remove.join()})`, after)
}

/** A table with room for more rows. */
async function roomyTable(session: Session): Promise<Target> {
  const target = someTable(session)
  if (target.ids.length < ROWS_MAX) return target
  await removeSome(session, target)
  const table = session.domain.expected.tables.get(target.name) ?? target.table
  return { name: target.name, table, ids: [...table.rows.keys()] }
}

function newRow(session: Session, { table }: Target): Row {
  return someRow(session.random, freshId(session.random, table.rows), table.columns)
}

/** Puts one row, of `rowOf`, into a table with room for it, in the way of `send`. */
function insertion(
  name: string,
  weight: number,
  send: (session: Session, target: Target, row: Row, after: DomainState) => Promise<unknown>,
  rowOf: (session: Session, target: Target) => Row = newRow,
): Operation {
  return {
    name,
    weight,
    run: async (session) => {
      const target = await roomyTable(session)
      const row = rowOf(session, target)
      const after = withRows(session.domain.expected, target.name, { put: [row] })
      await send(session, target, row, after)
    },
  }
}

function settleInsert(
  session: Session,
  { name }: Target,
  row: Row,
  after: DomainState,
): Promise<unknown> {
  return session.settle(`insert into ${name} values ${valuesText(row)}`, after)
}

const insert = insertion('insert', 10, settleInsert)

/** Through a named prepared statement. */
const insertPrepared = insertion('insertPrepared', 10, (session, target, row, after) =>
  session.settleBytes(...preparedInsert(session, target, row), after),
)

const insertOverHttp = insertion('insertOverHttp', 3, (session, target, row, after) =>
  session.settleOverHttp(insertText(target, row), row, after),
)

/** A row of several pages, kept out of line. */
const insertBig = insertion('insertBig', 3, settleInsert, (session, target) => {
  const [id = null, , ...others] = newRow(session, target)
  return [id, bigText(session.random), ...others]
})

function insertText(target: Target, row: Row): string {
  const places = row.map((_, index) => (index === 0 ? '$1::bigint' : `$${index + 1}`))
  return `insert into ${target.name} values (${places.join()})`
}

function preparedInsert(session: Session, target: Target, row: Row): [string, Uint8Array] {
  const sql = insertText(target, row)
  return [sql, session.wire.preparedMessages(`${target.name}_${row.length}`, sql, row)]
}

/** Several statements under way at once, each with its own answer: a prefix of them may survive. */
const pipeline: Operation = {
  name: 'pipeline',
  weight: 5,
  run: async (session) => {
    const target = await roomyTable(session)
    const messages: PipelinedMessage[] = []
    let after: DomainState = session.domain.expected
    for (let count = 2 + session.random.below(6); count > 0; count--) {
      const rows = after.tables.get(target.name)?.rows ?? new Map()
      const row = someRow(session.random, freshId(session.random, rows), target.table.columns)
      after = withRows(after, target.name, { put: [row] })
      const bytes =
        session.random.below(2) === 0
          ? preparedInsert(session, target, row)[1]
          : queryMessage(`insert into ${target.name} values ${valuesText(row)}`)
      messages.push({ bytes, after })
    }
    await session.pipeline(messages)
  },
}

/** One statement, many rows: all or none. */
const insertMany: Operation = {
  name: 'insertMany',
  weight: 4,
  run: async (session) => {
    const target = await roomyTable(session)
    const put = manyRows(session, target, 2 + session.random.below(30))
    const after = withRows(session.domain.expected, target.name, { put })
    const values = put.map(valuesText).join(', ')
    await session.settle(`insert into ${target.name} values ${values}`, after)
  },
}

function manyRows(session: Session, { table }: Target, count: number): readonly Row[] {
  const taken = new Set(table.rows.keys())
  return Array.from({ length: count }, () => {
    const id = freshId(session.random, taken)
    taken.add(id)
    return someRow(session.random, id, table.columns)
  })
}

const copy: Operation = {
  name: 'copy',
  weight: 4,
  run: async (session) => {
    const target = await roomyTable(session)
    const put = manyRows(session, target, 1 + session.random.below(40))
    const after = withRows(session.domain.expected, target.name, { put })
    const lines = put.map((row) => `${row.map(copyValue).join('\t')}\n`)
    const sql = `copy ${target.name} from stdin`
    await session.settleCopy(sql, lines.join(''), after)
  },
}

function copyValue(value: string | null): string {
  if (value === null) return '\\N'
  return value.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n')
}

const update: Operation = {
  name: 'update',
  weight: 8,
  run: async (session) => {
    const target = someTable(session)
    if (target.ids.length === 0) return
    const row = someRow(session.random, session.pick(target.ids), target.table.columns)
    await session.settle(...updateOf(session.domain.expected, target.name, row))
  },
}

/** The statement that sets every column of a row, and what it leads to. */
export function updateOf(state: DomainState, name: string, row: Row): [string, DomainState] {
  const columns = state.tables.get(name)?.columns ?? []
  const sets = columns.map((column, index) => `${column} = ${quote(row[index] ?? null)}`)
  const sql = `update ${name} set ${sets.slice(1).join(', ')} where id = ${row[0]}`
  return [sql, withRows(state, name, { put: [row] })]
}

/** Every row of a table: many pages in one commit. */
const updateAll: Operation = {
  name: 'updateAll',
  weight: 2,
  run: async (session) => {
    const { name, table } = someTable(session)
    const suffix = someText(session.random, 8)
    const put = [...table.rows.values()].map((row): Row => {
      const [id = null, value = null, ...others] = row
      return [
        id,
        value === null ? null : Array.from(value).slice(0, 40).join('') + suffix,
        ...others,
      ]
    })
    const after = withRows(session.domain.expected, name, { put })
    const sql = `update ${name} set value = left(value, 40) || ${quote(suffix)}`
    await session.settle(sql, after)
  },
}

const remove: Operation = {
  name: 'delete',
  weight: 3,
  run: async (session) => {
    const target = someTable(session)
    if (session.random.below(4) === 0) return removeSome(session, target)
    if (target.ids.length === 0) return
    const id = session.pick(target.ids)
    const after = withRows(session.domain.expected, target.name, { remove: [id] })
    await session.settle(`delete from ${target.name} where id = ${id}`, after)
  },
}

/** Several statements in one message are one transaction. */
const batch: Operation = {
  name: 'batch',
  weight: 4,
  run: async (session) => {
    const target = await roomyTable(session)
    const put = manyRows(session, target, 4)
    const removed = target.ids.filter(() => session.random.below(6) === 0)
    const change = { put, remove: removed }
    const after = withRows(session.domain.expected, target.name, change)
    const statements = put.map((row) => `insert into ${target.name} values ${valuesText(row)}`)
    const [first = '', ...others] = statements
    const deletion = `delete from ${target.name} where id in (${[0, ...removed].join()})`
    await session.settle([first, deletion, ...others].join('; '), after)
  },
}

/** Reads a whole table while the server runs: evictions must not change what is there. */
const read: Operation = {
  name: 'read',
  weight: 4,
  run: async (session) => {
    const { name, table } = someTable(session)
    const { result } = await session.run(`select * from ${name}`)
    session.demand(
      result.rows.length === table.rows.size,
      `${name} has its ${table.rows.size} rows`,
    )
    for (const row of result.rows) {
      const wanted = table.rows.get(Number(row[0]))
      const same = wanted?.every((value, index) => value === row[index]) ?? false
      session.demand(same, `${name} row ${row[0]} is as acknowledged`)
    }
  },
}

export const ROW_OPERATIONS: readonly Operation[] = [
  insert,
  insertPrepared,
  pipeline,
  insertOverHttp,
  insertMany,
  copy,
  insertBig,
  update,
  updateAll,
  remove,
  batch,
  read,
]
