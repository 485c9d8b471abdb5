/** What an error that was thrown in a slot means, in words of ours. */
import { PgnapError } from '../base/errors.ts'
import type { TenantFiles } from '../store/tenant-files.ts'
import { fatalText } from './answer-end.ts'
import type { Driver } from './driver.ts'
import { isExitStatus } from './emscripten.ts'
import type { Instance } from './instance.ts'
import { lastWordsOf } from './postgres-process.ts'
import { REFUSED_SETTINGS_FILE, setSettingsAside } from './settings-file.ts'

/**
 * Of a start. Recovery that cannot read a page panics and aborts: what the store said is the
 * reason. A start that Postgres itself refused may be its owner's doing, who must be able to undo
 * it.
 */
export function explainStart(
  instance: Instance,
  driver: Driver,
  { error, files }: { readonly error: unknown; readonly files: TenantFiles },
): PgnapError {
  const known = explain(instance, driver, error)
  const refused = instance.files.fault === undefined && known.code === 'STORE_CORRUPT'
  if (!refused || !setSettingsAside(files)) return known
  const message = 'Postgres did not start with the settings of ALTER SYSTEM: they are set aside'
  return new PgnapError('SETTINGS_REFUSED', message, {
    cause: known,
    hint: `connect again; select pg_read_file('${REFUSED_SETTINGS_FILE}') shows them`,
    ...(known.detail === undefined ? {} : { detail: known.detail }),
  })
}

export function explain(instance: Instance, driver: Driver, error: unknown): PgnapError {
  const { fault } = instance.files
  if (fault instanceof PgnapError) return fault
  if (error instanceof PgnapError) return error
  const hint = 'the same statement may work now: the tenant restarts from its store'
  // After its last words it exits, or aborts, if it goes by a number that is not its own.
  const said = fatalText(driver.answer)
  if (said !== undefined) return new PgnapError('SLOT_LOST', said, { hint })
  if (isExitStatus(error)) {
    return new PgnapError('SLOT_LOST', `Postgres exited with status ${error.status}`, { hint })
  }
  const details = { hint, cause: error, ...lastWordsOf(instance) }
  return new PgnapError('SLOT_LOST', 'the backend of this tenant crashed', details)
}
