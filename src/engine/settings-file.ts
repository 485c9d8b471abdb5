/**
 * What ALTER SYSTEM has written, when it keeps Postgres from starting. Postgres refuses to start
 * with a library that does not exist or with more memory than there is, and a tenant has no other
 * way to its own files than Postgres: one statement would lock it out for good. So its settings are
 * set aside, under a name that Postgres does not read and its owner can. Nothing else is ever
 * changed behind Postgres's back.
 */
import { fromUtf8 } from '../base/bytes.ts'
import { SETTINGS_FILE } from './slot-files.ts'
import type { TenantFiles } from '../store/tenant-files.ts'

/** Where the settings are kept that Postgres did not start with. */
export const REFUSED_SETTINGS_FILE = 'postgresql.auto.conf.refused'
/** Of all settings; nothing but COPY and its like writes it. */
const CONFIGURATION_FILE = 'postgresql.conf'

/**
 * Sets the settings of ALTER SYSTEM aside and commits that; false if there are none. What a start
 * that failed has written is committed with it, as it would be by a crash at that moment.
 * @throws PgnapError STORE_IO, STORE_FULL, STORE_FENCED, as any commit
 */
export function setSettingsAside(files: TenantFiles): boolean {
  const { root } = files
  const file = files.lookup(root, SETTINGS_FILE)
  if (!file || file.isDirectory) return false
  const bytes = new Uint8Array(file.size)
  files.read(file, bytes, 0, bytes.length, 0)
  const lines = fromUtf8(bytes).split('\n')
  if (lines.every((line) => line === '' || line.startsWith('#'))) return false
  files.rename(file, root, SETTINGS_FILE, root, REFUSED_SETTINGS_FILE)
  files.commit()
  return true
}

/** Whether a start finds other settings than those of the template. */
export function hasOwnSettings(files: TenantFiles): boolean {
  return [SETTINGS_FILE, CONFIGURATION_FILE].some(
    (name) => files.lookup(files.root, name)?.isAsInTemplate !== true,
  )
}
