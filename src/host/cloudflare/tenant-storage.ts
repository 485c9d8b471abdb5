/** The store of one tenant in the storage of its object. */
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { StoreFacts } from '../../front/control.ts'
import type { OpenTenant, TenantSource } from '../../pool/tenant-source.ts'
import { unknownTenant } from '../../router/tenant-name.ts'
import { MAIN } from '../../store/keys.ts'
import { readMeta } from '../../store/schema.ts'
import { Store } from '../../store/store.ts'
import type { Template } from '../../store/template.ts'
import { openTenant } from '../open-tenant.ts'
import { workerClock } from './clock.ts'
import { DurableSqliteMedium } from './durable-sqlite-medium.ts'
import { theIsolate } from './isolate.ts'

export class TenantStorage implements TenantSource {
  #storage: DurableObjectStorage
  readonly #createMissing: boolean
  /** What the pool has opened, which may be closed by now. */
  #opened: { readonly store: Store; readonly medium: DurableSqliteMedium } | undefined

  /** @param createMissing whether opening a store that does not exist makes it */
  constructor(storage: DurableObjectStorage, createMissing: boolean) {
    this.#storage = storage
    this.#createMissing = createMissing
  }

  /**
   * Goes on with the storage of the object's new life, if it is as what is open has left it: then
   * the memory over it is as good as before. Else false, and nothing has changed.
   */
  rebind(storage: DurableObjectStorage): boolean {
    if (this.#opened && !this.#isAsLeft(this.#opened.store, storage)) return false
    this.#storage = storage
    this.#opened?.medium.rebind(storage)
    return true
  }

  /** Whether there is a store. Asks the storage. */
  exists(): boolean {
    return existsIn(this.#storage)
  }

  /** Which template the store stands on; undefined if there is none. Asks the storage. */
  templateId(): string | undefined {
    if (!this.exists()) return undefined
    return readMeta(new DurableSqliteMedium(this.#storage))?.templateId
  }

  open(tenant: TenantName): OpenTenant {
    if (!this.#createMissing && !this.exists()) throw unknownTenant(tenant)
    this.#opened = openStore(this.#storage)
    return openTenant(this.#opened.store, {
      clock: workerClock,
      templateId: theIsolate().engine.template.id,
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
    openStore(this.#storage).store.close()
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
    this.#opened = undefined
    // Of what is gone nothing is to be maintained.
    await this.#storage.deleteAlarm()
    await this.#storage.deleteAll()
  }

  /** A store that is closed has nothing over it that could be wrong. */
  #isAsLeft(left: Store, storage: DurableObjectStorage): boolean {
    if (left.closed) return true
    if (!existsIn(storage)) return false
    using found = openStore(storage, left.template).store
    return found.stamp() === left.stamp()
  }
}

/** Whether there is a store. Asks the storage. */
export function existsIn({ sql }: DurableObjectStorage): boolean {
  const found = sql.exec("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'")
  return found.toArray().length > 0
}

/** @param known a template beside those of the isolate. Default: none */
function openStore(
  storage: DurableObjectStorage,
  known?: Template,
): {
  readonly store: Store
  readonly medium: DurableSqliteMedium
} {
  const { engine, earlierTemplates } = theIsolate()
  const { fingerprint, postgresMajor, template } = engine
  const earlier = Array.from(earlierTemplates.values(), ({ template: each }) => each)
  const templates = [...earlier, template, ...(known ? [known] : [])]
  const medium = new DurableSqliteMedium(storage)
  const store = Store.open(medium, {
    clock: workerClock,
    engine: { fingerprint, postgresMajor, templateId: template.id },
    templates: new Map(templates.map((each) => [each.id, each])),
  })
  return { store, medium }
}
