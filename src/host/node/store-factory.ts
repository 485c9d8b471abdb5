/**
 * Opens and makes the stores of one data folder for one engine: the place where medium, store,
 * files and template come together on Node.
 */
import { renameSync, rmSync } from 'node:fs'
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type { Fingerprint, TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Medium } from '../../medium/medium.ts'
import type {
  ImageStore,
  JournalCounts,
  OpenTenant,
  TenantSource,
} from '../../pool/tenant-source.ts'
import type { SharedDisk } from '../../store/room.ts'
import { Store, type StoreOptions } from '../../store/store.ts'
import type { Template } from '../../store/template.ts'
import { openTenant } from '../open-tenant.ts'
import { explainFolderError } from './data-folder.ts'
import { diskOf } from './shared-disk.ts'
import { syncFolder } from './durable-file.ts'
import type { ShardJournal } from './journal/shard-journal.ts'
import { systemRandom } from './random.ts'
import type { SpareStores } from './spare-stores.ts'
import { NodeSqliteMedium, sqliteLogOf } from './sqlite-medium.ts'
import { type MadeStore, StoreBlueprint } from './store-blueprint.ts'
import { isThere, remainsOf, storePath } from './tenant-files-on-disk.ts'
import { TemplateShelf } from './templates.ts'
import { unknownTenant } from './tenant-folder.ts'

export interface StoreFactoryOptions {
  readonly dataPath: string
  readonly tenantsPath: string
  readonly clock: Clock
  readonly engine: {
    readonly fingerprint: Fingerprint
    readonly postgresMajor: number
    readonly template: Template
  }
  readonly retentionMs: number
  /** Default: `LIMITS.databaseBytesMax`. */
  readonly databaseBytesMax?: number
  /** Whether opening a tenant that does not exist makes it. */
  readonly createMissing: boolean
  /**
   * Opens the file of a store. Default: {@link NodeSqliteMedium}; a test may put faults in
   * between.
   */
  readonly openMedium?: (path: string) => Medium
  /** Told of each tenant before its store is made: nothing of an older one may be left. */
  readonly beforeMade?: (tenant: TenantName) => void
  /** Told of each tenant whose store has been made. */
  readonly onMade?: (tenant: TenantName) => void
  /** Where images are kept on disk, if anywhere. */
  readonly images?: ImageStore
  /** Where commits of tenants are made durable together. Default: each for itself. */
  readonly journal?: ShardJournal
  /** Stores that lie ready for new tenants. Default: each is made when it is asked for. */
  readonly spares?: SpareStores
}

export class StoreFactory implements TenantSource {
  readonly images?: ImageStore
  readonly #tenantsPath: string
  readonly #retentionMs: number
  readonly #databaseBytesMax: number
  readonly #createMissing: boolean
  /** How many want a tenant as it is, and no other one of its name. */
  readonly #kept = new Map<TenantName, number>()
  readonly #openMedium: (path: string) => Medium
  readonly #beforeMade: (tenant: TenantName) => void
  readonly #onMade: (tenant: TenantName) => void
  readonly #clock: Clock
  readonly #disk: SharedDisk
  readonly #storeOptions: StoreOptions
  readonly #blueprint: StoreBlueprint
  readonly #spares: SpareStores | undefined
  readonly #journal: ShardJournal | undefined

  constructor(options: StoreFactoryOptions) {
    const { dataPath, tenantsPath, clock, engine, retentionMs, images } = options
    if (images) this.images = images
    this.#tenantsPath = tenantsPath
    this.#spares = options.spares
    this.#journal = options.journal
    this.#retentionMs = retentionMs
    this.#databaseBytesMax = options.databaseBytesMax ?? LIMITS.databaseBytesMax
    this.#createMissing = options.createMissing
    this.#openMedium = options.openMedium ?? ((file) => new NodeSqliteMedium(file))
    this.#beforeMade = options.beforeMade ?? (() => {})
    this.#onMade = options.onMade ?? (() => {})
    this.#clock = clock
    this.#disk = diskOf(tenantsPath, clock)
    this.#storeOptions = {
      clock,
      diskHasRoom: this.#disk.hasRoom,
      engine: {
        fingerprint: engine.fingerprint,
        postgresMajor: engine.postgresMajor,
        templateId: engine.template.id,
      },
      templates: new TemplateShelf(dataPath, engine.template),
      // Of a tenant that was made by connecting to it nobody was told anything before.
      beforeFirstVersion: () => this.#syncNames(),
    }
    const make = (path: string): MadeStore => this.#make(path)
    this.#blueprint = new StoreBlueprint({ make, clock, random: systemRandom })
  }

  /**
   * Makes a store where nothing is, an empty one or one of a file that {@link openCopy} has seen
   * to; it is there for good when this returns. Throws STORE_FULL, STORE_IO, CONFIG_INVALID.
   */
  readonly create = (tenant: TenantName, copy?: string): void => {
    this.#bring(tenant, copy)
    this.#syncNames()
  }

  /** The same, but the end of the machine may take it, until something is committed in it. */
  #bring(tenant: TenantName, copy?: string): void {
    const path = storePath(this.#tenantsPath, tenant)
    this.#beforeMade(tenant)
    // A log that a deletion has left behind would be taken for the new store's.
    for (const file of remainsOf(this.#tenantsPath, tenant)) rmSync(file, { force: true })
    if (copy !== undefined) this.#adopt(copy, path)
    else if (!this.#spares?.take(path, this.#blueprint)) this.#blueprint.write(path)
    this.#onMade(tenant)
  }

  #adopt(copy: string, path: string): void {
    assert(!isThere(path), 'a store is made once')
    try {
      renameSync(copy, path)
    } catch (error) {
      throw explainFolderError(this.#tenantsPath, error)
    }
  }

  #syncNames(): void {
    try {
      syncFolder(this.#tenantsPath)
    } catch (error) {
      throw explainFolderError(this.#tenantsPath, error)
    }
  }

  /**
   * Runs `body`. Meanwhile whoever opens the tenant does not make it, should it be deleted: that
   * throws TENANT_UNKNOWN, now or later. Throws as `body` does.
   */
  async keeping<Result>(tenant: TenantName, body: () => Promise<Result>): Promise<Result> {
    if (!this.exists(tenant)) throw unknownTenant(tenant)
    this.#kept.set(tenant, (this.#kept.get(tenant) ?? 0) + 1)
    try {
      return await body()
    } finally {
      const others = (this.#kept.get(tenant) ?? 0) - 1
      if (others > 0) this.#kept.set(tenant, others)
      else this.#kept.delete(tenant)
    }
  }

  /** The slow way: SQLite makes it. */
  #make(path: string): MadeStore {
    using store = Store.open(new NodeSqliteMedium(path), this.#storeOptions)
    const [main] = store.layers()
    assert(main, 'a store has its main layer')
    return { storeId: store.id ?? '', createdMs: main.createdMs }
  }

  /** Opens a store; the caller closes it. */
  openStore(tenant: TenantName): Store {
    const path = storePath(this.#tenantsPath, tenant)
    if (!isThere(path)) this.#createIfAllowed(tenant)
    return this.#openExisting(this.#openMedium(path), tenant)
  }

  /** All stores are closed: removes what only lies ready, or is of use no more. Does not reject. */
  async close(): Promise<void> {
    this.#spares?.[Symbol.dispose]()
    await this.#spares?.settled()
    await this.#journal?.close()
  }

  get journal(): JournalCounts | undefined {
    return this.#journal?.counts
  }

  exists(tenant: TenantName): boolean {
    return isThere(this.pathOf(tenant))
  }

  /** The file of its store. */
  pathOf(tenant: TenantName): string {
    return storePath(this.#tenantsPath, tenant)
  }

  /** A copy of the file of a store, to be made a store of its own. The caller syncs the file. */
  openCopy(path: string): Store {
    return this.#openExisting(new NodeSqliteMedium(path, { synchronous: 'NORMAL' }))
  }

  /** An empty file is one that has lost its content: stores appear whole. */
  #openExisting(medium: Medium, tenant?: TenantName): Store {
    const options: StoreOptions = { ...this.#storeOptions, mustExist: true }
    try {
      if (!this.#journal || tenant === undefined) return Store.open(medium, options)
      this.#journal.bringHome(tenant, medium)
      const journal = this.#journal.of(tenant, sqliteLogOf(this.pathOf(tenant)))
      return Store.open(medium, { ...options, journal })
    } catch (error) {
      medium[Symbol.dispose]()
      throw error
    }
  }

  #createIfAllowed(tenant: TenantName): void {
    if (!this.#createMissing || this.#kept.has(tenant)) throw unknownTenant(tenant)
    this.#bring(tenant)
  }

  open(tenant: TenantName): OpenTenant {
    return openTenant(this.openStore(tenant), {
      clock: this.#clock,
      templateId: this.#storeOptions.engine.templateId,
      retentionMs: this.#retentionMs,
      limits: { databaseBytesMax: this.#databaseBytesMax, disk: this.#disk },
      onClosed: () => this.#journal?.closed(tenant),
    })
  }
}
