/**
 * A commit: new contents and deletions of one layer, as one transaction and one new version.
 *
 * For each key that held something before, the old content must stay readable. If it is a prefix of
 * the new one, two numbers in the row keep it (append-history.ts); if not, the old row is copied to
 * `undo` by SQLite itself, without passing through JavaScript. The log row comes last; its id is
 * the new version, so a second commit of the same version would violate the key.
 *
 * Where the disk has no room for it, nothing old is kept that nobody stands on: then a commit takes
 * no more room in the file than what it adds, and forgets some of the older history besides.
 */
import { assert } from '../base/assert.ts'
import { isPrefix } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import type { InodeNo, LayerId, PageKey, Version } from '../base/ids.ts'
import { HISTORY_BYTES_MAX, extendHistory, tailOf } from './append-history.ts'
import { KeyRuns } from './key-runs.ts'
import { ID, IN_RANGE, KEY_OF_ID, MAIN, RECORD_KEYS, nextVersion } from './keys.ts'
import type { KeyRange } from './keys.ts'
import { noteWriter, type Origin } from './lineage.ts'
import { sweepLog } from './prune.ts'
import { asBytes, asNumber } from './schema.ts'
import type { HotRow, Layer, StoreState } from './state.ts'
import { fenced, layerOf, pinsOf, write } from './state.ts'

/** Longest value of a key: one page. */
export const VALUE_BYTES_MAX = 8192
/** Longest content that is tried as an append: one chunk of Postgres's write-ahead log. */
const APPEND_BYTES_MAX = 4096
/** Small rows of the newest commits kept per layer, so that an append needs no SELECT. */
const HOT_ROWS_MAX = 32

const COPY_TO_UNDO = 'INSERT INTO undo SELECT id, ?3, since, hist, data FROM page WHERE'
const UPSERT = `INSERT INTO page VALUES (${ID}, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET
  since = excluded.since, hist = excluded.hist, data = excluded.data`

export interface Put {
  readonly key: PageKey
  /** At most 8192 bytes. Must not change afterwards: the store remembers small ones as they are. */
  readonly data: Uint8Array
}

/** What one commit changes. Deletions happen before puts. A key is put once at most. */
export interface StoreChanges {
  readonly puts: readonly Put[]
  readonly deletions: readonly KeyRange[]
  /** Inode numbers from here on have never been used, if that has moved. */
  readonly nextInode?: InodeNo
  /** Who brings this from afar; remembered with it. Default: nobody, it was made here. */
  readonly origin?: Origin
}

/**
 * Makes `changes` the next version of a layer and returns it.
 * Throws STORE_FENCED unless the layer's head is `expected`, and what the medium throws.
 */
export function commit(
  state: StoreState,
  id: LayerId,
  expected: Version,
  changes: StoreChanges,
): Version {
  const layer = layerOf(state, id)
  if (layer.head !== expected) throw fenced(`head is ${layer.head}, expected ${expected}`)
  // What its owner wrote first may not be durable before the rest is: see `claim`.
  const wasOwner = state.claimed
  const keepsHistory = hasRoomForHistory(state, id, changes) || pinsOf(state, id).length > 0
  const body = (writer: CommitWriter): void => apply(writer, changes)
  const version = commitWith(state, layer, body, keepsHistory)
  noteCommit(state, layer, wasOwner, changes)
  return version
}

function hasRoomForHistory(
  { diskHasRoom, medium }: StoreState,
  layer: LayerId,
  { puts, deletions }: StoreChanges,
): boolean {
  const putBytes = puts.reduce((bytes, { data }) => bytes + data.length, 0)
  // Each page that is put replaces one of the same size, at most.
  if (!diskHasRoom(putBytes)) return false
  if (deletions.length === 0) return true
  // What is deleted is no more than all there is. To count it takes as long as to delete it.
  if (diskHasRoom(putBytes + medium.sizeBytes())) return true
  const sql = `SELECT count(*) FROM page WHERE ${IN_RANGE}`
  const counts = deletions.map(({ from, to }) =>
    asNumber(medium.get(sql, layer, from, to)?.[0] ?? 0),
  )
  const deletedCount = counts.reduce((sum, count) => sum + count, 0)
  return diskHasRoom(putBytes + deletedCount * VALUE_BYTES_MAX)
}

function apply(writer: CommitWriter, { puts, deletions, nextInode, origin }: StoreChanges): void {
  const sorted = puts.toSorted((a, b) => a.key - b.key)
  for (let index = 1; index < sorted.length; index++) {
    assert(sorted[index - 1]?.key !== sorted[index]?.key, 'a commit puts a key once')
  }
  for (const range of deletions) writer.deleteRange(range)
  for (const put of sorted) writer.put(put.key, put.data)
  if (nextInode !== undefined) writer.reserveInodes(nextInode)
  if (origin) writer.noteOrigin(origin)
}

function noteCommit(
  { noted, storeId, owner, epochFound }: StoreState,
  { id, head, headMs }: Layer,
  wasOwner: boolean,
  changes: StoreChanges,
): void {
  if (!noted || !wasOwner || id !== MAIN || changes.origin) return
  if (storeId === undefined || owner === undefined) return
  const epoch = epochFound + 1
  noted.commit = { storeId, owner, epoch, version: head, atMs: headMs, changes }
}

/**
 * One commit whose changes `body` makes step by step, so that they need not all be in memory.
 * @param keepsHistory whether what it replaces is kept, for the time that history is
 */
export function commitWith(
  state: StoreState,
  layer: Layer,
  body: (writer: CommitWriter) => void,
  keepsHistory = true,
): Version {
  // Time may go back; versions must not look as if they did.
  const atMs = Math.max(Math.floor(state.clock.nowMs()), layer.headMs)
  if (layer.head === 0) state.beforeFirstVersion()
  const writer = write(state, () => writeVersion(state, layer, { atMs, keepsHistory }, body))
  writer.remember(atMs)
  return layer.head
}

/** Makes a version inside a transaction, by whoever it was that made it at `atMs`. */
export function makeVersion(
  state: StoreState,
  layer: Layer,
  changes: StoreChanges,
  atMs: number,
): void {
  const body = (writer: CommitWriter): void => apply(writer, changes)
  writeVersion(state, layer, { atMs, keepsHistory: true }, body).remember(atMs)
}

function writeVersion(
  state: StoreState,
  layer: Layer,
  { atMs, keepsHistory }: { readonly atMs: number; readonly keepsHistory: boolean },
  body: (writer: CommitWriter) => void,
): CommitWriter {
  const version = nextVersion(layer.head)
  const writer = new CommitWriter(state, layer, version, keepsHistory)
  body(writer)
  const log = `INSERT INTO log VALUES (${ID}, ?3, ?4)`
  state.medium.run(log, layer.id, version, atMs, writer.ids())
  if (!keepsHistory) writer.forgetHistory(atMs)
  return writer
}

/** The changes of one commit on their way into the tables. Use it only inside `commitWith`. */
export class CommitWriter {
  readonly #state: StoreState
  readonly #layer: Layer
  readonly #version: Version
  readonly #keepsHistory: boolean
  readonly #keys: PageKey[] = []
  readonly #deleted = new Set<PageKey>()
  /** The small rows put last; what a huge commit put before is not worth its memory. */
  readonly #hot = new Map<PageKey, HotRow>()
  #nextInode: InodeNo
  #swept: number

  /** @param keepsHistory false: nobody will read what this version replaces */
  constructor(state: StoreState, layer: Layer, version: Version, keepsHistory: boolean) {
    this.#state = state
    this.#layer = layer
    this.#version = version
    this.#keepsHistory = keepsHistory
    this.#swept = layer.swept
    this.#nextInode = layer.nextInode
  }

  /** Deletes what the layer holds in [from, to). */
  deleteRange({ from, to }: KeyRange): void {
    assert(from < to, 'a range is not empty')
    const { medium } = this.#state
    const layer = this.#layer.id
    const rows = medium.all(`SELECT ${KEY_OF_ID} FROM page WHERE ${IN_RANGE}`, layer, from, to)
    if (rows.length === 0) return
    for (const row of rows) {
      const key = asNumber(row[0]) as PageKey
      this.#keys.push(key)
      this.#deleted.add(key)
    }
    if (this.#keepsHistory) {
      medium.run(
        `INSERT INTO undo SELECT id, ?4, since, hist, data FROM page WHERE ${IN_RANGE}`,
        layer,
        from,
        to,
        this.#version,
      )
    }
    medium.run(`DELETE FROM page WHERE ${IN_RANGE}`, layer, from, to)
  }

  /** Sets the content of one key; keys of one commit are put once each. */
  put(key: PageKey, data: Uint8Array): void {
    assert(data.length <= VALUE_BYTES_MAX, 'a value is one page at most')
    const version = this.#version
    const appendable = data.length <= APPEND_BYTES_MAX && key >= RECORD_KEYS
    const before = appendable ? this.#lineage(key) : undefined
    let row: HotRow | undefined
    if (
      before !== undefined &&
      (before.history?.length ?? 0) < HISTORY_BYTES_MAX &&
      isPrefix(before.data, data)
    ) {
      const lengthBefore = before.data.length
      const history = extendHistory(before.history, before.tail, version, lengthBefore)
      row = { since: before.since, history, data, tail: { version, length: lengthBefore } }
    } else {
      if (this.#keepsHistory && !this.#deleted.has(key)) {
        this.#state.medium.run(`${COPY_TO_UNDO} id = ${ID}`, this.#layer.id, key, version)
      }
      if (appendable) row = { since: version, history: null, data, tail: { version, length: 0 } }
    }
    this.#state.medium.run(
      UPSERT,
      this.#layer.id,
      key,
      row?.since ?? version,
      row?.history ?? null,
      data,
    )
    this.#keys.push(key)
    if (row !== undefined) keepNewest(this.#hot, key, row)
  }

  reserveInodes(nextInode: InodeNo): void {
    assert(nextInode >= this.#nextInode, 'inode numbers go up')
    this.#nextInode = nextInode
    const { medium } = this.#state
    medium.run('UPDATE layer SET next_inode = ?2 WHERE id = ?1', this.#layer.id, nextInode)
  }

  /** The keys whose old contents this commit has kept, as the log has them. */
  ids(): Uint8Array<ArrayBuffer> {
    return (this.#keepsHistory ? KeyRuns.of(this.#keys) : KeyRuns.none).encode()
  }

  /** This version is the oldest that can be read, and some of what older ones needed goes. */
  forgetHistory(atMs: number): void {
    const { id } = this.#layer
    const sql = 'UPDATE layer SET floor = ?2, floor_at = ?3 WHERE id = ?1'
    this.#state.medium.run(sql, id, this.#version, atMs)
    this.#swept = sweepLog(this.#state, this.#layer, this.#version)
  }

  noteOrigin(origin: Origin): void {
    noteWriter(this.#state.medium, origin, this.#version)
  }

  /** After the commit: what the next one will want to know. */
  remember(atMs: number): void {
    this.#layer.head = this.#version
    this.#layer.headMs = atMs
    if (!this.#keepsHistory) {
      this.#layer.floor = this.#version
      this.#layer.floorMs = atMs
      this.#layer.swept = this.#swept
    }
    const { hot } = this.#layer
    for (const key of this.#keys) hot.delete(key)
    for (const [key, row] of this.#hot) keepNewest(hot, key, row)
    this.#layer.nextInode = this.#nextInode
  }

  #lineage(key: PageKey): HotRow | undefined {
    if (this.#deleted.has(key)) return undefined
    const hot = this.#layer.hot.get(key)
    if (hot !== undefined) return hot
    const row = this.#state.medium.get(
      `SELECT since, hist, data FROM page WHERE id = ${ID}`,
      this.#layer.id,
      key,
    )
    if (row === undefined) return undefined
    const since = asNumber(row[0]) as Version
    const history = row[1] === null ? null : asBytes(row[1])
    return { since, history, data: asBytes(row[2]), tail: tailOf(since, history) }
  }
}

function keepNewest(rows: Map<PageKey, HotRow>, key: PageKey, row: HotRow): void {
  rows.set(key, row)
  if (rows.size <= HOT_ROWS_MAX) return
  const oldest = rows.keys().next().value
  if (oldest !== undefined) rows.delete(oldest)
}

assert(VALUE_BYTES_MAX <= LIMITS.dirtyBytesMax, 'a commit holds one page at least')
