/**
 * The benchmark runs, tiny and without peers, so that it does not rot. It measures nothing here.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

const METRICS = [
  'create',
  'wake-napping',
  'wake-connected',
  'wake-asleep',
  'wake-empty',
  'wake-million',
  'sleep',
  'swap-0',
  'swap-1k',
  'swap-100k',
  'swap-1m',
  'swap-vectors',
  'swap-loaded',
  'point-8',
  'point-1',
  'insert',
  'one-select',
  'one-tpcb',
  'beside-first',
  'beside-next',
  'many-select',
  'many-insert',
  'neighbour-p99',
  'start',
  'start-asleep',
  'disk',
  'memory',
  'registered-start',
  'registered-memory',
  'registered-first',
  'registered-list',
  '10k-create',
  '10k-visits',
  '10k-errors',
  '10k-visit',
  '10k-memory',
  '10k-disk',
  '10k-images',
]
/** Not built for this: `package.test.ts` does that. */
const PROGRAM = process.env['PGNAP_PROGRAM'] ?? 'src/cli/main.ts'
/** What depends on where the requests of a moment happen to find their tenants. */
const TIERS = /^10k-(awake|napping|asleep|cold|new)$/

test('every row of the benchmark runs against this checkout', () => {
  const args = ['bench/run.ts', '--smoke', '--peers', 'pgnap', '--json', '--pgnap', PROGRAM]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.equal(status, 0, stderr + stdout)
  const lines = stdout.trim().split('\n')
  const measured = lines.map((line) => JSON.parse(line) as { metric: string; contender: string })
  const own = measured.filter(({ contender }) => contender === 'pgnap')
  assert.deepEqual(
    own.map(({ metric }) => metric).filter((metric) => !TIERS.test(metric)),
    METRICS,
  )
  assert.ok(own.some(({ metric }) => TIERS.test(metric)))
  // Beside itself: without swaps, with its neighbour elsewhere, with few tenants.
  const others = measured.filter(({ contender }) => contender !== 'pgnap')
  assert.deepEqual(
    new Set(others.map(({ contender }) => contender)),
    new Set(['pgnap, no swap', 'pgnap, in another shard', 'pgnap, 200 tenants']),
  )
})
