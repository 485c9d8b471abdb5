/**
 * What one isolate can say of all tenants: of those that have something in its own memory, and of
 * what it has counted itself. The platform may run many isolates, and hands a request to any of
 * them; none can see another. So whoever adds up keeps them apart by `isolate.id`.
 *
 * To the pool of a tenant its lent slot is its own; here it is the one that all of them share.
 */
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import type { MetricsPage } from '../../front/http/app.ts'
import { MetricsText } from '../metrics/metrics-text.ts'
import { poolMetrics } from '../metrics/pool-metrics.ts'
import { addUpPools, durationFacts } from '../pool-facts.ts'
import { isolateFacts, theIsolateIfAny } from './isolate.ts'
import type { IsolatePoolFacts } from './isolate-facts.ts'
import { TenantRuntime } from './tenant-runtime.ts'

const SCOPE = 'Of the isolate that answered.'
const MS_PER_S = 1_000

export function isolatePool(): IsolatePoolFacts {
  const { places, pools, swaps } = TenantRuntime.census
  const isolate = theIsolateIfAny()
  const facts = addUpPools(pools, [])
  const total = isolate && isolate.share.slotBytes > 0 ? 1 : 0
  const inUse = total === 1 && isolate?.share.isHeld ? 1 : 0
  const { slotBytes = 0, imageCount = 0, imageBytes = 0, counters } = isolate?.share ?? {}
  const awake = Math.max(0, facts.found.awake - swaps.count)
  const found = { ...facts.found, awake, napping: facts.found.napping + swaps.count }
  const served = Object.values(found).reduce((sum, count) => sum + count, 0)
  const countOf = (place: (typeof places)[number]): number =>
    places.filter((each) => each === place).length
  return {
    ...facts,
    shards: 1,
    slots: {
      total,
      idle: total - inUse,
      inUse,
      max: 1,
      created: counters?.slotsMade ?? 0,
      lost: facts.slots.lost,
      retired: counters?.slotsRetired ?? 0,
    },
    memoryBytes: slotBytes,
    tenants: {
      awake: countOf('slot'),
      waking: facts.tenants.waking,
      napping: countOf('image'),
      asleep: 0,
      cold: countOf(undefined),
    },
    found,
    hitRate: served === 0 ? 1 : found.awake / served,
    images: { count: imageCount, bytes: imageBytes, toDisk: 0, dropped: counters?.dropped ?? 0 },
    wakes: {
      ...facts.wakes,
      napping: durationFacts([swaps, ...pools.map(({ wakes }) => wakes.napping)]),
    },
    paused: { all: false, tenants: [] },
    isolate: isolate && isolateFacts(isolate),
  }
}

/**
 * As Prometheus reads them. docs/cloudflare.md lists what is not on Node.
 * @param more what else there is. Default: nothing
 */
export function isolateMetrics(
  version: string,
  more: (writer: MetricsText) => void = () => {},
): MetricsPage {
  const { isolate, ...pool } = isolatePool()
  const writer = new MetricsText(SCOPE)
  const versions = { version, postgres: POSTGRES_VERSION }
  writer.info('pgnap_info', 'Versions of pgnap and of Postgres; always 1.', versions)
  poolMetrics(writer, pool)
  more(writer)
  if (!isolate) return writer.page
  const { id, ageMs, accountedBytes, counters } = isolate
  writer.info('pgnap_isolate_info', 'Names the isolate; always 1.', { isolate: id })
  writer.gauge('pgnap_isolate_age_seconds', 'Since its first tenant.', ageMs / MS_PER_S)
  writer.gauge('pgnap_isolate_accounted_bytes', 'What it has in memory.', accountedBytes)
  writer.counters('pgnap_isolate_swaps_total', 'Tenants that left or came to the slot.', 'what', {
    resumed: counters.resumed,
    taken_out: counters.takenOut,
    displaced: counters.displaced,
    dropped: counters.dropped,
  })
  return writer.page
}
