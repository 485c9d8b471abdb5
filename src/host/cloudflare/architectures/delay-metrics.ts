/**
 * What Prometheus is told beside the numbers of pools: how long loading and saving takes where no
 * tenant's object does it. That is this isolate's own for `/sqlite`, `/warm-proxy`, `/lazy-wasm`
 * and the compute of `/ws`; the compute Worker and the factory are asked, and tell of one isolate
 * each. One that does not answer is left out.
 */
import type { SyncDelayFacts, SyncKind } from '../../../base/sync-delay.ts'
import type { MetricsPage } from '../../../front/http/app.ts'
import type { MetricsText } from '../../metrics/metrics-text.ts'
import { consoleLog } from '../console-log.ts'
import { isolateMetrics } from '../isolate-pool.ts'
import { heard, type Outcome } from '../outcome.ts'
import type { ComputeFacts } from './compute-pool.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { allDelays } from './isolate-delays.ts'

type Delays = readonly (readonly [place: string, facts: SyncDelayFacts])[]

/** The page of the Worker of the comparison. */
export async function architecturesMetrics(
  version: string,
  { COMPUTE, FACTORY }: ArchitecturesEnvironment,
): Promise<MetricsPage> {
  const asked = await Promise.all([
    elsewhere('compute-worker', () => COMPUTE.facts()),
    elsewhere('factory', () => FACTORY.facts()),
  ])
  const delays = [...Object.entries(allDelays()), ...asked.flat()]
  return isolateMetrics(version, (writer) => write(writer, delays))
}

async function elsewhere(
  place: string,
  ask: () => Promise<Outcome<ComputeFacts>>,
): Promise<Delays> {
  try {
    const { syncDelay } = await heard(ask())
    return [[place, syncDelay]]
  } catch (error) {
    consoleLog.warn('a Worker does not tell its delays', { place, error })
    return []
  }
}

function write(writer: MetricsText, delays: Delays): void {
  const byStatus = (kind: SyncKind): [Record<string, string>, number][] =>
    delays.flatMap(([place, facts]) =>
      Object.entries(facts[kind].byStatus).map(
        ([status, count]): [Record<string, string>, number] => [{ place, status }, count],
      ),
    )
  const loads = { name: 'pgnap_place_loads_total', help: 'Loads, by place and delay.' }
  writer.labelled('counter', loads, byStatus('load'))
  const saves = { name: 'pgnap_place_saves_total', help: 'Saves, by place and delay.' }
  writer.labelled('counter', saves, byStatus('save'))
  const alarms = { name: 'pgnap_place_sync_alarm', help: 'Whether too many were slow lately.' }
  writer.labelled(
    'gauge',
    alarms,
    delays.flatMap(([place, { load, save }]) => [
      [{ place, kind: 'load' }, Number(load.alarm)] as const,
      [{ place, kind: 'save' }, Number(save.alarm)] as const,
    ]),
  )
}
