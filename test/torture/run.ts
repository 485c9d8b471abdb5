/**
 * `npm run torture`: kills a server again and again, and proves each time that nothing
 * acknowledged is lost and nothing is torn. Exit code 0 if all rounds were clean, 1 if one was
 * not, 2 for wrong flags.
 */
import { parseFlags, type TortureFlags, USAGE } from './options.ts'
import { torture } from './torture.ts'

/** As shells count a program that SIGINT has ended. */
const INTERRUPTED = 130

// A plain exit, so that the server does not outlive an interrupted run.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(INTERRUPTED))

process.exitCode = await main()

async function main(): Promise<number> {
  let flags: TortureFlags
  try {
    flags = parseFlags(process.argv.slice(2), Date.now())
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
    return 2
  }
  const say = (line: string): boolean => process.stdout.write(`${line}\n`)
  const { seed, rounds, tenants, clients } = flags
  say(`seed ${seed}, ${rounds} rounds, ${tenants} tenants, ${clients} clients`)
  try {
    const tally = await torture({ ...flags, report: flags.verbose ? say : () => {} })
    say(`nothing lost, nothing torn: ${tally.summary()}`)
    say(`acknowledged writes by operation: ${tally.operations()}`)
    return 0
  } catch (error) {
    process.stderr.write(`FAILED: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}
