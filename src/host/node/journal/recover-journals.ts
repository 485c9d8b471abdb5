/**
 * What a machine's end has left in journals is brought home into the stores, before anybody reads
 * them. After the end of a process alone the stores have all of it, and are only synced.
 */
import { renameSync, rmSync } from 'node:fs'
import type { Clock } from '../../../base/clock.ts'
import { PgnapError, type ErrorCode } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import type { Log } from '../../../base/log.ts'
import type { MadeCommit } from '../../../store/commit-journal.ts'
import { replay } from '../../../store/replay.ts'
import { NodeSqliteMedium } from '../sqlite-medium.ts'
import { isThere, storePath } from '../tenant-files-on-disk.ts'
import { unpackEntry } from './journal-entry.ts'
import { readJournalFile } from './journal-file.ts'
import { KEPT_SUFFIX } from './journal-folder.ts'

/** A store that is damaged, or has gone another way: what a journal has of it fits nowhere. */
const MISFITS: ReadonlySet<ErrorCode> = new Set(['STORE_CORRUPT', 'STORE_FENCED'])

export interface RecoveryOptions {
  readonly tenantsPath: string
  readonly clock: Clock
  readonly log: Log
}

/**
 * Brings home what `paths` hold and removes them. A file of which something fits nowhere is kept
 * under another name, and a warning says so.
 * Throws STORE_FULL, STORE_IO and STORE_FORMAT_UNKNOWN, with nothing removed: to go on without
 * would lose what was acknowledged.
 */
export function recoverJournals(paths: readonly string[], options: RecoveryOptions): void {
  const commits = new Map<TenantName, MadeCommit[]>()
  for (const path of paths) {
    for (const bytes of readJournalFile(path)) {
      const { tenant, commit } = unpackEntry(bytes)
      const known = commits.get(tenant)
      if (known) known.push(commit)
      else commits.set(tenant, [commit])
    }
  }
  let missing = 0
  let misfits = 0
  for (const [tenant, owed] of commits) {
    const count = bringHome(tenant, owed, options)
    if (count === undefined) misfits++
    else missing += count
  }
  const facts = { tenants: commits.size, missing }
  if (missing > 0) options.log.info('commits were brought home from the journal', facts)
  for (const path of paths) {
    if (misfits > 0) renameSync(path, path + KEPT_SUFFIX)
    else rmSync(path)
  }
}

/** @returns how many commits the store lacked; undefined: they fit nowhere */
function bringHome(
  tenant: TenantName,
  commits: readonly MadeCommit[],
  { tenantsPath, clock, log }: RecoveryOptions,
): number | undefined {
  const path = storePath(tenantsPath, tenant)
  // It was deleted.
  if (!isThere(path)) return 0
  try {
    using medium = new NodeSqliteMedium(path)
    return replay(medium, commits, clock)
  } catch (error) {
    if (!(error instanceof PgnapError)) throw error
    if (!MISFITS.has(error.code)) throw unreachable(tenant, error)
    log.warn('the journal has commits that do not fit their tenant: it is kept', { tenant, error })
    return undefined
  }
}

function unreachable(tenant: TenantName, cause: PgnapError): PgnapError {
  return new PgnapError(
    cause.code,
    `commits of ${tenant} cannot be brought home: ${cause.message}`,
    {
      cause,
      hint: `${cause.hint}; until then they are in the journal, and nothing is lost`,
    },
  )
}
