/**
 * One shard with everything that images need, for real: engine, stores and images on disk. A pool
 * may be drained and another one made over the same folder (a restart), or over a copy of the
 * folder as it is at some moment (what is left after kill -9, or a backup).
 */
import { keptBytes } from '../../src/base/bytes.ts'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ManualClock } from '../../src/base/clock.ts'
import type { TenantName } from '../../src/base/ids.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import type { WasmEngine, WasmEngineOptions } from '../../src/engine/wasm-engine.ts'
import { queryMessage, readAnswer } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { ImageFolder } from '../../src/host/node/image-folder.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { StoreFactory } from '../../src/host/node/store-factory.ts'
import { storePath } from '../../src/host/node/tenant-files-on-disk.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import type { PoolLimits } from '../../src/pool/pool-model.ts'
import { Pool } from '../../src/pool/pool.ts'

const MIB = 2 ** 20

/** An engine that looks at its slots after each swap. */
export async function verifyingEngine(
  options: Partial<Pick<WasmEngineOptions, 'slotRetireBytes' | 'dirtyBytesMax'>> = {},
): Promise<WasmEngine> {
  const parts = await loadEngineParts()
  return createEngine(parts, {
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
    ...options,
  })
}

export interface WorldOptions {
  readonly engine: WasmEngine
  /** A data folder; made if it is missing. */
  readonly path: string
  readonly imageCacheBytes?: number
  /** 0: images are kept in memory only. */
  readonly imageDiskBytes?: number
  readonly limits?: Partial<PoolLimits>
  readonly log?: Log
}

/** A server without its front: one folder, one pool. Its clock stands still. */
export class ImageWorld {
  readonly clock: ManualClock = new ManualClock()
  readonly pool: Pool
  readonly stores: StoreFactory
  readonly images: ImageFolder
  readonly #options: WorldOptions

  constructor(options: WorldOptions) {
    const { engine, path, imageCacheBytes = 64 * MIB, imageDiskBytes = 64 * MIB } = options
    this.#options = options
    const log = options.log ?? silentLog
    mkdirSync(join(path, 'tenants'), { recursive: true })
    this.images = new ImageFolder({
      path: join(path, 'images'),
      bytesMax: imageDiskBytes,
      owns: () => true,
      log,
    })
    this.stores = new StoreFactory({
      dataPath: path,
      tenantsPath: join(path, 'tenants'),
      clock: systemClock,
      engine,
      retentionMs: 3_600_000,
      createMissing: false,
      images: this.images,
    })
    const few = { slotsPerShard: 2, spareSlots: 0, slotQuantumMs: 0, slotBusyMs: 0 }
    this.pool = new Pool({
      engine,
      source: this.stores,
      clock: this.clock,
      log,
      imageCacheBytes,
      limits: { ...few, ...options.limits },
    })
  }

  newTenant(name: string): TenantName {
    mkdirSync(dirname(this.storePath(name)), { recursive: true })
    this.stores.create(name as TenantName)
    return name as TenantName
  }

  storePath(name: string): string {
    return storePath(join(this.#options.path, 'tenants'), name as TenantName)
  }

  imagePath(name: string): string {
    return join(this.#options.path, 'images', `${name}.img`)
  }

  hasImage(name: string): boolean {
    return existsSync(this.imagePath(name))
  }

  /** The image of a tenant as a file, to be put somewhere else or damaged. */
  readImage(name: string): Buffer {
    return readFileSync(this.imagePath(name))
  }

  writeImage(name: string, bytes: Uint8Array): void {
    writeFileSync(this.imagePath(name), bytes)
  }

  /** Runs one statement as a client that connects for it. */
  async ask(name: string, sql: string): Promise<string | null | undefined> {
    const client = this.pool.connect(name as TenantName)
    try {
      return await ask(client, sql)
    } finally {
      client.close()
    }
  }

  /** Where requests have found their tenants so far. */
  get found(): Readonly<Record<'awake' | 'napping' | 'asleep' | 'cold' | 'new', number>> {
    return this.pool.statistics().found
  }

  /** The folder as it is now, as another one: what a kill would leave, or a backup. */
  copyTo(path: string): void {
    rmSync(path, { recursive: true, force: true })
    cpSync(this.#options.path, path, { recursive: true })
  }

  /** Another server over another folder, or over this one after the drain. */
  again(options: Partial<WorldOptions> = {}): ImageWorld {
    return new ImageWorld({ ...this.#options, ...options })
  }
}

/** First column of the first row; throws what the statement failed with. */
export async function ask(client: PoolClient, sql: string): Promise<string | null | undefined> {
  const { error, result } = readAnswer(await keptBytes(client.run(queryMessage(sql), true)))
  if (error) throw new Error(`${error.sqlState} ${error.message}`)
  return result.rows[0]?.[0]
}
