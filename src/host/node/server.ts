/**
 * A whole server in this process: data folder, engine, shards in threads, Postgres wire, HTTP.
 * Composes only; everything it is made of has its own file.
 */
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { Control } from '../../front/control.ts'
import type { Credentials } from '../../router/credentials.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { type DataFolder, openDataFolder } from './data-folder.ts'
import { loadEngineParts } from './engine/load-engine.ts'
import { createHandover, type Handover } from './handover/handover.ts'
import { systemRandom } from './random.ts'
import { ShardSet } from './shard/shard-set.ts'
import type { ShardSettings } from './shard/shard.ts'
import { ShardedControl } from './sharded-control.ts'
import { TenantFolder } from './tenant-folder.ts'
import { LazyConsole } from './lazy-console.ts'
import { keepTemplate } from './templates.ts'
import { localUrl } from './local-url.ts'
import { type Address, listenForWire, type WireListener } from './wire-listener.ts'

export interface ServerOptions {
  readonly log: Log
  /** pgnap's own version, as HTTP shows it. */
  readonly version: string
  /** Told about the steps of an engine build, which only a first start has. */
  readonly progress?: (step: string) => void
}

/** Tenants and the threads that serve them, without any port. */
export interface Backend extends AsyncDisposable {
  readonly control: Control
  readonly shards: ShardSet
  readonly handover: Handover
  /** Lets the command line on this machine find the server that holds the folder. */
  announce(url: string): void
  /** Lets clients finish, puts every tenant away, ends the threads, gives up the folder. */
  drain(): Promise<void>
}

export interface RunningServer {
  readonly wireAddress: Address
  readonly httpAddress: Address
  readonly control: Control
  /** How connections reach their shard's thread. */
  readonly transport: Handover['mode']
  /** Stops listening, lets clients finish what they are doing, ends. Idempotent. */
  drain(): Promise<void>
}

/**
 * Starts a server.
 * @throws PgnapError DATA_FOLDER_IN_USE, CONFIG_INVALID, ENGINE_ASSETS_INVALID, STORE_IO
 */
export async function startServer(config: Config, options: ServerOptions): Promise<RunningServer> {
  const startedMs = systemClock.nowMs()
  const credentials = loadCredentials(config)
  // Awaited by the listeners, which come later.
  credentials.catch(() => {})
  const backend = await startBackend(config, options)
  const { control, shards, handover } = backend
  let listening: WireListener | undefined
  try {
    const adminConsole = new LazyConsole({
      control,
      config,
      credentials,
      version: options.version,
      startedMs,
      clock: systemClock,
      random: systemRandom,
      log: options.log,
    })
    const wire = (listening = await listenForWire({
      host: config.host,
      port: config.port,
      connectionsMax: config.connectionsMax,
      handover,
      shards,
      adminConsole,
      clock: systemClock,
      log: options.log,
    }))
    // Loaded while the shards make their first slots: a client of the wire need not wait for HTTP.
    const { listenForHttp } = await import('./http-listener.ts')
    const http = await listenForHttp(config, control, { ...options, credentials })
    backend.announce(localUrl({ host: http.address.host, httpPort: http.address.port }))
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
      drain: () => (drained ??= drain()),
    }
  } catch (error) {
    // A listener that is left would keep the process, which has nothing to serve, from ending.
    listening?.close()
    await backend.drain()
    throw error
  }
}

/** Opens a data folder and starts its shards. Errors: as {@link startServer}. */
export async function startBackend(config: Config, options: ServerOptions): Promise<Backend> {
  const { log, progress } = options
  const folder = openDataFolder({ path: config.data, clock: systemClock })
  const handover = createHandover({
    clock: systemClock,
    ...(config.transport === 'auto' ? {} : { mode: config.transport }),
  })
  // The threads start first, so that they load their code while this one loads the engine.
  const settings = Promise.resolve().then(() => loadSettings(config, folder, progress))
  const shards = new ShardSet({
    count: config.shards,
    handover,
    settings,
    clock: systemClock,
    log,
  })
  const control = new ShardedControl(shards, new TenantFolder(folder.tenantsPath))
  const close = async (): Promise<void> => {
    await shards.close()
    handover.close()
    folder[Symbol.dispose]()
  }
  try {
    await shards.started()
  } catch (error) {
    await close()
    // If the engine could not be loaded, that is the reason, and not that the shards did not start.
    await settings
    throw error
  }
  const drain = async (): Promise<void> => {
    control.drain()
    // A shard that hangs or has died must not keep the others' server from ending.
    const drained = Promise.allSettled(shards.map((shard) => shard.drain(LIMITS.drainMs)))
    const waited = Promise.withResolvers<void>()
    const timer = systemClock.setTimer(LIMITS.drainMs + LIMITS.shardGraceMs, waited.resolve)
    await Promise.race([drained, waited.promise])
    timer.cancel()
    await close()
  }
  const announce = (url: string): void => folder.announce(url)
  return { control, shards, handover, announce, drain, [Symbol.asyncDispose]: drain }
}

/** Only a server with passwords needs the code that reads them. */
async function loadCredentials(config: Config): Promise<Credentials | undefined> {
  if (config.auth === 'trust') return undefined
  const { readCredentials } = await import('./read-credentials.ts')
  return readCredentials(config, systemRandom)
}

async function loadSettings(
  config: Config,
  folder: DataFolder,
  progress: ServerOptions['progress'],
): Promise<ShardSettings> {
  const engine = await loadEngineParts(progress ? { progress } : {})
  keepTemplate(folder.path, engine)
  return {
    config,
    dataPath: folder.path,
    tenantsPath: folder.tenantsPath,
    engine,
    index: 0,
  }
}
