/**
 * `npm run bench [-- rows...] [--json] [--rounds N] [--smoke] [--peers a,b]`: one run, pgnap and
 * its peers by turns. Prints the table, or JSON lines which it also keeps in `bench/results/`; with
 * `--write` the documents show it.
 * Exits 1 if a contender failed or answered wrongly, never because a goal was missed: a benchmark
 * is not a timed test. A peer that is not installed is skipped with a line that says so.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { Bench, type BenchOptions } from './bench.ts'
import { firstScreen, insertBlock, wholeRun } from './documents.ts'
import { type MetricReport, runRow, type Row, type RowReport } from './harness.ts'
import { machineFacts, machineLine, type MachineFacts } from './machine.ts'
import { installPeers, peersInstalled } from './peers/install.ts'
import { nativeInstalled } from './peers/native.ts'
import { bouncerInstalled } from './peers/pgbouncer.ts'
import { buildPgnap, pgnapBuilt } from './peers/pgnap.ts'
import { pgliteSocketInstalled } from './peers/pglite-socket.ts'
import { PEERS, type PeerName } from './peers/server.ts'
import { headingLine, jsonLines, metricLines, problemLines } from './report.ts'
import { ROWS } from './rows.ts'

const ROUNDS_DEFAULT = 5
const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))

const namesOf = (rows: readonly Row[]): string => rows.map((row) => row.name).join(' ')

const HELP = `usage: npm run bench -- [rows...] [options]

rows: ${namesOf(ROWS.filter((row) => !row.onlyByName))} (default: these)
only by name, for they take minutes: ${namesOf(ROWS.filter((row) => row.onlyByName))}
  --rounds N      alternating rounds (default ${ROUNDS_DEFAULT})
  --peers a,b     of ${PEERS.join(', ')} (default: all that are installed)
  --json          JSON lines on stdout, also written to bench/results/
  --write         puts the table of the first screen into README.md and all of it into
                  bench/RESULTS.md; of a run of all rows and peers in which nobody failed
  --tenants N     of density-10k (default 10000)
  --seconds N     of traffic in density-10k (default 60)
  --smoke         tiny sizes and one round of every row, installs nothing: shows that it runs,
                  measures nothing
  --folder DIR    where the databases live (default: the system's temporary folder)
  --pgnap FILE    entry of the pgnap command line to measure (default: what is published, built
                  first; the source with --smoke)`

const OPTIONS = {
  rounds: { type: 'string' },
  tenants: { type: 'string' },
  seconds: { type: 'string' },
  peers: { type: 'string' },
  json: { type: 'boolean', default: false },
  write: { type: 'boolean', default: false },
  smoke: { type: 'boolean', default: false },
  folder: { type: 'string', default: tmpdir() },
  pgnap: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const satisfies ParseArgsConfig['options']

const { values: flags, positionals } = readWords()

function readWords(): ReturnType<
  typeof parseArgs<{ allowPositionals: true; options: typeof OPTIONS }>
> {
  try {
    return parseArgs({ allowPositionals: true, options: OPTIONS })
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error))
  }
}

/** People's lines: on stdout, but not between JSON lines. */
function say(line: string): void {
  ;(flags.json ? process.stderr : process.stdout).write(`${line}\n`)
}

/** What is happening now; only where somebody watches. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\u001b[2K${line}\r`)
}

function usageError(message: string): never {
  process.stderr.write(`${message}\n\n${HELP}\n`)
  process.exit(2)
}

function chosenRows(): readonly Row[] {
  const unknown = positionals.find((name) => !ROWS.some((row) => row.name === name))
  if (unknown !== undefined) usageError(`there is no row called ${unknown}`)
  if (positionals.length > 0) return ROWS.filter((row) => positionals.includes(row.name))
  return ROWS.filter((row) => flags.smoke || !row.onlyByName)
}

/** What `npx pgnap` runs, unless another entry was named; a smoke run builds nothing. */
async function chosenEntry(): Promise<string> {
  if (flags.pgnap !== undefined) return flags.pgnap
  if (flags.smoke) return join(REPOSITORY, 'src/cli/main.ts')
  say('building pgnap (every time: what is measured is what is here)')
  return buildPgnap(REPOSITORY)
}

/** The value of a flag that counts something, if it was given. */
function chosenCount(name: 'rounds' | 'tenants' | 'seconds'): number | undefined {
  if (flags[name] === undefined) return undefined
  const count = Number(flags[name])
  if (!Number.isInteger(count) || count < 1) usageError(`--${name} takes a whole number above 0`)
  return count
}

/** How much `density-10k` does. */
function chosenTraffic(): BenchOptions['traffic'] {
  const tenantCount = chosenCount('tenants')
  const seconds = chosenCount('seconds')
  return {
    ...(tenantCount === undefined ? {} : { tenantCount }),
    ...(seconds === undefined ? {} : { seconds }),
  }
}

/** The peers asked for, less those that are not there; says which and why. */
function chosenPeers(pgnapEntry: string): ReadonlySet<PeerName> {
  const names = flags.peers?.split(',') ?? PEERS
  const asked = PEERS.filter((peer) => names.includes(peer))
  if (asked.length !== names.length) usageError(`peers are: ${PEERS.join(', ')}`)
  if (!flags.smoke && asked.some((peer) => peer !== 'pgnap') && !peersInstalled()) {
    say('installing the peers into bench/peers (once)')
    try {
      installPeers()
    } catch (error) {
      say(`the install failed: ${String(error)}`)
    }
  }
  const missing: Readonly<Record<PeerName, string | undefined>> = {
    pgnap: pgnapBuilt(pgnapEntry) ? undefined : `${pgnapEntry} does not exist`,
    native: nativeInstalled() ? undefined : 'not installed in bench/peers',
    pgbouncer: bouncerInstalled() ? undefined : 'no pgbouncer program on this system',
    pglite: undefined,
    'pglite-socket': pgliteSocketInstalled() ? undefined : 'not installed in bench/peers',
  }
  const peers = asked.filter((peer) => {
    // PgBouncer needs the native server behind it.
    const reason = missing[peer] ?? (peer === 'pgbouncer' ? missing.native : undefined)
    if (reason !== undefined) say(`skipped ${peer}: ${reason}`)
    return reason === undefined
  })
  return new Set(peers)
}

function writeResults(lines: readonly string[], machine: MachineFacts, at: string): void {
  const folder = join(REPOSITORY, 'bench/results')
  mkdirSync(folder, { recursive: true })
  const name = `${at.replaceAll(/[:.]/g, '-')}-${machine.commit.replace('+', '-changed')}.jsonl`
  writeFileSync(join(folder, name), `${lines.join('\n')}\n`)
}

function writeDocuments(reports: readonly MetricReport[], said: readonly string[]): void {
  const [machine = ''] = said
  for (const [file, block] of [
    ['README.md', firstScreen(reports, machine)],
    ['bench/RESULTS.md', wholeRun(said)],
  ] as const) {
    const path = join(REPOSITORY, file)
    writeFileSync(path, insertBlock(readFileSync(path, 'utf8'), block))
    say(file)
  }
}

async function main(): Promise<boolean> {
  const rows = chosenRows()
  const isPart = flags.smoke || positionals.length > 0 || flags.peers !== undefined
  // A document that shows a part of one run beside all of another one would be believed.
  if (flags.write && isPart) usageError('--write is for a run of all rows and peers')
  const roundCount = chosenCount('rounds') ?? (flags.smoke ? 1 : ROUNDS_DEFAULT)
  const traffic = chosenTraffic()
  const pgnapEntry = await chosenEntry()
  const peers = chosenPeers(pgnapEntry)
  const machine = machineFacts(flags.folder, REPOSITORY)
  const run = { at: new Date().toISOString(), smoke: flags.smoke, machine }
  const said: string[] = []
  const show = (line: string): void => {
    said.push(line)
    say(line)
  }
  show(`${machineLine(machine)}, rounds ${roundCount}${flags.smoke ? ' (smoke)' : ''}`)
  show(headingLine())
  const reports: MetricReport[] = []
  const json: string[] = []
  const notes: string[] = []
  let sound = true
  await using bench = new Bench({
    roundCount,
    smoke: flags.smoke,
    peers,
    parentFolder: flags.folder,
    pgnapEntry,
    traffic,
    progress,
    note: (line) => notes.push(line),
  })
  for (const row of rows) {
    const report: RowReport = await runRow(row, bench)
    const problems = problemLines(report)
    if (problems.length > 0) sound = false
    progress('')
    reports.push(...report.metrics)
    for (const metric of report.metrics) {
      for (const line of metricLines(metric)) show(line)
      json.push(...jsonLines(metric, run))
    }
    for (const line of notes.splice(0)) show(`  ${line}`)
    for (const line of problems) say(line)
  }
  if (flags.write && sound) writeDocuments(reports, said)
  if (flags.json) {
    for (const line of json) process.stdout.write(`${line}\n`)
    if (!flags.smoke) writeResults(json, machine, run.at)
  }
  return sound
}

// A signal ends the run through the exit hooks that end the servers and remove the folder.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

if (flags.help) process.stdout.write(`${HELP}\n`)
else if (!(await main())) process.exitCode = 1
