/** `pgnap inspect TENANT`: what is in a store, without waking the tenant. */
import type { Command } from 'commander'
import { formatFacts } from './facts.ts'
import { addSettings, configOf } from './settings.ts'
import type { Terminal } from './terminal.ts'

const EXAMPLES = `
It opens the store itself, so no server may hold the data folder.

Examples:
  pgnap inspect acme
  pgnap inspect acme --data /var/lib/pgnap --json
`

/** Adds the verb. */
export function addInspect(program: Command, terminal: Terminal): void {
  const command = program
    .command('inspect')
    .description('look inside the store of a tenant')
    .argument('<tenant>', 'the tenant')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
  addSettings(command, ['data'])
  command.action(async (tenant: string) => {
    const config = configOf(command, terminal)
    const { inspectTenant } = await import('../host/node/inspect.ts')
    const facts = await inspectTenant(config, tenant)
    const json = command.getOptionValue('json') === true
    terminal.out(json ? `${JSON.stringify(facts)}\n` : formatFacts(facts))
  })
}
