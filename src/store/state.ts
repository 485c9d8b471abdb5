/**
 * What a store keeps in memory about its medium, how that is loaded, and the one door through which
 * every write goes.
 *
 * Ownership. Opening reads the epoch; the first write raises it, in the same transaction as what it
 * writes, and from then on every write checks it. So of two owners the one that wrote last wins and
 * the other is refused (STORE_FENCED) before it can write a byte, and opening to read costs no
 * fsync. Between opening and the first write somebody else may have written: the first write
 * therefore also compares what was loaded with what is there.
 *
 * Failure. When a write throws, what is in the medium is not known: a commit that reported an error
 * may have become durable. Nothing in memory is believed any more; the next call loads it again.
 * Memory is changed only after the medium has said yes.
 */
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { Fingerprint, InodeNo, LayerId, PageKey, Version } from '../base/ids.ts'
import type { Medium } from '../medium/medium.ts'
import type { HistoryTail, Lineage } from './append-history.ts'
import type { MadeCommit } from './commit-journal.ts'
import type { KeyRuns } from './key-runs.ts'
import { KEY_OF_ID, IN_LAYER, MAIN, nextVersion } from './keys.ts'
import { noteOwner } from './lineage.ts'
import type { HasRoom } from './room.ts'
import { asNumber, drawOwner, readEpoch, readMeta, readOwner, setMeta } from './schema.ts'
import type { StoreMeta } from './schema.ts'
import { corrupt } from './varint.ts'

/** Key sets of frozen levels that are remembered. */
const FROZEN_SETS_MAX = 32

export interface HotRow extends Lineage {
  readonly tail: HistoryTail
}

/** One row of `layer`, and the head that follows from `log`. */
export interface Layer {
  readonly id: LayerId
  readonly parent: LayerId | undefined
  /** The parent's version that this layer stands on, and its own first version. */
  readonly base: Version
  name: string | undefined
  createdMs: number
  /** Oldest version that can be read. */
  floor: Version
  floorMs: number
  /**
   * Log rows up to here have been examined by prune since the store was loaded. Kept in memory
   * only: below the floor only rows with pinned keys remain, so examining them once more per load
   * is cheap.
   */
  swept: number
  /** Inode numbers from here on have never been used in this layer. */
  nextInode: InodeNo
  /** Dropped, but others stand on it. */
  dead: boolean
  head: Version
  headMs: number
  /** Small rows of the newest commits. */
  readonly hot: Map<PageKey, HotRow>
}

export interface StoreState {
  readonly medium: Medium
  readonly storeId: string | undefined
  readonly clock: Clock
  readonly fingerprint: Fingerprint
  layers: Map<LayerId, Layer>
  nextLayer: number
  /** The epoch found when the state was loaded; ours is one more, once `claimed`. */
  epochFound: number
  claimed: boolean
  /** What the last owner that wrote has drawn; ours, once `claimed`. */
  owner: string | undefined
  /** A write failed: load again before anything else. */
  stale: boolean
  closed: boolean
  /** Versions that an open view reads: layer, version, how many views. */
  readonly pins: Map<LayerId, Map<Version, number>>
  readonly frozenKeys: Map<string, KeyRuns | undefined>
  readonly beforeFirstVersion: () => void
  /** Where there is no room, commits keep no history. */
  readonly diskHasRoom: HasRoom
  /** Notes what is written, while somebody wants to know. */
  noted: WriteNotes | undefined
}

/** What has been written by somebody who wants to make it durable elsewhere. */
export interface WriteNotes {
  /** Writes of every kind. */
  writeCount: number
  /** The last one that was a commit of main which can be made again. */
  commit: MadeCommit | undefined
}

export interface StateOptions {
  readonly clock: Clock
  readonly storeId: string | undefined
  /** Of whoever is about to write. Default: it stays who wrote last. */
  readonly fingerprint?: Fingerprint
  /** Default: nothing is to be done. */
  readonly beforeFirstVersion?: (() => void) | undefined
  /** Default: it has. */
  readonly diskHasRoom?: HasRoom | undefined
}

/** The state of a store that has just been opened. */
export function openState(medium: Medium, meta: StoreMeta, options: StateOptions): StoreState {
  const { clock, storeId, fingerprint = meta.fingerprint as Fingerprint } = options
  const state: StoreState = {
    medium,
    storeId,
    clock,
    fingerprint,
    layers: new Map(),
    nextLayer: meta.nextLayer,
    epochFound: meta.epoch,
    claimed: false,
    owner: undefined,
    stale: false,
    closed: false,
    pins: new Map(),
    beforeFirstVersion: options.beforeFirstVersion ?? (() => {}),
    diskHasRoom: options.diskHasRoom ?? (() => true),
    frozenKeys: new Map(),
    noted: undefined,
  }
  loadState(state)
  return state
}

/** Reads layers and heads. */
export function loadState(state: StoreState): void {
  const { medium } = state
  const meta = readMeta(medium)
  if (meta === undefined) throw corrupt('its facts are gone')
  if (state.claimed && meta.epoch !== state.epochFound + 1) throw overtaken()
  if (!state.claimed) state.epochFound = meta.epoch
  state.owner = readOwner(medium)
  state.nextLayer = meta.nextLayer
  state.layers = readLayers(medium)
  state.frozenKeys.clear()
  state.stale = false
}

function readLayers(medium: Medium): Map<LayerId, Layer> {
  const layers = new Map<LayerId, Layer>()
  const rows = medium.all(
    `SELECT id, parent, base, name, at, floor, floor_at, next_inode, dead FROM layer
     ORDER BY id`,
  )
  for (const row of rows) {
    const id = asNumber(row[0]) as LayerId
    const base = asNumber(row[2]) as Version
    const createdMs = asNumber(row[4])
    const last = medium.get(
      `SELECT ${KEY_OF_ID}, at FROM log WHERE ${IN_LAYER} ORDER BY id DESC LIMIT 1`,
      id,
    )
    layers.set(id, {
      id,
      parent: row[1] === null ? undefined : (asNumber(row[1]) as LayerId),
      base,
      name: typeof row[3] === 'string' ? row[3] : undefined,
      createdMs,
      floor: asNumber(row[5]) as Version,
      floorMs: asNumber(row[6]),
      swept: base,
      nextInode: asNumber(row[7]) as InodeNo,
      dead: row[8] === 1,
      head: last === undefined ? base : (asNumber(last[0]) as Version),
      headMs: last === undefined ? createdMs : asNumber(last[1]),
      hot: new Map(),
    })
  }
  if (!layers.has(0 as LayerId)) throw corrupt('its main layer is gone')
  return layers
}

/** The state, loaded again if the last write failed. Throws STORE_IO when the store is closed. */
export function current(state: StoreState): StoreState {
  if (state.closed) {
    throw new PgnapError('STORE_IO', 'the store is closed', { hint: 'open the tenant again' })
  }
  if (state.stale) loadState(state)
  return state
}

/** The layer, which must exist. */
export function layerOf(state: StoreState, id: LayerId): Layer {
  const layer = current(state).layers.get(id)
  if (layer === undefined) {
    throw new PgnapError('TENANT_UNKNOWN', `branch ${id} does not exist`, {
      hint: 'the branches of a store are listed as its layers by: pgnap inspect TENANT',
    })
  }
  return layer
}

/**
 * Runs `body` as one durable write of this owner. Throws STORE_FENCED when there is another owner,
 * and what the medium or `body` throws; the state is then loaded again before its next use.
 */
export function write<Result>(state: StoreState, body: () => Result): Result {
  current(state)
  if (state.noted) state.noted.writeCount++
  try {
    const result = state.medium.transaction(() => {
      if (state.claimed) {
        if (readEpoch(state.medium) !== state.epochFound + 1) throw overtaken()
      } else claim(state)
      return body()
    })
    if (!state.claimed) state.owner = readOwner(state.medium)
    state.claimed = true
    return result
  } catch (error) {
    state.stale = true
    throw error
  }
}

/**
 * As {@link write}, for what changes no version. It makes nobody the owner: stamps name the owner,
 * and the images that were taken at them stay as good as they were.
 */
export function writeBeside<Result>(state: StoreState, body: () => Result): Result {
  current(state)
  if (state.noted) state.noted.writeCount++
  try {
    return state.medium.transaction(() => {
      if (!state.claimed) checkUnchanged(state)
      else if (readEpoch(state.medium) !== state.epochFound + 1) throw overtaken()
      return body()
    })
  } catch (error) {
    state.stale = true
    throw error
  }
}

/** Of a store that nobody has claimed yet. */
function checkUnchanged(state: StoreState): void {
  const { medium } = state
  if (readEpoch(medium) !== state.epochFound) throw fenced('another owner has taken the store')
  const present = readLayers(medium)
  const unchanged =
    present.size === state.layers.size &&
    [...present.values()].every((layer) => {
      const known = state.layers.get(layer.id)
      return known !== undefined && known.head === layer.head && known.floor === layer.floor
    })
  if (!unchanged) throw fenced('the store changed after it was opened')
}

function claim(state: StoreState): void {
  checkUnchanged(state)
  const { medium } = state
  const epoch = state.epochFound + 1
  setMeta(medium, 'epoch', epoch)
  const owner = drawOwner(medium)
  noteOwner(medium, { epoch, owner, first: nextVersion(layerOf(state, MAIN).head) })
  setMeta(medium, 'fingerprint', state.fingerprint)
}

function overtaken(): PgnapError {
  return fenced('another owner has written')
}

/** The refusal that keeps one writer per tenant. */
export function fenced(detail: string): PgnapError {
  return new PgnapError('STORE_FENCED', 'this copy of the tenant is out of date', {
    detail,
    hint: 'try again: the next attempt starts from the store',
  })
}

/** The refusal to read or branch a version that history no longer holds. */
export function notRetained(layer: Layer, what: string): PgnapError {
  return new PgnapError('VERSION_NOT_RETAINED', `${what} is not retained`, {
    detail: `versions ${layer.floor} to ${layer.head} are, the oldest from ${layer.floorMs} ms`,
    hint: 'raise the retention of history to go back further in future',
  })
}

/** Versions of `id` below its floor that must stay readable: branch points and open views. */
export function pinsOf(state: StoreState, id: LayerId): readonly number[] {
  const pins: number[] = [...(state.pins.get(id)?.keys() ?? [])]
  for (const layer of state.layers.values()) if (layer.parent === id) pins.push(layer.base)
  return pins
}

/** Remembers the keys of a frozen level, undefined for "too many"; the oldest set goes. */
export function rememberFrozen(state: StoreState, name: string, keys: KeyRuns | undefined): void {
  if (state.frozenKeys.size >= FROZEN_SETS_MAX) {
    const oldest = state.frozenKeys.keys().next().value
    if (oldest !== undefined) state.frozenKeys.delete(oldest)
  }
  state.frozenKeys.set(name, keys)
}
