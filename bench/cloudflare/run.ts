/**
 * `npm run bench:cloudflare [-- architectures...] [--rounds N] [--tenants N] [--write] [--json]
 * [--smoke]`: every architecture of Workers in one run, through local workerd. Prints the tables;
 * `--write` puts them into docs/architectures.md and makes docs/architectures.html with its charts,
 * `--json` keeps the run in bench/results/.
 *
 * Exits 1 if an architecture failed or answered wrongly, never because an aim was missed: a
 * benchmark is not a timed test.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect, parseArgs } from 'node:util'
import { bundleWorker, WORKER_ENTRY } from '../../scripts/cloudflare/bundle.ts'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
import { startArchitectures } from '../../scripts/cloudflare/local.ts'
import type { WorkerFiles } from '../../scripts/cloudflare/bundle.ts'
import { machineFacts } from '../machine.ts'
import { accounted } from './accounted.ts'
import { Bundles } from './bundles.ts'
import { html } from './html.ts'
import { insert, markdown } from './markdown.ts'
import { Comparison } from './measure.ts'
import { WARM_UP_TENANTS } from './method.ts'
import type { ArchitectureResult, ComparisonResult } from './results.ts'

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const ENTRY = 'bench/cloudflare/worker/bench-worker.ts'
const FULL = {
  rounds: 3,
  tenants: 15,
  warmUpTenants: WARM_UP_TENANTS,
  statements: 200,
  accounted: 50,
}
const SMOKE = { rounds: 1, tenants: 2, warmUpTenants: 1, statements: 2, accounted: 2 }
/** Their tenants are in memory alone: a cold one is a new one. */
const KEEPS_NOTHING: ReadonlySet<string> = new Set(['warm-proxy'])

interface Overview {
  readonly architecture: string
  readonly what: string
  readonly durability: string
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    tenants: { type: 'string' },
    folder: { type: 'string', default: tmpdir() },
    write: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
  },
})

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function chosen(name: 'rounds' | 'tenants', min: number): number {
  const text = flags[name]
  const count = text === undefined ? (flags.smoke ? SMOKE : FULL)[name] : Number(text)
  if (Number.isInteger(count) && count >= min) return count
  process.stderr.write(`--${name} takes a whole number from ${min}\n`)
  process.exit(2)
}

/** What the Worker itself says that there is, so that none is forgotten here. */
async function overview(files: WorkerFiles): Promise<readonly Overview[]> {
  const objects = { PINGS: { className: 'PingObject', useSQLite: true } }
  await using runtime = await startArchitectures(files, { durableObjects: objects })
  const answer = await runtime.fetch('/architectures')
  const all = ((await answer.json()) as { architectures: Overview[] }).architectures
  const unknown = positionals.filter((name) => !all.some((each) => each.architecture === name))
  if (unknown.length > 0) throw new Error(`there is no ${unknown.join()}`)
  return positionals.length === 0
    ? all
    : all.filter(({ architecture }) => positionals.includes(architecture))
}

async function main(): Promise<boolean> {
  const rounds = chosen('rounds', 1)
  const tenants = chosen('tenants', 2)
  const { statements, warmUpTenants, accounted: together } = flags.smoke ? SMOKE : FULL
  const engine = await engineFiles({ progress: (step) => say(`  ${step}`) })
  const files = await bundleWorker({ entry: ENTRY, engine })
  const bundles = new Bundles(engine)
  const folder = mkdtempSync(join(flags.folder, 'pgnap-comparison-'))
  const machine = machineFacts(folder, REPOSITORY)
  const comparison = new Comparison({ files, folder, rounds, tenants, warmUpTenants, statements })
  const architectures: ArchitectureResult[] = []
  let sound = true
  try {
    const ping = await comparison.ping()
    for (const { architecture: name, what, durability } of await overview(files)) {
      say(`  /${name}`)
      try {
        const measured = await comparison.measure(name, KEEPS_NOTHING.has(name))
        architectures.push({ name, what, durability, ...measured, bundle: await bundles.of(name) })
      } catch (error) {
        sound = false
        say(`  /${name} FAILED: ${inspect(error)}`)
      }
    }
    const at = new Date().toISOString()
    const result = { at, smoke: flags.smoke, machine, rounds, tenants, ping, architectures }
    const shipped = await bundleWorker({ entry: WORKER_ENTRY, engine })
    const memory = await accounted(shipped, together)
    report({ ...result, accounted: memory, bundles: await bundles.deployed() })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return sound
}

function report(result: ComparisonResult): void {
  const tables = markdown(result)
  say(`\n${tables}\n`)
  if (result.smoke) {
    html(result)
    return
  }
  if (flags.json) {
    const folder = join(REPOSITORY, 'bench/results')
    mkdirSync(folder, { recursive: true })
    const name = `cloudflare-${result.at.replaceAll(/[:.]/g, '-')}.json`
    writeFileSync(join(folder, name), `${JSON.stringify(result, undefined, 1)}\n`)
    say(`bench/results/${name}`)
  }
  if (!flags.write) return
  const page = join(REPOSITORY, 'docs/architectures.md')
  writeFileSync(page, insert(readFileSync(page, 'utf8'), tables))
  writeFileSync(join(REPOSITORY, 'docs/architectures.html'), html(result))
  say('docs/architectures.md, docs/architectures.html')
}

if (!(await main())) process.exitCode = 1
