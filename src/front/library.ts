/**
 * pgnap as an object of a program: `tenant(name).query(...)`. The last few lines between a
 * Control, which speaks text, and JavaScript values; how those correspond is in values.ts.
 *
 * Every query is a session of its own: a transaction is one statement, or one block of SQL (`DO`, a
 * function). It must never keep anything of a tenant between two queries.
 */
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Control, PoolFacts, TenantFacts, TenantPage, Timings } from './control.ts'
import {
  type ValueReader,
  encodeParameters,
  libraryReaders,
  readRowArrays,
  readRowObjects,
  withOwnReaders,
} from './values.ts'

/** A column, with the names that node-postgres gives. */
export interface QueryField {
  readonly name: string
  readonly tableID: number
  readonly columnID: number
  readonly dataTypeID: number
}

export interface QueryResult<Row = Record<string, unknown>> {
  readonly rows: Row[]
  readonly fields: readonly QueryField[]
  /** First word of the command tag: `SELECT`, `INSERT`, ... */
  readonly command: string
  /** Rows returned or changed; null where Postgres counts none. */
  readonly rowCount: number | null
  /** Where the time went. */
  readonly timings: Timings
}

export interface QueryOptions {
  /**
   * Aborted before the query is handed to the tenant's shard, it keeps the query from running: it
   * rejects with the signal's reason. From then on the query, or its wait, is cancelled as by a
   * cancel request, and rejects with SQLSTATE 57014.
   */
  readonly signal?: AbortSignal
  /** `object` (default): by column name, the last of equal names wins. `array`: in column order. */
  readonly rowMode?: 'object' | 'array'
  /** Own readers by type OID, for this query: `{ 20: BigInt }` reads int8 as bigint. */
  readonly readers?: Readonly<Record<number, ValueReader>>
}

/** One tenant. Making the object costs nothing and looks nothing up. */
export interface Tenant {
  readonly name: string
  /**
   * Runs one statement. Rejects with PgnapError or, where Postgres said no, with PostgresError.
   *
   * @example
   * const { rows } = await nap.tenant('acme').query('select $1::int + 1 as n', [41]) // [{ n: 42 }]
   */
  query<Row = Record<string, unknown>>(
    sql: string,
    parameters?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<QueryResult<Row>>
  /**
   * The same with the values in place: they become parameters, never SQL.
   *
   * @example
   * const { rows } = await acme.sql`select * from users where id = ${id}`
   */
  sql<Row = Record<string, unknown>>(
    strings: TemplateStringsArray,
    ...values: readonly unknown[]
  ): Promise<QueryResult<Row>>
}

export interface Tenants {
  /**
   * With all that is committed in `template` by now, or empty. TENANT_EXISTS if it is there
   * already; TENANT_UNKNOWN, and TENANT_BUSY if somebody is in the middle of something there.
   */
  create(name: string, options?: { readonly template?: string }): Promise<TenantFacts>
  /**
   * In order of names, after `after`, at most `limit` (default 100, at most 1000). There is more as
   * long as the answer has a `next`.
   */
  list(page?: { readonly after?: string; readonly limit?: number }): Promise<TenantPage>
  show(name: string): Promise<TenantFacts>
  /** Removes a tenant and its data. */
  delete(name: string): Promise<void>
  /** Takes a tenant out of its slot. TENANT_BUSY if somebody is in the middle of something. */
  nap(name: string): Promise<TenantFacts>
  /** Loads a tenant before it is asked for. */
  wake(name: string): Promise<TenantFacts>
  /** Keeps its image in memory from now on. PINS_EXHAUSTED beyond pinnedTenantsMax. */
  pin(name: string): Promise<TenantFacts>
  unpin(name: string): Promise<TenantFacts>
}

export interface Pgnap extends AsyncDisposable {
  tenant(name: string): Tenant
  readonly tenants: Tenants
  pool(): Promise<PoolFacts>
  /** Waits for what runs, puts every tenant away. Afterwards everything rejects. Idempotent. */
  close(): Promise<void>
}

const PAGE_TENANTS = 100

/** The object over `control`; `close` gives up what is behind it and is called once. */
export function createPgnap(control: Control, close: () => Promise<void>): Pgnap {
  let closed: Promise<void> | undefined
  const open = (): Control => {
    if (!closed) return control
    throw new PgnapError('SHUTTING_DOWN', 'this pgnap has been closed', {
      hint: 'open it again with openPgnap',
    })
  }
  const closeOnce = (): Promise<void> => (closed ??= close())
  return {
    tenant: (name) => createTenant(name, open),
    tenants: {
      create: async (name, { template } = {}) => open().createTenant(name, template),
      list: async (page = {}) => {
        const limit = Math.min(page.limit ?? PAGE_TENANTS, LIMITS.tenantsPerPageMax)
        return open().listTenants({ ...page, limit })
      },
      show: async (name) => open().showTenant(name),
      delete: async (name) => open().deleteTenant(name),
      nap: async (name) => open().napTenant(name),
      wake: async (name) => open().wakeTenant(name),
      pin: async (name) => open().pinTenant(name),
      unpin: async (name) => open().unpinTenant(name),
    },
    pool: async () => open().pool(),
    close: closeOnce,
    [Symbol.asyncDispose]: closeOnce,
  }
}

function createTenant(name: string, open: () => Control): Tenant {
  const query: Tenant['query'] = async <Row>(
    sql: string,
    values: readonly unknown[] = [],
    options: QueryOptions = {},
  ): Promise<QueryResult<Row>> => {
    checkText('TENANT_NAME_INVALID', 'the name of a tenant', name)
    checkText('REQUEST_INVALID', 'a statement', sql)
    const statement = { sql, parameters: encodeParameters(values) }
    const { result, timings } = await open().query(name, statement, options.signal)
    const { readers: own, rowMode } = options
    const readers = own ? withOwnReaders(libraryReaders, own) : libraryReaders
    const readRows = rowMode === 'array' ? readRowArrays : readRowObjects
    return {
      // What a row looks like is the caller's claim about its own SQL.
      rows: readRows(result, readers) as Row[],
      fields: result.fields.map((field) => ({
        name: field.name,
        tableID: field.tableOid,
        columnID: field.columnNumber,
        dataTypeID: field.typeOid,
      })),
      command: result.command,
      rowCount: result.rowCount,
      timings,
    }
  }
  return {
    name,
    query,
    sql: (strings, ...values) =>
      query(
        strings.reduce((sql, part, index) => `${sql}$${index}${part}`),
        values,
      ),
  }
}

/** A caller without types may give anything. */
function checkText(
  code: 'TENANT_NAME_INVALID' | 'REQUEST_INVALID',
  what: string,
  given: unknown,
): void {
  if (typeof given === 'string') return
  const type = given === null ? 'null' : typeof given
  throw new PgnapError(code, `${what} is a text, not ${type}`)
}
