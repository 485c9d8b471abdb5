/**
 * `pgnap dump TENANT`: everything in a tenant as SQL, made by pg_dump itself, which comes along.
 * What is on stdout may be a part of a dump if the exit code is not 0; a file is whole, or is not
 * there.
 */
import { type Command, Option } from 'commander'
import { PgnapError, errorText } from '../base/errors.ts'
import { visible } from './display-width.ts'
import { addTarget, openTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

const NOTE = `
It is one state of the tenant. While it is read, clients that write to the tenant wait.

Examples:
  pgnap dump acme > acme.sql
  pgnap dump acme --output acme.sql --schema-only
  pgnap dump acme --table "sales.*" --table customer
  pgnap dump acme | pgnap restore other     with a server: both ask it
`

interface DumpFlags {
  readonly output?: string
  readonly schemaOnly?: true
  readonly dataOnly?: true
  readonly table?: readonly string[]
}

/** Adds the verb. */
export function addDump(program: Command, terminal: Terminal): void {
  const command = program
    .command('dump')
    .description('write a tenant as SQL, as pg_dump does')
    .argument('<tenant>', 'the tenant')
    .option(
      '--output <file>',
      'where to, instead of standard output; there is a file if it is whole',
    )
    .option('--schema-only', 'without rows')
    .addOption(new Option('--data-only', 'nothing but rows').conflicts('schemaOnly'))
    .option('--table <pattern>', 'only such tables, as for pg_dump; may be given again', collect)
    .addHelpText('after', NOTE)
  addTarget(command)
  command.action(async (tenant: string) => {
    const flags = command.opts<DumpFlags>()
    const [{ OutputFile }, { runPgDump }] = await Promise.all([
      import('../host/node/dump/output-file.ts'),
      import('../host/node/dump/pg-dump.ts'),
    ])
    using file = flags.output === undefined ? undefined : new OutputFile(flags.output)
    await using target = await openTarget(command, terminal, { connects: true })
    await target.showTenant(tenant)
    using connection = await target.connect(tenant, 'pgnap dump')
    await runPgDump({
      connection,
      tenant,
      options: pgDumpOptions(flags),
      write: async (bytes) => (file ? file.write(bytes) : outTo(terminal, bytes)),
      remark: (line) => terminal.complain(`${visible(line)}\n`),
    })
    file?.keep()
  })
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

function pgDumpOptions(flags: DumpFlags): string[] {
  return [
    ...(flags.schemaOnly ? ['--schema-only'] : []),
    ...(flags.dataOnly ? ['--data-only'] : []),
    ...(flags.table ?? []).map((pattern) => `--table=${pattern}`),
  ]
}

async function outTo(terminal: Terminal, bytes: Uint8Array): Promise<void> {
  try {
    await terminal.outBytes(bytes)
  } catch (cause) {
    const detail = errorText(cause)
    throw new PgnapError('DUMP_FAILED', 'the dump could not be written to standard output', {
      detail,
      hint: 'what was written is a part of it; make a file that is whole with --output',
      cause,
    })
  }
}
