/**
 * The measuring itself: every contender of a row in turn, round after round, in opposite order
 * every other round, so that a slow minute of the machine falls on everybody. A contender that
 * fails is reported with its reason and left out; it never ends the run. All contenders of one
 * metric must have given the same answers, else the row is worth nothing and says so.
 */
import { assert } from '../src/base/assert.ts'
import type { Bench } from './bench.ts'
import type { PeerName } from './peers/server.ts'
import { summarize, type Summary } from './statistics.ts'

/** Longest round of one contender, unless its row allows more. Beyond: it has failed. */
const ROUND_MS_MAX = 180_000

/** What one contender measured of one metric in one round. */
export interface Observation {
  /** In the unit of the metric. */
  readonly values: readonly number[]
  /** Hash of the answers; undefined where there are none (a folder's size). */
  readonly work?: number
}

/** A claim of ours about a metric. */
export type Goal =
  | { readonly kind: 'limit'; readonly value: number }
  /** The same for the unlucky: the p99 of all samples. */
  | { readonly kind: 'p99'; readonly value: number }
  /** At least `value` times as good as the contender `against`. */
  | { readonly kind: 'ratio'; readonly against: string; readonly value: number }
  /** At most `value` times as bad as our own `metric` of the same row; `called` is for people. */
  | {
      readonly kind: 'within'
      readonly metric: string
      readonly called: string
      readonly value: number
    }

export interface Metric {
  readonly name: string
  /** What is measured, for people. */
  readonly title: string
  readonly unit: 'ms' | '1/s' | 'KB' | 'MB' | 'count'
  readonly better: 'lower' | 'higher'
  /** Label of the contender that ratios are taken against. */
  readonly reference: string
  readonly goals: readonly Goal[]
}

export interface Contender {
  readonly peer: PeerName
  /** Unique in its row; what tables call it. */
  readonly label: string
  /** Everything that is not to be measured: servers, tenants, data. */
  prepare(): Promise<void>
  /** One round; the keys are names of the row's metrics, any subset of them. */
  round(index: number): Promise<Readonly<Record<string, Observation>>>
}

export interface Row {
  readonly name: string
  readonly metrics: readonly Metric[]
  /** Takes minutes: it runs when it is named, and tiny in a smoke run. */
  readonly onlyByName?: boolean
  /** At most as many rounds, whatever was asked for. */
  readonly roundCountMax?: number
  /** Longest round of one contender, if it is more than usual. */
  readonly roundMsMax?: number
  contenders(bench: Bench): readonly Contender[]
}

/** One contender's result in one metric. */
export interface Result {
  readonly label: string
  readonly peer: PeerName
  readonly summary: Summary
  readonly work: number | undefined
}

export interface MetricReport {
  readonly row: string
  readonly metric: Metric
  readonly results: readonly Result[]
  /** Medians of pgnap in the metrics of this row, by their names. */
  readonly ownMedians: Readonly<Record<string, number>>
}

export interface RowReport {
  readonly metrics: readonly MetricReport[]
  readonly failures: readonly { readonly label: string; readonly reason: string }[]
}

/** Runs all rounds of one row. */
export async function runRow(row: Row, bench: Bench): Promise<RowReport> {
  const observations = new Map<Contender, Map<string, Observation[]>>()
  const failed = new Map<Contender, string>()
  const contenders = row.contenders(bench).filter((contender) => bench.wants(contender.peer))
  const roundCount = Math.min(bench.roundCount, row.roundCountMax ?? bench.roundCount)
  const attempt = async (contender: Contender, action: () => Promise<void>): Promise<void> => {
    if (failed.has(contender)) return
    try {
      await withinTime(action(), row.roundMsMax ?? ROUND_MS_MAX)
    } catch (error) {
      failed.set(contender, error instanceof Error ? error.message : String(error))
    }
  }
  for (const contender of contenders) {
    bench.progress(`${row.name}: preparing ${contender.label}`)
    await attempt(contender, () => contender.prepare())
  }
  for (let index = 0; index < roundCount; index++) {
    const order = index % 2 === 0 ? contenders : contenders.toReversed()
    for (const contender of order) {
      bench.progress(`${row.name}: round ${index + 1} of ${roundCount}, ${contender.label}`)
      await attempt(contender, async () => {
        const all = observations.get(contender) ?? new Map<string, Observation[]>()
        observations.set(contender, all)
        for (const [name, observation] of Object.entries(await contender.round(index))) {
          assert(
            row.metrics.some((metric) => metric.name === name),
            `unknown metric ${name}`,
          )
          const before = all.get(name) ?? []
          // Every round does the same work; a peer whose answers change between rounds is broken.
          assert(
            before.every((earlier) => earlier.work === observation.work),
            `${contender.label} answered differently in different rounds`,
          )
          all.set(name, [...before, observation])
        }
      })
    }
  }
  const complete = contenders.filter((contender) => !failed.has(contender))
  const resultsOf = ({ name }: Metric): Result[] =>
    complete.flatMap((contender) => resultOf(contender, observations.get(contender)?.get(name)))
  return {
    metrics: metricReports(
      row.name,
      row.metrics.map((metric) => ({ metric, results: resultsOf(metric) })),
    ),
    failures: [...failed].map(([contender, reason]) => ({ label: contender.label, reason })),
  }
}

/** What was measured in a row, with what its goals need to know of each other's metrics. */
export function metricReports(
  row: string,
  measured: readonly Pick<MetricReport, 'metric' | 'results'>[],
): readonly MetricReport[] {
  const medians = measured.flatMap(({ metric, results }) => {
    const own = results.find((result) => result.label === 'pgnap')
    return own ? [[metric.name, own.summary.median]] : []
  })
  const ownMedians = Object.fromEntries(medians) as MetricReport['ownMedians']
  for (const goal of measured.flatMap(({ metric }) => metric.goals)) {
    const isThere = measured.some(({ metric }) => 'metric' in goal && metric.name === goal.metric)
    assert(goal.kind !== 'within' || isThere, 'a goal is about a metric of its row')
  }
  return measured.map((each) => ({ row, ...each, ownMedians }))
}

/** Contenders whose answers differ from the first one's: their numbers are about something else. */
export function disagreeing(report: MetricReport): readonly string[] {
  const first = report.results[0]
  return report.results.filter((result) => result.work !== first?.work).map(({ label }) => label)
}

/** How many times as good as the reference a value is; above 1 is better than it. */
export function timesBetter(metric: Metric, value: number, reference: number): number {
  return metric.better === 'lower' ? reference / value : value / reference
}

/** Whether pgnap met a goal; undefined if what it is compared with was not measured. */
export function goalMet(report: MetricReport, goal: Goal): boolean | undefined {
  const summary = report.results.find((result) => result.label === 'pgnap')?.summary
  if (summary === undefined) return undefined
  const own = summary.median
  if (goal.kind === 'p99') return summary.p99 <= goal.value
  if (goal.kind === 'limit') {
    return report.metric.better === 'lower' ? own <= goal.value : own >= goal.value
  }
  if (goal.kind === 'within') {
    const other = report.ownMedians[goal.metric]
    return other === undefined
      ? undefined
      : timesBetter(report.metric, own, other) * goal.value >= 1
  }
  const other = report.results.find((result) => result.label === goal.against)?.summary.median
  return other === undefined ? undefined : timesBetter(report.metric, own, other) >= goal.value
}

function resultOf(contender: Contender, rounds: readonly Observation[] | undefined): Result[] {
  if (rounds === undefined) return []
  return [
    {
      label: contender.label,
      peer: contender.peer,
      summary: summarize(rounds.map((round) => round.values)),
      work: rounds[0]?.work,
    },
  ]
}

async function withinTime(action: Promise<void>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`no answer within ${limitMs / 1000} s`)
    timer = setTimeout(() => reject(error), limitMs)
  })
  try {
    await Promise.race([action, late])
  } finally {
    clearTimeout(timer)
  }
}
