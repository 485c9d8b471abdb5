/**
 * Metrics as text, for a host where prom-client cannot run. Names and helps are ours; values of
 * labels are escaped, whoever they come from.
 *
 * Source: Prometheus, "Exposition formats", text-based format 0.0.4.
 */
import type { MetricsPage } from '../../front/http/app.ts'
import { histogramSamples, type MetricsWriter, type Sample } from './metrics-writer.ts'

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export class MetricsText implements MetricsWriter {
  readonly #families: string[] = []
  readonly #scope: string

  /** @param scope a sentence for each help: of what the number is one */
  constructor(scope: string) {
    this.#scope = scope
  }

  readonly gauge: MetricsWriter['gauge'] = (name, help, value) =>
    this.#family('gauge', { name, help, samples: [{ metricName: name, labels: {}, value }] })

  readonly gauges: MetricsWriter['gauges'] = (name, help, label, values) =>
    this.#family('gauge', { name, help, samples: samplesOf(name, label, values) })

  readonly counter: MetricsWriter['counter'] = (name, help, value) =>
    this.#family('counter', { name, help, samples: [{ metricName: name, labels: {}, value }] })

  readonly counters: MetricsWriter['counters'] = (name, help, label, values) =>
    this.#family('counter', { name, help, samples: samplesOf(name, label, values) })

  readonly durations: MetricsWriter['durations'] = (name, help, series) => {
    const samples = series.flatMap((each) => histogramSamples(name, each))
    this.#family('histogram', { name, help, samples })
  }

  /** A gauge that says by its labels what does not change; always 1. */
  info(name: string, help: string, labels: Sample['labels']): void {
    this.#family('gauge', { name, help, samples: [{ metricName: name, labels, value: 1 }] })
  }

  /** What is told apart by more than one label. */
  labelled(
    type: 'counter' | 'gauge',
    { name, help }: { readonly name: string; readonly help: string },
    values: readonly (readonly [labels: Sample['labels'], value: number])[],
  ): void {
    const samples = values.map(([labels, value]) => ({ metricName: name, labels, value }))
    this.#family(type, { name, help, samples })
  }

  get page(): MetricsPage {
    return { contentType: CONTENT_TYPE, text: `${this.#families.join('\n\n')}\n` }
  }

  #family(
    type: string,
    { name, help, samples }: { name: string; help: string; samples: readonly Sample[] },
  ): void {
    const head = [`# HELP ${name} ${help} ${this.#scope}`, `# TYPE ${name} ${type}`]
    this.#families.push([...head, ...samples.map(lineOf)].join('\n'))
  }
}

function samplesOf(
  name: string,
  label: string,
  values: Readonly<Record<string, number>>,
): Sample[] {
  return Object.entries(values).map(([each, value]) => {
    return { metricName: name, labels: { [label]: each }, value }
  })
}

function lineOf({ metricName, labels, value }: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
  return `${metricName}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`
}

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`))
}
