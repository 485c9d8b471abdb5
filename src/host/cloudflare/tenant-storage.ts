/** The store of one tenant in the storage of its object. */
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { StoreFacts } from '../../front/control.ts'
import type { ImageStore, OpenTenant, TenantSource } from '../../pool/tenant-source.ts'
import { unknownTenant } from '../../router/tenant-name.ts'
import { MAIN } from '../../store/keys.ts'
import { Store } from '../../store/store.ts'
import { openTenant } from '../open-tenant.ts'
import { workerClock } from './clock.ts'
import { DurableSqliteMedium } from './durable-sqlite-medium.ts'
import { theIsolate } from './isolate.ts'

export class TenantStorage implements TenantSource {
  readonly images: ImageStore
  readonly #storage: DurableObjectStorage
  readonly #createMissing: boolean

  /** @param images what the object had in memory in its former life */
  constructor(storage: DurableObjectStorage, createMissing: boolean, images: ImageStore) {
    this.#storage = storage
    this.#createMissing = createMissing
    this.images = images
  }

  /** Whether there is a store. Asks the storage. */
  exists(): boolean {
    const { sql } = this.#storage
    const found = sql.exec("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'")
    return found.toArray().length > 0
  }

  open(tenant: TenantName): OpenTenant {
    if (!this.#createMissing && !this.exists()) throw unknownTenant(tenant)
    const { clock, templateId, store } = this.#openStore()
    return openTenant(store, {
      clock,
      templateId,
      retentionMs: LIMITS.retentionMs,
      limits: {
        cacheBytesMax: LIMITS.isolatePageCacheBytesMax,
        ephemeralBytesMax: LIMITS.isolateEphemeralBytesMax,
        databaseBytesMax: LIMITS.isolateDatabaseBytesMax,
      },
    })
  }

  /** @throws PgnapError TENANT_EXISTS */
  create(tenant: TenantName): void {
    if (this.exists()) {
      throw new PgnapError('TENANT_EXISTS', `tenant "${tenant}" already exists`, {
        hint: 'connect to it, or choose another name',
      })
    }
    this.#openStore().store.close()
  }

  /** @throws PgnapError TENANT_UNKNOWN */
  facts(tenant: TenantName): StoreFacts {
    if (!this.exists()) throw unknownTenant(tenant)
    const { sql } = this.#storage
    const [row] = sql.exec('SELECT at FROM layer WHERE id = ?', MAIN).toArray()
    return { storeBytes: sql.databaseSize, createdMs: Number(row?.['at']) }
  }

  /** Removes all that there is. */
  async remove(): Promise<void> {
    await this.#storage.deleteAll()
  }

  #openStore(): { store: Store; clock: typeof workerClock; templateId: string } {
    const { engine } = theIsolate()
    const { fingerprint, postgresMajor, template } = engine
    const options = {
      clock: workerClock,
      engine: { fingerprint, postgresMajor, templateId: template.id },
      templates: new Map([[template.id, template]]),
    }
    const store = Store.open(new DurableSqliteMedium(this.#storage), options)
    return { store, clock: workerClock, templateId: template.id }
  }
}
