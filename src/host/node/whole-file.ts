/**
 * Closes a store of which the file is to be all there is, as somebody copies it or gives it a name.
 *
 * SQLite brings the log into the file when it closes, and says nothing if it could not: the log
 * stays where it is, as after a crash, and the file alone is an older state of the store, or a torn
 * one.
 */
import { statSync } from 'node:fs'
import { PgnapError } from '../../base/errors.ts'
import type { Store } from '../../store/store.ts'
import { sqliteLogOf } from './sqlite-medium.ts'

/**
 * @param path the file of `store`, which is closed in any case
 * @throws PgnapError STORE_FULL, STORE_IO: what is in the log did not come into the file
 */
export function closeWhole(store: Pick<Store, 'checkpoint' | 'close'>, path: string): void {
  try {
    // Unlike closing, this tells why it failed.
    store.checkpoint()
  } finally {
    store.close()
  }
  const leftBytes = statSync(sqliteLogOf(path), { throwIfNoEntry: false })?.size ?? 0
  if (leftBytes === 0) return
  throw new PgnapError(
    'STORE_IO',
    `${leftBytes} bytes of a log could not be written to its store`,
    {
      hint: 'check the disk; nothing is lost, and nothing was copied',
    },
  )
}
