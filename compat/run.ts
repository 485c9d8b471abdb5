/**
 * `npm run compat [-- CLIENT...] [--markdown]`: every client program against native Postgres 18,
 * then against pgnap, and where the two differ. Exits 1 if there is a difference that nobody has
 * explained (`differences.ts`), or a client that does not even get along with native Postgres.
 */
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { installPeers } from '../bench/peers/install.ts'
import { nativeBinaries, nativeInstalled, startNative } from '../bench/peers/native.ts'
import { type PgnapServer, startPgnap } from '../bench/peers/pgnap.ts'
import type { PeerServer } from '../bench/peers/server.ts'
import { type Client, CLIENTS, installClients } from './clients.ts'
import { DIFFERENCES } from './differences.ts'
import { compare, sectionsOf, type Verdict } from './sections.ts'

const PROGRAM_MS_MAX = 120_000
const ENTRY = join(import.meta.dirname, '../src/cli/main.ts')

interface Report {
  readonly client: Client
  /** Undefined: not on this machine. */
  readonly version: string | undefined
  readonly verdicts: readonly Verdict[]
}

interface Output {
  readonly text: string
  readonly failed: boolean
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Runs a client's program on a new database. */
async function run(client: Client, server: PeerServer, folder: string): Promise<Output> {
  const kind = 'httpPort' in server ? 'pgnap' : 'native'
  const database = `${kind}_${client.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}x`
  const own = join(folder, database)
  mkdirSync(own)
  await server.createTenant(database)
  const [program, ...args] = client.command()
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PGHOST: '127.0.0.1',
      PGPORT: String(server.port),
      PGUSER: server.user,
      PGDATABASE: database,
      PGSSLMODE: 'disable',
      COMPAT_SERVER: kind,
      COMPAT_HTTP_PORT: 'httpPort' in server ? String((server as PgnapServer).httpPort) : '',
      COMPAT_FOLDER: own,
    },
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => (text += part))
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), PROGRAM_MS_MAX)
  const ended = Promise.withResolvers<number | null>()
  child.once('error', ended.reject).once('close', ended.resolve)
  const status = await ended.promise.finally(() => clearTimeout(timer))
  return { text: status === 0 ? text : `${text}\nended with ${status}`, failed: status !== 0 }
}

async function report(
  client: Client,
  servers: { readonly native: PeerServer; readonly pgnap: PeerServer },
  folder: string,
): Promise<Report> {
  const version = client.version()
  if (version === undefined) return { client, version, verdicts: [] }
  const oracle = await run(client, servers.native, folder)
  if (oracle.failed) {
    const text = `it fails on native Postgres:\n${oracle.text.slice(-2_000)}`
    return { client, version, verdicts: [{ test: 'native', outcome: 'different', text }] }
  }
  const ours = await run(client, servers.pgnap, folder)
  const known = DIFFERENCES[client.name] ?? {}
  return {
    client,
    version,
    verdicts: compare(sectionsOf(oracle.text), sectionsOf(ours.text), known),
  }
}

function table(reports: readonly Report[]): string {
  const rows = reports.map(({ client, version, verdicts }) => {
    if (version === undefined) return `| ${client.name} | not on this machine | | | |`
    const count = (outcome: Verdict['outcome']): number =>
      verdicts.filter((verdict) => verdict.outcome === outcome).length
    const cells = [verdicts.length, count('same'), count('known'), count('different')]
    return `| ${client.name} | ${version} | ${cells.join(' | ')} |`
  })
  return [
    '| client | version | tests | as native | known differences | not explained |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

function knownTable(reports: readonly Report[]): string {
  const rows = reports.flatMap(({ client, verdicts }) =>
    verdicts
      .filter(({ outcome }) => outcome === 'known')
      .map(({ test, text }) => `| ${client.name} | ${test} | ${text} |`),
  )
  return ['| client | test | why it differs |', '|---|---|---|', ...rows].join('\n')
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { markdown: { type: 'boolean', default: false } },
})
const chosen = CLIENTS.filter(
  ({ name }) =>
    positionals.length === 0 || positionals.some((part) => name.toLowerCase().includes(part)),
)
if (!nativeInstalled()) installPeers()
installClients()
const folder = mkdtempSync(join(tmpdir(), 'pgnap-compat-'))
// The user under whom native Postgres runs has to get through.
chmodSync(folder, 0o755)
const native = await startNative(nativeBinaries(folder), join(folder, 'native-data'))
const pgnap = await startPgnap(ENTRY, join(folder, 'pgnap-data'))
const reports: Report[] = []
try {
  for (const client of chosen) {
    const each = await report(client, { native, pgnap }, folder)
    reports.push(each)
    for (const { test, outcome, text } of each.verdicts) {
      if (outcome === 'different') say(`\n${client.name}, ${test}:\n${text}`)
    }
  }
} finally {
  await Promise.all([native.stop(), pgnap.stop()])
  rmSync(folder, { recursive: true, force: true })
}
say(`\n${table(reports)}`)
if (flags.markdown) say(`\n${knownTable(reports)}`)
const failed = reports.some(({ verdicts }) =>
  verdicts.some(({ outcome }) => outcome === 'different'),
)
process.exitCode = failed ? 1 : 0
