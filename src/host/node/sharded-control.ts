/**
 * What programs ask of a server, answered by its shards: finds the shard of a tenant, and adds up
 * what the shards say of themselves.
 */
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type {
  Activity,
  Answer,
  Batch,
  BatchAnswer,
  Control,
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
  TenantTime,
} from '../../front/control.ts'
import type { PoolStatistics } from '../../pool/pool-statistics.ts'
import type { TenantFacts as FolderFacts, TenantList } from '../../router/directory.ts'
import { PauseBook } from '../../router/pause-book.ts'
import { parseTenantName } from '../../router/tenant-name.ts'
import { addUpPools, STATE_OF_PHASE } from '../pool-facts.ts'
import type { CopyFolder } from './copy-folder.ts'
import type { DeletionWay } from './shard/goodbyes.ts'
import type { TenantStanding } from './shard/shard-api.ts'
import type { ShardSet } from './shard/shard-set.ts'
import type { TemplateUse } from './shard/tenant-copies.ts'
import type { PinFile } from './pin-file.ts'
import type { ServerOperations } from './server-operations.ts'
import { alreadyThere } from './tenant-directory.ts'
import type { TenantFolder } from './tenant-folder.ts'
import type { TenantRoles } from './tenant-roles.ts'

export interface ShardedControlOptions {
  readonly shards: ShardSet
  readonly folder: TenantFolder
  readonly copies: Pick<CopyFolder, 'lend'>
  readonly listed: TenantList
  readonly pins: PinFile
  /** Absent where nobody is asked for a password: then tenants have no roles. */
  readonly roles?: TenantRoles | undefined
  /** What an administrator has paused. Default: nothing. */
  readonly pauses?: Pick<PauseBook, 'list' | 'isPaused'>
  /** Told when a tenant is gone, so that another of its name is not paused. Default: nobody. */
  readonly operations?: Pick<ServerOperations, 'forget'> | undefined
}

/** Of whom a shard knows nothing. */
const NOBODY: TenantStanding = { phase: 'cold', clients: 0 }

export class ShardedControl implements Control {
  readonly #shards: ShardSet
  readonly #folder: TenantFolder
  readonly #copies: Pick<CopyFolder, 'lend'>
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
    this.#copies = options.copies
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

  async createTenant(tenant: string, template?: string, use: TemplateUse = {}): Promise<NewTenant> {
    const name = this.#name(tenant)
    if (template !== undefined) await this.#copy(name, this.#name(template), use)
    else await this.#shards.call(name, (shard) => shard.createTenant(name))
    const facts = await this.showTenant(name)
    if (!this.#roles) return facts
    const granted = await this.#roles.grant(name, await this.#roles.firstRoleOf(name))
    return { ...facts, role: granted.role, connectionString: granted.connectionString }
  }

  /** Copied by the shard of the template, and named by that of the tenant. */
  async #copy(name: TenantName, template: TenantName, use: TemplateUse): Promise<void> {
    await this.#folder.facts(template)
    if (this.#folder.has(name)) throw alreadyThere(name)
    await this.#copies.lend(async (path) => {
      await this.#shards.call(template, (shard) => shard.copyTenant(template, path, use))
      await this.#shards.call(name, (shard) => shard.createTenant(name, path))
    })
  }

  async rolesOf(tenant: string): Promise<readonly RoleFacts[]> {
    const { name, roles } = await this.#withRoles(tenant)
    return roles.rolesOf(name)
  }

  async rotateRole(tenant: string, role: string): Promise<RoleGrant> {
    const { name, roles } = await this.#withRoles(tenant)
    // A tenant that nobody has written to may not outlive the machine yet; its role would.
    this.#folder.settle()
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
    const states = new Map<string, TenantStanding>()
    await Promise.all(
      [...byShard].map(async ([index, owned]) => {
        const standings = await this.#shards.at(index).standings(owned.map(({ name }) => name))
        owned.forEach(({ name }, at) => {
          states.set(name, standings[at] ?? NOBODY)
        })
      }),
    )
    const tenants = found.map((facts) => this.#shown(facts, states.get(facts.name)))
    return { tenants, next }
  }

  async showTenant(tenant: string): Promise<TenantFacts> {
    const name = this.#name(tenant)
    const facts = await this.#folder.facts(name)
    const [standing] = await this.#shards.at(this.#shards.indexOf(name)).standings([name])
    return this.#shown(facts, standing)
  }

  #shown(
    { name, createdAtMs, storedBytes, hasImage }: FolderFacts,
    { phase, clients }: TenantStanding = NOBODY,
  ): TenantFacts {
    return {
      name,
      // A shard forgets whom it has put to sleep, and does not know who was asleep before it began.
      state: phase === 'cold' && hasImage ? 'asleep' : STATE_OF_PHASE[phase],
      shard: this.#shards.indexOf(name),
      clients,
      pinned: this.#pins.has(name),
      paused: this.#pauses.isPaused(name),
      storeBytes: storedBytes,
      createdMs: createdAtMs,
    }
  }

  async deleteTenant(tenant: string, way: DeletionWay = 'operator'): Promise<void> {
    const name = this.#name(tenant)
    await this.#shards.call(name, (shard) => shard.deleteTenant(name, way))
    void this.#shards.forget(name)
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
    if (pinned) {
      this.#pins.add(tenant)
      this.#shards.saw(tenant)
    } else this.#pins.delete(tenant)
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
    return { ...addUpPools(pools, moves), paused: this.#pauses.list() }
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
