/**
 * What programs ask of a server, answered by its shards: finds the shard of a tenant, and adds up
 * what the shards say of themselves.
 */
import { Histogram, type HistogramData } from '../../base/histogram.ts'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type {
  Activity,
  Answer,
  Batch,
  BatchAnswer,
  Control,
  DurationFacts,
  MoveFacts,
  PoolFacts,
  ShardFacts,
  Statement,
  StoreFacts,
  TenantFacts,
  TenantPage,
  TenantState,
  Tier,
} from '../../front/control.ts'
import type { PoolStatistics } from '../../pool/pool-statistics.ts'
import type { TenantList } from '../../router/directory.ts'
import { parseTenantName } from '../../router/tenant-name.ts'
import type { ShardSet } from './shard/shard-set.ts'
import type { PinFile } from './pin-file.ts'
import type { TenantFolder } from './tenant-folder.ts'

/** A phase of the pool as its users know it: leaving a slot is still being awake. */
const STATE_OF_PHASE = {
  cold: 'cold',
  waking: 'waking',
  awake: 'awake',
  draining: 'awake',
  napping: 'napping',
  asleep: 'asleep',
} as const satisfies Record<string, TenantState>

export interface ShardedControlOptions {
  readonly shards: ShardSet
  readonly folder: TenantFolder
  readonly listed: TenantList
  readonly pins: PinFile
}

export interface DeleteOptions {
  /** Not if somebody uses it. */
  readonly unlessUsed?: boolean
}

export class ShardedControl implements Control {
  readonly #shards: ShardSet
  readonly #folder: TenantFolder
  readonly #listed: TenantList
  readonly #pins: PinFile
  #draining = false

  constructor({ shards, folder, listed, pins }: ShardedControlOptions) {
    this.#shards = shards
    this.#folder = folder
    this.#listed = listed
    this.#pins = pins
  }

  async query(tenant: string, statement: Statement, signal?: AbortSignal): Promise<Answer> {
    signal?.throwIfAborted()
    return this.#shards.query(this.#name(tenant), statement, signal)
  }

  async transaction(tenant: string, batch: Batch, signal?: AbortSignal): Promise<BatchAnswer> {
    signal?.throwIfAborted()
    return this.#shards.transaction(this.#name(tenant), batch, signal)
  }

  async createTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.createTenant(name))
    return this.showTenant(name)
  }

  async listTenants(page: {
    readonly after?: string
    readonly limit: number
  }): Promise<TenantPage> {
    const { tenants: found, next } = await this.#listed.page(page)
    const byShard = Map.groupBy(found, ({ name }) => this.#shards.indexOf(name))
    const states = new Map<string, Pick<TenantFacts, 'state' | 'clients'>>()
    await Promise.all(
      [...byShard].map(async ([index, owned]) => {
        const standings = await this.#shards.at(index).standings(owned.map(({ name }) => name))
        owned.forEach(({ name }, at) => {
          const { phase = 'cold', clients = 0 } = standings[at] ?? {}
          states.set(name, { state: STATE_OF_PHASE[phase], clients })
        })
      }),
    )
    const tenants = found.map(({ name, createdAtMs, storedBytes }) => ({
      name,
      state: states.get(name)?.state ?? 'cold',
      shard: this.#shards.indexOf(name),
      clients: states.get(name)?.clients ?? 0,
      pinned: this.#pins.has(name),
      storeBytes: storedBytes,
      createdMs: createdAtMs,
    }))
    return { tenants, next }
  }

  async showTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    const { createdAtMs, storedBytes } = await this.#folder.facts(name)
    const [standing] = await this.#shards.at(this.#shards.indexOf(name)).standings([name])
    return {
      name,
      state: STATE_OF_PHASE[standing?.phase ?? 'cold'],
      shard: this.#shards.indexOf(name),
      clients: standing?.clients ?? 0,
      pinned: this.#pins.has(name),
      storeBytes: storedBytes,
      createdMs: createdAtMs,
    }
  }

  async deleteTenant(tenant: string, { unlessUsed = false }: DeleteOptions = {}): Promise<void> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.deleteTenant(name, unlessUsed))
    if (this.#pins.has(name)) await this.#setPinned(name, false)
  }

  async pinTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    await this.#folder.facts(name)
    await this.#setPinned(name, true)
    return this.showTenant(name)
  }

  async unpinTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    await this.#setPinned(name, false)
    return this.showTenant(name)
  }

  /** All shards are told, since a tenant may move. One that is dead reads the list as it starts. */
  async #setPinned(tenant: TenantName, pinned: boolean): Promise<void> {
    if (pinned) this.#pins.add(tenant)
    else this.#pins.delete(tenant)
    await Promise.allSettled(this.#shards.map((shard) => shard.setPinned(tenant, pinned)))
  }

  async napTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.nap(name))
    return this.showTenant(name)
  }

  async wakeTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.wake(name))
    return this.showTenant(name)
  }

  async pool(): Promise<PoolFacts> {
    return addUp(await this.#statistics(), this.#shards.moves())
  }

  async pools(): Promise<PoolFacts[]> {
    const moves = this.#shards.moves()
    return (await this.#statistics()).map((pool, shard) =>
      addUp([pool], moves.slice(shard, shard + 1)),
    )
  }

  async activity(): Promise<Activity> {
    const shards = await Promise.all(this.#shards.map((shard) => shard.activity()))
    return {
      tenants: shards.flatMap(({ tenants }, shard) =>
        tenants.map(({ phase, ...tenant }) => ({
          ...tenant,
          shard,
          state: STATE_OF_PHASE[phase],
          pinned: this.#pins.has(tenant.name),
        })),
      ),
      slots: shards.flatMap(({ slots }, shard) =>
        slots.map(({ phase, ...slot }) => ({
          ...slot,
          shard,
          state: phase && STATE_OF_PHASE[phase],
        })),
      ),
      clients: shards.flatMap(({ clients }) => clients),
    }
  }

  async storeFacts(tenants: readonly string[]): Promise<ReadonlyMap<string, StoreFacts>> {
    const found = new Map<string, StoreFacts>()
    for (const name of tenants.map(parseTenantName)) {
      const facts = this.#folder.find(name)
      if (!facts) continue
      found.set(name, { storeBytes: facts.storedBytes, createdMs: facts.createdAtMs })
    }
    return found
  }

  shards(): readonly ShardFacts[] {
    return this.#shards.facts()
  }

  ready(): boolean {
    return !this.#draining && this.#shards.running
  }

  /** From now on: not ready, and no new work. */
  drain(): void {
    this.#draining = true
  }

  #statistics(): Promise<PoolStatistics[]> {
    return Promise.all(this.#shards.map((shard) => shard.statistics()))
  }

  #name(tenant: string): TenantName {
    if (this.#draining) {
      throw new PgnapError('SHUTTING_DOWN', 'the server is shutting down', {
        hint: 'try again when it is back',
      })
    }
    return parseTenantName(tenant)
  }
}

const TIERS: readonly Tier[] = ['awake', 'napping', 'asleep', 'cold', 'new']

function addUp(pools: readonly PoolStatistics[], moves: readonly MoveFacts[]): PoolFacts {
  const sum = (value: (pool: PoolStatistics) => number): number =>
    pools.reduce((total, pool) => total + value(pool), 0)
  const tenants = { awake: 0, waking: 0, napping: 0, asleep: 0, cold: 0 }
  const evictions: Record<string, number> = {}
  for (const pool of pools) {
    for (const [phase, state] of Object.entries(STATE_OF_PHASE)) {
      tenants[state] += pool.tenants[phase as keyof typeof STATE_OF_PHASE]
    }
    for (const [reason, count] of Object.entries(pool.evictions)) {
      evictions[reason] = (evictions[reason] ?? 0) + count
    }
  }
  const found = { awake: 0, napping: 0, asleep: 0, cold: 0, new: 0 }
  for (const tier of TIERS) found[tier] = sum((pool) => pool.found[tier])
  const served = TIERS.reduce((total, tier) => total + found[tier], 0)
  const wake = (tier: Exclude<Tier, 'awake'>): DurationFacts =>
    durationFacts(pools.map((pool) => pool.wakes[tier]))
  return {
    shards: pools.length,
    slots: {
      total: sum((pool) => pool.slots.total),
      idle: sum((pool) => pool.slots.idle),
      inUse: sum((pool) => pool.slots.inUse),
      max: sum((pool) => pool.slots.max),
      created: sum((pool) => pool.slots.created),
      lost: sum((pool) => pool.slots.lost),
      retired: sum((pool) => pool.slots.retired),
    },
    memoryBytes: sum((pool) => pool.slots.memoryBytes),
    tenants,
    tenantsWaitingForSlot: sum((pool) => pool.tenantsWaitingForSlot),
    clients: sum((pool) => pool.clients.connected),
    clientsWaiting: sum((pool) => pool.clients.waiting),
    found,
    hitRate: served === 0 ? 1 : found.awake / served,
    requests: sum((pool) => pool.requests),
    images: {
      count: sum((pool) => pool.images.count),
      bytes: sum((pool) => pool.images.bytes),
      toDisk: sum((pool) => pool.images.moved.asleep),
      dropped: sum((pool) => pool.images.moved.cold),
    },
    keepWarm: {
      known: sum((pool) => pool.keepWarm.known),
      // Every shard knows them all.
      pinned: Math.max(0, ...pools.map((pool) => pool.keepWarm.pinned)),
      warmed: sum((pool) => pool.keepWarm.warmed),
      hits: sum((pool) => pool.keepWarm.hits),
      wasted: sum((pool) => pool.keepWarm.wasted),
      failed: sum((pool) => pool.keepWarm.failed),
    },
    waits: sum((pool) => pool.waits),
    rejections: sum((pool) => pool.rejections),
    bootFailures: sum((pool) => pool.bootFailures),
    moves: addUpMoves(moves),
    upkeepSteps: sum((pool) => pool.maintenanceSteps),
    evictions,
    wakes: {
      napping: wake('napping'),
      asleep: wake('asleep'),
      cold: wake('cold'),
      new: wake('new'),
    },
    leave: durationFacts(pools.map((pool) => pool.leave)),
    wait: durationFacts(pools.map((pool) => pool.wait)),
    execute: durationFacts(pools.map((pool) => pool.execution)),
    commit: durationFacts(pools.map((pool) => pool.commit)),
  }
}

function addUpMoves(moves: readonly MoveFacts[]): MoveFacts {
  const total = { done: 0, refused: 0, failed: 0, guests: 0 }
  for (const of of moves) {
    total.done += of.done
    total.refused += of.refused
    total.failed += of.failed
    total.guests += of.guests
  }
  return total
}

function durationFacts(parts: readonly HistogramData[]): DurationFacts {
  const whole = new Histogram()
  for (const part of parts) whole.merge(part)
  return {
    count: whole.count,
    totalMs: microseconds(whole.sumMs),
    p50Ms: microseconds(whole.quantileMs(0.5)),
    p99Ms: microseconds(whole.quantileMs(0.99)),
    maxMs: microseconds(whole.maxMs),
    histogram: whole.cumulative(),
  }
}

/** Milliseconds without digits that no clock has measured. */
function microseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
