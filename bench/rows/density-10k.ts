/**
 * Claim: two cores serve ten thousand tenants. They are made, each with a table and rows; then 64
 * clients visit them for a minute, as fast as the server answers (`visits.ts`, `zipf.ts`): 56 over
 * the wire, a connection per visit, and 8 probes over HTTP, whose answers say in which tier they
 * found their tenant. Every answer is checked; what was acknowledged is looked for afterwards.
 *
 * The clients are in this process and take a good part of the two cores. Native Postgres stands
 * beside with few databases, because each takes 7 MB and 30 ms to make: flattering to it, since its
 * visits never find anything but a database that is in memory. Its memory is spread over a process
 * per connection and is not compared.
 */
import { join } from 'node:path'
import { assert } from '../../src/base/assert.ts'
import type { Tier } from '../../src/front/control.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Goal, Metric, Observation, Row } from '../harness.ts'
import { type PgnapServer, startPgnap } from '../peers/pgnap.ts'
import type { PeerServer } from '../peers/server.ts'
import { startNative } from '../peers/native.ts'
import { allocatedBytes, residentBytes } from '../usage.ts'
import { checkUpdates, makeTenants, visit, type VisitResult } from '../visits.ts'

const KB = 1024
const MB = 1024 * 1024
const TENANTS = 10_000
const SECONDS = 60
const CLIENTS = 64
const PROBES = 8
/** Making a tenant is work for the disk too: more connections than cores. */
const MAKERS = 16
const NATIVE_TENANTS = 100
const NATIVE = `native, ${NATIVE_TENANTS} databases`
const IMAGE_CACHE = ['--image-cache', '512MB']
/** Tenants that are asked for their updates afterwards, besides the most wanted ones as many. */
const CHECKED = 250
/** How often the memory is looked at; its peak is what counts. */
const LOOK_MS = 250
const HOUR_MS = 3_600_000

const metric = (
  name: string,
  title: string,
  unit: Metric['unit'],
  ...goals: readonly Goal[]
): Metric => {
  const better = unit === '1/s' ? 'higher' : 'lower'
  const reference = unit === 'count' ? '' : NATIVE
  return { name: `10k-${name}`, title, unit, better, reference, goals }
}

const TIERS: readonly Tier[] = ['awake', 'napping', 'asleep', 'cold', 'new']

export const density10kRow: Row = {
  name: 'density-10k',
  onlyByName: true,
  roundCountMax: 1,
  roundMsMax: HOUR_MS,
  metrics: [
    metric('create', 'tenants made, each with a table', '1/s', { kind: 'limit', value: 150 }),
    metric('visits', 'Zipf visits of 64 clients', '1/s'),
    metric('errors', 'visits that failed', 'count', { kind: 'limit', value: 0 }),
    metric('visit', 'a visit: connect, statement', 'ms'),
    ...TIERS.map((tier) => metric(tier, `a statement that finds its tenant ${tier}`, 'ms')),
    metric('memory', 'resident memory, peak of the traffic', 'MB', { kind: 'limit', value: 1024 }),
    metric('disk', 'store of a tenant on disk', 'KB'),
    metric('images', 'images on disk, per tenant', 'KB'),
  ],
  contenders: (bench) => [pgnap(bench), native(bench)],
}

const tenantCountOf = (bench: Bench): number => bench.traffic.tenantCount ?? bench.size(TENANTS, 4)

function pgnap(bench: Bench): Contender {
  const folder = bench.newFolder('density-10k')
  let server: PgnapServer | undefined
  return {
    peer: 'pgnap',
    label: 'pgnap',
    prepare: async () => {
      server = await startPgnap(bench.pgnapEntry, folder, IMAGE_CACHE)
    },
    round: async () => {
      assert(server !== undefined, 'prepared')
      try {
        const tenantCount = tenantCountOf(bench)
        const observations = await measure(bench, server, tenantCount, server.httpPort)
        bench.note(`served: ${JSON.stringify(await factsOf(server))}`)
        await server.stop()
        const perTenant = (part: string): Observation => ({
          values: [allocatedBytes(join(folder, part)) / tenantCount / KB],
        })
        return {
          ...observations,
          '10k-disk': perTenant('tenants'),
          '10k-images': perTenant('images'),
        }
      } finally {
        await server.stop()
      }
    },
  }
}

function native(bench: Bench): Contender {
  const folder = bench.newPath('density-10k-native')
  let server: PeerServer | undefined
  return {
    peer: 'native',
    label: NATIVE,
    prepare: async () => {
      server = await startNative(bench.nativeBinaries(), folder)
    },
    round: async () => {
      assert(server !== undefined, 'prepared')
      try {
        const tenantCount = Math.min(NATIVE_TENANTS, tenantCountOf(bench))
        const { '10k-memory': _, ...observations } = await measure(bench, server, tenantCount)
        await server.stop()
        const diskBytes = allocatedBytes(join(folder, 'base'))
        return { ...observations, '10k-disk': { values: [diskBytes / tenantCount / KB] } }
      } finally {
        await server.stop()
      }
    },
  }
}

async function measure(
  bench: Bench,
  server: PeerServer,
  tenantCount: number,
  httpPort?: number,
): Promise<Record<string, Observation>> {
  const { pid } = server.child
  bench.progress(`density-10k: making ${tenantCount} tenants`)
  const making = await peak(pid, () => makeTenants(server, tenantCount, MAKERS))
  const seconds = bench.traffic.seconds ?? bench.size(SECONDS, 0.2)
  bench.progress(`density-10k: ${seconds} s of traffic`)
  const clients = bench.size(CLIENTS, 4)
  const probes = bench.size(PROBES, 1)
  const { result, peakBytes } = await peak(pid, () =>
    visit({
      server,
      ...(httpPort === undefined ? {} : { httpPort }),
      tenantCount,
      wireClients: httpPort === undefined ? clients : clients - probes,
      probes,
      durationMs: seconds * 1000,
    }),
  )
  for (const [words, count] of result.errors) bench.note(`${count} x ${words}`)
  bench.progress('density-10k: looking for what was acknowledged')
  if (result.errors.size === 0) await checkUpdates(server, result.updates, checked(tenantCount))
  return {
    '10k-create': { values: [(tenantCount / making.result) * 1000] },
    ...latencies(result),
    '10k-memory': { values: [peakBytes / MB] },
  }
}

function latencies(result: VisitResult): Record<string, Observation> {
  const errorCount = [...result.errors.values()].reduce((sum, count) => sum + count, 0)
  const tiers = TIERS.filter((tier) => result.probeMs[tier].length > 0)
  return {
    '10k-visits': { values: [(result.answered / result.elapsedMs) * 1000] },
    '10k-errors': { values: [errorCount] },
    ...(result.wireMs.length > 0 ? { '10k-visit': { values: result.wireMs } } : {}),
    ...Object.fromEntries(tiers.map((tier) => [`10k-${tier}`, { values: result.probeMs[tier] }])),
  }
}

/** The most wanted tenants, and as many more from all over. */
function checked(tenantCount: number): number[] {
  const first = Array.from({ length: Math.min(CHECKED, tenantCount) }, (_, index) => index)
  const others = first.map((index) => Math.floor((index / first.length) * tenantCount))
  return [...new Set([...first, ...others])]
}

/** The highest resident memory of a process while `action` runs. */
async function peak<Result>(
  pid: number,
  action: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly peakBytes: number }> {
  let peakBytes = residentBytes(pid)
  const look = setInterval(() => {
    peakBytes = Math.max(peakBytes, residentBytes(pid))
  }, LOOK_MS)
  try {
    return { result: await action(), peakBytes }
  } finally {
    clearInterval(look)
  }
}

/** What tells how the pool did it. */
async function factsOf(server: PgnapServer): Promise<object> {
  const { found, images, evictions, slots, wakes, leave } = await server.pool()
  const short = Object.entries(wakes).map(([tier, { count, p50Ms, p99Ms }]) => [
    tier,
    { count, p50Ms, p99Ms },
  ])
  return { found, images, evictions, slots, wakes: Object.fromEntries(short), leave }
}
