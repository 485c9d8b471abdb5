import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Bench } from './bench.ts'
import { runRow, type Contender, type Metric, type Row } from './harness.ts'

const metric: Metric = {
  name: 'select',
  title: 'select',
  unit: 'ms',
  better: 'lower',
  reference: 'pgnap',
  goals: [],
}

const contender = (label: string, workOf: (round: number) => number): Contender => ({
  peer: 'pgnap',
  label,
  prepare: async () => {},
  round: async (index) => ({ select: { values: [1], work: workOf(index) } }),
})

test('a contender whose answers change is left out, and does not end the run', async () => {
  const row: Row = {
    name: 'row',
    metrics: [metric],
    contenders: () => [contender('fickle', (round) => round), contender('steady', () => 7)],
  }
  const bench = { roundCount: 3, wants: () => true, progress: () => {} } as unknown as Bench
  const report = await runRow(row, bench)
  assert.deepEqual(
    report.failures.map(({ label }) => label),
    ['fickle'],
  )
  assert.match(report.failures[0]?.reason ?? '', /answered differently/)
  assert.deepEqual(
    report.metrics.flatMap(({ results }) => results.map(({ label }) => label)),
    ['steady'],
  )
})

test('a row that takes long has few rounds, however many were asked for', async () => {
  let rounds = 0
  const counting = contender('steady', () => {
    rounds++
    return 7
  })
  const row: Row = {
    name: 'row',
    metrics: [metric],
    roundCountMax: 1,
    contenders: () => [counting],
  }
  const bench = { roundCount: 3, wants: () => true, progress: () => {} } as unknown as Bench
  await runRow(row, bench)
  assert.equal(rounds, 1)
})
