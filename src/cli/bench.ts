/**
 * `pgnap bench`: the benchmark of a checkout. It is not in the published package: its peers (native
 * Postgres and others) would be a hundred times larger than pgnap itself.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { PgnapError } from '../base/errors.ts'
import { EXIT, SaidFailure } from './failure.ts'
import { packageRoot } from '../host/node/package-root.ts'

const EXAMPLES = `
Examples:
  pgnap bench
  pgnap bench wake swap --json
  pgnap bench density-10k --tenants 1000 --seconds 10   ten thousand by default: minutes

Rows, flags and what they mean: bench/README.md; all flags: node bench/run.ts --help
`

/** Adds the verb. */
export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure this checkout against native Postgres and others')
    .argument('[rows...]', 'which rows; default: all but density-10k')
    .option('--json', 'print JSON lines')
    .allowUnknownOption()
    .addHelpText('after', EXAMPLES)
    .action(async (rows: readonly string[], options: { readonly json?: boolean }) => {
      await runBench([...rows, ...(options.json ? ['--json'] : [])])
    })
}

async function runBench(words: readonly string[]): Promise<void> {
  const script = join(packageRoot(), 'bench', 'run.ts')
  if (!existsSync(script)) {
    throw new PgnapError('NOT_SUPPORTED', 'the benchmark is not part of the package', {
      detail: `there is no ${script}`,
      hint: 'run it in a checkout of the repository: npm run bench',
    })
  }
  const child = spawn(process.execPath, [script, ...words], { stdio: 'inherit' })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== EXIT.done) throw new SaidFailure(code === EXIT.usage ? EXIT.usage : EXIT.failed)
}
