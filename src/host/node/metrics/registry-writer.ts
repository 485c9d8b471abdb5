/** Metrics in a registry of prom-client. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import {
  histogramSamples,
  type MetricsWriter,
  type Sample,
  type Series,
} from '../../metrics/metrics-writer.ts'

export function registryWriter(registry: Registry): MetricsWriter {
  const registers = [registry]
  return {
    gauge: (name, help, value) => new Gauge({ name, help, registers }).set(value),
    gauges: (name, help, label, values) => {
      const metric = new Gauge({ name, help, labelNames: [label], registers })
      for (const [each, value] of Object.entries(values)) metric.set({ [label]: each }, value)
    },
    counter: (name, help, value) => new Counter({ name, help, registers }).inc(value),
    counters: (name, help, label, values) => {
      const metric = new Counter({ name, help, labelNames: [label], registers })
      for (const [each, value] of Object.entries(values)) metric.inc({ [label]: each }, value)
    },
    durations: (name, help, series) => void new CountedHistogram({ name, help, registers }, series),
  }
}

interface HistogramOptions {
  readonly name: string
  readonly help: string
  readonly registers: Registry[]
}

/** What a registry writes down. */
interface Samples {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly values: readonly Sample[]
}

/** prom-client's own can only observe one value after the other, and the shards have counted. */
class CountedHistogram extends Histogram {
  readonly #samples: Samples

  constructor(options: HistogramOptions, series: readonly Series[]) {
    super(options)
    const { name, help } = options
    const values = series.flatMap((each) => histogramSamples(name, each))
    this.#samples = { name, help, type: 'histogram', values }
  }

  /** What prom-client's own registry asks a histogram for; its types do not tell of it. */
  async getForPromString(): Promise<Samples> {
    return this.#samples
  }
}
