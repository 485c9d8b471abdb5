/**
 * Copies the store of a tenant, as CREATE DATABASE ... TEMPLATE wants it: everything that is
 * committed, nothing else, and the tenant itself waits no longer than it takes to copy a file.
 *
 *     unused? --> CHECKPOINT --> held at rest --> file copied --> let go --> made its own, synced
 *
 * The tenant is brought to rest first, because only then its file is complete, and because SQLite's
 * lock on it would be lost: on POSIX, closing any descriptor of a file drops all locks that the
 * process holds on it. The checkpoint is what lets sequences go on in the copy where they are: a
 * recovery would skip values.
 */
import { keptBytes } from '../../../base/bytes.ts'
import { constants } from 'node:fs'
import { copyFile, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import { ownQuery, readAnswer } from '../../../pool/backend-query.ts'
import type { Pool } from '../../../pool/pool.ts'
import { explainFolderError } from '../data-folder.ts'
import type { StoreFactory } from '../store-factory.ts'
import { unknownTenant } from '../tenant-folder.ts'
import { closeWhole } from '../whole-file.ts'
import { stillUsed, stillUsedTemplate } from './goodbyes.ts'

export interface TenantCopiesOptions {
  readonly pool: Pick<Pool, 'clientCountOf' | 'connect' | 'pauses'>
  readonly stores: Pick<StoreFactory, 'exists' | 'keeping' | 'openCopy' | 'openStore' | 'pathOf'>
  readonly clock: Clock
}

/** Who may be connected to a template while it is copied. */
export interface TemplateUse {
  /** Nobody; but for the one client that asks, if it is one of that tenant. Default: anybody. */
  readonly unlessUsed?: boolean
  /** The tenant of the client that asks. */
  readonly from?: string
}

const LOOK_AGAIN_MS = 100
const CHECKPOINT = ownQuery('CHECKPOINT')
/** Where the file system can, the copy shares the blocks of the original until one is changed. */
const COPY_MODE = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE
/** Given back to the file system in one go. */
const COMPACT_BYTES = 1_048_576

export class TenantCopies {
  readonly #options: TenantCopiesOptions

  constructor(options: TenantCopiesOptions) {
    this.#options = options
  }

  /**
   * Waits until a tenant has no more than `ownCount` clients. @throws PgnapError TENANT_BUSY
   */
  async untilUnused(
    tenant: TenantName,
    ownCount: number,
    refusal: typeof stillUsed = stillUsed,
  ): Promise<void> {
    const { pool, clock } = this.#options
    const deadlineMs = clock.monotonicMs() + LIMITS.othersLeaveMs
    for (;;) {
      const others = pool.clientCountOf(tenant) - ownCount
      if (others <= 0) return
      if (clock.monotonicMs() >= deadlineMs) throw refusal(tenant, others)
      await new Promise<void>((resolve) => void clock.setTimer(LOOK_AGAIN_MS, resolve))
    }
  }

  /**
   * Writes a store of its own to `path`, where nothing must be; durable when this settles.
   * @throws PgnapError TENANT_UNKNOWN, TENANT_BUSY, STORE_FULL, STORE_IO, and what opening the
   *   tenant throws
   */
  async copy(tenant: TenantName, path: string, use: TemplateUse): Promise<void> {
    // Whoever waits may find it deleted. Opened then, it would come back, and nothing be in it.
    await this.#options.stores.keeping(tenant, () => this.#copy(tenant, path, use))
  }

  async #copy(tenant: TenantName, path: string, use: TemplateUse): Promise<void> {
    if (use.unlessUsed) {
      await this.untilUnused(tenant, use.from === tenant ? 1 : 0, stillUsedTemplate)
    }
    await this.#checkpoint(tenant)
    try {
      await this.#atRest(tenant, () => this.#copyFile(tenant, path))
      await this.#makeOwn(path)
      await syncFile(path)
    } catch (error) {
      throw explainFolderError(dirname(path), error)
    }
  }

  /** What is kept at rest has its file complete, and perhaps some values of sequences to skip. */
  async #checkpoint(tenant: TenantName): Promise<void> {
    const { pool, clock } = this.#options
    if (pool.pauses.has(tenant)) return
    const client = pool.connect(tenant)
    const timer = clock.setTimer(LIMITS.othersLeaveMs, () => client.cancel())
    try {
      const { refusal } = readAnswer(await keptBytes(client.run(CHECKPOINT, true)))
      if (refusal !== undefined) throw new PgnapError('INTERNAL', `checkpoint refused: ${refusal}`)
    } catch (error) {
      const isCanceled = error instanceof PgnapError && error.code === 'QUERY_CANCELED'
      throw isCanceled ? heldByOthers(tenant) : error
    } finally {
      timer.cancel()
      client.close()
    }
  }

  async #atRest(tenant: TenantName, body: () => Promise<void>): Promise<void> {
    const { pauses } = this.#options.pool
    pauses.hold(tenant)
    try {
      await this.#untilRested(tenant)
      await body()
    } finally {
      pauses.letGo(tenant)
    }
  }

  async #untilRested(tenant: TenantName): Promise<void> {
    const { pool, clock } = this.#options
    const late = Promise.withResolvers<boolean>()
    const timer = clock.setTimer(LIMITS.othersLeaveMs, () => late.resolve(false))
    const isAtRest = await Promise.race([pool.pauses.untilRested(tenant), late.promise])
    timer.cancel()
    if (!isAtRest) throw heldByOthers(tenant)
  }

  async #copyFile(tenant: TenantName, path: string): Promise<void> {
    const { stores } = this.#options
    if (!stores.exists(tenant)) throw unknownTenant(tenant)
    const original = stores.pathOf(tenant)
    // A log that a crash has left is in the file when it is closed, and it is a store that can be
    // read here.
    try {
      closeWhole(stores.openStore(tenant), original)
    } catch (error) {
      // Something that only its open files have keeps it open.
      const isOpen = error instanceof PgnapError && error.code === 'STORE_LOCKED'
      throw isOpen ? heldByOthers(tenant) : error
    }
    await copyFile(original, path, COPY_MODE)
  }

  /** In slices: other tenants have clients here. */
  async #makeOwn(path: string): Promise<void> {
    const { stores, clock } = this.#options
    using store = stores.openCopy(path)
    store.makeOwn()
    const isMore = (): boolean => store.prune(0).more || store.compact(COMPACT_BYTES) > 0
    while (isMore()) await new Promise<void>((resolve) => clock.nextTurn(resolve))
    closeWhole(store, path)
  }
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.sync()
}

function heldByOthers(tenant: TenantName): PgnapError {
  return new PgnapError('TENANT_BUSY', `database "${tenant}" is kept busy by another client`, {
    detail: 'An open transaction, a temporary table, a session’s advisory lock, or a cursor.',
    hint: 'let that client end what it has open, then try again',
  })
}
