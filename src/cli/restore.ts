/** `pgnap restore TENANT [FILE]`: runs a dump in one transaction, so that it is all or nothing. */
import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { PgnapError, errorText } from '../base/errors.ts'
import { addTarget, openTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

const EXAMPLES = `
All of it is one transaction: if anything fails, the tenant is as it was.

Examples:
  pgnap tenant create acme && pgnap restore acme acme.sql
  gunzip -c acme.sql.gz | pgnap restore acme
  pgnap restore acme rows.sql --into-existing
`

/** Adds the verb. */
export function addRestore(program: Command, terminal: Terminal): void {
  const command = program
    .command('restore')
    .description('run a dump of pgnap dump or pg_dump (plain SQL) in a tenant')
    .argument('<tenant>', 'the tenant, which is to be empty')
    .argument('[file]', 'the dump; without, or with -, it is read from standard input')
    .option('--into-existing', 'the tenant may have tables of its own, and keeps them')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
  addTarget(command)
  command.action(async (tenant: string, file = '-') => {
    const { restoreScript } = await import('../host/node/dump/restore.ts')
    const input = file === '-' ? terminal.inputChunks() : chunksOf(file)
    await using target = await openTarget(command, terminal, { connects: true })
    await target.showTenant(tenant)
    using connection = await target.connect(tenant, 'pgnap restore')
    const intoExisting = command.getOptionValue('intoExisting') === true
    const restored = await restoreScript(connection, input, { intoExisting })
    const json = command.getOptionValue('json') === true
    const { statements, rows } = restored
    const done = `${count(statements, 'statement')}, ${count(rows, 'row')} copied`
    const text = `${tenant} is restored: ${done}\n`
    terminal.out(json ? `${JSON.stringify({ tenant, ...restored })}\n` : text)
  })
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

async function* chunksOf(file: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file) as AsyncIterable<Uint8Array>
  } catch (cause) {
    const reason = errorText(cause)
    throw new PgnapError('CONFIG_INVALID', `cannot read ${file}: ${reason}`, {
      hint: 'name a file that pgnap dump has written; - is standard input',
      cause,
    })
  }
}
