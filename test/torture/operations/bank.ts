/** Transfers between accounts that all clients of a tenant share. */
import { ACCOUNT_COUNT, OPENING_BALANCE, type Transfer } from '../ledger.ts'
import type { Session } from '../session.ts'
import type { Operation } from './operation.ts'

/** Opens the bank of a tenant; harmless if it is open. */
export async function openBank(session: Session): Promise<void> {
  await session.settleOpening(`begin;
    create table if not exists accounts(id int primary key, balance bigint not null);
    create table if not exists journal
      (id bigint primary key, source int, target int, amount bigint);
    insert into accounts select id, ${OPENING_BALANCE} from generate_series(1, ${ACCOUNT_COUNT}) id
      on conflict do nothing;
    commit`)
}

function someTransfer({ random }: Session): Transfer {
  const from = 1 + random.below(ACCOUNT_COUNT)
  const to = 1 + ((from + random.below(ACCOUNT_COUNT - 1)) % ACCOUNT_COUNT)
  return { from, to, amount: 1 + random.below(100) }
}

/** The statements of a transfer; the sum of all accounts is off between any two of them. */
function statements(id: number, { from, to, amount }: Transfer): readonly [string, string, string] {
  return [
    `update accounts set balance = balance - ${amount} where id = ${from}`,
    `insert into journal values (${id}, ${from}, ${to}, ${amount})`,
    `update accounts set balance = balance + ${amount} where id = ${to}`,
  ]
}

const transfer: Operation = {
  name: 'transfer',
  weight: 10,
  run: async (session) => {
    const id = session.bank.newId()
    const made = someTransfer(session)
    await session.run('begin')
    for (const sql of statements(id, made)) await session.run(sql)
    await session.settleTransfer('commit', id, made)
  },
}

const transferInOneMessage: Operation = {
  name: 'transferInOneMessage',
  weight: 6,
  run: async (session) => {
    const id = session.bank.newId()
    const made = someTransfer(session)
    await session.settleTransfer(statements(id, made).join('; '), id, made)
  },
}

const abortedTransfer: Operation = {
  name: 'abortedTransfer',
  weight: 4,
  run: async (session) => {
    const [take, note] = statements(session.bank.newId(), someTransfer(session))
    await session.run('begin')
    await session.run(take)
    await session.run(note)
    await session.run('rollback')
  },
}

/** Nobody ever sees half a transfer. */
const sum: Operation = {
  name: 'sum',
  weight: 3,
  run: async (session) => {
    const { result } = await session.run('select sum(balance) from accounts')
    const total = Number(result.rows[0]?.[0])
    session.demand(total === ACCOUNT_COUNT * OPENING_BALANCE, `the accounts hold ${total}`)
  },
}

export const BANK_OPERATIONS: readonly Operation[] = [
  transfer,
  transferInOneMessage,
  abortedTransfer,
  sum,
]
