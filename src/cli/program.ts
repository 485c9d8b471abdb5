/**
 * The command line as a whole: its verbs, its help, and what becomes of an error. One file per
 * verb; a verb throws, and only here is it said and turned into an exit code.
 */
import { Command, CommanderError, type OutputConfiguration } from 'commander'
import { PgnapError } from '../base/errors.ts'
import { StatementFailure } from '../base/statement-failure.ts'
import { EXIT, SaidFailure, reportFailure } from './failure.ts'
import { addServe } from './serve.ts'
import { addSql } from './sql.ts'
import { addBench } from './bench.ts'
import { addDump } from './dump.ts'
import { addInspect } from './inspect.ts'
import type { HeadStart } from '../host/node/head-start.ts'
import { addRestore } from './restore.ts'
import { addTenant } from './tenant.ts'
import { addVerify } from './verify.ts'
import type { Terminal } from './terminal.ts'
import { packageVersion } from './version.ts'

const EXAMPLES = `
Examples:
  pgnap serve                               a server with no configuration at all
  psql postgres://127.0.0.1:6432/acme       a Postgres that did not exist a moment ago
  pgnap sql acme "select version()"
  pgnap tenant list

Exit codes:
  0 done   1 failed   2 wrong usage or configuration   69 server not available
`

/** Every verb, ready to parse. @param head as for {@link run} */
export function createProgram(terminal: Terminal, head?: HeadStart): Command {
  const program = new Command('pgnap')
    .description('A Postgres for every tenant.')
    .version(packageVersion(), '--version')
    .option('--debug', 'show stacks of errors')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.complain(text),
    })
  addServe(program, terminal, head)
  addTenant(program, terminal)
  addSql(program, terminal)
  addDump(program, terminal)
  addRestore(program, terminal)
  addInspect(program, terminal)
  addVerify(program, terminal)
  addBench(program)
  return program
}

/**
 * Runs the verb that `words` name, without `node` and the script; the exit code.
 * @param head of a server, if it was begun already
 */
export async function run(
  words: readonly string[],
  terminal: Terminal,
  head?: HeadStart,
): Promise<number> {
  const json = words.includes('--json')
  const program = createProgram(terminal, head)
  // A program that reads errors as JSON reads those of its own usage as well.
  let misuse = ''
  if (json) toldBy(program, { writeErr: (text) => void (misuse += text) })
  try {
    await program.parseAsync(words, { from: 'user' })
    return EXIT.done
  } catch (error) {
    if (error instanceof SaidFailure) return error.exitCode
    if (error instanceof CommanderError) {
      // It has said what was wrong, or printed the help that was asked for.
      if (error.exitCode === 0) return EXIT.done
      if (!json) return EXIT.usage
    }
    const statement = error instanceof StatementFailure ? error : undefined
    const cause = error instanceof CommanderError ? misused(misuse) : error
    const { text, exitCode } = reportFailure(statement ? statement.cause : cause, {
      debug: words.includes('--debug'),
      json,
      ...(statement ? { sql: statement.sql } : {}),
    })
    terminal.complain(text)
    return exitCode
  }
}

/** Verbs have copies of what was configured when they were added. */
function toldBy(command: Command, output: OutputConfiguration): void {
  command.configureOutput(output)
  for (const verb of command.commands) toldBy(verb, output)
}

/** What commander has said of a wrong command line. */
function misused(said: string): PgnapError {
  const [first = '', ...others] = said.trim().split('\n')
  return new PgnapError('CONFIG_INVALID', first.replace(/^error: /, ''), {
    hint: others.length > 0 ? others.join(' ') : 'pgnap --help shows what there is',
  })
}
