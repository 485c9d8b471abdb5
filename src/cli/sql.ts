/** `pgnap sql TENANT STATEMENT`: one statement, a table as psql prints it, or JSON. */
import type { Command } from 'commander'
import { StatementFailure } from '../base/statement-failure.ts'
import type { Config } from '../host/node/config.ts'
import { type TableColumn, formatTable, rowsLine } from './table.ts'
import { type TextResult, addTarget, openTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

const EXAMPLES = `
Examples:
  pgnap sql acme "select version()"
  pgnap sql acme "select * from users" --json
  echo "select 1" | pgnap sql acme -
  pgnap sql acme "select 1" --url http://127.0.0.1:6480
`

/**
 * Types whose values stand at the right, as in psql: int2, int4, int8, oid, floats, numeric, money.
 */
const RIGHT_ALIGNED: ReadonlySet<number> = new Set([20, 21, 23, 26, 28, 29, 700, 701, 790, 1700])

/** Adds the verb. */
export function addSql(program: Command, terminal: Terminal): void {
  const command = program
    .command('sql')
    .description('run one statement')
    .argument('<tenant>', 'the tenant')
    .argument('<statement>', 'SQL, or - to read it from standard input')
    .option('--json', 'print the result as JSON, every value as Postgres wrote it')
    .addHelpText('after', EXAMPLES)
  addTarget(command)
  command.action(async (tenant: string, statement: string) => {
    const sql = statement === '-' ? await terminal.input() : statement
    // As for clients of a server: who may make a tenant by asking it makes its folder as well.
    const mayMake = (config: Config): boolean => config.createOnConnect
    await using target = await openTarget(command, terminal, { mayMake })
    let result: TextResult
    try {
      result = await target.query(tenant, sql)
    } catch (error) {
      throw new StatementFailure(sql, error)
    }
    const json = command.getOptionValue('json') === true
    terminal.out(json ? `${JSON.stringify(factsOf(result))}\n` : formatResult(result))
  })
}

function factsOf({ fields, rows, command, rowCount }: TextResult): unknown {
  const columns = fields.map(({ name, dataTypeID }) => ({ name, dataTypeID }))
  return { fields: columns, rows, command, rowCount }
}

/** A result as psql prints it: a table if there are columns, else the command tag. */
export function formatResult({ fields, rows, command, rowCount }: TextResult): string {
  if (fields.length === 0 && command !== 'SELECT') {
    // Only INSERT has a second number in its tag, for an OID that no table has had since Postgres
    // 12.
    const words = [command, ...(command === 'INSERT' ? ['0'] : []), rowCount ?? '']
    return command === '' ? '' : `${words.join(' ').trimEnd()}\n`
  }
  const columns: TableColumn[] = fields.map(({ name, dataTypeID }) => ({
    name,
    alignRight: RIGHT_ALIGNED.has(dataTypeID),
  }))
  return formatTable(columns, rows) + rowsLine(rows.length)
}
