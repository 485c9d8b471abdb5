/** What pgnap's own architecture aims at, beside what a run has measured of it. */
import { times } from './choose.ts'
import type { ComparisonResult } from './results.ts'

export interface Target {
  readonly what: string
  readonly aim: string
  readonly measured: string
  readonly isMet: boolean
}

const GZIP_BYTES_MAX = 7_000_000
const ACCOUNTED_BYTES_MAX = 100_000_000

/** The aims as rows of a table: which, how much, what was measured, whether it was met. */
export function targetRows(result: ComparisonResult): string[][] {
  return targets(result).map(({ what, aim, measured, isMet }) => [
    what,
    aim,
    measured,
    isMet ? 'met' : 'missed',
  ])
}

export function targets({ architectures, bundles, accounted }: ComparisonResult): Target[] {
  const pooled = architectures.find(({ name }) => name === 'pooled')
  const bundle = bundles.find(({ name }) => name === 'pgnap')
  const found: Target[] = []
  const atMost = (what: string, aimMs: number, ms: number | undefined): void => {
    if (ms === undefined) return
    const measured = `${ms.toFixed(2)} ms`
    found.push({ what, aim: `<= ${aimMs} ms`, measured, isMet: ms <= aimMs })
  }
  atMost('cold tenant in a warm isolate, p50', 12, pooled?.times.cold.median)
  atMost('tenant by turns, from its image', 2, pooled?.times.turns.median)
  atMost('warm query', 0.2, pooled?.times.warm.median)
  atMost('insert', 0.5, pooled?.times.write.median)
  atMost('first query of a fresh runtime', 100, pooled?.times.first.median)
  const ratio = times(architectures, 'traditional', 'pooled', (each) => each.times.cold.median)
  if (ratio !== undefined) {
    const measured = `${ratio.toFixed(1)} times`
    found.push({
      what: 'faster than traditional for a cold tenant',
      aim: '>= 8 times',
      measured,
      isMet: ratio >= 8,
    })
  }
  found.push({
    what: `one isolate with ${accounted.tenants} tenants, accounted memory`,
    aim: '<= 100 MB',
    measured: `${(accounted.bytes / 1e6).toFixed(1)} MB`,
    isMet: accounted.bytes <= ACCOUNTED_BYTES_MAX,
  })
  if (bundle) {
    found.push({
      what: 'the default Worker under gzip',
      aim: '<= 7 MB',
      measured: `${(bundle.gzipBytes / 1e6).toFixed(2)} MB`,
      isMet: bundle.gzipBytes <= GZIP_BYTES_MAX,
    })
  }
  return found
}
