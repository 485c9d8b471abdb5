/**
 * What programs ask of a Worker, answered by the objects of the tenants: each call goes to one
 * object, named after its tenant. What belongs to a whole server (who is connected where) has no
 * place here: objects are many, and nobody can see them all. Of the pool this isolate tells its
 * part.
 */
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type {
  Activity,
  Answer,
  Batch,
  BatchAnswer,
  Bookmark,
  Bookmarks,
  Control,
  ListedTenant,
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
import { errorFacts } from '../../front/http/answers.ts'
import { isTenantName, parseTenantName } from '../../router/tenant-name.ts'
import { fromRemote, toRemote } from '../remote-error.ts'
import { timeOf } from './bookmarks.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'
import { DIRECTORY_NAME, type Environment } from './environment.ts'
import type { IsolatePoolFacts } from './isolate-facts.ts'
import { isolatePool } from './isolate-pool.ts'
import { done, heard, type Outcome, reached } from './outcome.ts'
import type { Listed, TenantObject, TenantStanding } from './tenant-object.ts'

type TenantStub = DurableObjectStub<TenantObject>

/** Objects asked at the same time for a page of the list. */
const ASKED_AT_ONCE = 20

export class TenantControl implements Control, Bookmarks {
  readonly #environment: Environment

  constructor(environment: Environment) {
    this.#environment = environment
  }

  async query(tenant: string, statement: Statement, signal?: AbortSignal): Promise<Answer> {
    signal?.throwIfAborted()
    return this.#timed(tenant, (object, name) => object.query(name, statement))
  }

  async transaction(tenant: string, batch: Batch, signal?: AbortSignal): Promise<BatchAnswer> {
    signal?.throwIfAborted()
    return this.#timed(tenant, (object, name) => object.transaction(name, batch))
  }

  async createTenant(tenant: string, template?: string): Promise<NewTenant> {
    if (template !== undefined) {
      return unsupported('a tenant cannot be copied', 'restore a dump of it into an empty one')
    }
    return this.#facts(tenant, (object, name) => object.create(name))
  }

  async listTenants({
    after = '',
    limit,
  }: {
    readonly after?: string
    readonly limit: number
  }): Promise<TenantPage> {
    const names = await reached(this.#directory.page(after, limit))
    const tenants: ListedTenant[] = []
    for (let from = 0; from < names.length; from += ASKED_AT_ONCE) {
      const asked = names.slice(from, from + ASKED_AT_ONCE).map((name) => this.#find(name))
      tenants.push(...(await Promise.all(asked)).filter((facts) => facts !== undefined))
    }
    return { tenants, next: names.length < limit ? undefined : names.at(-1) }
  }

  showTenant(tenant: string): Promise<TenantFacts> {
    return this.#facts(tenant, (object, name) => object.show(name))
  }

  async deleteTenant(tenant: string): Promise<void> {
    const name = parseTenantName(tenant)
    await done(this.#object(name).remove(name))
  }

  napTenant(tenant: string): Promise<TenantFacts> {
    return this.#facts(tenant, (object, name) => object.nap(name))
  }

  wakeTenant(tenant: string): Promise<TenantFacts> {
    return this.#facts(tenant, (object, name) => object.wake(name))
  }

  async storeFacts(tenants: readonly string[]): Promise<ReadonlyMap<string, StoreFacts>> {
    const found = await Promise.all(tenants.map((name) => this.#find(parseTenantName(name))))
    const stores = new Map<string, StoreFacts>()
    for (const { name, storeBytes, createdMs } of found.filter((facts) => facts !== undefined)) {
      if (storeBytes === undefined || createdMs === undefined) continue
      stores.set(name, { storeBytes, createdMs })
    }
    return stores
  }

  pinTenant(): Promise<TenantFacts> {
    return unsupported('a tenant cannot be pinned', 'the memory of an isolate is for whoever asks')
  }

  unpinTenant(): Promise<TenantFacts> {
    return this.pinTenant()
  }

  rolesOf(): Promise<readonly RoleFacts[]> {
    return unsupported('tenants have no roles of their own', 'use the users of PGNAP_USERS')
  }

  rotateRole(): Promise<RoleGrant> {
    return unsupported('tenants have no roles of their own', 'use the users of PGNAP_USERS')
  }

  revokeRole(): Promise<void> {
    return unsupported('tenants have no roles of their own', 'use the users of PGNAP_USERS')
  }

  get bookmarks(): Bookmarks {
    return this
  }

  async bookmarkOf(tenant: string, at?: string): Promise<Bookmark> {
    const name = parseTenantName(tenant)
    const atMs = at === undefined ? undefined : timeOf(at)
    return heard(this.#object(name).bookmark(name, atMs))
  }

  async restoreTenant(tenant: string, bookmark: string): Promise<Bookmark> {
    const name = parseTenantName(tenant)
    const object = this.#object(name)
    const undo = await done(object.restore(name, bookmark))
    // One that was deleted comes back.
    await reached(this.#directory.add(name))
    // The call ends with the object.
    await Promise.allSettled([object.restart()])
    return undo
  }

  /** Of the isolate that answers, and no other. */
  async pool(): Promise<IsolatePoolFacts> {
    return isolatePool()
  }

  async pools(): Promise<PoolFacts[]> {
    return [await this.pool()]
  }

  activity(): Promise<Activity> {
    return unsupported('objects cannot be listed', 'ask for one tenant: GET /v1/tenants/NAME')
  }

  busiest(): Promise<readonly TenantTime[]> {
    return unsupported('objects cannot be listed', 'the platform counts the time of each object')
  }

  shards(): readonly ShardFacts[] {
    return []
  }

  ready(): boolean {
    return true
  }

  /** With the way to the object and back as routing, less what the object itself has taken. */
  async #timed<Result extends Answer | BatchAnswer>(
    tenant: string,
    ask: (object: TenantStub, name: TenantName) => Promise<Outcome<Result>>,
  ): Promise<Result> {
    const name = parseTenantName(tenant)
    const startMs = workerClock.monotonicMs()
    const result = await done(ask(this.#object(name), name))
    const { queueMs, wakeMs, executeMs, persistMs } = result.timings
    const tookMs = workerClock.monotonicMs() - startMs
    const routeMs = Math.max(0, tookMs - queueMs - wakeMs - executeMs - persistMs)
    return { ...result, timings: { ...result.timings, routeMs } }
  }

  async #facts(
    tenant: string,
    ask: (object: TenantStub, name: TenantName) => Promise<Outcome<TenantStanding>>,
  ): Promise<TenantFacts> {
    const name = parseTenantName(tenant)
    const standing = await heard(ask(this.#object(name), name))
    return { name, shard: 0, pinned: false, paused: false, ...standing }
  }

  /**
   * Undefined if there is a name and no tenant, which a failure may leave behind. Never rejects:
   * one tenant that cannot be asked must not take the others out of the list.
   */
  async #find(name: string): Promise<ListedTenant | undefined> {
    if (!isTenantName(name)) return undefined
    const listed = await this.#listed(name)
    const facts = { name, shard: 0, pinned: false, paused: false }
    if ('result' in listed) return { ...facts, ...listed.result }
    const error = toPgnapError(fromRemote(listed.error))
    if (error.code === 'TENANT_UNKNOWN') return undefined
    consoleLog.error('a tenant is listed without its facts', { tenant: name, error })
    // As a server lists a tenant whose file it has not opened.
    const { storeBytes } = listed
    const known = storeBytes === undefined ? {} : { storeBytes }
    return { ...facts, state: 'cold', clients: 0, ...known, error: errorFacts(error) }
  }

  /** Where the call itself fails, not even the size is known. */
  async #listed(name: TenantName): Promise<Listed> {
    try {
      return await this.#object(name).listed(name)
    } catch (error) {
      return { error: toRemote(error) }
    }
  }

  #object(name: TenantName): TenantStub {
    return this.#environment.TENANTS.getByName(name)
  }

  get #directory(): ReturnType<Environment['DIRECTORY']['getByName']> {
    return this.#environment.DIRECTORY.getByName(DIRECTORY_NAME)
  }
}

async function unsupported(what: string, hint: string): Promise<never> {
  throw new PgnapError('NOT_SUPPORTED', `${what} on Workers`, { hint })
}
