/**
 * Settings that ALTER DATABASE and ALTER ROLE have left in the catalog. A server gives them to each
 * session that begins; a Postgres in single-user mode gives them to nobody, and knows of no login
 * anyway, so whoever lets a client in reads them.
 *
 * Almost no tenant has any. Whether one has is told by the size of a file.
 *
 * Source: Postgres 18, pg_db_role_setting.h; postinit.c, `process_settings`.
 */
import type { TenantFiles } from '../store/tenant-files.ts'
import { DATABASE_ID } from './database-pages.ts'

const FOLDER = 'global'
/** The file of `pg_db_role_setting`, which is made empty and gets its first page with a row. */
const FILE = '2964'
/** Whoever logs in is the superuser that initdb has made: BOOTSTRAP_SUPERUSERID. */
const USER_ID = 10

/**
 * Name and value, the more special ones last. It is asked under the search path of whoever had the
 * backend before, who may have an `=` of his own there: each operator is named with its schema, and
 * there is no IN, whose `=` cannot be.
 */
export const STORED_SETTINGS_SQL: string = `
  SELECT pg_catalog.split_part(setting, '=', 1),
    pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') OPERATOR(pg_catalog.+) 1)
  FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) setting
  WHERE setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0, ${DATABASE_ID}]::pg_catalog.oid[])
    AND setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0, ${USER_ID}]::pg_catalog.oid[])
  ORDER BY setrole, setdatabase`

/** False: there are none. True: ask. */
export function mayHaveStoredSettings(files: TenantFiles): boolean {
  const folder = files.lookup(files.root, FOLDER)
  const file = folder && files.lookup(folder, FILE)
  // VACUUM FULL has made another one.
  return file === undefined || file.size > 0
}
