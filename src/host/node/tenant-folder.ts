/**
 * The tenants of a data folder as anybody may look at them: one file each, and the file is the
 * whole truth about whether a tenant exists.
 *
 * Listing reads the names of the whole folder (10,000 names: about 5 ms) and the facts of one page.
 */
import { existsSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { TenantDirectory, TenantFacts, TenantPage } from '../../router/directory.ts'
import { storeFiles, storePath, tenantOfFile } from './tenant-files-on-disk.ts'

export class TenantFolder {
  readonly #tenantsPath: string

  constructor(tenantsPath: string) {
    this.#tenantsPath = tenantsPath
  }

  async exists(tenant: TenantName): Promise<boolean> {
    return existsSync(storePath(this.#tenantsPath, tenant))
  }

  async facts(tenant: TenantName): Promise<TenantFacts> {
    const facts = this.find(tenant)
    if (!facts) throw unknownTenant(tenant)
    return facts
  }

  async list(options: Parameters<TenantDirectory['list']>[0]): Promise<TenantPage> {
    const { prefix = '', after, limit } = options
    const names = (await readdir(this.#tenantsPath))
      .map(tenantOfFile)
      .filter((name) => name !== undefined)
      .filter((name) => name.startsWith(prefix) && (after === undefined || name > after))
      .toSorted()
    const page = names.slice(0, limit)
    const tenants = page.map((name) => this.find(name)).filter((facts) => facts !== undefined)
    return { tenants, next: names.length > limit ? page.at(-1) : undefined }
  }

  /** Undefined if the tenant does not exist, which may have become true a moment ago. */
  find(name: TenantName): TenantFacts | undefined {
    const [path = '', ...companions] = storeFiles(this.#tenantsPath, name)
    const database = statSync(path, { throwIfNoEntry: false })
    if (!database) return undefined
    let storedBytes = database.size
    for (const file of companions)
      storedBytes += statSync(file, { throwIfNoEntry: false })?.size ?? 0
    return { name, createdAtMs: Math.floor(database.birthtimeMs), storedBytes }
  }
}

export function unknownTenant(tenant: TenantName): PgnapError {
  return new PgnapError('TENANT_UNKNOWN', `tenant "${tenant}" does not exist`, {
    hint: `make it with: pgnap tenant create ${tenant}`,
  })
}
