/**
 * A home over the store that it has: what an object does when a compute calls. Everything is
 * synchronous, and a delivery is one transaction of the store per commit, so nothing comes between
 * the look at the stamp and the commit.
 *
 * What a compute says is checked, not believed: its stamp, its numbers, the form of what it brings.
 * What it brings may still be nonsense to Postgres, as with whoever holds the only copy.
 */
import { PgnapError } from '../base/errors.ts'
import type { InodeNo, PageKey, Version } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { StoreChanges } from '../store/commit.ts'
import { decodeRecord } from '../store/inode-record.ts'
import { chunkKey, inodeOfChunkKey, MAIN, RECORD_KEYS } from '../store/keys.ts'
import type { KeyRuns } from '../store/key-runs.ts'
import type { Origin } from '../store/lineage.ts'
import { fenced } from '../store/state.ts'
import type { Store } from '../store/store.ts'
import type { StoreView } from '../store/view.ts'
import type { Cursor, Delivery, FetchRequest, HomeState, Receipt, Slice } from './home.ts'
import { RowPacker, unpackCommit } from '../store/packing.ts'

/** Chunks of a file that are read at once. */
const CHUNKS_PER_READ = 128
const NO_ROWS: Uint8Array = new Uint8Array(0)

export class StoreHome {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  get state(): HomeState {
    using view = this.#store.view()
    return {
      stamp: this.#store.stamp(),
      version: view.version,
      nextInode: view.nextInode,
      templateId: this.#store.templateId,
    }
  }

  /** @throws PgnapError VERSION_NOT_RETAINED, STORE_* */
  fetch({ known, cursor, whole = cursor?.kind === 'whole' }: FetchRequest): Slice {
    const state = cursor?.state ?? this.state
    // The same number may be another's version by now: the store was taken back, or has new owners.
    if (cursor && this.#store.versionOf(state.stamp) !== state.version) throw forgotten()
    if (!cursor && known === state.stamp) return { state, kind: 'same', rows: NO_ROWS }
    const from = cursor?.from ?? (0 as PageKey)
    const changes = whole ? undefined : this.#changesSince(known)
    using view = this.#viewOf(state.version)
    if (changes) return slice('changes', state, changedRows(view, changes, from))
    if (cursor?.kind === 'changes') throw forgotten()
    return slice('whole', state, wholeRows(view, from))
  }

  /** @throws PgnapError STORE_FENCED, STORE_FULL, STORE_IO, STORE_CORRUPT, OUTCOME_UNKNOWN */
  deliver(delivery: Delivery): Receipt {
    const { writer, sequence, commits, base } = delivery
    if (commits.length === 0) throw invalid('a delivery brings something')
    const last = this.#store.broughtBy(writer)
    const repeated = Math.max(0, (last?.sequence ?? 0) - sequence + 1)
    if (last && repeated > commits.length) throw invalid('a writer has no number twice')
    const expected = last && repeated > 0 ? last.stamp : base
    // They are there, whatever others have made of it since.
    if (repeated === commits.length) return { count: repeated, state: this.#stateAt(expected) }
    this.#check(expected, delivery, last !== undefined)
    return this.#apply(commits.slice(repeated), {
      writer,
      sequence: sequence + repeated,
      done: repeated,
    })
  }

  /** Undefined: what the asker has is not known, or too long ago. */
  #changesSince(known: string | undefined): KeyRuns | undefined {
    const version = known === undefined ? undefined : this.#store.versionOf(known)
    if (version === undefined) return undefined
    const { full, keys } = this.#store.changesSince(MAIN, version)
    return full ? undefined : keys
  }

  #check(expected: string, { base, again }: Delivery, isKnown: boolean): void {
    const stamp = this.#store.stamp()
    if (stamp === expected) return
    // Whoever has been forgotten may have brought all of it the first time.
    if (again && !isKnown && this.#store.forgetsWriters)
      throw outcomeUnknown(`the home is at ${stamp}`)
    throw fenced(`the home is at ${stamp}, what was brought stands on ${base}`)
  }

  #apply(
    commits: readonly Uint8Array[],
    { writer, sequence, done }: { writer: string; sequence: number; done: number },
  ): Receipt {
    let count = done
    for (const [index, bytes] of commits.entries()) {
      const origin = { writer, sequence: sequence + index }
      try {
        const changes: StoreChanges = { ...unpackCommit(bytes), origin }
        const { nextInode } = this.state
        if ((changes.nextInode ?? nextInode) < nextInode) throw invalid('numbers of files go up')
        this.#store.commit(MAIN, this.#store.head(), changes)
        count++
      } catch (error) {
        const refusal = this.#refusal(origin, error)
        // What came before it is there, and can be told apart from it.
        if (count > done && refusal === error) break
        throw refusal
      }
    }
    return { count, state: this.state }
  }

  /** What failed may have been stored all the same: only the answer of the disk was lost. */
  #refusal({ writer, sequence }: Origin, error: unknown): unknown {
    try {
      const last = this.#store.broughtBy(writer)?.sequence ?? 0
      return last < sequence ? error : outcomeUnknown('the storage failed when it had it', error)
    } catch {
      return outcomeUnknown('the storage failed, and cannot be asked', error)
    }
  }

  /** Numbers of files are a matter of the head: a writer that hears of this has its own. */
  #stateAt(stamp: string): HomeState {
    const now = this.state
    if (now.stamp === stamp) return now
    const version = this.#store.versionOf(stamp)
    if (version === undefined) throw outcomeUnknown(`the home is at ${now.stamp}`)
    return { ...now, stamp, version }
  }

  #viewOf(version: Version): StoreView {
    return version === this.#store.head() ? this.#store.view() : this.#store.view(MAIN, version)
  }
}

/** Rows from a key on, as many as a message is to have. */
interface Rows {
  readonly packer: RowPacker
  readonly next: PageKey | undefined
}

function slice(kind: Cursor['kind'], state: HomeState, { packer, next }: Rows): Slice {
  const rows = packer.bytes()
  const whole = { state, kind, rows }
  return next === undefined ? whole : { ...whole, next: { state, kind, from: next } }
}

function changedRows(view: StoreView, keys: Iterable<PageKey>, from: PageKey): Rows {
  const packer = new RowPacker()
  for (const key of keys) {
    if (key < from) continue
    if (packer.byteLength >= LIMITS.sliceBytes) return { packer, next: key }
    packer.add({ key, data: view.read(key) })
  }
  return { packer, next: undefined }
}

/** Records come first, and say which chunks there may be. */
function wholeRows(view: StoreView, from: PageKey): Rows {
  const packer = new RowPacker()
  const records = view.readRange({ from: 0 as PageKey, to: RECORD_KEYS as PageKey })
  const ordered = records.toSorted(([a], [b]) => a - b)
  if (from < RECORD_KEYS) {
    for (const [key, data] of ordered) {
      if (key < from) continue
      if (packer.byteLength >= LIMITS.sliceBytes) return { packer, next: key }
      packer.add({ key, data })
    }
  }
  const firstInode = from < RECORD_KEYS ? 0 : inodeOfChunkKey(from)
  for (const [key, data] of ordered) {
    const inode = key as number as InodeNo
    if (inode < firstInode) continue
    const { sizeBytes, chunkBytes } = decodeRecord(data)
    const end = chunkKey(inode, Math.ceil(sizeBytes / chunkBytes))
    for (let at = Math.max(from, chunkKey(inode, 0)) as PageKey; at < end;) {
      if (packer.byteLength >= LIMITS.sliceBytes) return { packer, next: at }
      const to = Math.min(end, at + CHUNKS_PER_READ) as PageKey
      for (const [chunk, content] of view.readRange({ from: at, to })) {
        packer.add({ key: chunk, data: content })
      }
      at = to
    }
  }
  return { packer, next: undefined }
}

/** A delivery of which nobody knows whether it is in the store. */
export function outcomeUnknown(detail: string, cause?: unknown): PgnapError {
  return new PgnapError('OUTCOME_UNKNOWN', 'it is not known whether the change was stored', {
    detail,
    hint: 'look whether it is there, and repeat it if not',
    ...(cause === undefined ? {} : { cause }),
  })
}

function forgotten(): PgnapError {
  return new PgnapError('VERSION_NOT_RETAINED', 'what is being fetched was forgotten meanwhile', {
    hint: 'begin anew',
  })
}

function invalid(detail: string): PgnapError {
  return new PgnapError('PROTOCOL_VIOLATION', 'a compute brought something impossible', { detail })
}
