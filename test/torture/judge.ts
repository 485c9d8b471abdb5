/**
 * Compares what is in a tenant with what the ledger says must or may be there. Pure: the reading is
 * done elsewhere, so that this file can be tested against every kind of loss.
 */
import {
  ACCOUNT_COUNT,
  type BankLedger,
  type DomainLedger,
  type DomainState,
  OPENING_BALANCE,
  type Row,
  type TableState,
  type Transfer,
} from './ledger.ts'

/** A bank as it was read: undefined where the table is missing. */
export interface ObservedBank {
  readonly balances: ReadonlyMap<number, number> | undefined
  readonly journal: ReadonlyMap<number, Transfer> | undefined
}

const DIFFERENCES_MAX = 8
const VALUE_CHARS_MAX = 40

/** Problems of one domain; none if it is in a state that it may be in. */
export function judgeDomain(ledger: DomainLedger, found: DomainState): readonly string[] {
  if (stepsReached(ledger, found) >= 0) return []
  const candidates = ledger.possible.map((state) => differences(state, found))
  const [fromAcknowledged = [], ...fromUncertain] = candidates
  return [
    ...fromAcknowledged.slice(0, DIFFERENCES_MAX),
    ...fromUncertain.map(
      (list, index) =>
        `nor does it fit the unanswered message ${index + 1}: ${list.slice(0, 2).join('; ')}`,
    ),
  ]
}

/** How many of the unanswered messages took effect; -1 if the state is none that may be. */
export function stepsReached(ledger: DomainLedger, found: DomainState): number {
  return ledger.possible.findLastIndex((state) => differences(state, found).length === 0)
}

/** What is in `found` and not in `wanted`, or the other way round; one sentence each. */
export function differences(wanted: DomainState, found: DomainState): readonly string[] {
  const list: string[] = []
  for (const [name, table] of wanted.tables) {
    const other = found.tables.get(name)
    if (other) tableDifferences(name, table, other, list)
    else list.push(`table ${name} is lost`)
  }
  for (const name of found.tables.keys()) {
    if (!wanted.tables.has(name)) list.push(`table ${name} should not be there`)
  }
  if ((wanted.sequence === undefined) !== (found.sequence === undefined)) {
    list.push(`the sequence ${found.sequence === undefined ? 'is lost' : 'should not be there'}`)
  }
  if (wanted.sequence !== undefined && (found.sequence ?? 0) <= wanted.sequence) {
    list.push(`the sequence gives ${found.sequence} again after ${wanted.sequence}`)
  }
  return list
}

function tableDifferences(
  name: string,
  wanted: TableState,
  found: TableState,
  list: string[],
): void {
  if (wanted.columns.join() !== found.columns.join()) {
    list.push(`${name} has columns ${found.columns.join()} and not ${wanted.columns.join()}`)
    return
  }
  if (wanted.indexes.join() !== found.indexes.join()) {
    list.push(`${name} has indexes [${found.indexes.join()}] and not [${wanted.indexes.join()}]`)
  }
  for (const [id, row] of wanted.rows) {
    const other = found.rows.get(id)
    if (!other) list.push(`${name}: row ${id} is lost`)
    else if (!sameRow(row, other)) {
      list.push(`${name}: row ${id} is ${rowText(other)} and not ${rowText(row)}`)
    }
  }
  for (const [id, row] of found.rows) {
    if (!wanted.rows.has(id)) list.push(`${name}: row ${id} should not be there: ${rowText(row)}`)
  }
}

function sameRow(one: Row, other: Row): boolean {
  return one.length === other.length && one.every((value, index) => value === other[index])
}

function rowText(row: Row): string {
  const values = row.map((value) => {
    if (value === null || value.length <= VALUE_CHARS_MAX) return String(value)
    return `${value.slice(0, VALUE_CHARS_MAX)}... (${value.length} characters)`
  })
  return `(${values.join(', ')})`
}

/** Problems of a bank: lost, invented or torn transfers, and sums that do not hold. */
export function judgeBank(ledger: BankLedger, found: ObservedBank): readonly string[] {
  const { balances, journal } = found
  if ((balances === undefined) !== (journal === undefined)) return ['half of the bank is there']
  if (balances === undefined || journal === undefined) {
    return ledger.opened === 'yes' ? ['the bank is lost'] : []
  }
  if (ledger.opened === 'no') return ['nobody has opened this bank']
  const list: string[] = []
  for (const [id, transfer] of ledger.acknowledged) {
    const other = journal.get(id)
    if (!other) list.push(`transfer ${id} is lost`)
    else if (!sameTransfer(transfer, other)) list.push(`transfer ${id} has changed`)
  }
  for (const [id, transfer] of journal) {
    const begun = ledger.acknowledged.get(id) ?? ledger.uncertain.get(id)
    if (!begun) list.push(`transfer ${id} was aborted, or never made`)
    else if (!sameTransfer(begun, transfer)) list.push(`transfer ${id} is not what was asked for`)
  }
  sumProblems(balances, journal, list)
  return list.slice(0, DIFFERENCES_MAX)
}

function sumProblems(
  balances: ReadonlyMap<number, number>,
  journal: ReadonlyMap<number, Transfer>,
  list: string[],
): void {
  const wanted = new Map<number, number>()
  for (let id = 1; id <= ACCOUNT_COUNT; id++) wanted.set(id, OPENING_BALANCE)
  for (const { from, to, amount } of journal.values()) {
    wanted.set(from, (wanted.get(from) ?? 0) - amount)
    wanted.set(to, (wanted.get(to) ?? 0) + amount)
  }
  for (const [id, balance] of wanted) {
    if (balances.get(id) !== balance) {
      list.push(`account ${id} holds ${balances.get(id)} and not ${balance}: a torn transfer`)
    }
  }
  let sum = 0
  for (const balance of balances.values()) sum += balance
  const total = ACCOUNT_COUNT * OPENING_BALANCE
  if (sum !== total) list.push(`all accounts together hold ${sum} and not ${total}`)
}

function sameTransfer(one: Transfer, other: Transfer): boolean {
  return one.from === other.from && one.to === other.to && one.amount === other.amount
}
