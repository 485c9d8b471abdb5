/** Transactions of several messages: those that commit, those that do not, and those cut off. */
import { type DomainState, type Row, withRows } from '../ledger.ts'
import type { Session } from '../session.ts'
import { freshId, type Operation, ROWS_MAX, someRow, valuesText } from './operation.ts'
import { someTable, updateOf } from './rows.ts'

/** Sends statements that change rows, and returns the state that a commit would lead to. */
async function changeRows(
  session: Session,
  state: DomainState,
  count: number,
): Promise<DomainState> {
  let after = state
  for (let index = 0; index < count; index++) {
    const { name, table } = someTable(session)
    const rows = after.tables.get(name)?.rows ?? table.rows
    const ids = [...rows.keys()]
    const kind = ids.length === 0 ? 0 : session.random.below(ids.length < ROWS_MAX ? 4 : 2)
    if (kind === 1 || (kind === 0 && ids.length >= ROWS_MAX)) {
      const id = session.pick(ids)
      await session.run(`delete from ${name} where id = ${id}`)
      after = withRows(after, name, { remove: [id] })
    } else if (kind === 2) {
      const row = someRow(session.random, session.pick(ids), table.columns)
      const [sql, changed] = updateOf(after, name, row)
      await session.run(sql)
      after = changed
    } else {
      const row: Row = someRow(session.random, freshId(session.random, rows), table.columns)
      await session.run(`insert into ${name} values ${valuesText(row)}`)
      after = withRows(after, name, { put: [row] })
    }
  }
  return after
}

const transaction: Operation = {
  name: 'transaction',
  weight: 10,
  run: async (session) => {
    await session.run('begin')
    const count = 2 + session.random.below(6)
    const after = await changeRows(session, session.domain.expected, count)
    await session.settle('commit', after)
  },
}

/** What a savepoint takes back is not there, what came before and after it is. */
const savepoint: Operation = {
  name: 'savepoint',
  weight: 4,
  run: async (session) => {
    await session.run('begin')
    const before = await changeRows(session, session.domain.expected, 2)
    await session.run('savepoint here')
    await changeRows(session, before, 2)
    await session.run('rollback to savepoint here')
    const after = await changeRows(session, before, 2)
    await session.settle('commit', after)
  },
}

const rollback: Operation = {
  name: 'rollback',
  weight: 4,
  run: async (session) => {
    await session.run('begin')
    await changeRows(session, session.domain.expected, 1 + session.random.below(5))
    await session.run('rollback')
  },
}

/** An error aborts the transaction; its commit is a rollback. */
const failure: Operation = {
  name: 'failure',
  weight: 4,
  run: async (session) => {
    await session.run('begin')
    await changeRows(session, session.domain.expected, 1 + session.random.below(3))
    await session.refused('select 1 / 0', '22012')
    await session.refused('select 1', '25P02')
    const { result } = await session.run('commit')
    session.demand(result.command === 'ROLLBACK', 'the commit of a failed transaction rolls back')
  },
}

/** One message whose last statement fails: none of it may stay. */
const failedBatch: Operation = {
  name: 'failedBatch',
  weight: 3,
  run: async (session) => {
    const { name, table } = someTable(session)
    const id = freshId(session.random, table.rows)
    const row = valuesText(someRow(session.random, id, table.columns))
    const insert = `insert into ${name} values ${row}`
    await session.refused(`${insert}; ${insert}`, '23505')
  },
}

/** The client vanishes in the middle of its transaction. */
const cutOff: Operation = {
  name: 'cutOff',
  weight: 2,
  run: async (session) => {
    await session.run('begin')
    await changeRows(session, session.domain.expected, 1 + session.random.below(4))
    if (session.random.below(2) === 0) session.wire.close()
    else session.wire.destroy()
  },
}

export const TRANSACTION_OPERATIONS: readonly Operation[] = [
  transaction,
  savepoint,
  rollback,
  failure,
  failedBatch,
  cutOff,
]
