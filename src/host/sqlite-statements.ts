/**
 * Statements of a stranger on a SQLite database in memory: what they return, and what they must not
 * do. Databases of several strangers are files of one memory, so no statement may open another file
 * (ATTACH, VACUUM INTO): SQLite itself says what a text is, comments and case aside. Many a PRAGMA
 * is for all of them (`hard_heap_limit`) and has its effect when it is prepared, so each is read
 * here before SQLite sees it.
 */
import type { Database, SqlValue, Statement } from 'sql.js'
import { PgnapError, errorText } from '../base/errors.ts'
import { sqlJsFailure } from './sql-js-error.ts'

export interface StatementsAnswer {
  readonly fields: readonly { readonly name: string }[]
  /** Blobs as hexadecimal digits, since JSON has none. */
  readonly rows: readonly Readonly<Record<string, SqlValue>>[]
  /** Rows returned, or changed by the last statement. */
  readonly rowCount: number
}

const OPENS_A_FILE = /^\s*(?:EXPLAIN\s+(?:QUERY\s+PLAN\s+)?)?(?:ATTACH\b|VACUUM\b.*\bINTO\b)/is

/** They say or change something of their own database alone, and {@link changesOf} sees what. */
const PRAGMAS: ReadonlySet<string> = new Set([
  'application_id',
  'foreign_key_check',
  'foreign_key_list',
  'freelist_count',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'page_count',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
  'user_version',
])

/** What stands between words, one after the other. */
const BETWEEN = /\s+|;|--[^\n]*|\/\*[^]*?(?:\*\/|$)/y
const WORD = /\w+|[^]/y
/** `explain query plan pragma main.name`. */
const PRAGMA_WORDS = 7

/** With the setting by which whole numbers come as what they are; types know it not. */
interface ExactStatement {
  get(parameters: undefined, settings: { readonly useBigInt: true }): (SqlValue | bigint)[]
}

/**
 * Runs the statements of a text in order; what the last one returns. A transaction that they leave
 * open is rolled back and an error: nobody is to take what was in it for stored. If one fails,
 * those before it stay: the caller gives the database up.
 * @param parameters of the first statement
 * @throws PgnapError REQUEST_INVALID, NOT_SUPPORTED, and STORE_* for what is wrong with the file
 */
export function runStatements(
  database: Database,
  sql: string,
  parameters: readonly SqlValue[],
): StatementsAnswer {
  try {
    let answer: StatementsAnswer = { fields: [], rows: [], rowCount: 0 }
    let bound = parameters
    const statements = database.iterateStatements(sql)
    for (;;) {
      refusePragma(statements.getRemainingSQL())
      const { done, value: statement } = statements.next()
      if (done) break
      if (OPENS_A_FILE.test(statement.getNormalizedSQL())) throw opensAFile()
      answer = run(database, statement, bound)
      bound = []
    }
    endTransaction(database)
    return answer
  } catch (error) {
    const failure = sqlJsFailure(error)
    if (failure.code !== 'INTERNAL') throw failure
    const text = errorText(error)
    throw new PgnapError('REQUEST_INVALID', text, {
      hint: 'this is SQLite and not Postgres: see its SQL',
    })
  }
}

/**
 * Parameters of JSON as SQLite has them: it knows no booleans, and lists and objects as text.
 * sql.js binds whole numbers beyond 32 bits as `real`, which columns of integers make whole again.
 */
export function sqliteValues(values: readonly unknown[]): SqlValue[] {
  return values.map((value) => {
    if (value === null || typeof value === 'string') return value
    if (typeof value === 'boolean') return value ? 1 : 0
    return typeof value === 'number' ? value : JSON.stringify(value)
  })
}

/** Names of its tables; none if it is empty. */
export function tablesOf(database: Database): string[] {
  const [found] = database.exec("SELECT name FROM sqlite_master WHERE type='table'")
  return (found?.values ?? []).map(([name]) => String(name))
}

/** Another text after whatever was written. */
export function changesOf(database: Database): string {
  const results = database.exec(
    'SELECT total_changes(); PRAGMA schema_version; PRAGMA user_version; PRAGMA application_id',
  )
  return results.map(({ values }) => String(values[0]?.[0])).join('.')
}

function run(
  database: Database,
  statement: Statement,
  parameters: readonly SqlValue[],
): StatementsAnswer {
  statement.bind([...parameters])
  const rows: Record<string, SqlValue>[] = []
  const names = statement.getColumnNames()
  while (statement.step()) {
    const values = (statement as unknown as ExactStatement).get(undefined, { useBigInt: true })
    rows.push(Object.fromEntries(names.map((name, at) => [name, shown(values[at] ?? null)])))
  }
  const rowCount = names.length > 0 ? rows.length : database.getRowsModified()
  return { fields: names.map((name) => ({ name })), rows, rowCount }
}

/** One that a request leaves open ends with it. */
function endTransaction(database: Database): void {
  try {
    database.run('ROLLBACK')
  } catch (error) {
    if (/no transaction is active/.test(String(error))) return
    throw error
  }
  throw new PgnapError('REQUEST_INVALID', 'the request left a transaction open: it is undone', {
    hint: 'send BEGIN, what belongs together and COMMIT in one request',
  })
}

/** As JSON can hold it: numbers that it would change are texts, as those of Postgres. */
function shown(value: SqlValue | bigint): SqlValue {
  if (typeof value === 'bigint') {
    return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  }
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  if (!(value instanceof Uint8Array)) return value
  return Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** A name in quotes is none that is allowed. @param sql begins with what is prepared next */
function refusePragma(sql: string): void {
  let words = firstWords(sql)
  if (words[0] === 'explain') words = words.slice(words[1] === 'query' ? 3 : 1)
  if (words[0] !== 'pragma') return
  const isQualified = (words[1] === 'main' || words[1] === 'temp') && words[2] === '.'
  const name = words[isQualified ? 3 : 1] ?? ''
  if (PRAGMAS.has(name)) return
  throw new PgnapError('NOT_SUPPORTED', `PRAGMA ${name} is not for who shares a memory`, {
    hint: `there are ${[...PRAGMAS].join(', ')}`,
  })
}

/** In lower case. Where one ends is SQLite's to say: it gives the rest after each statement. */
function firstWords(sql: string): readonly string[] {
  const words: string[] = []
  let at = 0
  while (at < sql.length && words.length < PRAGMA_WORDS) {
    BETWEEN.lastIndex = at
    WORD.lastIndex = at
    if (BETWEEN.test(sql)) at = BETWEEN.lastIndex
    else if (WORD.test(sql)) {
      words.push(sql.slice(at, WORD.lastIndex).toLowerCase())
      at = WORD.lastIndex
    }
  }
  return words
}

function opensAFile(): PgnapError {
  return new PgnapError('NOT_SUPPORTED', 'a statement may use its own database alone', {
    hint: 'leave out ATTACH and VACUUM INTO',
  })
}
