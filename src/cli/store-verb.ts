/** Verbs that look at the store of one tenant themselves: no server may hold the data folder. */
import type { Command } from 'commander'
import type { Config } from '../host/node/config.ts'
import { addSettings, configOf } from './settings.ts'
import type { Terminal } from './terminal.ts'

export interface StoreVerb<Result> {
  readonly name: string
  readonly description: string
  /** What it does with the store, a sentence that says who may hold it. */
  readonly note: string
  readonly run: (config: Config, tenant: string) => Promise<Result>
  /** What people read instead of JSON; ends in a line break. */
  readonly text: (result: Result, tenant: string) => string
  /** Throws, after the result was printed, if it is a failure. */
  readonly judge?: (result: Result, tenant: string) => void
}

/** Adds the verb. */
export function addStoreVerb<Result>(
  program: Command,
  terminal: Terminal,
  verb: StoreVerb<Result>,
): void {
  const { name, note } = verb
  const examples = `  pgnap ${name} acme\n  pgnap ${name} acme --data /var/lib/pgnap --json\n`
  const command = program
    .command(name)
    .description(verb.description)
    .argument('<tenant>', 'the tenant')
    .option('--json', 'print one JSON object')
    .addHelpText('after', `\n${note}\n\nExamples:\n${examples}`)
  addSettings(command, ['data'])
  command.action(async (tenant: string) => {
    const result = await verb.run(configOf(command, terminal), tenant)
    const json = command.getOptionValue('json') === true
    terminal.out(json ? `${JSON.stringify(result)}\n` : verb.text(result, tenant))
    verb.judge?.(result, tenant)
  })
}
