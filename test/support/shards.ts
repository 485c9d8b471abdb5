/**
 * Two shards in threads behind a port of this process, composed as the server does: for tests that
 * need to hold a thread, or to know the moment of a move.
 */
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import type { ShardIndex } from '../../src/base/ids.ts'
import { silentLog } from '../../src/base/log.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { type Config, validate } from '../../src/host/node/config.ts'
import { CopyFolder } from '../../src/host/node/copy-folder.ts'
import { openDataFolder } from '../../src/host/node/data-folder.ts'
import { loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { type Handover, createHandover } from '../../src/host/node/handover/handover.ts'
import { ListedTenants } from '../../src/host/node/listed-tenants.ts'
import { PinFile } from '../../src/host/node/pin-file.ts'
import { ShardSet } from '../../src/host/node/shard/shard-set.ts'
import { startThread } from '../../src/host/node/shard/shard-thread.ts'
import { ShardedControl } from '../../src/host/node/sharded-control.ts'
import { keepTemplate } from '../../src/host/node/templates.ts'
import { TenantDatabases } from '../../src/host/node/tenant-databases.ts'
import { TenantFolder } from '../../src/host/node/tenant-folder.ts'
import { Identity, type TlsFiles } from '../../src/host/node/tls/identity.ts'
import { WireTls } from '../../src/host/node/tls/wire-tls.ts'
import { listenForWire } from '../../src/host/node/wire-listener.ts'
import type { Target } from './clients.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface TwoShards extends AsyncDisposable, Target {
  readonly handover: Handover
  readonly shards: ShardSet
  readonly control: ShardedControl
  readonly connectionsMax: number
  /** The first thread of the shard that was named. */
  readonly victim: Worker
}

export interface TwoShardsOptions {
  /** What differs from the defaults of a server. */
  readonly config?: Partial<Config>
  /** With them the port speaks TLS, too. */
  readonly tls?: TlsFiles
  /** The shard whose first thread the test wants to have. Default: the first one. */
  readonly victimIndex?: ShardIndex
  /**
   * A patience that a test has: longer than a busy machine takes to make slots and to boot, which
   * is silence, too. Default: that of a server.
   */
  readonly hangMs?: number
  readonly graceMs?: number
}

const CONNECTIONS_MAX = 100

export async function startTwoShards(options: TwoShardsOptions = {}): Promise<TwoShards> {
  const { config: changes = {}, victimIndex = 0, tls, ...patience } = options
  const temporary = temporaryFolder()
  const folder = openDataFolder({ path: join(temporary.path, 'data'), clock: systemClock })
  const engine = await loadEngineParts()
  const config = validate({ data: folder.path, shards: 2, ...changes })
  const { path: dataPath, tenantsPath } = folder
  const tenantFolder = new TenantFolder(tenantsPath)
  const listed = new ListedTenants({ folder: tenantFolder, clock: systemClock })
  const handover = createHandover({ clock: systemClock })
  const victim = startThread()
  let early: Worker | undefined = victim
  const databases = new TenantDatabases({ folder: tenantFolder, control: () => control })
  const shards = new ShardSet({
    databases,
    count: 2,
    handover,
    settings: Promise.resolve({ config, dataPath, tenantsPath, engine, index: 0 }),
    folderReady: keepTemplate(folder.path, engine),
    early: {
      take: () => {
        const taken = early
        early = undefined
        return taken
      },
    },
    tenantWatcher: listed,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    ...patience,
  })
  // The thread is taken when the settings are known: by the shard that was wanted first.
  shards.want(victimIndex)
  await shards.start()
  const listener = await listenForWire({
    host: '127.0.0.1',
    port: 0,
    connectionsMax: CONNECTIONS_MAX,
    handover,
    shards,
    clock: systemClock,
    log: silentLog,
    tls: tls && new WireTls({ identity: new Identity(tls), clock: systemClock, log: silentLog }),
  })
  const pins = new PinFile(folder.path)
  const copies = new CopyFolder(folder.tenantsPath)
  const shared = { shards, folder: tenantFolder, copies }
  const control: ShardedControl = new ShardedControl({ ...shared, listed, pins })
  return {
    handover,
    port: listener.address.port,
    shards,
    control,
    connectionsMax: CONNECTIONS_MAX,
    victim,
    [Symbol.asyncDispose]: async () => {
      listener.close()
      await shards.close()
      handover.close()
      folder[Symbol.dispose]()
      temporary[Symbol.dispose]()
    },
  }
}
