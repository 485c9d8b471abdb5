/**
 * A whole server in this process: data folder, engine, shards in threads, Postgres wire, HTTP.
 * Composes only; everything it is made of has its own file.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { Control } from '../../front/control.ts'
import { systemClock } from './clock.ts'
import { CopyFolder } from './copy-folder.ts'
import type { Config } from './config.ts'
import { type DataFolder, imagesPath } from './data-folder.ts'
import type { EngineParts } from './engine/load-engine.ts'
import { createHandover, type Handover } from './handover/handover.ts'
import type { HttpListener } from './http-listener.ts'
import { PauseBook } from '../../router/pause-book.ts'
import { ListedTenants } from './listed-tenants.ts'
import { PinFile } from './pin-file.ts'
import { systemRandom } from './random.ts'
import type { ServerUsers } from './server-users.ts'
import { Balancer } from './shard/balancer.ts'
import { ShardSet, type ShardSetOptions } from './shard/shard-set.ts'
import { closeSettledFolder, openSettledFolder } from './journal/settled-folder.ts'
import { startEarly, type EarlyStart } from './early-start.ts'
import type { ShardSettings } from './shard/shard.ts'
import { ServerOperations } from './server-operations.ts'
import { ShardedControl } from './sharded-control.ts'
import { TenantDatabases } from './tenant-databases.ts'
import { TenantFolder } from './tenant-folder.ts'
import { LazyConsole } from './lazy-console.ts'
import { keepTemplate } from './templates.ts'
import type { Identity } from './tls/identity.ts'
import type { WireTls } from './tls/wire-tls.ts'
import { localUrl } from './local-url.ts'
import { type Address, listenForWire, type WireListener } from './wire-listener.ts'

const TURNS_TO_HEAR = 3

export interface ServerOptions {
  readonly log: Log
  /** pgnap's own version, as HTTP shows it. */
  readonly version: string
  /** Told about the steps of an engine build, which only a first start has. */
  readonly progress?: (step: string) => void
  /** Tenants get roles even if this process asks for no passwords. Default: only with scram. */
  readonly grantRoles?: boolean
  /**
   * Told when clients can connect and what the first of them needs is loaded, and when they have
   * been served, if any have come.
   */
  readonly whileFirstServed?: { begins(): void; ends(): void }
  /** What the caller has started before it loaded this. Default: started here. */
  readonly early?: EarlyStart
}

/** Tenants and the threads that serve them, without any port. */
export interface Backend extends AsyncDisposable {
  /** Settles when the engine is there, and the first client that waited for it has been served. */
  firstServed(): Promise<void>
  /** Settles when every shard takes requests; until then clients wait. If it fails, drain. */
  start(): Promise<void>
  readonly control: Control
  readonly shards: ShardSet
  readonly handover: Handover
  /** Absent where nobody is asked for a password. */
  readonly users: ServerUsers | undefined
  readonly operations: ServerOperations
  /**
   * Lets the command line on this machine find the server that holds the folder.
   * @param certificate what it shows there, if the URL is one of https
   */
  announce(url: string, certificate?: string): void
  /** Lets clients finish, puts every tenant away, ends the threads, gives up the folder. */
  drain(): Promise<void>
}

export interface RunningServer {
  readonly wireAddress: Address
  readonly httpAddress: Address
  readonly control: Control
  /** How connections reach their shard's thread. */
  readonly transport: Handover['mode']
  /**
   * Reads the files of the certificate again, for new connections. Undefined without TLS.
   * @throws PgnapError CONFIG_INVALID; then nothing has changed
   */
  readonly renewCertificate: (() => void) | undefined
  /** Stops listening, lets clients finish what they are doing, ends. Idempotent. */
  drain(): Promise<void>
}

/**
 * Starts a server.
 * @throws PgnapError DATA_FOLDER_IN_USE, CONFIG_INVALID, ENGINE_ASSETS_INVALID, STORE_IO
 */
export async function startServer(config: Config, options: ServerOptions): Promise<RunningServer> {
  const startedMs = systemClock.nowMs()
  const tls = await openTls(config, options.log)
  const backend = await openBackend(config, options, tls?.identity)
  const { control, shards, handover, users, operations } = backend
  let listening: WireListener | undefined
  let serving: HttpListener | undefined
  try {
    const adminConsole = new LazyConsole({
      control,
      operations,
      config,
      credentials: users?.administrators,
      saltSecret: users?.saltSecret,
      limiter: users?.limiter,
      version: options.version,
      startedMs,
      clock: systemClock,
      random: systemRandom,
      log: options.log,
    })
    // Before the shards are there: who waits for the server tells which of them is to come first.
    const wire = (listening = await listenForWire({
      host: config.host,
      port: config.port,
      connectionsMax: config.connectionsMax,
      handover,
      shards,
      adminConsole,
      tls: tls?.wire,
      requireTls: config.requireTls,
      domain: config.domain,
      clock: systemClock,
      log: options.log,
    }))
    users?.roles.listensOn(wire.address.port)
    await backend.firstServed()
    const starting = awaitedLater(backend.start())
    // Loaded while the shards start: a client of the wire need not wait for HTTP.
    const { listenForHttp } = await import('./http-listener.ts')
    const identity = tls?.identity
    const { accept, address } = wire
    const httpOptions = { ...options, users, accept, wirePort: address.port, identity }
    const http = (serving = await listenForHttp(config, control, httpOptions))
    await starting
    announce(backend, config, http.address, identity)
    let drained: Promise<void> | undefined
    const drain = async (): Promise<void> => {
      wire.close()
      adminConsole.close()
      await backend.drain()
      await http.close()
    }
    return {
      wireAddress: wire.address,
      httpAddress: http.address,
      control,
      transport: handover.mode,
      renewCertificate: identity && (() => identity.renew()),
      drain: () => (drained ??= drain()),
    }
  } catch (error) {
    // A listener that is left would keep the process, which has nothing to serve, from ending.
    listening?.close()
    await backend.drain()
    await serving?.close()
    throw error
  }
}

/** Until somebody waits for it, its failure is nobody's. */
function awaitedLater<Result>(promise: Promise<Result>): Promise<Result> {
  promise.catch(() => {})
  return promise
}

/** The command line is to know the server by the certificate that it shows at the moment. */
function announce(
  backend: Backend,
  { tlsCert }: Config,
  { host, port: httpPort }: Address,
  identity: Identity | undefined,
): void {
  const url = localUrl({ host, httpPort, tlsCert })
  const tell = (): void => backend.announce(url, identity?.certificate)
  tell()
  identity?.onRenewed(tell)
}

/** Opens a data folder and starts its shards. Errors: as {@link startServer}. */
export async function startBackend(config: Config, options: ServerOptions): Promise<Backend> {
  const backend = await openBackend(config, options)
  try {
    await backend.firstServed()
    await backend.start()
    return backend
  } catch (error) {
    await backend.drain()
    throw error
  }
}

async function openBackend(
  config: Config,
  options: ServerOptions,
  identity?: Identity,
): Promise<Backend> {
  const { log, progress } = options
  const { thread, engine } = options.early ?? (await startEarly(config, progress))
  const folder = await openSettledFolder({ path: config.data, clock: systemClock }, log)
  const tenantFolder = new TenantFolder(folder.tenantsPath, imagesPath(folder.path))
  const { pins, copies } = openFiles(folder)
  const users = await openUsers(config, options, { folder, tenantFolder })
  const { roles, logins } = users ?? {}
  const handover = openHandover(config)
  // It is `start` that waits for them and says what went wrong.
  const settings = awaitedLater(engine.then((parts) => settingsOf(config, folder, parts, logins)))
  const folderReady = awaitedLater(engine.then((parts) => keepTemplate(folder.path, parts)))
  const listed = new ListedTenants({ folder: tenantFolder, clock: systemClock })
  const pauses = new PauseBook()
  const shards = new ShardSet({
    paused: () => pauses.list(),
    databases: new TenantDatabases({ folder: tenantFolder, control: () => control }),
    count: config.shards,
    ...placementOf(config, tenantFolder, pins),
    handover,
    settings,
    folderReady,
    clock: systemClock,
    random: systemRandom,
    log,
    early: thread,
    queryWaitMs: config.queryWaitMs,
    tenantWatcher: listed,
  })
  const balancer = new Balancer({ shards, clock: systemClock })
  const shared = { shards, folder: tenantFolder, copies, pauses }
  const operations = new ServerOperations({ ...shared, users, identity })
  const control: ShardedControl = new ShardedControl({ ...shared, listed, pins, roles, operations })
  let started = false
  const close = async (): Promise<void> => {
    await shards.close()
    handover.close()
    users?.[Symbol.dispose]()
    await closeSettledFolder(folder, { clock: systemClock, log })
  }
  const start = async (): Promise<void> => {
    await shards.start()
    started = true
    if (config.rebalance && shards.count > 1) balancer.start()
  }
  const drain = async (): Promise<void> => {
    control.drain()
    balancer.stop()
    // Clients that still wait for their shard are let go.
    if (!started) return close()
    await drainShards(shards)
    await close()
  }
  return {
    control,
    shards,
    handover,
    users,
    operations,
    announce: (url, certificate) => folder.announce(url, certificate),
    firstServed: () => firstServed(thread.loaded, shards, settings, options.whileFirstServed),
    start,
    drain,
    [Symbol.asyncDispose]: drain,
  }
}

/**
 * Who moves takes one of the few places of those that are not at home. So a stranger's word is not
 * enough for a name that nobody has: only where whoever connects makes that tenant.
 */
function placementOf(
  { rebalance, createOnConnect, auth }: Config,
  folder: TenantFolder,
  { names: inMemory }: PinFile,
): Pick<ShardSetOptions, 'mayPlace' | 'inMemory'> {
  if (!rebalance) return {}
  if (createOnConnect && auth === 'trust') return { mayPlace: () => true, inMemory }
  return { mayPlace: (tenant) => folder.has(tenant), inMemory }
}

async function firstServed(
  loaded: Promise<void>,
  shards: ShardSet,
  settings: Promise<unknown>,
  meanwhile: ServerOptions['whileFirstServed'],
): Promise<void> {
  await loaded
  meanwhile?.begins()
  try {
    await settings
    // Whoever knocked while this thread was busy is heard within a few turns: accepted, then read.
    for (let count = 0; count < TURNS_TO_HEAR; count++) await turn()
    await shards.firstServed()
  } finally {
    meanwhile?.ends()
  }
}

function openHandover({ transport }: Config): Handover {
  const mode = transport === 'auto' ? {} : { mode: transport }
  return createHandover({ clock: systemClock, ...mode })
}

/** A shard that hangs or has died must not keep the others' server from ending. */
async function drainShards(shards: ShardSet): Promise<void> {
  const drained = Promise.allSettled(shards.map((shard) => shard.drain(LIMITS.drainMs)))
  const waited = Promise.withResolvers<void>()
  const timer = systemClock.setTimer(LIMITS.drainMs + LIMITS.shardGraceMs, waited.resolve)
  await Promise.race([drained, waited.promise])
  timer.cancel()
}

/** Only a server with passwords needs the code that reads them. */
async function openUsers(
  config: Config,
  { grantRoles = false }: ServerOptions,
  { folder, tenantFolder }: { folder: DataFolder; tenantFolder: TenantFolder },
): Promise<ServerUsers | undefined> {
  if (config.auth === 'trust' && !grantRoles) return undefined
  try {
    const { openServerUsers } = await import('./server-users.ts')
    const exists = (tenant: TenantName): boolean => tenantFolder.has(tenant)
    return openServerUsers(config, { dataPath: folder.path, exists })
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
}

interface Tls {
  readonly identity: Identity
  readonly wire: WireTls
}

/** Only a server with a certificate needs the code that shows it. */
async function openTls(config: Config, log: Log): Promise<Tls | undefined> {
  if (config.tlsCert === undefined) return undefined
  const { Identity, tlsFilesOf } = await import('./tls/identity.ts')
  const files = tlsFilesOf(config)
  if (!files) return undefined
  const identity = new Identity(files)
  const { WireTls } = await import('./tls/wire-tls.ts')
  return { identity, wire: new WireTls({ identity, clock: systemClock, log }) }
}

/** A folder whose list of pins cannot be read, or that cannot be tidied up, is let go of. */
function openFiles(folder: DataFolder): { pins: PinFile; copies: CopyFolder } {
  try {
    return { pins: new PinFile(folder.path), copies: new CopyFolder(folder.tenantsPath) }
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
}

function settingsOf(
  config: Config,
  folder: DataFolder,
  engine: EngineParts,
  logins: ShardSettings['logins'] | undefined,
): Omit<ShardSettings, 'cancelSecret'> {
  return {
    config,
    dataPath: folder.path,
    tenantsPath: folder.tenantsPath,
    engine,
    index: 0,
    ...(logins ? { logins } : {}),
  }
}
