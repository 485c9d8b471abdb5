/**
 * What a compute has of a tenant that is at home elsewhere: all rows of main at one version of the
 * home, in memory, and on top of them what was committed here and is not there yet.
 *
 *     rows as the home had them at `base`
 *       + commits, oldest first, each with what it has replaced   -- delivered: they are the base's
 *     = rows as the files here see them                           -- rolled back: they never were
 *
 * It must never be used over another state than it was fetched as. So a view ends with whatever
 * changes rows under it: after a roll-back, or rows that were fetched, every view of before is
 * refused (STORE_FENCED), and the memory over it with it.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { InodeNo, PageKey, Version } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { StoreChanges } from '../store/commit.ts'
import { decodeRecord } from '../store/inode-record.ts'
import { type KeyRange, MAIN, nextVersion, RECORD_KEYS } from '../store/keys.ts'
import { fenced } from '../store/state.ts'
import type { Template } from '../store/template.ts'
import type { FileView, LevelRecord } from '../store/view.ts'
import type { HomeState } from './home.ts'
import type { Row } from '../store/packing.ts'

/** What a row costs besides its bytes: the map's slot, the boxed key, the view. */
const ROW_BYTES = 160
/** There is one level: what the home's branches stand on does not come here. */
const LEVEL: LevelRecord['level'] = { layer: MAIN, version: undefined }

/** A commit that the home has not got. */
export interface Undelivered {
  readonly changes: StoreChanges
  /** Never given to another commit of this writer, not even of one that was rolled back. */
  readonly sequence: number
  /** About what it weighs in a message. */
  readonly byteLength: number
  readonly sinceMs: number
  /** What it replaced; undefined: nothing was there. */
  readonly before: ReadonlyMap<PageKey, Uint8Array | undefined>
  readonly nextInodeBefore: InodeNo
}

/** Who commits on a replica. It outlives the replica: a number given twice is a commit lost. */
export interface ReplicaWriter {
  nowMs(): number
  nextSequence(): number
}

export class Replica {
  readonly template: Template
  /** What the home had, with everything on top of it that it has been told to have taken. */
  base: HomeState
  #writer: ReplicaWriter
  readonly #rows = new Map<PageKey, Uint8Array>()
  readonly #undelivered: Undelivered[] = []
  #version: Version
  #nextInode: InodeNo
  #rowBytes = 0
  /** Goes up with everything that makes views of before worthless. */
  #generation = 0

  constructor(base: HomeState, template: Template, writer: ReplicaWriter) {
    assert(template.id === base.templateId, 'a replica stands on the template of its home')
    this.template = template
    this.base = base
    this.#writer = writer
    this.#version = base.version
    this.#nextInode = base.nextInode
  }

  /** In memory, about: what is not delivered is among the rows. */
  get byteLength(): number {
    return this.#rowBytes
  }

  get undelivered(): readonly Undelivered[] {
    return this.#undelivered
  }

  get undeliveredBytes(): number {
    return this.#undelivered.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  /** Names what the files here see. Never the same for two different contents. */
  get stamp(): string {
    return `${this.base.stamp}/${this.#generation}.${this.#version}`
  }

  /** Nobody has ever written anything: the files are the template. */
  get pristine(): boolean {
    return this.#version === 0
  }

  get version(): Version {
    return this.#version
  }

  get nextInode(): InodeNo {
    return this.#nextInode
  }

  get generation(): number {
    return this.#generation
  }

  /** Takes rows that the home has sent, with which this is as the home is at `state`. */
  bringUpTo(state: HomeState, rows: Iterable<Row>): void {
    assert(this.#undelivered.length === 0, 'what is not delivered goes before the base moves')
    assert(state.templateId === this.template.id, 'a store never changes its template')
    this.#generation++
    for (const { key, data } of rows) this.#set(key, data)
    this.base = state
    this.#version = state.version
    this.#nextInode = state.nextInode
  }

  /** Makes `changes` the next version here. Throws STORE_FULL if there is too much of them. */
  commit(changes: StoreChanges): Version {
    const before = new Map<PageKey, Uint8Array | undefined>()
    const set = (key: PageKey, data: Uint8Array | undefined): void => {
      if (!before.has(key)) before.set(key, this.#rows.get(key))
      this.#set(key, data)
    }
    const byteLength = changes.puts.reduce((sum, { data }) => sum + data.length + ROW_BYTES, 0)
    this.#checkRoom(byteLength)
    for (const range of changes.deletions) {
      for (const key of this.#keysIn(range)) set(key, undefined)
    }
    for (const { key, data } of changes.puts) set(key, data)
    this.#undelivered.push({
      changes,
      sequence: this.#writer.nextSequence(),
      byteLength,
      sinceMs: this.#writer.nowMs(),
      before,
      nextInodeBefore: this.#nextInode,
    })
    this.#nextInode = changes.nextInode ?? this.#nextInode
    this.#version = nextVersion(this.#version)
    return this.#version
  }

  /** The home has the first `count` of what was not delivered, and was at `state` with it. */
  delivered(count: number, state: HomeState): void {
    assert(count > 0 && count <= this.#undelivered.length, 'only what was brought is delivered')
    const expected = this.base.version + count
    assert(state.version === expected, `home and replica count alike: ${expected}`)
    this.#undelivered.splice(0, count)
    this.base = state
  }

  /** Takes back what the home has not got; tells what that was. */
  rollBack(): readonly Undelivered[] {
    const lost = this.#undelivered.splice(0)
    if (lost.length === 0) return lost
    for (const { before, nextInodeBefore } of lost.toReversed()) {
      for (const [key, data] of before) this.#set(key, data)
      this.#nextInode = nextInodeBefore
    }
    this.#generation++
    this.#version = this.base.version
    return lost
  }

  /** Another one commits on it from now on; views of before are worthless. */
  handOver(writer: ReplicaWriter): void {
    this.#writer = writer
    this.#generation++
  }

  /** All there is, as files are built on it. */
  view(): FileView {
    return new ReplicaView(this)
  }

  read(key: PageKey): Uint8Array | undefined {
    return this.#rows.get(key)
  }

  readRange(range: KeyRange): readonly (readonly [PageKey, Uint8Array])[] {
    const found: (readonly [PageKey, Uint8Array])[] = []
    for (const key of this.#keysIn(range)) {
      const data = this.#rows.get(key)
      if (data) found.push([key, data])
    }
    return found
  }

  /** Those that there are, in time bounded by the smaller of the range and the replica. */
  #keysIn({ from, to }: KeyRange): readonly PageKey[] {
    const found: PageKey[] = []
    if (to - from < this.#rows.size) {
      for (let key = from; key < to; key = (key + 1) as PageKey) {
        if (this.#rows.has(key)) found.push(key)
      }
      return found
    }
    for (const key of this.#rows.keys()) if (key >= from && key < to) found.push(key)
    return found
  }

  #set(key: PageKey, data: Uint8Array | undefined): void {
    const known = this.#rows.get(key)
    if (known) this.#rowBytes -= known.length + ROW_BYTES
    if (data === undefined) return void this.#rows.delete(key)
    this.#rows.set(key, data)
    this.#rowBytes += data.length + ROW_BYTES
  }

  #checkRoom(byteLength: number): void {
    const { undeliveredBytesMax, replicaBytesMax } = LIMITS
    const undelivered = this.undeliveredBytes + byteLength
    if (undelivered > undeliveredBytesMax) {
      throw new PgnapError('STORE_FULL', 'too much was written in one go', {
        detail: `${undelivered} bytes are to be brought home, limit ${undeliveredBytesMax}`,
        hint: 'write in several transactions, or where the tenant is at home',
      })
    }
    if (this.byteLength + byteLength > replicaBytesMax) throw replicaTooLarge()
  }
}

/** A tenant that does not fit into the memory of a compute. */
export function replicaTooLarge(): PgnapError {
  return new PgnapError('DATABASE_TOO_LARGE', 'the database is too large to be brought here', {
    detail: `limit replicaBytesMax ${LIMITS.replicaBytesMax} bytes`,
    hint: 'ask where the tenant is at home, which loads pages as they are needed',
  })
}

class ReplicaView implements FileView {
  readonly readOnly = false
  readonly #replica: Replica
  readonly #generation: number
  #version: Version
  #closed = false

  constructor(replica: Replica) {
    this.#replica = replica
    this.#generation = replica.generation
    this.#version = replica.version
  }

  get version(): Version {
    return this.#version
  }

  get nextInode(): InodeNo {
    return this.#replica.nextInode
  }

  records(): Map<InodeNo, readonly LevelRecord[]> {
    const range = { from: 0 as PageKey, to: RECORD_KEYS as PageKey }
    const records = new Map<InodeNo, readonly LevelRecord[]>()
    for (const [key, data] of this.readRange(range)) {
      const record = decodeRecord(data)
      records.set(key as number as InodeNo, [{ level: LEVEL, record, keys: undefined }])
    }
    return records
  }

  owns(): boolean {
    return true
  }

  read(key: PageKey): Uint8Array | undefined {
    this.#check()
    return this.#replica.read(key)
  }

  readRange(range: KeyRange): readonly (readonly [PageKey, Uint8Array])[] {
    this.#check()
    return this.#replica.readRange(range)
  }

  commit(changes: StoreChanges): Version {
    this.#check()
    this.#version = this.#replica.commit(changes)
    return this.#version
  }

  [Symbol.dispose](): void {
    this.#closed = true
  }

  #check(): void {
    assert(!this.#closed, 'the view is open')
    const { generation, version } = this.#replica
    if (generation !== this.#generation || version !== this.#version) {
      throw fenced(`the replica is at ${version}, this view shows ${this.#version}`)
    }
  }
}
