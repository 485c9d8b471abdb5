/**
 * `pgnap verify TENANT`: checks a store from its file up to Postgres's own amcheck. Exit code 1 if
 * anything is wrong, so that a backup script can rely on it.
 */
import type { Command } from 'commander'
import { PgnapError } from '../base/errors.ts'
import { addSettings, configOf } from './settings.ts'
import type { Terminal } from './terminal.ts'

const EXAMPLES = `
It reads the whole database and changes nothing. No server may hold the data folder.

Examples:
  pgnap verify acme
  pgnap verify acme --data /var/lib/pgnap --json
`

/** Adds the verb. */
export function addVerify(program: Command, terminal: Terminal): void {
  const command = program
    .command('verify')
    .description('check the store of a tenant: file, pages, indexes, tables')
    .argument('<tenant>', 'the tenant')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
  addSettings(command, ['data'])
  command.action(async (tenant: string) => {
    const config = configOf(command, terminal)
    const { verifyTenant } = await import('../host/node/inspect.ts')
    const check = await verifyTenant(config, tenant)
    const { problems, checked } = check
    if (command.getOptionValue('json') === true) {
      terminal.out(`${JSON.stringify(check)}\n`)
    } else if (problems.length === 0) {
      terminal.out(`${tenant} is sound: ${checked.tables} tables, ${checked.btrees} indexes\n`)
    } else {
      terminal.out(problems.map((problem) => `${problem}\n`).join(''))
    }
    if (problems.length === 0) return
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    throw new PgnapError('STORE_CORRUPT', `${tenant} is damaged: ${count}`, {
      hint: 'keep a copy of the data folder before anything else, then restore from a backup',
    })
  })
}
