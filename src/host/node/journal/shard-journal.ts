/**
 * The journal that the tenants of one shard share: their commits are appended to one file, and one
 * sync makes all of them durable that came in the same moment. Decision 0052.
 *
 * Every commit in it is in its store, too, in a log that SQLite has written and nobody has synced.
 * So the end of the process loses nothing, and nobody reads a journal but after the end of a
 * machine (`recover-journals.ts`), or where a store was given up (`bringHome`).
 *
 * Two files take turns. When one is full the other one is begun, and the stores that have commits
 * in the full one are synced, one after the other, in the background; one whose sync failed keeps
 * the file from being begun again. While neither has room each store is synced for itself, as it is
 * where the disk has none for a journal at all.
 */
import { readdirSync } from 'node:fs'
import { rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../../../base/assert.ts'
import type { Clock } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import type { Log } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import type { Medium, Sync } from '../../../medium/medium.ts'
import type { JournalCounts } from '../../../pool/tenant-source.ts'
import type { CommitJournal, MadeCommit } from '../../../store/commit-journal.ts'
import { replay } from '../../../store/replay.ts'
import { makeFolderDurably, syncFolder } from '../durable-file.ts'
import { syncError } from '../sqlite-medium-error.ts'
import { isThere } from '../tenant-files-on-disk.ts'
import { packEntry, unpackEntry } from './journal-entry.ts'
import { JournalFile, readJournalFile } from './journal-file.ts'
import { JOURNAL_FOLDER_MODE, JOURNAL_SUFFIX, journalsPath } from './journal-folder.ts'

/** A larger commit is worth a sync of its own. */
const ENTRY_BYTES_MAX = 128 * 1024
/**
 * How long a sync waits for more, while more comes: with 8 busy clients it carries 4 commits then,
 * and 1.4 without, and they are a quarter faster.
 */
const GATHER_MS = 1
/** After a disk had no room for it. */
const TRY_AGAIN_MS = 60_000
const NAME_BYTES = 8
/**
 * In the folder, of 2 MiB each. Two belong to each shard, and each thread that dies leaves two to
 * the end of the server: one that dies again and again must not fill the disk.
 */
const FILES_MAX = 1_024
/** With less than that free, the room that a journal takes could be what a commit lacks. */
const FREE_BYTES_MIN = 64 * 1024 * 1024

export interface ShardJournalOptions {
  readonly dataPath: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Of each of the two files. Default: 2 MiB. */
  readonly fileBytes?: number
}

/** A store that may not have durably what is in a file. */
interface Unsettled {
  readonly sync: Sync
  /** SQLite's log; where there is none, the store is one file, whole and synced, or gone. */
  readonly logPath: string
}

/** One of the two files, and whose commits are in it. */
interface Half {
  readonly file: JournalFile
  readonly unsettled: Map<TenantName, Unsettled>
}

export class ShardJournal {
  readonly #options: ShardJournalOptions
  /** The one in use first. Undefined: not made yet. */
  #halves: readonly [Half, Half] | undefined
  #making: Promise<void> | undefined
  #tryAgainMs = Number.NEGATIVE_INFINITY
  #generation = 0
  /** What waits for the next sync, and where it was written. */
  #round: PromiseWithResolvers<void> | undefined
  readonly #written = new Set<Half>()
  #syncing: Promise<void> | undefined
  #settling: Promise<void> = Promise.resolve()
  /** Nothing is written any more. */
  #ended = false
  #commitCount = 0
  #syncCount = 0

  constructor(options: ShardJournalOptions) {
    this.#options = options
  }

  get counts(): JournalCounts {
    return { commits: this.#commitCount, syncs: this.#syncCount }
  }

  /** The journal as the store of a tenant has it, whose log is at `logPath`. */
  of(tenant: TenantName, logPath: string): CommitJournal {
    return { write: (commit, sync) => this.#write(tenant, commit, { sync, logPath }) }
  }

  /**
   * Before a store is read: what the journal has of it and the store may have lost, because it was
   * given up. Throws as `replay` does, and STORE_IO or STORE_CORRUPT where the journal cannot be
   * read.
   */
  bringHome(tenant: TenantName, medium: Medium): void {
    const halves = this.#halves?.filter(({ unsettled }) => unsettled.has(tenant)) ?? []
    if (halves.length === 0) return
    const commits = halves.flatMap(({ file }) => commitsIn(file.path, tenant))
    const { clock, log } = this.#options
    const { misfits } = replay(medium, commits, clock)
    if (misfits > 0) log.warn('the journal has commits of another past of a tenant', { tenant })
    this.#settled(tenant)
  }

  /** A store was closed: mostly it is one file again. */
  closed(tenant: TenantName): void {
    for (const { unsettled } of this.#halves ?? []) {
      const store = unsettled.get(tenant)
      if (store && !isThere(store.logPath)) unsettled.delete(tenant)
    }
  }

  /**
   * Ends it; all stores are closed. Files that a store may still need stay, for whoever opens the
   * data folder next. Does not reject.
   */
  async close(): Promise<void> {
    this.#ended = true
    await this.#making
    await this.#syncing
    await this.#settling
    const halves = this.#halves ?? []
    this.#halves = undefined
    const isNeeded = halves.some(({ unsettled }) => unsettled.size > 0)
    for (const { file } of halves) file.close()
    if (isNeeded) return
    for (const { file } of halves) await this.#remove(file.path)
  }

  #write(tenant: TenantName, commit: MadeCommit, store: Unsettled): Promise<void> | undefined {
    if (this.#ended) return undefined
    if (!this.#halves) return this.#makeSoon()
    if (byteLengthOf(commit) > ENTRY_BYTES_MAX) return undefined
    const entry = packEntry({ tenant, commit })
    const half = entry.length > ENTRY_BYTES_MAX ? undefined : this.#roomFor(entry.length)
    if (!half) return undefined
    half.file.append(entry)
    half.unsettled.set(tenant, store)
    this.#written.add(half)
    this.#commitCount++
    this.#round ??= Promise.withResolvers()
    const { promise } = this.#round
    this.#syncing ??= this.#syncRounds()
    return promise
  }

  #roomFor(entryBytes: number): Half | undefined {
    if (!this.#halves) return undefined
    const [half, other] = this.#halves
    if (half.file.hasRoomFor(entryBytes)) return half
    if (other.unsettled.size > 0) return undefined
    this.#begin(other)
    this.#halves = [other, half]
    this.#settling = this.#settling.then(() => this.#settle(half))
    return other
  }

  #begin({ file }: Half): void {
    file.restart(++this.#generation)
  }

  /** Whoever commits in the same look at the sockets, or in the next, shares the sync. */
  async #gather(): Promise<void> {
    const { clock } = this.#options
    const endMs = clock.monotonicMs() + GATHER_MS
    let seenCount: number
    do {
      seenCount = this.#commitCount
      await new Promise<void>((resolve) => clock.nextTurn(resolve))
    } while (this.#commitCount > seenCount && clock.monotonicMs() < endMs)
  }

  /** As long as something has come meanwhile. Does not reject. */
  async #syncRounds(): Promise<void> {
    while (this.#round) {
      await this.#gather()
      const round = this.#round
      this.#round = undefined
      const halves = [...this.#written]
      this.#written.clear()
      this.#syncCount++
      try {
        await Promise.all(halves.map(({ file }) => file.sync()))
        round.resolve()
      } catch (error) {
        round.reject(syncError(error))
        this.#fail(error)
      }
    }
    this.#syncing = undefined
  }

  /**
   * Nothing is known of what a failed sync has left in a file: it is never written to again. What
   * was promised before is in it, and in the logs of stores, which are synced one by one from now.
   */
  #fail(error: unknown): void {
    this.#options.log.error('the journal could not be synced, and is of no use any more', { error })
    this.#ended = true
    this.#round?.reject(syncError(error))
    this.#round = undefined
    for (const half of this.#halves ?? []) {
      this.#settling = this.#settling.then(() => this.#settle(half))
    }
  }

  /** So that a file can be begun again. Does not reject: what could not be synced stays in it. */
  async #settle({ unsettled }: Half): Promise<void> {
    // Not those that come while it goes on: the file may have been begun again by then.
    for (const [tenant, store] of unsettled.entries().toArray()) {
      if (unsettled.get(tenant) !== store) continue
      try {
        if (isThere(store.logPath)) await store.sync()
        if (unsettled.get(tenant) === store) unsettled.delete(tenant)
      } catch (error) {
        // Its next use finds out, and is told; then it is brought home when it is opened again.
        this.#options.log.warn('a store could not be synced', { tenant, error })
      }
    }
  }

  #settled(tenant: TenantName): void {
    for (const { unsettled } of this.#halves ?? []) unsettled.delete(tenant)
  }

  /** Meanwhile each store is synced for itself. */
  #makeSoon(): undefined {
    if (this.#options.clock.monotonicMs() < this.#tryAgainMs) return
    this.#making ??= this.#make().finally(() => (this.#making = undefined))
  }

  /** Does not reject. */
  async #make(): Promise<void> {
    const { dataPath, clock, random, log, fileBytes } = this.#options
    const folder = journalsPath(dataPath)
    const name = random.bytes(NAME_BYTES).toHex()
    const paths = [0, 1].map((number) => join(folder, `${name}-${number}${JOURNAL_SUFFIX}`))
    const made: JournalFile[] = []
    try {
      makeFolderDurably(folder, JOURNAL_FOLDER_MODE)
      checkCount(readdirSync(folder).length)
      await checkRoom(folder)
      for (const path of paths) made.push(await JournalFile.make(path, fileBytes))
      syncFolder(folder)
      const [first, second] = made.map((file) => ({ file, unsettled: new Map() }))
      assert(first && second, 'a journal has two files')
      this.#begin(first)
      this.#halves = [first, second]
    } catch (error) {
      log.warn('there is no journal: every commit is synced for itself', { error })
      this.#tryAgainMs = clock.monotonicMs() + TRY_AGAIN_MS
      for (const file of made) {
        file.close()
        await this.#remove(file.path)
      }
    }
  }

  /** A file that stays has nothing that a store lacks. */
  async #remove(path: string): Promise<void> {
    try {
      await rm(path, { force: true })
    } catch (error) {
      this.#options.log.warn('a journal could not be removed', { path, error })
    }
  }
}

function checkCount(fileCount: number): void {
  if (fileCount < FILES_MAX) return
  throw new PgnapError('STORE_FULL', `there are ${fileCount} files in the folder of journals`, {
    hint: 'threads have died and left them: start pgnap again; look at what is kept, and remove it',
  })
}

async function checkRoom(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize >= FREE_BYTES_MIN) return
  throw new PgnapError(
    'STORE_FULL',
    `the disk has no room for a journal: ${bavail * bsize} bytes`,
    {
      hint: 'free space on the disk of the data folder',
    },
  )
}

/** Of its rows: a large commit is not packed only to find that out. */
function byteLengthOf({ changes: { puts } }: MadeCommit): number {
  return puts.reduce((sum, { data }) => sum + data.length, 0)
}

function commitsIn(path: string, tenant: TenantName): readonly MadeCommit[] {
  try {
    const entries = readJournalFile(path).map((entry) => unpackEntry(entry))
    return entries.filter((each) => each.tenant === tenant).map(({ commit }) => commit)
  } catch (error) {
    if (error instanceof PgnapError) throw error
    throw syncError(error)
  }
}
