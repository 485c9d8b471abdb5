/**
 * Opens and makes the stores of one data folder for one engine: the place where medium, store,
 * files and template come together on Node.
 */
import { existsSync } from 'node:fs'
import type { Clock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import type { Fingerprint, TenantName } from '../../base/ids.ts'
import type { Medium } from '../../medium/medium.ts'
import type { ImageStore, OpenTenant, TenantSource } from '../../pool/tenant-source.ts'
import { Store, type StoreOptions } from '../../store/store.ts'
import type { Template } from '../../store/template.ts'
import { TenantFiles } from '../../store/tenant-files.ts'
import { NodeSqliteMedium } from './sqlite-medium.ts'
import { storePath } from './tenant-files-on-disk.ts'
import { TemplateShelf } from './templates.ts'

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
  /** Whether opening a tenant that does not exist makes it. */
  readonly createMissing: boolean
  /**
   * Opens the file of a store. Default: {@link NodeSqliteMedium}; a test may put faults in
   * between.
   */
  readonly openMedium?: (path: string) => Medium
  /** Where images are kept on disk, if anywhere. */
  readonly images?: ImageStore
}

/** Bytes given back to the file system per slice of housekeeping. */
const COMPACT_SLICE_BYTES = 1_048_576

export class StoreFactory implements TenantSource {
  readonly images?: ImageStore
  readonly #tenantsPath: string
  readonly #retentionMs: number
  readonly #createMissing: boolean
  readonly #openMedium: (path: string) => Medium
  readonly #clock: Clock
  readonly #storeOptions: StoreOptions

  constructor(options: StoreFactoryOptions) {
    const { dataPath, tenantsPath, clock, engine, retentionMs, images } = options
    if (images) this.images = images
    this.#tenantsPath = tenantsPath
    this.#retentionMs = retentionMs
    this.#createMissing = options.createMissing
    this.#openMedium = options.openMedium ?? ((file) => new NodeSqliteMedium(file))
    this.#clock = clock
    this.#storeOptions = {
      clock,
      engine: {
        fingerprint: engine.fingerprint,
        postgresMajor: engine.postgresMajor,
        templateId: engine.template.id,
      },
      templates: new TemplateShelf(dataPath, engine.template),
    }
  }

  /**
   * Makes an empty store. A file that was cut off while it was made holds nothing, and is made
   * again by whoever opens it.
   */
  readonly create = (path: string): void => {
    Store.open(new NodeSqliteMedium(path), this.#storeOptions).close()
  }

  /** Opens a store; the caller closes it. */
  openStore(tenant: TenantName): Store {
    const path = storePath(this.#tenantsPath, tenant)
    if (!this.#createMissing && !existsSync(path)) {
      throw new PgnapError('TENANT_UNKNOWN', `tenant "${tenant}" does not exist`, {
        hint: `make it with: pgnap tenant create ${tenant}`,
      })
    }
    const medium = this.#openMedium(path)
    try {
      return Store.open(medium, this.#storeOptions)
    } catch (error) {
      medium[Symbol.dispose]()
      throw error
    }
  }

  exists(tenant: TenantName): boolean {
    return existsSync(storePath(this.#tenantsPath, tenant))
  }

  open(tenant: TenantName): OpenTenant {
    const store = this.openStore(tenant)
    const files = this.#openFiles(store)
    return {
      files,
      stamp: () => store.stamp(),
      pristine: store.head() === 0 && store.templateId === this.#storeOptions.engine.templateId,
      tidy: () => {
        const pruned = store.prune(this.#retentionMs)
        if (pruned.more) return true
        if (store.compact(COMPACT_SLICE_BYTES) > 0) return true
        store.checkpoint()
        return false
      },
      readNotes: () => store.readNotes(),
      writeNotes: (notes) => store.writeNotes(notes),
      close: () => {
        files.close()
        store.close()
      },
    }
  }

  /** A store whose files cannot be read is closed: its lock would keep the tenant out for good. */
  #openFiles(store: Store): TenantFiles {
    try {
      return TenantFiles.open(store.view(), { template: store.template, clock: this.#clock })
    } catch (error) {
      store.close()
      throw error
    }
  }
}
