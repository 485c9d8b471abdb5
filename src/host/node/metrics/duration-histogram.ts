/**
 * A Prometheus histogram of durations that were counted elsewhere: prom-client's own can only
 * observe one value after the other, and the shards have counted already.
 */
import { Histogram, type Registry } from 'prom-client'
import type { DurationFacts } from '../../../front/control.ts'

const MS_PER_S = 1_000

type Labels = Readonly<Record<string, string>>

interface Sample {
  readonly metricName: string
  readonly labels: Labels
  readonly value: number
}

/** What a registry writes down. */
interface Samples {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly values: readonly Sample[]
}

export class DurationHistogram extends Histogram {
  readonly #samples: Sample[] = []
  readonly #name: string
  readonly #help: string

  constructor(registry: Registry, name: string, help: string) {
    super({ name, help, registers: [registry] })
    this.#name = name
    this.#help = help
  }

  /** One series. */
  take({ count, totalMs, histogram }: DurationFacts, labels: Labels = {}): void {
    const add = (suffix: string, value: number, more: Labels = {}): void => {
      const metricName = `${this.#name}_${suffix}`
      this.#samples.push({ metricName, labels: { ...labels, ...more }, value })
    }
    for (const [edgeMs, seen] of Object.entries(histogram)) {
      add('bucket', seen, { le: String(Number(edgeMs) / MS_PER_S) })
    }
    add('bucket', count, { le: '+Inf' })
    add('sum', totalMs / MS_PER_S)
    add('count', count)
  }

  /** What prom-client's own registry asks a histogram for; its types do not tell of it. */
  async getForPromString(): Promise<Samples> {
    return { name: this.#name, help: this.#help, type: 'histogram', values: this.#samples }
  }
}
