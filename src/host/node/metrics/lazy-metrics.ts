/**
 * The metrics, whose library is loaded when somebody first asks for them: most servers are never
 * scraped, and one that starts has clients waiting.
 */
import type { MetricsPage } from '../../../front/http/app.ts'
import type { Metrics, MetricsOptions } from './metrics.ts'

export function lazyMetrics(options: MetricsOptions): () => Promise<MetricsPage> {
  let loading: Promise<Metrics> | undefined
  return async () => {
    loading ??= import('./metrics.ts').then((module) => new module.Metrics(options))
    return (await loading).page()
  }
}
