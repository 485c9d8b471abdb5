/**
 * Who writes metrics down. On Node that is prom-client, beside what it knows of the process; it
 * needs a process, a cluster and a file system, so where there are none it is `metrics-text.ts`.
 * What is written is the same (`pool-metrics.ts`).
 */
import type { DurationFacts } from '../../front/control.ts'

export type Numbers = Readonly<Record<string, number>>
export type Labels = Readonly<Record<string, string>>
/** Durations that were counted elsewhere, and what they are told apart by. */
export type Series = readonly [facts: DurationFacts, labels?: Labels]

/** Metrics of one number, or of one number per value of one label. */
export interface MetricsWriter {
  readonly gauge: (name: string, help: string, value: number) => void
  readonly gauges: (name: string, help: string, label: string, values: Numbers) => void
  readonly counter: (name: string, help: string, value: number) => void
  readonly counters: (name: string, help: string, label: string, values: Numbers) => void
  /** A histogram, in seconds. */
  readonly durations: (name: string, help: string, series: readonly Series[]) => void
}

export interface Sample {
  readonly metricName: string
  readonly labels: Labels
  readonly value: number
}

const MS_PER_S = 1_000

/** One series of a histogram as Prometheus reads it. */
export function histogramSamples(name: string, [facts, labels = {}]: Series): Sample[] {
  const { count, totalMs, histogram } = facts
  const sample = (suffix: string, value: number, more: Labels = {}): Sample => {
    return { metricName: `${name}_${suffix}`, labels: { ...labels, ...more }, value }
  }
  return [
    ...Object.entries(histogram).map(([edgeMs, seen]) =>
      sample('bucket', seen, { le: String(Number(edgeMs) / MS_PER_S) }),
    ),
    sample('bucket', count, { le: '+Inf' }),
    sample('sum', totalMs / MS_PER_S),
    sample('count', count),
  ]
}
