/** Reads what is in a tenant, as the ledger would put it, through a client like any other. */
import type { ObservedBank } from './judge.ts'
import type { DomainState, Row, TableState, Transfer } from './ledger.ts'
import { UnexpectedAnswer } from './session.ts'
import type { WireClient } from './wire-client.ts'

/** All that is in a tenant. */
export interface Observed {
  /** By client number. */
  readonly domains: ReadonlyMap<number, DomainState>
  readonly bank: ObservedBank
  /** Tables and sequences that belong to nobody. */
  readonly strays: readonly string[]
  readonly rowCount: number
}

/** Rows of a query that must succeed. */
export async function rowsOf(wire: WireClient, sql: string): Promise<readonly Row[]> {
  const { error, result } = await wire.ask(sql)
  if (error) throw new UnexpectedAnswer(`${sql.slice(0, 200)}: ${error.sqlState} ${error.message}`)
  return result.rows
}

const RELATIONS = `select relname, relkind from pg_class
  where relnamespace = 'public'::regnamespace and relkind in ('r', 'S') order by 1`
const COLUMNS = `select attrelid::regclass::text, string_agg(attname, ',' order by attnum)
  from pg_attribute join pg_class on pg_class.oid = attrelid
  where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
  group by 1`
const INDEXES = `select indrelid::regclass::text, string_agg(indexrelid::regclass::text, ',')
  from pg_index join pg_class on pg_class.oid = indrelid
  where relnamespace = 'public'::regnamespace and not indisprimary and indisvalid group by 1`

/** Reads everything. Takes one number from each sequence. */
export async function observe(wire: WireClient): Promise<Observed> {
  const relations = await rowsOf(wire, RELATIONS)
  const columns = new Map((await rowsOf(wire, COLUMNS)) as readonly [string, string][])
  const indexes = new Map((await rowsOf(wire, INDEXES)) as readonly [string, string][])
  const domains = new Map<
    number,
    { tables: Map<string, TableState>; sequence: number | undefined }
  >()
  const strays: string[] = []
  const bankTables = new Set<string>()
  let rowCount = 0
  for (const [name = null, kind] of relations) {
    const owner = /^c(\d+)_/.exec(name ?? '')?.[1]
    if (name === 'accounts' || name === 'journal') bankTables.add(name)
    else if (name === null || owner === undefined) strays.push(String(name))
    else {
      const domain = domains.get(Number(owner)) ?? { tables: new Map(), sequence: undefined }
      domains.set(Number(owner), domain)
      if (kind === 'S') {
        domain.sequence = Number((await rowsOf(wire, `select nextval('${name}')`))[0]?.[0])
        continue
      }
      const rows = await rowsOf(wire, `select * from ${name}`)
      rowCount += rows.length
      domain.tables.set(name, {
        columns: columns.get(name)?.split(',') ?? [],
        rows: new Map(rows.map((row) => [Number(row[0]), row])),
        indexes: (indexes.get(name)?.split(',') ?? []).toSorted(),
      })
    }
  }
  const bank = await observeBank(wire, bankTables)
  rowCount += (bank.journal?.size ?? 0) + (bank.balances?.size ?? 0)
  return { domains, bank, strays, rowCount }
}

async function observeBank(wire: WireClient, tables: ReadonlySet<string>): Promise<ObservedBank> {
  const accounts = tables.has('accounts') ? await rowsOf(wire, 'select * from accounts') : undefined
  const journal = tables.has('journal') ? await rowsOf(wire, 'select * from journal') : undefined
  return {
    balances: accounts && new Map(accounts.map(([id, balance]) => [Number(id), Number(balance)])),
    journal: journal && new Map(journal.map(journalEntry)),
  }
}

function journalEntry(row: Row): [number, Transfer] {
  const [id, from = 0, to = 0, amount = 0] = row.map(Number)
  return [id ?? 0, { from, to, amount }]
}
