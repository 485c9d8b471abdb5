/**
 * A view of a store: one layer at its head, or at a version of the past, with everything that shows
 * through from the layers it stands on. Files are built on a view and on nothing else of the store.
 *
 * A view of the head is the only kind that commits, and it belongs to whoever reads pages ahead of
 * it: once the head has moved by other hands, its reader's cached pages are old, so every read and
 * commit of such a view is refused (STORE_FENCED). A view of the past never changes; while it is
 * open, its version is pinned.
 */
import { assert } from '../base/assert.ts'
import type { InodeNo, LayerId, PageKey, Version } from '../base/ids.ts'
import { commit } from './commit.ts'
import type { StoreChanges } from './commit.ts'
import type { InodeRecord } from './inode-record.ts'
import { decodeRecord } from './inode-record.ts'
import type { KeyRuns } from './key-runs.ts'
import type { KeyRange } from './keys.ts'
import { RECORD_KEYS } from './keys.ts'
import { levelsBelow, pin } from './layers.ts'
import type { Level } from './reading.ts'
import { frozenKeys, readKey, readRange } from './reading.ts'
import type { StoreState } from './state.ts'
import { fenced, layerOf } from './state.ts'

/** What one level says of one file. */
export interface LevelRecord {
  readonly level: Level
  readonly record: InodeRecord
  /** The keys that a small frozen level holds; undefined: ask it. */
  readonly keys: KeyRuns | undefined
}

/**
 * What the files of a tenant stand on: one state of it, and the way to make the next one. A view of
 * a store, or of a copy of what is in one (`src/replica`).
 */
export interface FileView extends Disposable {
  /** True: it shows the past, and never commits. */
  readonly readOnly: boolean
  /** The version that this view shows. */
  readonly version: Version
  /** Inode numbers from here on have never been used. */
  readonly nextInode: InodeNo
  /** Every file that differs from the template, with what each level says of it, topmost first. */
  records(): Map<InodeNo, readonly LevelRecord[]>
  /** Whether a record is of the layer itself and not of one below. */
  owns(entry: LevelRecord): boolean
  /** What `key` holds at one level, the view's own by default. Not to be changed. */
  read(key: PageKey, level?: Level): Uint8Array | undefined
  /**
   * What the keys of a range hold at one level, the view's own by default; absent ones are left
   * out.
   */
  readRange(range: KeyRange, level?: Level): readonly (readonly [PageKey, Uint8Array])[]
  /** Makes `changes` the next version; the view then shows it. Throws STORE_*. */
  commit(changes: StoreChanges): Version
}

export class StoreView implements FileView {
  readonly layer: LayerId
  /** The version of the past that this view shows; undefined for a view of the head. */
  readonly pastVersion: Version | undefined
  readonly #state: StoreState
  readonly #own: Level
  readonly #unpin: () => void
  #version: Version
  #closed = false

  /** Use `Store.view`. */
  constructor(state: StoreState, layer: LayerId, pastVersion: Version | undefined) {
    this.#state = state
    this.layer = layer
    this.pastVersion = pastVersion
    this.#own = { layer, version: pastVersion }
    this.#version = pastVersion ?? layerOf(state, layer).head
    this.#unpin = pastVersion === undefined ? () => {} : pin(state, layer, pastVersion)
  }

  get readOnly(): boolean {
    return this.pastVersion !== undefined
  }

  get version(): Version {
    return this.#version
  }

  get nextInode(): InodeNo {
    return layerOf(this.#state, this.layer).nextInode
  }

  records(): Map<InodeNo, readonly LevelRecord[]> {
    this.#check()
    const found = new Map<InodeNo, LevelRecord[]>()
    const range: KeyRange = { from: 0 as PageKey, to: RECORD_KEYS as PageKey }
    for (const level of [this.#own, ...this.#lower()]) {
      const keys = level === this.#own ? undefined : frozenKeys(this.#state, level)
      for (const [key, bytes] of readRange(this.#state, level, range)) {
        const inode = key as number as InodeNo
        const entry = { level, record: decodeRecord(bytes), keys }
        const levels = found.get(inode)
        if (levels === undefined) found.set(inode, [entry])
        else levels.push(entry)
      }
    }
    return found
  }

  owns(entry: LevelRecord): boolean {
    return entry.level === this.#own
  }

  read(key: PageKey, level: Level = this.#own): Uint8Array | undefined {
    this.#check()
    return readKey(this.#state, level, key)
  }

  readRange(
    range: KeyRange,
    level: Level = this.#own,
  ): readonly (readonly [PageKey, Uint8Array])[] {
    this.#check()
    return readRange(this.#state, level, range)
  }

  /**
   * Makes `changes` the next version; the view then shows it. Throws STORE_FENCED and the medium's.
   */
  commit(changes: StoreChanges): Version {
    assert(!this.readOnly, 'a view of the past does not commit')
    this.#check()
    this.#version = commit(this.#state, this.layer, this.#version, changes)
    return this.#version
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#unpin()
  }

  #lower(): readonly Level[] {
    return levelsBelow(this.#state, this.layer)
  }

  #check(): void {
    assert(!this.#closed, 'the view is open')
    const { head } = layerOf(this.#state, this.layer)
    if (!this.readOnly && head !== this.#version) {
      throw fenced(`head is ${head}, this view shows ${this.#version}`)
    }
  }
}
