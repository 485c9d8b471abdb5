/**
 * Runs every test: `npm test`, or `npm test -- PART` for one part (unit, integration, alone,
 * cloudflare), or `npm test -- FILE...` for single files.
 *
 * Pure tests share one process, because to start one takes longer than most of them run;
 * integration tests start the shipped program, and those of Cloudflare the Worker in workerd, and
 * get a process each.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'

interface Part {
  readonly files: readonly string[]
  readonly flags: readonly string[]
  /** Files that are another part's. */
  readonly not?: readonly string[]
}

/** They look at the time that something takes, or need `dist` for themselves. */
const ALONE: readonly string[] = [
  'bench',
  'cancel-order',
  'fairness',
  'limits-of-time',
  'package',
  'pgbench',
  'rebalance',
  'start',
  'vanished-clients',
].map((name) => `test/integration/${name}.test.ts`)

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
    flags: ['--test-isolation=none'],
  },
  integration: {
    files: ['test/integration/*.test.ts', 'test/torture/*.test.ts'],
    // Most of them wait for a server most of the time.
    flags: ['--test-concurrency=2'],
    not: ALONE,
  },
  alone: { files: ALONE, flags: ['--test-concurrency=1'] },
  cloudflare: {
    files: ['test/cloudflare/*.test.ts'],
    // One of them waits for most of its time.
    flags: ['--test-concurrency=2'],
  },
}

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
const parts: [string, Part][] = single.length
  ? [['chosen', { files: single, flags: [] }]]
  : Object.entries(PARTS).filter(([name]) => chosen.length === 0 || chosen.includes(name))

let failed = false
for (const [name, { files, flags, not = [] }] of parts) {
  const find = (pattern: string): string[] => globSync(pattern, { exclude: ['**/node_modules/**'] })
  const missing = files.filter((pattern) => find(pattern).length === 0)
  for (const pattern of missing) process.stderr.write(`no files: ${pattern}\n`)
  const found = files
    .flatMap(find)
    .filter((file) => !not.includes(file))
    .toSorted()
  process.stdout.write(`\n# ${name}: ${found.length} files\n`)
  failed ||= missing.length > 0
  // Without files node would look for some of its own choice.
  if (found.length === 0) continue
  const { status } = spawnSync(process.execPath, ['--test', ...flags, ...found], {
    stdio: 'inherit',
  })
  failed ||= status !== 0
}
process.exit(failed ? 1 : 0)
