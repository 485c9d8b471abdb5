/**
 * `pgnap serve`: what the command line does for this verb, which in the package is one script
 * (`docs/decisions/0008`). First of all a thread is begun, which loads its code while this one
 * loads everything else.
 */
import { headStart } from './host/node/head-start.ts'

const head = headStart()
// Nobody waits for what a script does: whatever ends before it has an outcome has failed.
process.exitCode = 1
void serve()

async function serve(): Promise<void> {
  const [{ run }, { processTerminal }] = await Promise.all([
    import('./cli/program.ts'),
    import('./cli/terminal.ts'),
  ])
  process.exitCode = await run(process.argv.slice(2), processTerminal, head)
}
