/**
 * One shard: an engine, a pool over it, the stores of the tenants that belong here, and the clients
 * of those tenants. Everything in it runs on one thread, whichever that is.
 */
import type { Clock } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { HeldBytes } from '../../../base/held-bytes.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Log } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import type {
  Answer,
  Batch,
  BatchAnswer,
  ClientFacts,
  Peer,
  Statement,
} from '../../../front/control.ts'
import { WireConnection } from '../../../front/wire/connection.ts'
import type { Link } from '../../../front/wire/link.ts'
import type { TenantTime } from '../../../pool/busiest-tenants.ts'
import type { DatabaseService } from '../../../pool/database-service.ts'
import type { PoolClient } from '../../../pool/pool-client.ts'
import { Pool } from '../../../pool/pool.ts'
import type { PoolOptions } from '../../../pool/pool-options.ts'
import type { PoolStatistics } from '../../../pool/pool-statistics.ts'
import type { PoolLoad } from '../../../pool/resting-tenants.ts'
import type { LoginLimiter } from '../../../router/login-attempts.ts'
import type { Credentials, UserList } from '../../../router/credentials.ts'
import type { PauseList } from '../../../router/pause-book.ts'
import { type MovedTenant, Ownership } from '../../../router/ownership.ts'
import { TenantGateway } from '../../../router/tenant-gateway.ts'
import { parseTenantName } from '../../../router/tenant-name.ts'
import { Users } from '../../../router/users.ts'
import { POSTGRES_VERSION } from '../../../engine/recipe.ts'
import { CancelKeys } from '../cancel-keys.ts'
import type { Config } from '../config.ts'
import { ControlDatabase } from '../control-database.ts'
import { imagesPath } from '../data-folder.ts'
import { ImageFolder } from '../image-folder.ts'
import { ShardJournal } from '../journal/shard-journal.ts'
import { type SharedLogins, SharedLoginLimiter } from '../../login-limiter.ts'
import { Newcomers } from '../newcomers.ts'
import { readPins } from '../pin-file.ts'
import { readCredentials } from '../read-credentials.ts'
import { SpareStores } from '../spare-stores.ts'
import { StoreFactory } from '../store-factory.ts'
import { NodeTenantDirectory } from '../tenant-directory.ts'
import { Call } from '../../call.ts'
import { deleted, revoked, shuttingDown, terminated, tooManyLogins } from './goodbyes.ts'
import type { DeletionWay } from './goodbyes.ts'
import { ownedSource } from './owned-source.ts'
import { type EngineSettings, openEngine, type PreparedEngine } from './shard-engine.ts'
import { type ClientWishes, type SlotWatcher, watchEngine } from './slot-watcher.ts'
import { type TemplateUse, TenantCopies } from './tenant-copies.ts'
import type { ClientWish } from './thread-watch.ts'
import type { ShardActivity, ShardApi, TenantStanding, TenantWatcher } from './shard-api.ts'

/** Of the event loop, until it has looked at all sockets. */
const TURNS_TO_READ = 2

/** What a shard is made of; all of it can be posted to another thread. */
export interface ShardSettings extends EngineSettings {
  readonly dataPath: string
  readonly tenantsPath: string
  /** Which of `config.shards` this is. */
  readonly index: number
  /** Of the server's {@link CancelKeys}. */
  readonly cancelSecret: Uint8Array
  /** Where failed logins are counted; absent where nobody is asked for a password. */
  readonly logins?: SharedLogins
  /** Tenants that are not where their hash says. Default: none. */
  readonly moved?: readonly MovedTenant[]
  /** What an administrator has paused. Default: nothing. */
  readonly paused?: PauseList
}

export interface ShardDependencies {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Told about the slots as they come and go, so that another thread can interrupt them. */
  readonly slotWatcher?: SlotWatcher
  /** Told about the tenants that are made and removed here. Default: nobody. */
  readonly tenantWatcher?: Pick<TenantWatcher, 'made' | 'removed'>
  /** For sessions that make and remove databases. Default: they cannot. */
  readonly databases?: DatabaseService
  /** Made of the same settings. Default: made here. */
  readonly prepared?: PreparedEngine | undefined
}

/** A client, as the main thread has seen it. */
export interface Newcomer {
  readonly peer: Peer
  /** Its number, which it will know as the process id of its backend. */
  readonly processId: number
}

function slowLogOf({ logSlowMs, logSlowStatements }: Config): Pick<PoolOptions, 'slowLog'> {
  if (logSlowMs === undefined) return {}
  return { slowLog: { afterMs: logSlowMs, statements: logSlowStatements } }
}

/** What the main thread sees of the pool, and may interrupt. */
function upkeepOf({ slotWatcher }: ShardDependencies): Partial<PoolOptions> {
  if (!slotWatcher) return { tidiesAtRest: true }
  const { sign } = slotWatcher
  return {
    tidiesAtRest: true,
    upkeepSign: sign,
    onShared: (shared) => (sign.shared = shared),
    onWaited: (isWaited) => (sign.waited = isWaited),
  }
}

export class Shard implements ShardApi {
  readonly #dependencies: ShardDependencies
  readonly #pool: Pool
  readonly #directory: NodeTenantDirectory
  readonly #gateway: TenantGateway
  readonly #ownership: Ownership
  readonly #images: ImageFolder
  readonly #stores: StoreFactory
  readonly #copies: TenantCopies
  readonly #saltSecret: Uint8Array<ArrayBuffer> | undefined
  readonly #administrators: Credentials | undefined
  readonly #limiter: LoginLimiter | undefined
  readonly #newcomers: Newcomers
  /** By the numbers of their clients. */
  readonly #connections: Map<number, WireConnection>
  readonly #cancelKeys: CancelKeys
  readonly #domain: string | undefined
  readonly #held: HeldBytes
  /** Of {@link query} and {@link transaction}, by their numbers. */
  readonly #calls = new Map<number, Call>()

  private constructor(
    settings: ShardSettings,
    dependencies: ShardDependencies,
    parts: {
      pool: Pool
      connections: Map<number, WireConnection>
      directory: NodeTenantDirectory
      gateway: TenantGateway
      ownership: Ownership
      images: ImageFolder
      stores: StoreFactory
      copies: TenantCopies
      saltSecret: Uint8Array<ArrayBuffer> | undefined
      administrators: Credentials | undefined
    },
  ) {
    this.#dependencies = dependencies
    this.#pool = parts.pool
    this.#connections = parts.connections
    this.#directory = parts.directory
    this.#gateway = parts.gateway
    this.#ownership = parts.ownership
    this.#images = parts.images
    this.#stores = parts.stores
    this.#copies = parts.copies
    this.#saltSecret = parts.saltSecret
    this.#administrators = parts.administrators
    const { logins, config } = settings
    const { clock } = dependencies
    this.#limiter =
      logins && parts.saltSecret
        ? new SharedLoginLimiter({
            logins,
            secret: parts.saltSecret,
            addressFailuresMax: config.loginFailuresMax,
            clock,
          })
        : undefined
    this.#newcomers = new Newcomers({
      countMax: Math.ceil((config.connectionsMax * LIMITS.loginShareMax) / config.shards),
      graceMs: LIMITS.loginGraceMs,
      clock,
    })
    this.#cancelKeys = new CancelKeys(settings.cancelSecret)
    this.#domain = config.domain
    this.#held = new HeldBytes(config.clientBytesMax)
  }

  static async create(settings: ShardSettings, dependencies: ShardDependencies): Promise<Shard> {
    const { config, dataPath, tenantsPath, index, moved = [], paused } = settings
    const { napAfterMs, queryWaitMs, tellUnknownTenants: tellsUnknown } = config
    const ownership = new Ownership({ index, shardCount: config.shards, moved })
    const { clock, log, random, prepared, tenantWatcher } = dependencies
    const engine = prepared?.engine ?? (await openEngine(settings, dependencies))
    const images = new ImageFolder({
      path: imagesPath(dataPath),
      bytesMax: Math.floor(config.imageDiskBytes / config.shards),
      owns: (tenant) => ownership.owns(tenant),
      log,
    })
    if (!images.keepsAny) void images.clear()
    const control = ControlDatabase.openExisting(dataPath)
    const stores = new StoreFactory({
      spares: new SpareStores({ tenantsPath, index, clock, log }),
      journal: new ShardJournal({ dataPath, clock, random, log }),
      dataPath,
      tenantsPath,
      clock,
      engine,
      retentionMs: config.retentionMs,
      databaseBytesMax: config.databaseBytesMax,
      createMissing: config.createOnConnect,
      images,
      beforeMade: (tenant) => control?.forget(tenant),
      onMade: (tenant) => tenantWatcher?.made(tenant),
    })
    const directory = new NodeTenantDirectory({
      tenantsPath,
      createStore: stores.create,
      onRemoved: (tenant) => tenantWatcher?.removed(tenant),
    })
    const connections = new Map<number, WireConnection>()
    const wishesOf = (client: number): ClientWishes | undefined => connections.get(client)?.wish
    const pool = new Pool({
      engine: watchEngine(engine, dependencies.slotWatcher, wishesOf, prepared?.slot),
      source: ownedSource(stores, ownership),
      clock,
      log,
      keepWarm: config.keepWarm,
      ...slowLogOf(config),
      databases: dependencies.databases,
      imageCacheBytes: Math.floor(config.imageCacheBytes / config.shards),
      ...upkeepOf(dependencies),
      limits: { slotsPerShard: config.slots, napAfterMs, queryWaitMs },
    })
    // All of them: a tenant may move here. Only what this shard owns is warmed.
    for (const tenant of readPins(dataPath)) pool.keepWarm.pin(tenant)
    if (paused?.all) pool.pauses.pause(undefined)
    for (const tenant of paused?.tenants ?? []) pool.pauses.pause(tenant)
    const saltSecret = control?.saltSecret
    const administrators = saltSecret && (await readCredentials(config, random, saltSecret))
    const exists = (tenant: TenantName): boolean => directory.has(tenant)
    const gateway = new TenantGateway({
      pool,
      directory,
      createOnConnect: config.createOnConnect,
      connectionsMax: config.connectionsMax,
      ownership,
      ...(control && administrators
        ? {
            users: new Users({ administrators, roles: control, exists, tellsUnknown }),
          }
        : {}),
    })
    const copies = new TenantCopies({ pool, stores, clock })
    const own = { pool, connections, directory, gateway, ownership, images, stores, copies }
    return new Shard(settings, dependencies, { ...own, saltSecret, administrators })
  }

  /** Serves one client. The caller passes on what its link receives. */
  connect(link: Link, { peer, processId }: Newcomer): WireConnection {
    const { clock, random, log, slotWatcher } = this.#dependencies
    const connection: WireConnection = new WireConnection({
      link,
      gateway: this.#gateway,
      clock,
      random,
      log,
      serverVersion: POSTGRES_VERSION,
      processId,
      peer,
      domain: this.#domain,
      held: this.#held,
      limiter: this.#limiter,
      ...(this.#saltSecret ? { mockSecret: this.#saltSecret } : {}),
      mayBeCanceled: () => slotWatcher?.sign.hasWishes ?? false,
      secretFor: (id, byteLength) => this.#cancelKeys.keyFor(id, byteLength),
      onLetIn: () => letIn(),
      onClosed: () => {
        letIn()
        if (this.#connections.get(processId) !== connection) return
        this.#connections.delete(processId)
      },
    })
    const letIn = this.#newcomers.enter(() => connection.shutdown(tooManyLogins()))
    this.#connections.set(processId, connection)
    return connection
  }

  async cancel({ client, number, beforeByte }: ClientWish): Promise<void> {
    const connection = this.#connections.get(client)
    if (connection && beforeByte !== undefined) {
      return connection.cancelFor({ number, beforeByte })
    }
    // What the client had sent by then has perhaps not been read yet.
    const { clock } = this.#dependencies
    for (let count = 0; count < TURNS_TO_READ; count++) {
      await new Promise<void>((resolve) => clock.nextTurn(resolve))
    }
    connection?.cancel()
    this.#calls.get(client)?.cancel()
  }

  query(tenant: string, statement: Statement, number: number): Promise<Answer> {
    return this.#called(tenant, number, (call) => call.statement(statement))
  }

  transaction(tenant: string, batch: Batch, number: number): Promise<BatchAnswer> {
    return this.#called(tenant, number, (call) => call.transaction(batch))
  }

  async #called<Result>(
    tenant: string,
    number: number,
    ask: (call: Call) => Promise<Result>,
  ): Promise<Result> {
    const { clock } = this.#dependencies
    const startMs = clock.monotonicMs()
    const client = await this.#connectInternally(tenant, number)
    const call = new Call(client, clock.monotonicMs() - startMs)
    this.#calls.set(number, call)
    try {
      return await ask(call)
    } finally {
      this.#calls.delete(number)
      call.close()
    }
  }

  async createTenant(tenant: string, copy?: string): Promise<void> {
    const name = parseTenantName(tenant)
    this.#ownership.check(name)
    await this.#directory.create(name, copy)
  }

  async copyTenant(tenant: string, path: string, use: TemplateUse): Promise<void> {
    const name = await this.#existing(tenant)
    this.#ownership.check(name)
    await this.#copies.copy(name, path, use)
  }

  async deleteTenant(tenant: string, way: DeletionWay): Promise<void> {
    const name = await this.#existing(tenant)
    this.#ownership.check(name)
    if (way === 'unless used') await this.#copies.untilUnused(name, 0)
    const goodbye = deleted(name, way)
    await this.#pool.expel(name, goodbye)
    await this.#directory.delete(name)
    // Whoever came meanwhile was let into the old one, and would make a new one with its next word.
    this.#sendAway(goodbye, ({ database }) => isDatabaseOf(name, database))
  }

  async dismiss(tenant: string, role: string): Promise<void> {
    this.#sendAway(
      revoked(role),
      ({ database, user }) => user === role && isDatabaseOf(tenant, database),
    )
  }

  async dismissAll(tenant: string): Promise<void> {
    this.#sendAway(terminated(), ({ database }) => isDatabaseOf(tenant, database))
  }

  async setPaused(tenant: string | undefined, paused: boolean): Promise<void> {
    const { pauses } = this.#pool
    if (paused) pauses.pause(nameOf(tenant))
    else pauses.resume(nameOf(tenant))
  }

  untilRested(tenant: string | undefined): Promise<boolean> {
    return this.#pool.pauses.untilRested(nameOf(tenant))
  }

  async renew(tenant: string | undefined): Promise<void> {
    const { pauses } = this.#pool
    pauses.renew(nameOf(tenant))
    if (tenant === undefined) await this.#images.removeAll((name) => pauses.isKnown(name))
  }

  async adoptUsers(users: UserList): Promise<void> {
    this.#administrators?.adopt(users)
  }

  async standings(tenants: readonly string[]): Promise<readonly TenantStanding[]> {
    return tenants.map(parseTenantName).map((name) => ({
      phase: this.#pool.phaseOf(name),
      clients: this.#pool.clientCountOf(name),
    }))
  }

  async nap(tenant: string): Promise<void> {
    const name = await this.#existing(tenant)
    await this.#pool.synced(name)
    this.#pool.nap(name)
  }

  async wake(tenant: string): Promise<void> {
    await this.#pool.wake(await this.#existing(tenant))
  }

  async setPinned(tenant: string, pinned: boolean): Promise<void> {
    const name = parseTenantName(tenant)
    if (pinned) this.#pool.keepWarm.pin(name)
    else this.#pool.keepWarm.unpin(name)
  }

  async statistics(): Promise<PoolStatistics> {
    return this.#pool.statistics()
  }

  async busiest(countMax: number): Promise<TenantTime[]> {
    return this.#pool.busiest(countMax)
  }

  async load(): Promise<PoolLoad> {
    // A connection stays in this thread, and its tenant with it.
    const clients = Array.from(this.#connections.values(), (each) => each.facts())
    const connected = new Set(clients.map(({ database }) => database))
    return this.#pool.resting.load((tenant) => !connected.has(tenant))
  }

  async release(tenant: string): Promise<boolean> {
    const name = parseTenantName(tenant)
    if (!this.#ownership.owns(name)) return true
    // Before anything else: what comes for it while its image is being written comes too late.
    this.#ownership.release(name)
    let released = false
    try {
      released = await this.#pool.resting.release(name)
    } finally {
      if (!released) this.#ownership.accept(name)
    }
    return released
  }

  async accept(tenant: string): Promise<void> {
    const name = parseTenantName(tenant)
    if (this.#ownership.owns(name)) return
    this.#images.accept(name)
    this.#ownership.accept(name)
  }

  async activity(): Promise<ShardActivity> {
    const nowMs = this.#dependencies.clock.nowMs()
    const { tenants, slots } = this.#pool.overview()
    return {
      tenants,
      slots: slots.map(({ awakeMs, restMs, ...slot }) => ({
        ...slot,
        awakeSinceMs: slot.phase === 'awake' ? nowMs - awakeMs : 0,
        lastUsedMs: slot.phase === 'awake' ? nowMs - restMs : 0,
      })),
      clients: Array.from(this.#connections.values(), (connection) => connection.facts()),
    }
  }

  async drain(graceMs: number): Promise<void> {
    const drained = this.#pool.drain(graceMs)
    for (const connection of this.#connections.values()) connection.shutdown(shuttingDown())
    await drained
    await this.#stores.close()
  }

  async ping(): Promise<void> {}

  /** After the batch that runs; who waits for a turn does not have to wait for that. */
  #sendAway(goodbye: PgnapError, whom: (client: ClientFacts) => boolean): void {
    for (const connection of this.#connections.values()) {
      if (!whom(connection.facts())) continue
      connection.shutdown(goodbye)
      connection.cancel()
    }
  }

  async #existing(tenant: string): Promise<TenantName> {
    const name = parseTenantName(tenant)
    await this.#directory.facts(name)
    return name
  }

  #connectInternally(tenant: string, number: number): Promise<PoolClient> {
    return this.#gateway.connect({
      tenant,
      // Nobody's name: who has asked over HTTP reaches no other tenant by SQL.
      user: '',
      applicationName: 'pgnap',
      processId: number,
      // A client of one statement has nothing to be told between batches.
      events: { messages: () => {}, lost: () => {} },
    })
  }
}

function nameOf(tenant: string | undefined): TenantName | undefined {
  return tenant === undefined ? undefined : parseTenantName(tenant)
}

/** The tenant itself, or a branch of it. */
function isDatabaseOf(tenant: string, database: string): boolean {
  return database === tenant || database.startsWith(`${tenant}@`)
}
