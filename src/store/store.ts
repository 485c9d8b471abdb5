/**
 * The durable truth of one tenant: every version of every branch that is still retained, in one
 * medium. This file only composes; each idea has its own: commit.ts, reading.ts, layers.ts,
 * history.ts, prune.ts, restore.ts, copied-store.ts, verify.ts, inspect.ts.
 *
 * A store holds differences from one template, named in it for ever. It is opened with whatever
 * templates this pgnap has: an engine of another build may use the store as long as Postgres's
 * major version is the same and the store's own template is among them.
 */
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { Fingerprint, LayerId, Version } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { Medium, Sync } from '../medium/medium.ts'
import type { StoreChanges } from './commit.ts'
import { commit } from './commit.ts'
import type { CommitJournal } from './commit-journal.ts'
import { makeOwn } from './copied-store.ts'
import { changesSince, floorFor, versionAt } from './history.ts'
import type { Changes } from './history.ts'
import { inspect, layerInfo } from './inspect.ts'
import type { LayerInfo, StoreFacts } from './inspect.ts'
import { FIRST_TENANT_INODE, MAIN } from './keys.ts'
import { branch, drop, findLayer } from './layers.ts'
import type { BranchOptions } from './layers.ts'
import { forgetsWriters, hasHad, lastOf, ownerOf, readOwners } from './lineage.ts'
import { historyEndsMs, keepsMoreThan, prune, pruneLayer } from './prune.ts'
import type { PruneResult } from './prune.ts'
import { restore } from './restore.ts'
import type { HasRoom } from './room.ts'
import {
  FORMAT_VERSION,
  createTables,
  readMeta,
  readNotes,
  readStoreId,
  writeNotes,
} from './schema.ts'
import type { StoreMeta } from './schema.ts'
import type { StoreState, WriteNotes } from './state.ts'
import { current, layerOf, openState } from './state.ts'
import type { Template } from './template.ts'
import { verify } from './verify.ts'
import { corrupt } from './varint.ts'
import { StoreView } from './view.ts'

/** Store and layer, epoch, owner, version. */
const STAMP = /^(\w+\.\d+)\.(\d+)\.(\w*)\.(\d+)$/

/** The build of the engine that is about to use a store. */
export interface StoreEngine {
  readonly fingerprint: Fingerprint
  readonly postgresMajor: number
  /** The template that a new store is made on. */
  readonly templateId: string
}

export interface StoreOptions {
  readonly clock: Clock
  readonly engine: StoreEngine
  /** True: an empty medium is damage, and no place for a new store. Default: false. */
  readonly mustExist?: boolean
  /** Templates of this and of earlier engine builds, by id. */
  readonly templates: { get(id: string): Template | undefined }
  /**
   * Called before the first version of a store is written: what its maker left undone because
   * nobody had been told of it. A throw keeps the version from being written.
   */
  readonly beforeFirstVersion?: () => void
  /** Of the disk of the medium: where there is none, commits keep no history. Default: it has. */
  readonly diskHasRoom?: HasRoom
  /** Where commits can be made durable together with those of other stores. Default: nowhere. */
  readonly journal?: CommitJournal | undefined
}

export class Store implements Disposable {
  readonly template: Template
  readonly #state: StoreState
  readonly #journal: CommitJournal | undefined
  /** Something may be neither durable nor in the journal: what follows is of no use there. */
  #owesSync = false

  private constructor(state: StoreState, template: Template, journal: CommitJournal | undefined) {
    this.#state = state
    this.template = template
    this.#journal = journal
  }

  /**
   * Opens what is in `medium`, or makes a new store in an empty one, unless it must exist. The
   * store owns the medium.
   * Throws STORE_FORMAT_UNKNOWN, STORE_ENGINE_MISMATCH, STORE_CORRUPT and what the medium throws.
   */
  static open(medium: Medium, options: StoreOptions): Store {
    const meta = readMeta(medium) ?? create(medium, options)
    const { engine } = options
    if (meta.postgresMajor !== engine.postgresMajor) {
      throw mismatch(`it is of Postgres ${meta.postgresMajor}, this is ${engine.postgresMajor}`)
    }
    const template = options.templates.get(meta.templateId)
    if (template === undefined) {
      throw mismatch(`it stands on template ${meta.templateId}, which this pgnap has not got`)
    }
    const { clock, beforeFirstVersion, diskHasRoom } = options
    const storeId = readStoreId(medium)
    const { fingerprint } = engine
    const own = { clock, storeId, fingerprint, beforeFirstVersion, diskHasRoom }
    const state = openState(medium, meta, own)
    return new Store(state, template, options.journal)
  }

  /** 32 hex digits that no other store has; undefined in stores of before there was one. */
  get id(): string | undefined {
    return this.#state.storeId
  }

  get closed(): boolean {
    return this.#state.closed
  }

  get templateId(): string {
    return this.template.id
  }

  /** Live branches, main first. */
  layers(): readonly LayerInfo[] {
    const layers = [...current(this.#state).layers.values()]
    return layers.filter((layer) => !layer.dead).map(layerInfo)
  }

  /** The branch of this name, "main" included. */
  findLayer(name: string): LayerId | undefined {
    return findLayer(this.#state, name)?.id
  }

  /** Newest version of a layer. */
  head(layer: LayerId = MAIN): Version {
    return layerOf(this.#state, layer).head
  }

  /**
   * Names one state of one layer: the store, who wrote it, the version. Two different contents
   * never have the same stamp, not even when a backup or a copy went on from the same version:
   * epochs alone would meet again, but each owner draws a name of its own when it first writes.
   */
  stamp(layer: LayerId = MAIN): string {
    const { owner = '', epochFound, claimed } = current(this.#state)
    const { head } = layerOf(this.#state, layer)
    const epoch = epochFound + (claimed ? 1 : 0)
    return `${this.#lineOf(layer)}.${epoch}.${owner}.${head}`
  }

  /**
   * The version of main that had this stamp, if it is of this store's past and that is known: then
   * {@link Store.changesSince} it is all that a copy of it lacks. Else undefined.
   */
  versionOf(stamp: string): Version | undefined {
    const [, line, epoch, owner, digits] = STAMP.exec(stamp) ?? []
    if (line !== this.#lineOf(MAIN) || owner === undefined) return undefined
    const version = Number(digits) as Version
    // What nobody has written to is the template.
    if (version === 0) return version
    const { medium } = current(this.#state)
    const had = hasHad(readOwners(medium), { epoch: Number(epoch), owner }, version)
    return had && version <= this.head() ? version : undefined
  }

  /**
   * What a writer has brought last ({@link StoreChanges.origin}), and the stamp that main had then.
   * Undefined: nothing, as far as is remembered ({@link Store.forgetsWriters}).
   */
  broughtBy(writer: string): { readonly sequence: number; readonly stamp: string } | undefined {
    const { medium } = current(this.#state)
    const last = lastOf(medium, writer)
    const had = last && ownerOf(readOwners(medium), last.version)
    if (!last || !had) return undefined
    const stamp = `${this.#lineOf(MAIN)}.${had.epoch}.${had.owner}.${last.version}`
    return { sequence: last.sequence, stamp }
  }

  /** Whether somebody may have brought something and not be known any more. */
  get forgetsWriters(): boolean {
    return forgetsWriters(current(this.#state).medium)
  }

  /**
   * A layer as it is now (that view commits), or at a retained version of the past (read-only; the
   * version stays readable until the view is closed). Throws VERSION_NOT_RETAINED, TENANT_UNKNOWN.
   */
  view(layer: LayerId = MAIN, pastVersion?: Version): StoreView {
    return new StoreView(this.#state, layer, pastVersion)
  }

  /** One commit without a view. Throws STORE_FENCED unless the head is `expected`. */
  commit(layer: LayerId, expected: Version, changes: StoreChanges): Version {
    return commit(this.#state, layer, expected, changes)
  }

  /** See {@link branch}. */
  branch(parent: LayerId, options: BranchOptions = {}): LayerId {
    return branch(this.#state, parent, options)
  }

  /** See {@link drop}. */
  drop(layer: LayerId): void {
    drop(this.#state, layer)
  }

  /** Newest version at or before a time. Throws VERSION_NOT_RETAINED before the floor. */
  versionAt(layer: LayerId, timeMs: number): Version {
    return versionAt(this.#state, layer, timeMs)
  }

  /** See {@link changesSince}. */
  changesSince(layer: LayerId, version: Version): Changes {
    return changesSince(this.#state, layer, version)
  }

  /** See {@link restore}. */
  restore(layer: LayerId, version: Version): Version {
    return restore(this.#state, layer, version)
  }

  /** See {@link makeOwn}. */
  makeOwn(): void {
    makeOwn(this.#state)
  }

  /** The version below which `retentionMs` of history, counted from now, needs nothing. */
  floorFor(layer: LayerId, retentionMs: number): Version {
    return floorFor(this.#state, layer, retentionMs)
  }

  /** One slice of forgetting what is older than `retentionMs`; for idle moments. */
  prune(retentionMs: number = LIMITS.retentionMs): PruneResult {
    return prune(this.#state, retentionMs)
  }

  /** See {@link historyEndsMs}. */
  historyEndsMs(retentionMs: number = LIMITS.retentionMs): number | undefined {
    return historyEndsMs(this.#state, retentionMs)
  }

  /** See {@link keepsMoreThan}. */
  keepsMoreThan(rows: number): boolean {
    return keepsMoreThan(current(this.#state), rows)
  }

  /** One slice of forgetting versions of one layer below `floor`. */
  pruneLayer(layer: LayerId, floor: Version, commitsMax?: number): PruneResult {
    return pruneLayer(this.#state, layer, floor, commitsMax)
  }

  /** Every invariant against every row: problems, one sentence each. Reads everything. */
  verify(): readonly string[] {
    return verify(this.#state, this.template)
  }

  /** What the medium finds wrong with itself. Reads everything. */
  damage(): readonly string[] {
    return current(this.#state).medium.damage()
  }

  /** Facts for people. Reads everything. */
  inspect(): StoreFacts {
    return inspect(this.#state)
  }

  /** Bytes on disk now. */
  sizeBytes(): number {
    return current(this.#state).medium.sizeBytes()
  }

  /** Moves the medium's write-ahead log into its file; for idle moments. */
  checkpoint(): void {
    current(this.#state).medium.checkpoint()
  }

  /** Free space within the medium, which {@link compact} can give back. */
  spareBytes(): number {
    return current(this.#state).medium.spareBytes()
  }

  /** Gives up to `bytesMax` of free space back to the file system; returns bytes given back. */
  compact(bytesMax: number): number {
    return current(this.#state).medium.compact(bytesMax)
  }

  /**
   * Runs `work`, whose commits need not be durable when it returns. The promise is kept when they
   * are; undefined: they are already. If it is broken, or `work` throws, what is durable is not
   * known, and the store is to be closed.
   */
  commitAhead(work: () => void): Promise<void> | undefined {
    const state = current(this.#state)
    const noted: WriteNotes = (state.noted = { writeCount: 0, commit: undefined })
    let sync: Sync | undefined
    try {
      sync = state.medium.commitAhead(work)
    } catch (error) {
      this.#owesSync = true
      throw error
    } finally {
      state.noted = undefined
    }
    if (sync === undefined) return undefined
    // A journal has what one commit was made of, and nothing of what else was written beside it.
    const only = noted.writeCount === 1 && !this.#owesSync ? noted.commit : undefined
    return (only && this.#journal?.write(only, sync)) ?? sync()
  }

  /** What {@link Store.writeNotes} last kept. */
  readNotes(): string | undefined {
    return readNotes(current(this.#state).medium)
  }

  /** Keeps a few KB beside the data, in no version of it. */
  writeNotes(notes: string): void {
    writeNotes(current(this.#state).medium, notes)
  }

  /** Closes the medium too. */
  close(): void {
    if (this.#state.closed) return
    this.#state.closed = true
    this.#state.medium[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** What all stamps of a layer begin with. */
  #lineOf(layer: LayerId): string {
    return `${this.#state.storeId ?? layerOf(this.#state, layer).createdMs}.${layer}`
  }
}

function create(medium: Medium, options: StoreOptions): StoreMeta {
  const { clock, engine, templates } = options
  if (options.mustExist) throw corrupt('nothing is in it')
  if (templates.get(engine.templateId) === undefined) {
    throw new PgnapError('ENGINE_ASSETS_INVALID', 'the template of this engine is missing', {
      hint: 'install pgnap again',
    })
  }
  const meta: StoreMeta = {
    format: FORMAT_VERSION,
    fingerprint: engine.fingerprint,
    postgresMajor: engine.postgresMajor,
    templateId: engine.templateId,
    nextLayer: MAIN + 1,
    epoch: 0,
  }
  const nowMs = Math.floor(clock.nowMs())
  medium.transaction(() => {
    createTables(medium, meta)
    medium.run(
      `INSERT INTO layer VALUES (?1, NULL, 0, 'main', ?2, 0, ?2, ?3, 0)`,
      MAIN,
      nowMs,
      FIRST_TENANT_INODE,
    )
  })
  return meta
}

function mismatch(what: string): PgnapError {
  return new PgnapError('STORE_ENGINE_MISMATCH', `this store needs another engine: ${what}`, {
    hint:
      'dump it with the pgnap that wrote it (npx pgnap@VERSION dump TENANT --data FOLDER), ' +
      'and load that into a new tenant here: pgnap restore TENANT FILE',
  })
}
