/**
 * The tenants of a data folder as anybody may look at them: one file each, and the file is the
 * whole truth about whether a tenant exists. Their list in order is `listed-tenants.ts`.
 */
import { readdirSync, statSync } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { OtherDatabases } from '../../pool/database-service.ts'
import type { TenantFacts } from '../../router/directory.ts'
import { isTenantName } from '../../router/tenant-name.ts'
import { explainFolderError } from './data-folder.ts'
import { syncFolder } from './durable-file.ts'
import { imagePath, isThere, storeFiles, storePath, tenantOfFile } from './tenant-files-on-disk.ts'

/** Read in another thread, and looked at in this one in a millisecond. */
const ENTRIES_PER_READ = 512

export class TenantFolder {
  readonly #tenantsPath: string
  readonly #imagesPath: string | undefined

  /** @param imagesPath where images are. Default: there are none */
  constructor(tenantsPath: string, imagesPath?: string) {
    this.#tenantsPath = tenantsPath
    this.#imagesPath = imagesPath
  }

  async exists(tenant: TenantName): Promise<boolean> {
    return this.has(tenant)
  }

  has(tenant: TenantName): boolean {
    return isThere(storePath(this.#tenantsPath, tenant))
  }

  /**
   * All tenants but one, read from the folder while the thread waits: 100,000 names in a tenth of a
   * second. Both throw STORE_IO.
   */
  beside(own: TenantName): OtherDatabases {
    const read = <Result>(body: () => Result): Result => {
      try {
        return body()
      } catch (error) {
        throw explainFolderError(this.#tenantsPath, error)
      }
    }
    return {
      names: () =>
        read(() => readdirSync(this.#tenantsPath))
          .map(tenantOfFile)
          .filter((name) => name !== undefined && name !== own) as TenantName[],
      bytesOf: (name) =>
        isTenantName(name) && name !== own ? read(() => this.find(name)?.storedBytes) : undefined,
    }
  }

  /** Makes all names durable. Throws STORE_IO. */
  settle(): void {
    try {
      syncFolder(this.#tenantsPath)
    } catch (error) {
      throw explainFolderError(this.#tenantsPath, error)
    }
  }

  async facts(tenant: TenantName): Promise<TenantFacts> {
    const facts = this.find(tenant)
    if (!facts) throw unknownTenant(tenant)
    return facts
  }

  /**
   * Reads the whole folder, some names at a time, in no order. A tenant that comes or goes
   * meanwhile may be among them or not.
   */
  async *names(): AsyncGenerator<TenantName[]> {
    const folder = await opendir(this.#tenantsPath, { bufferSize: ENTRIES_PER_READ })
    let names: TenantName[] = []
    for await (const { name } of folder) {
      const tenant = tenantOfFile(name)
      if (tenant !== undefined) names.push(tenant)
      if (names.length < ENTRIES_PER_READ) continue
      yield names
      names = []
    }
    yield names
  }

  /** Undefined if the tenant does not exist, which may have become true a moment ago. */
  find(name: TenantName): TenantFacts | undefined {
    const [path = '', ...companions] = storeFiles(this.#tenantsPath, name)
    const database = statSync(path, { throwIfNoEntry: false })
    if (!database) return undefined
    let storedBytes = database.size
    for (const file of companions)
      storedBytes += statSync(file, { throwIfNoEntry: false })?.size ?? 0
    const images = this.#imagesPath
    const hasImage = images !== undefined && isThere(imagePath(images, name))
    return { name, createdAtMs: Math.floor(database.birthtimeMs), storedBytes, hasImage }
  }
}

export function unknownTenant(tenant: TenantName): PgnapError {
  return new PgnapError('TENANT_UNKNOWN', `tenant "${tenant}" does not exist`, {
    hint: `make it with: pgnap tenant create ${tenant}`,
  })
}
