/** Where the store of a tenant lies in a data folder. */
import { join } from 'node:path'
import type { TenantName } from '../../base/ids.ts'

const SUFFIX = '.db'

/** Files that SQLite keeps beside a database while it is open, or after a crash. */
const COMPANIONS = ['-wal', '-shm', '-journal'] as const

export function storePath(tenantsPath: string, tenant: TenantName): string {
  return join(tenantsPath, `${tenant}${SUFFIX}`)
}

/** The database of a store and what may lie beside it. */
export function storeFiles(tenantsPath: string, tenant: TenantName): readonly string[] {
  const path = storePath(tenantsPath, tenant)
  return [path, ...COMPANIONS.map((suffix) => path + suffix)]
}

/** The tenant that a file of the folder belongs to, if it is a database. */
export function tenantOfFile(name: string): TenantName | undefined {
  return name.endsWith(SUFFIX) ? (name.slice(0, -SUFFIX.length) as TenantName) : undefined
}
