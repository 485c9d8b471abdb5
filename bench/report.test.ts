import assert from 'node:assert/strict'
import { test } from 'node:test'
import { disagreeing, goalMet, metricReports, timesBetter } from './harness.ts'
import type { Metric, MetricReport, Result } from './harness.ts'
import { jsonLines, metricLines, number, problemLines } from './report.ts'

const latency: Metric = {
  name: 'wake',
  title: 'wake',
  unit: 'ms',
  better: 'lower',
  reference: 'native',
  goals: [
    { kind: 'limit', value: 10 },
    { kind: 'ratio', against: 'native', value: 5 },
  ],
}
const rate: Metric = { ...latency, name: 'rate', unit: '1/s', better: 'higher', goals: [] }

const result = (label: string, median: number, work = 7): Result => ({
  label,
  peer: label === 'pgnap' ? 'pgnap' : 'native',
  summary: { sampleCount: 3, median, p99: median * 2, min: median / 2, max: median * 2 },
  work,
})

const reportOf = (metric: Metric, ...results: Result[]): MetricReport => ({
  row: 'row',
  metric,
  results,
  ownMedians: {},
})

const machine = {
  cpu: 'cpu',
  coreCount: 2,
  memoryBytes: 1,
  system: 'Linux',
  node: 'v26',
  commit: 'abc',
  fdatasyncMs: 0.1,
}

test('a ratio says how many times as good, for times and for rates', () => {
  assert.equal(timesBetter(latency, 2, 10), 5)
  assert.equal(timesBetter(rate, 20, 10), 2)
})

test('goals are met, missed, or unknown when their peer was not measured', () => {
  const [limit, ratio] = latency.goals
  assert.ok(limit && ratio)
  const good = reportOf(latency, result('pgnap', 8), result('native', 40))
  assert.equal(goalMet(good, limit), true)
  assert.equal(goalMet(good, ratio), true)
  const bad = reportOf(latency, result('pgnap', 11), result('native', 40))
  assert.equal(goalMet(bad, limit), false)
  assert.equal(goalMet(bad, ratio), false)
  assert.equal(goalMet(reportOf(latency, result('pgnap', 8)), ratio), undefined)
  assert.equal(goalMet(reportOf(latency, result('native', 8)), limit), undefined)
})

test('a goal for the unlucky looks at the p99', () => {
  const goal = { kind: 'p99', value: 12 } as const
  const metric = { ...latency, goals: [goal] }
  assert.equal(goalMet(reportOf(metric, result('pgnap', 6)), goal), true)
  assert.equal(goalMet(reportOf(metric, result('pgnap', 7)), goal), false)
  assert.match(metricLines(reportOf(metric, result('pgnap', 7)))[0] ?? '', /p99 <= 12.0 MISSED$/)
})

test('a goal may compare two metrics of ours, and nobody else counts', () => {
  const goal = { kind: 'within', metric: 'small', called: 'a small one', value: 1.3 } as const
  const large: Metric = { ...latency, name: 'large', goals: [goal] }
  const small: Metric = { ...latency, name: 'small', goals: [] }
  const metOf = (own: number, other?: number): unknown => {
    const results = (median?: number): Result[] =>
      median === undefined ? [] : [result('native', 1), result('pgnap', median)]
    const [, report] = metricReports('row', [
      { metric: small, results: results(other) },
      { metric: large, results: results(own) },
    ])
    assert.ok(report)
    return [goalMet(report, goal), / within .*$/.exec(metricLines(report)[0] ?? '')?.[0]]
  }
  assert.deepEqual(metOf(13, 10), [true, ' within 1.30x of a small one met'])
  assert.deepEqual(metOf(13.1, 10), [false, ' within 1.30x of a small one MISSED'])
  assert.deepEqual(metOf(9, 10), [true, ' within 1.30x of a small one met'])
  assert.deepEqual(metOf(13), [undefined, ' within 1.30x of a small one'])
  assert.throws(() => metricReports('row', [{ metric: large, results: [] }]), /of its row/)
  const rates = { ...reportOf(rate, result('pgnap', 80)), ownMedians: { small: 100 } }
  assert.equal(goalMet(rates, goal), true)
  assert.equal(goalMet({ ...rates, ownMedians: { small: 105 } }, goal), false)
})

test('the table shows our number, the reference, the ratio, the goals and the work', () => {
  const lines = metricLines(reportOf(latency, result('pgnap', 8), result('native', 40)))
  assert.equal(lines.length, 2)
  assert.match(
    lines[0] ?? '',
    /8\.00 \(16\.0\).*40\.0 \(80\.0\).*5\.00x.*<= 10\.0 met, >= 5\.00x native met$/,
  )
  assert.match(lines[1] ?? '', /work 00000007$/)
  assert.deepEqual(metricLines(reportOf(latency)), [])
})

test('the bad tail of a rate is its slowest round', () => {
  const [line] = metricLines(reportOf(rate, result('pgnap', 1000)))
  assert.match(line ?? '', /1000 \(500\)/)
})

test('different answers and failures are said, not hidden', () => {
  const report = reportOf(latency, result('pgnap', 8), result('native', 40, 8))
  assert.deepEqual(disagreeing(report), ['native'])
  const failures = [{ label: 'PGlite', reason: 'it died\n' }]
  const lines = problemLines({ metrics: [report], failures })
  assert.deepEqual(lines, [
    '  FAILED PGlite: it died',
    '  WRONG wake: native answered differently from the first',
  ])
})

test('every JSON line stands alone: machine, commit, ratio, work', () => {
  const report = reportOf(latency, result('pgnap', 8), result('native', 40))
  const lines = jsonLines(report, { at: '2026-01-01T00:00:00.000Z', smoke: false, machine })
  const own = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  assert.equal(lines.length, 2)
  assert.equal(own['timesBetter'], 5)
  assert.equal(own['work'], '00000007')
  assert.deepEqual(own['machine'], machine)
  assert.deepEqual(
    (own['goals'] as { met: boolean }[]).map((goal) => goal.met),
    [true, true],
  )
})

test('numbers have three digits that mean something', () => {
  assert.deepEqual([0.0774, 0.5, 4.37, 42, 1234.5, 93000].map(number), [
    '0.077',
    '0.500',
    '4.37',
    '42.0',
    '1235',
    '93000',
  ])
})
