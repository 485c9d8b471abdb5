/**
 * When the pages that a batch has dirtied must be committed: promise 1 of the product, on one page.
 *
 * Everything dirty is committed before the answer leaves, with two exceptions. Inside an open
 * transaction, data pages may wait as long as no WAL was written, because then nothing that anybody
 * was told depends on them (hint bits, the free space map). WAL may not wait even there: a commit
 * record of another kind (a sequence, a NOTIFY, a COMMIT in a procedure) may be among it. And what
 * a start of Postgres writes, which the next one would write again, waits for the first batch that
 * writes anything: whoever only reads in a cold tenant waits for no disk, be it a full one.
 */
import { LIMITS } from '../base/limits.ts'
import type { Slot, TransactionStatus } from '../engine/engine.ts'
import type { TenantFiles } from './tenant-source.ts'

/**
 * Commits if the rule demands it; true if it did.
 * @throws PgnapError STORE_*: nothing was committed, the slot is not to be trusted any more
 */
export function commitIfDue(files: TenantFiles, status: TransactionStatus): boolean {
  if (!files.dirty) return false
  // What is not logged may be in memory alone: then a crash must be seen to have been one.
  if (files.onlyStarted && !files.hasUnlogged) return false
  const deferrable = status !== 'idle' && !files.walDirty
  if (deferrable && files.dirtyBytes <= LIMITS.dirtyBytesMax) return false
  files.commit()
  return true
}

/**
 * Takes a tenant out of its slot. Postgres is shut down, and what that wrote is committed, unless
 * nothing has changed since the tenant woke: neither its store, nor anything that only memory knows
 * (an UNLOGGED table, a transaction id that was given out). What it has recovered from a crash is
 * kept, or each start would recover it again.
 * @throws what {@link commitIfDue} throws, and whatever the slot throws: it is lost then
 */
export function takeOut(slot: Slot, files: TenantFiles, wokenAt: TenantFiles['version']): void {
  const unchanged = files.version === wokenAt && !files.walDirty
  if (unchanged && !files.hasUnlogged && !slot.hasTransacted) return slot.unload()
  slot.shutDown()
  files.commit()
}
