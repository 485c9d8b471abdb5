/** Who makes and removes databases for sessions that say so in SQL: here they are tenants. */
import type { TenantName } from '../base/ids.ts'

export type { OtherDatabases } from '../engine/database-sight.ts'

export interface DatabaseService {
  /**
   * @param template whose copy it is to be; undefined: it is empty
   * @throws PgnapError in the words of Postgres
   */
  create(name: string, from: TenantName, template: string | undefined): Promise<void>
  /**
   * @param from whose session says so
   * @param force send away whoever uses it
   * @throws PgnapError as above; TENANT_UNKNOWN if there is no such database
   */
  drop(name: string, from: TenantName, force: boolean): Promise<void>
}
