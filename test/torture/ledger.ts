/**
 * The model: what must be in a tenant, kept beside the server in memory.
 *
 * Each client owns a domain in each tenant: tables and a sequence that only it writes. So its
 * state is always one of few: the last acknowledged one, or one that a message still without an
 * answer would lead to. The bank is shared by all clients of a tenant; there the ledger knows
 * which transfers must be there and which may be.
 *
 * The ledger never guesses. What was acknowledged is fixed before anything else is sent, and what
 * may happen is written down before its bytes leave.
 */
import { assert } from '../../src/base/assert.ts'

/** Values of one row in the order of the columns, as text. */
export type Row = readonly (string | null)[]

export interface TableState {
  readonly columns: readonly string[]
  /** By the first column, which is the primary key. */
  readonly rows: ReadonlyMap<number, Row>
  /** Names of indexes beside the primary key's, sorted. */
  readonly indexes: readonly string[]
}

export interface DomainState {
  readonly tables: ReadonlyMap<string, TableState>
  /**
   * Undefined if there is no sequence; else a value that was given, or 0: later ones are greater.
   */
  readonly sequence: number | undefined
}

const EMPTY: DomainState = { tables: new Map(), sequence: undefined }

/** What one client must find in one tenant. */
export class DomainLedger {
  #acknowledged: DomainState = EMPTY
  readonly #uncertain: DomainState[] = []

  get acknowledged(): DomainState {
    return this.#acknowledged
  }

  /**
   * Where the tenant may be, in the order in which it would get there; the first is acknowledged.
   */
  get possible(): readonly DomainState[] {
    return [this.#acknowledged, ...this.#uncertain]
  }

  /** State that the next message would be built on. */
  get expected(): DomainState {
    return this.#uncertain.at(-1) ?? this.#acknowledged
  }

  /** A message that leads to `after` is about to be sent. */
  begin(after: DomainState): void {
    this.#uncertain.push(after)
  }

  /** The oldest message begun was acknowledged. */
  acknowledge(): void {
    const state = this.#uncertain.shift()
    assert(state, 'only what was begun is acknowledged')
    this.#acknowledged = state
  }

  /** After a restart: what was found is what counts from now on. */
  adopt(found: DomainState): void {
    this.#acknowledged = found
    this.#uncertain.length = 0
  }
}

/** One row of the journal. */
export interface Transfer {
  readonly from: number
  readonly to: number
  readonly amount: number
}

/** Accounts of each tenant, and what is in each of them at first. */
export const ACCOUNT_COUNT = 8
export const OPENING_BALANCE = 1_000

/** What all clients of one tenant must find in its bank. */
export class BankLedger {
  #opened: 'no' | 'maybe' | 'yes' = 'no'
  #acknowledged = new Map<number, Transfer>()
  readonly #uncertain = new Map<number, Transfer>()
  #nextId = 1

  /** Whether the tables must be there; `maybe` while the message that makes them has no answer. */
  get opened(): 'no' | 'maybe' | 'yes' {
    return this.#opened
  }

  get acknowledged(): ReadonlyMap<number, Transfer> {
    return this.#acknowledged
  }

  get uncertain(): ReadonlyMap<number, Transfer> {
    return this.#uncertain
  }

  beginOpening(): void {
    if (this.#opened === 'no') this.#opened = 'maybe'
  }

  acknowledgeOpening(): void {
    this.#opened = 'yes'
  }

  /** An id that no transfer of this tenant has had, aborted ones included. */
  newId(): number {
    return this.#nextId++
  }

  begin(id: number, transfer: Transfer): void {
    this.#uncertain.set(id, transfer)
  }

  acknowledge(id: number): void {
    const transfer = this.#uncertain.get(id)
    assert(transfer, 'only a transfer that was begun is acknowledged')
    this.#uncertain.delete(id)
    this.#acknowledged.set(id, transfer)
  }

  adopt(found: ReadonlyMap<number, Transfer> | undefined): void {
    this.#opened = found ? 'yes' : 'no'
    this.#acknowledged = new Map(found)
    this.#uncertain.clear()
  }
}

/** Everything that is known of one tenant. */
export class TenantLedger {
  readonly bank: BankLedger = new BankLedger()
  readonly #domains = new Map<number, DomainLedger>()

  domain(client: number): DomainLedger {
    const known = this.#domains.get(client)
    if (known) return known
    const fresh = new DomainLedger()
    this.#domains.set(client, fresh)
    return fresh
  }

  get domains(): ReadonlyMap<number, DomainLedger> {
    return this.#domains
  }
}

/** `state` with one table made, changed, or dropped (undefined). */
export function withTable(
  state: DomainState,
  name: string,
  table: TableState | undefined,
): DomainState {
  const tables = new Map(state.tables)
  if (table) tables.set(name, table)
  else tables.delete(name)
  return { ...state, tables }
}

/** `state` with rows of one table put and removed. */
export function withRows(
  state: DomainState,
  name: string,
  change: { readonly put?: Iterable<Row>; readonly remove?: Iterable<number> },
): DomainState {
  const table = state.tables.get(name)
  assert(table, 'only a table that exists has rows')
  const rows = new Map(table.rows)
  for (const id of change.remove ?? []) rows.delete(id)
  for (const row of change.put ?? []) rows.set(Number(row[0]), row)
  return withTable(state, name, { ...table, rows })
}
