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
  NewTenant,
  PoolFacts,
  RoleFacts,
  RoleGrant,
  ShardFacts,
  Statement,
  StoreFacts,
  TenantFacts,
  TenantPage,
  TenantState,
  TenantTime,
  Tier,
} from '../../front/control.ts'
import { addUpErrors } from '../../pool/error-counts.ts'
import type { PoolStatistics } from '../../pool/pool-statistics.ts'
import type { TenantList } from '../../router/directory.ts'
import { PauseBook } from '../../router/pause-book.ts'
import { parseTenantName } from '../../router/tenant-name.ts'
import type { ShardSet } from './shard/shard-set.ts'
import type { PinFile } from './pin-file.ts'
import type { ServerOperations } from './server-operations.ts'
import type { TenantFolder } from './tenant-folder.ts'
import type { TenantRoles } from './tenant-roles.ts'

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
  /** Absent where nobody is asked for a password: then tenants have no roles. */
  readonly roles?: TenantRoles | undefined
  /** What an administrator has paused. Default: nothing. */
  readonly pauses?: Pick<PauseBook, 'list' | 'isPaused'>
  /** Told when a tenant is gone, so that another of its name is not paused. Default: nobody. */
  readonly operations?: Pick<ServerOperations, 'forget'> | undefined
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
  readonly #pauses: Pick<PauseBook, 'list' | 'isPaused'>
  readonly #roles: TenantRoles | undefined
  readonly #operations: Pick<ServerOperations, 'forget'> | undefined
  #draining = false

  constructor(options: ShardedControlOptions) {
    this.#operations = options.operations
    this.#shards = options.shards
    this.#folder = options.folder
    this.#listed = options.listed
    this.#pins = options.pins
    this.#pauses = options.pauses ?? new PauseBook()
    this.#roles = options.roles
  }

  async query(tenant: string, statement: Statement, signal?: AbortSignal): Promise<Answer> {
    signal?.throwIfAborted()
    return this.#shards.query(this.#name(tenant), statement, signal)
  }

  async transaction(tenant: string, batch: Batch, signal?: AbortSignal): Promise<BatchAnswer> {
    signal?.throwIfAborted()
    return this.#shards.transaction(this.#name(tenant), batch, signal)
  }

  async createTenant(tenant: string): Promise<NewTenant> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.createTenant(name))
    const facts = await this.showTenant(name)
    if (!this.#roles) return facts
    const granted = await this.#roles.grant(name, await this.#roles.firstRoleOf(name))
    return { ...facts, role: granted.role, connectionString: granted.connectionString }
  }

  async rolesOf(tenant: string): Promise<readonly RoleFacts[]> {
    const { name, roles } = await this.#withRoles(tenant)
    return roles.rolesOf(name)
  }

  async rotateRole(tenant: string, role: string): Promise<RoleGrant> {
    const { name, roles } = await this.#withRoles(tenant)
    return roles.grant(name, role)
  }

  /** Newcomers are refused as soon as it is written; those that are there are sent away next. */
  async revokeRole(tenant: string, role: string): Promise<void> {
    const { name, roles } = await this.#withRoles(tenant)
    roles.revoke(name, role)
    await this.#shards.call(name, (shard) => shard.dismiss(name, role))
  }

  async #withRoles(tenant: string): Promise<{ name: TenantName; roles: TenantRoles }> {
    const name = this.#name(tenant)
    if (!this.#roles) {
      throw new PgnapError('NOT_SUPPORTED', 'this server asks nobody for a password', {
        hint: 'start it with --auth scram and --auth-file',
      })
    }
    await this.#folder.facts(name)
    return { name, roles: this.#roles }
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
      paused: this.#pauses.isPaused(name),
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
      paused: this.#pauses.isPaused(name),
      storeBytes: storedBytes,
      createdMs: createdAtMs,
    }
  }

  async deleteTenant(tenant: string, { unlessUsed = false }: DeleteOptions = {}): Promise<void> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.deleteTenant(name, unlessUsed))
    this.#roles?.forget(name)
    await this.#operations?.forget(name)
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
    return this.#facts(await this.#statistics(), this.#shards.moves())
  }

  async pools(): Promise<PoolFacts[]> {
    const moves = this.#shards.moves()
    return (await this.#statistics()).map((pool, shard) =>
      this.#facts([pool], moves.slice(shard, shard + 1)),
    )
  }

  #facts(pools: readonly PoolStatistics[], moves: readonly MoveFacts[]): PoolFacts {
    return { ...addUp(pools, moves), paused: this.#pauses.list() }
  }

  async busiest(countMax: number): Promise<TenantTime[]> {
    const shards = await Promise.all(this.#shards.map((shard) => shard.busiest(countMax)))
    return shards
      .flat()
      .toSorted((a, b) => b.recentMs - a.recentMs)
      .slice(0, countMax)
      .map(({ tenant, busyMs }) => ({ name: tenant, busyMs }))
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
          paused: this.#pauses.isPaused(tenant.name),
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

function addUp(
  pools: readonly PoolStatistics[],
  moves: readonly MoveFacts[],
): Omit<PoolFacts, 'paused'> {
  const sum = (value: (pool: PoolStatistics) => number): number =>
    pools.reduce((total, pool) => total + value(pool), 0)
  const tenants = { awake: 0, waking: 0, napping: 0, asleep: 0, cold: 0 }
  for (const pool of pools) {
    for (const [phase, state] of Object.entries(STATE_OF_PHASE)) {
      tenants[state] += pool.tenants[phase as keyof typeof STATE_OF_PHASE]
    }
  }
  const found = { awake: 0, napping: 0, asleep: 0, cold: 0, new: 0 }
  for (const tier of TIERS) found[tier] = sum((pool) => pool.found[tier])
  const served = TIERS.reduce((total, tier) => total + found[tier], 0)
  const wake = (tier: Exclude<Tier, 'awake'>): DurationFacts =>
    durationFacts(pools.map((pool) => pool.wakes[tier]))
  return {
    shards: pools.length,
    slots: addUpSlots(pools.map((pool) => pool.slots)),
    memoryBytes: sum((pool) => pool.slots.memoryBytes),
    forks: addUpForks(pools),
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
    errors: addUpErrors(pools.map((pool) => pool.errors)),
    bootFailures: sum((pool) => pool.bootFailures),
    moves: addUpMoves(moves),
    upkeepSteps: sum((pool) => pool.maintenanceSteps),
    evictions: addUpEvictions(pools),
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

function addUpForks(pools: readonly PoolStatistics[]): PoolFacts['forks'] {
  const total = { now: 0, made: 0, refused: 0, reads: 0, withheld: 0 }
  for (const { forks } of pools) {
    total.now += forks.now
    total.made += forks.made
    total.refused += forks.refused
    total.reads += forks.reads
    total.withheld += forks.withheld
  }
  return total
}

function addUpEvictions(pools: readonly PoolStatistics[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const { evictions } of pools) {
    for (const [reason, count] of Object.entries(evictions)) {
      total[reason] = (total[reason] ?? 0) + count
    }
  }
  return total
}

function addUpSlots(parts: readonly PoolStatistics['slots'][]): PoolFacts['slots'] {
  const total = { total: 0, idle: 0, inUse: 0, max: 0, created: 0, lost: 0, retired: 0 }
  for (const name of Object.keys(total) as (keyof typeof total)[]) {
    for (const slots of parts) total[name] += slots[name]
  }
  return total
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
