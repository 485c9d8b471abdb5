/**
 * What people and programs read. Few lines, because people read slowly: one line per claim with our
 * number, the reference's, the ratio and the goal; below it the other peers. The same as JSON
 * lines.
 */
import { disagreeing, goalMet, timesBetter } from './harness.ts'
import type { Goal, Metric, MetricReport, Result, RowReport } from './harness.ts'
import type { MachineFacts } from './machine.ts'

const WIDTHS = { title: 44, unit: 5, value: 20, ratio: 8 } as const

/** Heading of {@link metricLines}. */
export function headingLine(): string {
  return columns('', 'unit', 'pgnap  (p99)', 'reference  (p99)', 'times', 'goal')
}

/** The lines of one metric; none if nobody was measured. */
export function metricLines(report: MetricReport): readonly string[] {
  const { metric, results } = report
  if (results.length === 0) return []
  const own = results.find((result) => result.label === 'pgnap')
  const reference = results.find((result) => result.label === metric.reference)
  const ratio = ratioWords(metric, own, reference)
  const goals = metric.goals.map((goal) => goalWords(report, goal)).join(', ')
  const lines = [
    columns(metric.title, metric.unit, value(metric, own), value(metric, reference), ratio, goals),
  ]
  const others = results.map((result) => `${result.label} ${value(metric, result)}`)
  lines.push(`  ${others.join('; ')}${workWords(report)}`)
  return lines
}

/** One metric as the cells of a table for people who have little time. */
export function metricCells(report: MetricReport): readonly string[] {
  const { metric, results } = report
  const reference = results.find((result) => result.label === metric.reference)
  const own = results.find((result) => result.label === 'pgnap')
  const unit = metric.unit === '1/s' ? '/s' : ` ${metric.unit}`
  const withUnit = (result: Result | undefined): string =>
    value(metric, result).replace(/^[\d.]+/, (digits) => digits + unit)
  return [
    metric.title,
    withUnit(own),
    reference ? `${reference.label} ${withUnit(reference)}` : '-',
    ratioWords(metric, own, reference),
    metric.goals.map((goal) => goalWords(report, goal)).join(', '),
  ]
}

/** Lines for the contenders that failed or answered something else. */
export function problemLines(report: RowReport): readonly string[] {
  return [
    ...report.failures.map(({ label, reason }) => `  FAILED ${label}: ${reason.trim()}`),
    ...report.metrics.flatMap((metric) =>
      disagreeing(metric).map(
        (label) => `  WRONG ${metric.metric.name}: ${label} answered differently from the first`,
      ),
    ),
  ]
}

/** One JSON text per contender of a metric, each complete in itself. */
export function jsonLines(
  report: MetricReport,
  run: { readonly at: string; readonly smoke: boolean; readonly machine: MachineFacts },
): readonly string[] {
  const { metric, results } = report
  const reference = results.find((result) => result.label === metric.reference)
  return results.map((result) =>
    JSON.stringify({
      row: report.row,
      metric: metric.name,
      title: metric.title,
      unit: metric.unit,
      better: metric.better,
      contender: result.label,
      peer: result.peer,
      ...result.summary,
      reference: metric.reference,
      timesBetter: reference
        ? timesBetter(metric, result.summary.median, reference.summary.median)
        : null,
      goals:
        result.label === 'pgnap'
          ? metric.goals.map((goal) => ({ ...goal, met: goalMet(report, goal) ?? null }))
          : [],
      work: hash(result.work),
      ...run,
    }),
  )
}

/** Three significant digits, never an exponent. */
export function number(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 0.01))))
  return value.toFixed(Math.min(digits, 3))
}

function ratioWords(
  metric: Metric,
  own: Result | undefined,
  reference: Result | undefined,
): string {
  if (!own || !reference) return '-'
  return `${number(timesBetter(metric, own.summary.median, reference.summary.median))}x`
}

function value(metric: Metric, result: Result | undefined): string {
  if (result === undefined) return '-'
  const { median, p99, min } = result.summary
  // A rate has one sample per round: its bad tail is the slowest round.
  const tail = metric.better === 'lower' ? p99 : min
  return `${number(median)} (${number(tail)})`
}

function goalWords(report: MetricReport, goal: Goal): string {
  const met = goalMet(report, goal)
  return `${wordsOf(report.metric, goal)}${met === undefined ? '' : met ? ' met' : ' MISSED'}`
}

function wordsOf({ better }: Metric, goal: Goal): string {
  switch (goal.kind) {
    case 'limit':
      return `${better === 'lower' ? '<=' : '>='} ${number(goal.value)}`
    case 'p99':
      return `p99 <= ${number(goal.value)}`
    case 'ratio':
      return `>= ${number(goal.value)}x ${goal.against}`
    case 'within':
      return `within ${number(goal.value)}x of ${goal.called}`
  }
}

function workWords(report: MetricReport): string {
  const work = hash(report.results[0]?.work)
  return work === null ? '' : `; work ${work}`
}

function hash(work: number | undefined): string | null {
  return work === undefined ? null : work.toString(16).padStart(8, '0')
}

function columns(
  title: string,
  unit: string,
  own: string,
  reference: string,
  ratio: string,
  goal: string,
): string {
  return [
    title.padEnd(WIDTHS.title),
    unit.padEnd(WIDTHS.unit),
    own.padStart(WIDTHS.value),
    reference.padStart(WIDTHS.value),
    ratio.padStart(WIDTHS.ratio),
    ` ${goal}`,
  ]
    .join('')
    .trimEnd()
}
