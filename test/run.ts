/**
 * Runs the tests: `npm test`, or `npm test -- PART` for one part (unit, cloudflare, torture,
 * integration, alone, architectures), or `npm test -- FILE...` for single files. The comparison of
 * architectures takes three minutes of workerd and is run only when it is asked for; its strategies
 * are proven in the part `unit` as well, on Node.
 *
 * Pure tests share one process, because to start one takes longer than most of them run;
 * integration tests start the shipped program, and those of Cloudflare the Worker in workerd, and
 * get a process each. In parts that program is bundled as it is published, which starts in half of
 * the time; a single file runs what the checkout says at that moment.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { bundle } from '../scripts/bundle.ts'
import { loadEngineParts } from '../src/host/node/engine/load-engine.ts'

interface Part {
  readonly files: readonly string[]
  readonly flags: readonly string[]
  /** They start the program, again and again. */
  readonly isBundled?: true
  /** Files that are another part's. */
  readonly not?: readonly string[]
}

/** They look at the time that something takes. */
const ALONE: readonly string[] = [
  'cancel-order',
  'fairness',
  'interrupt-times',
  'limits-of-time',
  'start',
  'vanished-clients',
].map((name) => `test/integration/${name}.test.ts`)

/** Of the Worker with the architectures that are there for comparison. */
const ARCHITECTURES: readonly string[] = [
  'architectures-postgres',
  'architectures-sqlite',
  'bench',
  'computes',
  'computes-restart',
  'strategies',
].map((name) => `test/cloudflare/${name}.test.ts`)

const PARTS: Readonly<Record<string, Part>> = {
  unit: {
    files: [
      'src/**/*.test.ts',
      'test/*.test.ts',
      'test/conformance/*.test.ts',
      'test/simulation/*.test.ts',
      'bench/**/*.test.ts',
      'compat/*.test.ts',
    ],
    // The explorations of states make objects by the million, most of them for a moment.
    flags: ['--test-isolation=none', '--max-semi-space-size=64'],
  },
  cloudflare: {
    files: ['test/cloudflare/*.test.ts'],
    flags: ['--test-concurrency=1'],
    not: ARCHITECTURES,
  },
  torture: {
    files: ['test/torture/*.test.ts'],
    flags: ['--test-concurrency=2'],
    isBundled: true,
  },
  integration: {
    files: ['test/integration/*.test.ts'],
    // Most of them wait for a server most of the time.
    flags: ['--test-concurrency=3'],
    isBundled: true,
    not: ALONE,
  },
  alone: { files: ALONE, flags: ['--test-concurrency=1'], isBundled: true },
  architectures: { files: ARCHITECTURES, flags: ['--test-concurrency=1'] },
}
/** Not run unless it is asked for. */
const ASKED_FOR = 'architectures'

/**
 * In a run of everything, these are run one after the other, both rows at the same time. The second
 * row, which takes longer, has its longest files first: they would keep one processor busy at its
 * end, and the other one idle. Beside the most processes runs what looks at no clock at all.
 */
const SIDE_BY_SIDE: readonly (readonly string[])[] = [
  ['cloudflare', 'unit'],
  ['torture', 'integration'],
]

/** Where the bundled program is while parts are run; inside of the checkout, to find packages. */
const PROGRAM = join(import.meta.dirname, '../.pgnap-cache/test-program')

/**
 * What Node has made of each module is kept for the next process: half of what one takes until its
 * tests run is to strip types and to compile, of much the same modules for most. Not by the
 * environment, which the program under test would have as well: it has a folder of its own.
 */
const CODE = join(import.meta.dirname, '../.pgnap-cache/test-code')
const KEEPING_CODE = `--import=data:text/javascript,${encodeURIComponent(
  `import { enableCompileCache } from 'node:module'; enableCompileCache(${JSON.stringify(CODE)})`,
)}`

const chosen = process.argv.slice(2)
const single = chosen.filter((argument) => argument.endsWith('.ts'))
const unknown = chosen.filter((argument) => !PARTS[argument] && !single.includes(argument))
if (unknown.length > 0) {
  const names = Object.keys(PARTS).join(' | ')
  process.stderr.write(
    `unknown: ${unknown.join(' ')}\nusage: npm test -- [${names} | FILE.ts ...]\n`,
  )
  process.exit(2)
}
const parts: ReadonlyMap<string, Part> = new Map(
  single.length
    ? [['chosen', { files: single, flags: [] }]]
    : Object.entries(PARTS).filter(([name]) =>
        chosen.length === 0 ? name !== ASKED_FOR : chosen.includes(name),
      ),
)

/**
 * Runs a part to its end; tells whether all went well.
 * @param isShown what it says, while it says it; else when it has ended
 */
async function run(name: string, part: Part, isShown: boolean): Promise<boolean> {
  const { files, flags, isBundled, not = [] } = part
  const find = (pattern: string): string[] => globSync(pattern, { exclude: ['**/node_modules/**'] })
  const missing = files.filter((pattern) => find(pattern).length === 0)
  for (const pattern of missing) process.stderr.write(`no files: ${pattern}\n`)
  const found = files
    .flatMap(find)
    .filter((file) => !not.includes(file))
    .toSorted()
  const title = `\n# ${name}: ${found.length} files\n`
  if (isShown) process.stdout.write(title)
  // Without files node would look for some of its own choice.
  if (found.length === 0) return missing.length === 0
  const words = [KEEPING_CODE, '--test', ...flags, ...found]
  const output = isShown ? 'inherit' : 'pipe'
  const env = isBundled
    ? { ...process.env, PGNAP_PROGRAM: join(PROGRAM, 'cli/main.js') }
    : process.env
  const child = spawn(process.execPath, words, { env, stdio: ['ignore', output, output] })
  const said: Uint8Array[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (bytes: Uint8Array) => said.push(bytes))
  }
  const [status] = (await once(child, 'close')) as [number | null]
  if (!isShown) process.stdout.write(Buffer.concat([Buffer.from(title), ...said]))
  return status === 0 && missing.length === 0
}

/** @returns whether all of them went well */
async function runInTurn(names: readonly string[], isShown: boolean): Promise<boolean> {
  let isGood = true
  for (const name of names) {
    const part = parts.get(name)
    if (part && !(await run(name, part, isShown))) isGood = false
  }
  return isGood
}

if ([...parts.values()].some((part) => part.isBundled)) {
  for (const folder of [PROGRAM, CODE]) rmSync(folder, { recursive: true, force: true })
  await bundle(PROGRAM)
}
// In a fresh clone several tests would each build it at the same time.
if (single.length === 0) await loadEngineParts({ progress: (step) => console.log(step) })
const rows = chosen.length === 0 ? SIDE_BY_SIDE : []
const rest = [...parts.keys()].filter((name) => !rows.flat().includes(name))
const together = await Promise.all(rows.map((row, index) => runInTurn(row, index === 0)))
const isGood = await runInTurn(rest, true)
process.exit(isGood && together.every(Boolean) ? 0 : 1)
