/**
 * The benchmark runs, tiny and without peers, so that it does not rot. It measures nothing here.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

const METRICS = [
  'create',
  'wake-empty',
  'wake-million',
  'sleep',
  'point-8',
  'point-1',
  'insert',
  'start',
  'disk',
  'memory',
]

test('every row of the benchmark runs against this checkout', () => {
  const args = ['bench/run.ts', '--smoke', '--peers', 'pgnap', '--json']
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.equal(status, 0, stderr + stdout)
  const lines = stdout.trim().split('\n')
  const measured = lines.map((line) => JSON.parse(line) as { metric: string; contender: string })
  assert.deepEqual(
    measured.map(({ contender, metric }) => `${contender} ${metric}`),
    METRICS.map((metric) => `pgnap ${metric}`),
  )
})
