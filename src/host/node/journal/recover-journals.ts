/**
 * What a machine's end has left in journals is brought home into the stores, before anybody reads
 * them. After the end of a process alone the stores have all of it, and are only synced.
 */
import { readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import type { Log } from '../../../base/log.ts'
import type { MadeCommit } from '../../../store/commit-journal.ts'
import { replay } from '../../../store/replay.ts'
import { explainFolderError } from '../data-folder.ts'
import { NodeSqliteMedium } from '../sqlite-medium.ts'
import { isThere, storePath, tenantOfFile } from '../tenant-files-on-disk.ts'
import { type JournalEntry, unpackEntry } from './journal-entry.ts'
import { readJournalFile } from './journal-file.ts'
import { KEPT_SUFFIX } from './journal-folder.ts'

export interface RecoveryOptions {
  readonly tenantsPath: string
  readonly clock: Clock
  readonly log: Log
}

/**
 * Brings home what `paths` hold and removes them. If something of them fits nowhere, or is damaged,
 * they are kept under other names, and warnings say so; everything else is brought home. Where
 * there is no tenant at all, they stay as they are: a disk that is not mounted looks like that.
 * Throws STORE_FULL, STORE_IO, STORE_FORMAT_UNKNOWN, STORE_LOCKED and CONFIG_INVALID, with nothing
 * removed: to go on without would lose what was acknowledged.
 */
export function recoverJournals(paths: readonly string[], options: RecoveryOptions): void {
  const { log } = options
  const commits = new Map<TenantName, MadeCommit[]>()
  let isWhole = true
  const give = ({ tenant, commit }: JournalEntry): void => {
    const known = commits.get(tenant)
    if (known) known.push(commit)
    else commits.set(tenant, [commit])
  }
  for (const path of paths) if (!readEntries(path, give, log)) isWhole = false
  if (commits.size > 0 && !hasStores(options.tenantsPath)) {
    const facts = { path: options.tenantsPath, journals: paths }
    log.warn('journals are left: no tenant is there at all, is their disk mounted?', facts)
    return
  }
  let missing = 0
  for (const [tenant, owed] of commits) {
    const made = bringHome(tenant, owed, options)
    if (made === undefined) isWhole = false
    else missing += made
  }
  const facts = { tenants: commits.size, missing }
  if (missing > 0) log.info('commits were brought home from the journal', facts)
  // Without a sync of their folder: in a file that comes back is nothing that its stores lack.
  for (const path of paths) {
    if (isWhole) attempt(path, () => rmSync(path))
    else keep(path, log)
  }
}

function hasStores(tenantsPath: string): boolean {
  const files = attempt(tenantsPath, () => readdirSync(tenantsPath))
  return files.some((file) => tenantOfFile(file) !== undefined)
}

/** @returns whether all of it could be read */
function readEntries(path: string, give: (entry: JournalEntry) => void, log: Log): boolean {
  let isWhole = true
  const note = (error: unknown): void => {
    if (!isDamage(error)) throw error
    log.warn('a journal is damaged: what cannot be read of it is left out', { path, error })
    isWhole = false
  }
  let entries: readonly Uint8Array[] = []
  try {
    entries = attempt(path, () => readJournalFile(path))
  } catch (error) {
    note(error)
  }
  for (const bytes of entries) {
    try {
      give(unpackEntry(bytes))
    } catch (error) {
      note(error)
    }
  }
  return isWhole
}

/** @returns how many commits the store lacked; undefined: not all of them fit */
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
    const { made, misfits } = replay(medium, commits, clock)
    if (misfits === 0) return made
    const facts = { tenant, misfits, made }
    log.warn('the journal has commits of another past of a tenant: they are left out', facts)
  } catch (error) {
    if (!(error instanceof PgnapError)) throw error
    if (!isDamage(error)) throw unreachable(tenant, error)
    log.warn('the journal has commits that do not fit their tenant', { tenant, error })
  }
  return undefined
}

function keep(path: string, log: Log): void {
  const kept = path + KEPT_SUFFIX
  attempt(path, () => renameSync(path, kept))
  log.warn('a journal is kept, since not all of it could be brought home', { path: kept })
}

/** A store or a journal that is damaged is no reason to keep everybody else waiting. */
function isDamage(error: unknown): boolean {
  return error instanceof PgnapError && error.code === 'STORE_CORRUPT'
}

function attempt<Result>(path: string, body: () => Result): Result {
  try {
    return body()
  } catch (error) {
    throw explainFolderError(dirname(path), error)
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
