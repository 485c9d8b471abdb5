/**
 * Runs a script of SQL, such as pg_dump writes it, in one transaction: all of it or nothing.
 *
 *     lines --> statement --> run --> COPY? --> lines of data, up to `\.`
 *           --> `\restrict`, `\unrestrict`: tell whether the script is whole; else nothing is done
 *
 * A script is not trusted to be one: what would end the transaction, and the commands of psql that
 * it cannot do without, are refused before anything of it can last.
 */
import { PgnapError } from '../../../base/errors.ts'
import { LIMITS } from '../../../base/limits.ts'
import { StatementFailure } from '../../../base/statement-failure.ts'
import { PostgresError } from '../../../front/wire/result.ts'
import { linesOf } from './lines.ts'
import type { SqlConnection } from './sql-connection.ts'
import { type ScriptStatement, StatementSplitter } from './statement-splitter.ts'

export interface RestoreOptions {
  /** Whether the tenant may have tables of its own already. */
  readonly intoExisting: boolean
  /** Data of one COPY; larger tables come by several. Default: `LIMITS.restoreCopyBytes`. */
  readonly copyBytes?: number
}

export interface Restored {
  readonly statements: number
  /** That came by COPY. */
  readonly rows: number
}

const OWN_TABLES = `SELECT count(*), min(c.oid::regclass::text) FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
      AND d.objid = c.oid AND d.deptype = 'e')`

/** Everything is in one transaction, so what a part of it would be in need not begin or end. */
const HARMLESS = /^(?:begin|start\s+transaction|commit|end)(?:\s+(?:work|transaction))?\s*;$/i
const OF_TRANSACTIONS = /^(?:begin|start|commit|end|abort|rollback|prepare\s+transaction)\b/i
/** Whose data is one row to a line, so that it may come in parts. */
const PLAIN_COPY = /\bfrom\s+stdin\s*;$/i
const END_OF_DATA = /^\\\.\r?\n?$/
const RESTRICT = /^\\(un)?restrict\s+(\S+)\s*$/
/** What pg_dump and others begin with that is no SQL, and what makes SQL of it. */
const ARCHIVES: readonly (readonly [begin: string, what: string, hint: string])[] = [
  ['PGDMP', 'an archive of pg_dump', 'make SQL of it: pg_restore --file=dump.sql ARCHIVE'],
  ['\x1f\x8b', 'compressed', 'unpack it: gunzip -c FILE | pgnap restore TENANT'],
  ['\x28\xb5\x2f\xfd', 'compressed', 'unpack it: zstd -dc FILE | pgnap restore TENANT'],
]

/**
 * Rejects with {@link StatementFailure} if a statement fails, and PgnapError DUMP_INVALID,
 * TENANT_NOT_EMPTY, OUTCOME_UNKNOWN. But for the last the tenant is then as it was.
 */
export async function restoreScript(
  connection: Pick<SqlConnection, 'run'>,
  input: AsyncIterable<Uint8Array>,
  { intoExisting, copyBytes = LIMITS.restoreCopyBytes }: RestoreOptions,
): Promise<Restored> {
  if (!intoExisting) await checkEmpty(connection)
  const lines = linesOf(input)
  try {
    await connection.run('BEGIN')
    const restored = await new ScriptRun(connection, lines, copyBytes).run()
    await commit(connection)
    return restored
  } finally {
    // Whoever is still writing the dump is not to wait for ever for who does not read it.
    await lines.return(undefined)
  }
}

async function commit(connection: Pick<SqlConnection, 'run'>): Promise<void> {
  try {
    await connection.run('COMMIT')
  } catch (error) {
    if (!(error instanceof PgnapError && error.code === 'SERVER_UNREACHABLE')) throw error
    throw new PgnapError('OUTCOME_UNKNOWN', 'the connection broke off while it was committed', {
      hint: 'look whether its tables are there, then restore again if they are not',
      cause: error,
    })
  }
}

async function checkEmpty(connection: Pick<SqlConnection, 'run'>): Promise<void> {
  const { result } = await connection.run(OWN_TABLES)
  const [count, name] = result.rows[0] ?? []
  if (count === '0') return
  throw new PgnapError('TENANT_NOT_EMPTY', 'the tenant has tables of its own', {
    detail: count === '1' ? `${name}` : `${name} and ${Number(count) - 1} others`,
    hint: 'restore into a new tenant, or beside what is there with --into-existing',
  })
}

class ScriptRun {
  readonly #connection: Pick<SqlConnection, 'run'>
  readonly #lines: AsyncIterator<Buffer>
  readonly #copyBytes: number
  readonly #splitter = new StatementSplitter()
  #dataLineCount = 0
  /** Of a `\restrict` whose `\unrestrict` is still to come. */
  #restrictedBy: string | undefined
  #statements = 0
  #rows = 0

  constructor(
    connection: Pick<SqlConnection, 'run'>,
    lines: AsyncIterator<Buffer>,
    copyBytes: number,
  ) {
    this.#connection = connection
    this.#lines = lines
    this.#copyBytes = copyBytes
  }

  async run(): Promise<Restored> {
    for (let line = await this.#nextLine(); line; line = await this.#nextLine()) {
      const text = line.toString('latin1')
      this.#check(text)
      if (text.startsWith('\\') && this.#splitter.isBetween) this.#command(text)
      else for (const statement of this.#splitter.push(text)) await this.#execute(statement)
    }
    if (!this.#splitter.isBetween || this.#restrictedBy !== undefined) throw this.#cutOff()
    if (this.#statements === 0) throw invalid('there is nothing in it to restore')
    return { statements: this.#statements, rows: this.#rows }
  }

  get #lineNumber(): number {
    return this.#splitter.lineCount + this.#dataLineCount
  }

  async #nextLine(): Promise<Buffer | undefined> {
    const { value, done } = await this.#lines.next()
    return done === true ? undefined : value
  }

  #check(text: string): void {
    if (this.#lineNumber === 0) {
      const archive = ARCHIVES.find(([begin]) => text.startsWith(begin))
      if (archive) throw invalid(`this is ${archive[1]}, and not SQL`, archive[2])
    }
    if (text.includes('\0')) throw invalid(`line ${this.#lineNumber + 1} is no text`)
    if (this.#splitter.openChars + text.length > LIMITS.messageBytesMax) {
      const limit = `${LIMITS.messageBytesMax} bytes`
      throw invalid(`a statement before line ${this.#lineNumber + 1} is longer than ${limit}`)
    }
  }

  /** A line for psql. */
  #command(text: string): void {
    this.#dataLineCount++
    const [, ends, key] = RESTRICT.exec(text) ?? []
    if (key !== undefined) {
      this.#restrictedBy = ends === undefined ? key : undefined
      return
    }
    throw invalid(`line ${this.#lineNumber} is a command of psql: ${text.trim()}`, PSQL_HINT)
  }

  async #execute({ sql, line }: ScriptStatement): Promise<void> {
    const lineNumber = line + this.#dataLineCount
    if (HARMLESS.test(sql)) return
    if (OF_TRANSACTIONS.test(sql)) {
      throw invalid(`line ${lineNumber} begins or ends a transaction: ${sql}`, ONE_TRANSACTION_HINT)
    }
    this.#statements++
    let hasMore: boolean
    do hasMore = await this.#runOnce(sql, lineNumber)
    while (hasMore)
  }

  /** Whether there is more data for it than one COPY takes. */
  async #runOnce(sql: string, lineNumber: number): Promise<boolean> {
    let isCopy = false
    let isAtEnd = false
    let leftBytes = PLAIN_COPY.test(sql) ? this.#copyBytes : Infinity
    const copyData = async (): Promise<Uint8Array | undefined> => {
      isCopy = true
      if (isAtEnd || leftBytes <= 0) return undefined
      const { bytes, isLast } = await this.#readData()
      isAtEnd = isLast
      leftBytes -= bytes.length
      return bytes.length > 0 ? bytes : undefined
    }
    const { result, status } = await this.#attempt(sql, lineNumber, copyData)
    if (status !== 'transaction') {
      throw invalid(`line ${lineNumber} has ended the transaction: ${sql}`, ONE_TRANSACTION_HINT)
    }
    if (isCopy) this.#rows += result.rowCount ?? 0
    return isCopy && !isAtEnd
  }

  async #attempt(
    sql: string,
    lineNumber: number,
    copyData: () => Promise<Uint8Array | undefined>,
  ): ReturnType<SqlConnection['run']> {
    try {
      return await this.#connection.run({ latin1: sql }, { copyData })
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error
      const { W: where } = error.fields
      const place = `statement at line ${lineNumber} of the dump`
      const W = where === undefined ? place : `${where}\n${place}`
      const text = Buffer.from(sql, 'latin1').toString()
      throw new StatementFailure(text, new PostgresError({ ...error.fields, W }))
    }
  }

  /** Some lines of a COPY. */
  async #readData(): Promise<{ readonly bytes: Uint8Array; readonly isLast: boolean }> {
    const lines: Buffer[] = []
    let bytes = 0
    while (bytes < Math.min(COPY_MESSAGE_BYTES, this.#copyBytes)) {
      const line = await this.#nextLine()
      if (!line) throw this.#cutOff()
      this.#dataLineCount++
      if (line.length <= END_OF_DATA_BYTES_MAX && END_OF_DATA.test(line.toString('latin1'))) {
        return { bytes: Buffer.concat(lines), isLast: true }
      }
      lines.push(line)
      bytes += line.length
    }
    return { bytes: Buffer.concat(lines), isLast: false }
  }

  #cutOff(): PgnapError {
    const message = `the dump is cut off after line ${this.#lineNumber}`
    return invalid(message, 'make it again: pgnap dump TENANT --output FILE')
  }
}

/** Lines of data are sent in messages of about so much. */
const COPY_MESSAGE_BYTES = 65_536
/** `\.` and a line break of whatever system. */
const END_OF_DATA_BYTES_MAX = 4
const PSQL_HINT = 'run it with psql, or take such lines out'
const ONE_TRANSACTION_HINT =
  'take it out: a restore is one transaction, so that it is all or nothing'

function invalid(message: string, hint?: string): PgnapError {
  return new PgnapError('DUMP_INVALID', message, {
    hint: hint ?? 'nothing was restored; it takes SQL as pgnap dump and pg_dump write it',
  })
}
