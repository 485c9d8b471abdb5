/** Where the store of a tenant lies in a data folder. */
import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import type { TenantName } from '../../base/ids.ts'
import { isTenantName } from '../../router/tenant-name.ts'

const SUFFIX = '.db'
export const IMAGE_SUFFIX = '.img'
const DELETED = '.deleted'

/** Files that SQLite keeps beside a database while it is open, or after a crash. */
const COMPANIONS = ['-wal', '-shm', '-journal'] as const

export function storePath(tenantsPath: string, tenant: TenantName): string {
  return join(tenantsPath, `${tenant}${SUFFIX}`)
}

/** The memory image of a tenant in its folder (`image-folder.ts`). */
export function imagePath(imagesPath: string, tenant: TenantName): string {
  return join(imagesPath, `${tenant}${IMAGE_SUFFIX}`)
}

/** The database of a store and what may lie beside it. */
export function storeFiles(tenantsPath: string, tenant: TenantName): readonly string[] {
  const path = storePath(tenantsPath, tenant)
  return [path, ...COMPANIONS.map((suffix) => path + suffix)]
}

/**
 * Whether there is anything by this name: a link that leads nowhere (to a disk that is not mounted)
 * included, and what the disk refuses to show. It would be replaced by an empty store, if it were
 * taken for missing.
 */
export function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    // Whoever opens it is told what is wrong.
    return true
  }
}

/** What a deletion removes last: the database under its last name, and what lies beside it. */
export function remainsOf(tenantsPath: string, tenant: TenantName): readonly string[] {
  const [, ...companions] = storeFiles(tenantsPath, tenant)
  return [...companions, deletedPath(tenantsPath, tenant)]
}

/** The name that the database of a deleted tenant has while it is being removed. */
export function deletedPath(tenantsPath: string, tenant: TenantName): string {
  return storePath(tenantsPath, tenant) + DELETED
}

/**
 * The tenant that a file of the folder belongs to. Undefined for any file that no tenant can have
 * made: somebody has put it there, and it must not break the list of the others.
 */
export function tenantOfFile(file: string): TenantName | undefined {
  if (!file.endsWith(SUFFIX)) return undefined
  const name = file.slice(0, -SUFFIX.length)
  return isTenantName(name) ? name : undefined
}
