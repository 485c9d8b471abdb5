/**
 * What `GET /metrics` answers: the numbers of `GET /v1/pool`, the busiest tenants and the process,
 * as Prometheus reads them. docs/metrics.md lists every name; a test compares the two.
 *
 * Pool numbers are counted in the shards and only translated here, so each scrape builds its page
 * anew and two scrapes do not meet. How many series there are does not depend on how many tenants
 * or clients there are. It must never show what a client has said: no statement, no parameter, no
 * user; the names of tenants are the only words of strangers here.
 */
import { performance } from 'node:perf_hooks'
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { Clock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import { POSTGRES_VERSION } from '../../../engine/recipe.ts'
import type { Control, PoolFacts, ShardFacts, TenantTime } from '../../../front/control.ts'
import type { MetricsPage } from '../../../front/http/app.ts'
import { poolMetrics, serverMetrics } from '../../metrics/pool-metrics.ts'
import { registryWriter } from './registry-writer.ts'

export interface MetricsOptions {
  readonly control: Pick<Control, 'pool' | 'busiest' | 'shards'>
  readonly clock: Clock
  readonly version: string
}

/** What the shards said, and when. */
interface Heard {
  readonly pool: PoolFacts
  readonly busiest: readonly TenantTime[]
  readonly atMs: number
}

const MS_PER_S = 1_000

export class Metrics {
  readonly #options: MetricsOptions
  /** Of the process: prom-client reads them when they are asked for. */
  readonly #process = new Registry()
  #heard: Heard | undefined
  #asking: Promise<void> | undefined

  constructor(options: MetricsOptions) {
    this.#options = options
    collectDefaultMetrics({ register: this.#process })
  }

  async page(): Promise<MetricsPage> {
    await this.#hear()
    const registry = new Registry()
    this.#server(registry)
    if (this.#heard) this.#pool(registry, this.#heard)
    const parts = await Promise.all([registry.metrics(), this.#process.metrics()])
    return { contentType: registry.contentType, text: parts.join('\n') }
  }

  /** Asks the shards. One in a long statement answers after it: then the last numbers stay. */
  async #hear(): Promise<void> {
    const { clock } = this.#options
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
    const waited = Promise.withResolvers<void>()
    const timer = clock.setTimer(LIMITS.metricsAnswerMs, waited.resolve)
    try {
      await Promise.race([this.#asking, waited.promise])
    } finally {
      timer.cancel()
    }
  }

  /** Does not reject: that a shard has died is a number too. */
  async #ask(): Promise<void> {
    const { control, clock } = this.#options
    const [pool, busiest] = await Promise.allSettled([
      control.pool(),
      control.busiest(LIMITS.metricsTenantsMax),
    ])
    if (pool.status === 'rejected' || busiest.status === 'rejected') return
    this.#heard = { pool: pool.value, busiest: busiest.value, atMs: clock.monotonicMs() }
  }

  #server(registry: Registry): void {
    const { control, version } = this.#options
    new Gauge({
      name: 'pgnap_info',
      help: 'Versions of pgnap and of Postgres; always 1.',
      labelNames: ['version', 'postgres'],
      registers: [registry],
    }).set({ version, postgres: POSTGRES_VERSION }, 1)
    shardMetrics(registry, control.shards())
    loopMetrics(registry, control.shards())
  }

  #pool(registry: Registry, { pool, busiest, atMs }: Heard): void {
    const { clock } = this.#options
    new Gauge({
      name: 'pgnap_pool_age_seconds',
      help: 'How old the numbers of the pool are; more than a moment if a shard did not answer.',
      registers: [registry],
    }).set(Math.max(0, clock.monotonicMs() - atMs) / MS_PER_S)
    const writer = registryWriter(registry)
    poolMetrics(writer, pool)
    serverMetrics(writer, pool)
    const busy = new Counter({
      name: 'pgnap_tenant_busy_seconds_total',
      help: 'Thread time of the tenants that have been busiest lately.',
      labelNames: ['tenant'],
      registers: [registry],
    })
    for (const { name, busyMs } of busiest) busy.inc({ tenant: name }, busyMs / MS_PER_S)
  }
}

function shardMetrics(registry: Registry, shards: readonly ShardFacts[]): void {
  const labelled = { labelNames: ['shard'], registers: [registry] }
  const up = new Gauge({
    name: 'pgnap_shard_up',
    help: 'Whether the thread of a shard is running.',
    ...labelled,
  })
  const silent = new Gauge({
    name: 'pgnap_shard_silent_seconds',
    help: 'How long the thread of a shard has owed a sign of life: it is in a long statement.',
    ...labelled,
  })
  const lag = new Gauge({
    name: 'pgnap_shard_lag_seconds',
    help: 'How long the last sign of life of the thread of a shard took.',
    ...labelled,
  })
  for (const { shard, state, silentMs, lagMs } of shards) {
    up.set({ shard }, state === 'running' ? 1 : 0)
    silent.set({ shard }, silentMs / MS_PER_S)
    lag.set({ shard }, lagMs / MS_PER_S)
  }
}

/** Node counts for every event loop anyway, so it costs a thread nothing to be looked at. */
function loopMetrics(registry: Registry, shards: readonly ShardFacts[]): void {
  const labelled = { labelNames: ['thread'], registers: [registry] }
  const active = new Counter({
    name: 'pgnap_event_loop_active_seconds_total',
    help: 'Time in which the event loop of a thread was at work.',
    ...labelled,
  })
  const idle = new Counter({
    name: 'pgnap_event_loop_idle_seconds_total',
    help: 'Time in which the event loop of a thread waited for something to do.',
    ...labelled,
  })
  const main = performance.eventLoopUtilization()
  const threads = [
    { thread: 'main', activeMs: main.active, idleMs: main.idle },
    ...shards.map(({ shard, ...loop }) => ({ thread: `shard ${shard}`, ...loop })),
  ]
  for (const { thread, activeMs, idleMs } of threads) {
    active.inc({ thread }, activeMs / MS_PER_S)
    idle.inc({ thread }, idleMs / MS_PER_S)
  }
}
