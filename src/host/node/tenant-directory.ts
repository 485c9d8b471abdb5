/**
 * Making and removing the tenants of a data folder. Only the shard that a tenant belongs to does
 * it.
 */
import { renameSync, rmSync } from 'node:fs'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { TenantDirectory } from '../../router/directory.ts'
import { explainFolderError } from './data-folder.ts'
import { syncFolder } from './durable-file.ts'
import { deletedPath, isThere, remainsOf, storePath } from './tenant-files-on-disk.ts'
import { TenantFolder, unknownTenant } from './tenant-folder.ts'

export interface NodeTenantDirectoryOptions {
  readonly tenantsPath: string
  /**
   * Makes the store of a tenant, an empty one or of the file `copy`; it appears whole or not at
   * all.
   */
  readonly createStore: (tenant: TenantName, copy?: string) => void
  /** Told of each tenant that has been removed. */
  readonly onRemoved?: (tenant: TenantName) => void
}

export class NodeTenantDirectory extends TenantFolder implements TenantDirectory {
  readonly #tenantsPath: string
  readonly #createStore: NodeTenantDirectoryOptions['createStore']
  readonly #onRemoved: (tenant: TenantName) => void

  constructor({ tenantsPath, createStore, onRemoved }: NodeTenantDirectoryOptions) {
    super(tenantsPath)
    this.#tenantsPath = tenantsPath
    this.#createStore = createStore
    this.#onRemoved = onRemoved ?? (() => {})
  }

  async create(tenant: TenantName, copy?: string): Promise<void> {
    if (await this.exists(tenant)) throw alreadyThere(tenant)
    this.#createStore(tenant, copy)
  }

  async delete(tenant: TenantName): Promise<void> {
    const path = storePath(this.#tenantsPath, tenant)
    if (!isThere(path)) throw unknownTenant(tenant)
    try {
      // The rename is the deletion: after it nobody finds the tenant, whatever happens to the rest.
      renameSync(path, deletedPath(this.#tenantsPath, tenant))
      this.#onRemoved(tenant)
      for (const file of remainsOf(this.#tenantsPath, tenant)) rmSync(file, { force: true })
      syncFolder(this.#tenantsPath)
    } catch (error) {
      throw explainFolderError(path, error)
    }
  }
}

export function alreadyThere(tenant: TenantName): PgnapError {
  return new PgnapError('TENANT_EXISTS', `tenant "${tenant}" already exists`, {
    hint: 'connect to it, or choose another name',
  })
}
