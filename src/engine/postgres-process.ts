/** Starts the Postgres of an instance, and ends it. */
import { PgnapError } from '../base/errors.ts'
import type { Driver } from './driver.ts'
import { isExitStatus } from './emscripten.ts'
import type { Instance } from './instance.ts'
import { nameSessionUser } from './session-user.ts'
import { reportSettings } from './setting-reports.ts'
import { PGDATA } from './slot-files.ts'

/** callMain's answer when Postgres has started and waits in its main loop (PGlite's own code). */
const STATUS_ALIVE = 99
/** Exit status of a process that ended as it was asked to. */
const STATUS_ENDED = 0
const TERMINATE: Uint8Array = new Uint8Array([0x58, 0, 0, 0, 4])

/**
 * Runs Postgres's main until it waits for messages; crash recovery happens in here.
 * @param reportingAt where to have changed settings reported. Default: they are not
 * @throws PgnapError STORE_CORRUPT if Postgres ends instead, and whatever wasm threw
 */
export function startPostgres(
  instance: Instance,
  parameters: readonly string[],
  reportingAt?: number,
): void {
  const { module } = instance
  module._pgl_setPGliteActive(1)
  const status = module.callMain([...parameters, '-D', PGDATA, instance.files.databaseName])
  instance.files.throwFault()
  if (status !== STATUS_ALIVE) throw didNotStart(instance, status)
  try {
    module._pgl_startPGlite()
  } catch (error) {
    throw isExitStatus(error) ? didNotStart(instance, error.status) : error
  }
  nameSessionUser(instance)
  if (reportingAt !== undefined) reportSettings(module.HEAPU8, reportingAt)
}

/**
 * Lets the backend end as when its client says goodbye, outside PGlite's own mode, in which it
 * would only wait for the next one. In single-user mode this writes the shutdown checkpoint.
 * @throws PgnapError SLOT_LOST if it did not end, and whatever wasm threw
 */
export function endPostgres({ module }: Instance, driver: Driver): void {
  module._pgl_setPGliteActive(0)
  try {
    driver.run(TERMINATE)
  } catch (error) {
    if (isExitStatus(error) && error.status === STATUS_ENDED) return
    throw error
  }
  throw new PgnapError('SLOT_LOST', 'Postgres did not end when it was told to')
}

/** What Postgres has logged last. */
export function lastWordsOf({ lastWords }: Instance): { readonly detail?: string } {
  return lastWords === undefined ? {} : { detail: lastWords }
}

function didNotStart(instance: Instance, status: number): PgnapError {
  return new PgnapError('STORE_CORRUPT', `Postgres did not start (status ${status})`, {
    hint: 'run `pgnap verify` on this tenant; if it finds damage, restore its file from a backup',
    ...lastWordsOf(instance),
  })
}
