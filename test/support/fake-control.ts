/**
 * A Control for tests of the surfaces: remembers what it was asked and answers what it was told
 * to. It knows no SQL; what Postgres would say is given by the test.
 */
import { PgnapError } from '../../src/base/errors.ts'
import { addUpSyncDelays } from '../../src/base/sync-delay.ts'
import type {
  Activity,
  Answer,
  Batch,
  BatchAnswer,
  Bookmarks,
  Control,
  PoolFacts,
  RoleFacts,
  RoleGrant,
  ShardFacts,
  Statement,
  StoreFacts,
  TenantFacts,
  TenantPage,
  TenantTime,
} from '../../src/front/control.ts'
import type { ResultSet } from '../../src/front/wire/result.ts'

const DURATION = { count: 0, totalMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0, histogram: {} }
const POOL: PoolFacts = {
  shards: 1,
  slots: { total: 8, idle: 8, inUse: 0, max: 8, created: 8, lost: 0, retired: 0 },
  memoryBytes: 0,
  forks: { now: 0, made: 0, refused: 0, reads: 0, withheld: 0 },
  tenants: { awake: 0, waking: 0, napping: 0, asleep: 0, cold: 0 },
  tenantsWaitingForSlot: 0,
  paused: { all: false, tenants: [] },
  clients: 0,
  clientsWaiting: 0,
  found: { awake: 0, napping: 0, asleep: 0, cold: 0, new: 0 },
  hitRate: 1,
  requests: 0,
  images: { count: 0, bytes: 0, toDisk: 0, dropped: 0 },
  keepWarm: { known: 0, pinned: 0, warmed: 0, hits: 0, wasted: 0, failed: 0 },
  waits: 0,
  rejections: 0,
  errors: { byClass: {}, cancelled: 0 },
  bootFailures: 0,
  moves: { done: 0, refused: 0, failed: 0, guests: 0 },
  upkeepSteps: 0,
  evictions: {},
  wakes: { napping: DURATION, asleep: DURATION, cold: DURATION, new: DURATION },
  leave: DURATION,
  wait: DURATION,
  execute: DURATION,
  commit: DURATION,
  journal: { commits: 0, syncs: 0 },
  syncDelay: addUpSyncDelays([]),
}

const TIMINGS: Answer['timings'] = {
  routeMs: 0.5,
  queueMs: 0,
  wakeMs: 9.25,
  wokenFrom: 'cold',
  executeMs: 1,
  persistMs: 0,
}

/** A result of one column per `columns`, each `[name, typeOid]`. */
export function resultOf(
  columns: readonly (readonly [string, number])[],
  rows: readonly (readonly (string | null)[])[],
): ResultSet {
  const fields = columns.map(([name, typeOid]) => ({
    name,
    typeOid,
    tableOid: 0,
    columnNumber: 0,
    typeBytes: -1,
    typeModifier: -1,
  }))
  return { fields, rows, command: 'SELECT', rowCount: rows.length }
}

export class FakeControl implements Control {
  readonly asked: { tenant: string; statement: Statement; signal: AbortSignal | undefined }[] = []
  readonly batches: Batch[] = []
  readonly names: Set<string> = new Set()
  readonly pinned: Set<string> = new Set()
  readonly roles: Map<string, Set<string>> = new Map()
  /** Of `names`, those that are deleted while they are being listed. */
  readonly leaving: Set<string> = new Set()
  isReady = true
  /** Default: the host keeps none. */
  bookmarks?: Bookmarks
  busiestFacts: TenantTime[] = []
  poolFacts: PoolFacts = POOL
  /** Who is where; a promise that does not settle stands for a shard that does not answer. */
  activityFacts: Activity | Promise<Activity> | Error = { tenants: [], slots: [], clients: [] }
  /** What the next queries answer; an Error is thrown. */
  answer: ResultSet | Error = resultOf([['n', 23]], [['1']])

  async query(tenant: string, statement: Statement, signal?: AbortSignal): Promise<Answer> {
    this.asked.push({ tenant, statement, signal })
    if (this.answer instanceof Error) throw this.answer
    return { result: this.answer, timings: TIMINGS }
  }

  /** Each statement is answered as one alone. */
  async transaction(tenant: string, batch: Batch, signal?: AbortSignal): Promise<BatchAnswer> {
    this.batches.push(batch)
    const answers = []
    for (const each of batch.statements) answers.push(await this.query(tenant, each, signal))
    return { results: answers.map(({ result }) => result), timings: TIMINGS }
  }

  async createTenant(name: string): Promise<TenantFacts> {
    if (this.names.has(name)) throw new PgnapError('TENANT_EXISTS', `tenant ${name} exists`)
    this.names.add(name)
    return this.showTenant(name)
  }

  async rolesOf(tenant: string): Promise<readonly RoleFacts[]> {
    await this.showTenant(tenant)
    return [...(this.roles.get(tenant) ?? [])].map((role) => ({ role, createdMs: 1 }))
  }

  async rotateRole(tenant: string, role: string): Promise<RoleGrant> {
    await this.showTenant(tenant)
    this.roles.set(tenant, new Set([...(this.roles.get(tenant) ?? []), role]))
    return { tenant, role, connectionString: `postgres://${role}:x@localhost/${tenant}` }
  }

  async revokeRole(tenant: string, role: string): Promise<void> {
    if (this.roles.get(tenant)?.delete(role)) return
    throw new PgnapError('ROLE_UNKNOWN', `no role ${role}`)
  }

  async listTenants(page: { after?: string; limit: number }): Promise<TenantPage> {
    const names = [...this.names].toSorted().filter((name) => name > (page.after ?? ''))
    const listed = names.slice(0, page.limit)
    const left = listed.filter((name) => !this.leaving.has(name))
    return {
      tenants: await Promise.all(left.map((name) => this.showTenant(name))),
      next: names.length > page.limit ? listed.at(-1) : undefined,
    }
  }

  async showTenant(name: string): Promise<TenantFacts> {
    if (!this.names.has(name)) throw new PgnapError('TENANT_UNKNOWN', `no tenant ${name}`)
    const pinned = this.pinned.has(name)
    const facts = { state: 'cold', shard: 0, clients: 0, pinned, paused: false } as const
    return { name, ...facts, storeBytes: 1, createdMs: 1 }
  }

  async deleteTenant(name: string): Promise<void> {
    await this.showTenant(name)
    this.names.delete(name)
  }

  async napTenant(name: string): Promise<TenantFacts> {
    return this.showTenant(name)
  }

  async wakeTenant(name: string): Promise<TenantFacts> {
    return { ...(await this.showTenant(name)), state: 'awake' }
  }

  async pinTenant(name: string): Promise<TenantFacts> {
    await this.showTenant(name)
    this.pinned.add(name)
    return this.showTenant(name)
  }

  async unpinTenant(name: string): Promise<TenantFacts> {
    this.pinned.delete(name)
    return this.showTenant(name)
  }

  async pool(): Promise<PoolFacts> {
    return this.poolFacts
  }

  async pools(): Promise<PoolFacts[]> {
    return [this.poolFacts]
  }

  async activity(): Promise<Activity> {
    if (this.activityFacts instanceof Error) throw this.activityFacts
    return this.activityFacts
  }

  async busiest(countMax: number): Promise<TenantTime[]> {
    return this.busiestFacts.slice(0, countMax)
  }

  async storeFacts(tenants: readonly string[]): Promise<ReadonlyMap<string, StoreFacts>> {
    const known = tenants.filter((name) => this.names.has(name))
    return new Map(known.map((name) => [name, { storeBytes: 28_672, createdMs: 0 }]))
  }

  shards(): readonly ShardFacts[] {
    const loop = { lagMs: 0, activeMs: 0, idleMs: 0 }
    const moves = { movedOut: 0, moveRefusals: 0, guests: 0 }
    return [{ shard: 0, state: 'running', silentMs: 0, ...loop, ...moves }]
  }

  ready(): boolean {
    return this.isReady
  }
}
