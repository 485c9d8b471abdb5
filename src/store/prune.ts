/**
 * Forgetting history below a floor, in slices.
 *
 * The floor moves first and at once; from then on nothing below it can be read, except what is
 * pinned. The rows that only those versions needed go slice by slice: each log row at or below the
 * floor names the keys its commit replaced, and for each of them the one `undo` row it made. An
 * `undo` row goes unless a branch or an open view stands on a version it covers; then its log row
 * stays too, with only those keys, for the day the pin is gone. The head's log row always stays: it
 * carries the version.
 */
import { assert } from '../base/assert.ts'
import type { LayerId, PageKey, Version } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { SqlRow } from '../medium/medium.ts'
import { floorFor, timeOf } from './history.ts'
import { KeyRuns } from './key-runs.ts'
import { ID, IN_LAYER, KEY_OF_ID } from './keys.ts'
import { asBytes, asNumber } from './schema.ts'
import type { Layer, StoreState } from './state.ts'
import { current, layerOf, pinsOf, writeBeside } from './state.ts'

/** Keys looked at in one slice; a longer commit is finished by the next one. */
const KEYS_PER_SLICE = 1024

export interface PruneResult {
  /** Rows deleted. */
  readonly rows: number
  /** Call again. */
  readonly more: boolean
}

/**
 * One slice over every layer, each keeping `retentionMs` of history. A dropped layer keeps none.
 */
export function prune(state: StoreState, retentionMs: number): PruneResult {
  let rows = 0
  let more = false
  for (const layer of current(state).layers.values()) {
    settleTimes(state, layer)
    const floor = layer.dead ? layer.head : floorFor(state, layer.id, retentionMs)
    const slice = pruneLayer(state, layer.id, floor)
    rows += slice.rows
    more ||= slice.more
  }
  return { rows, more }
}

/**
 * What was made while the clock was ahead is of now: as long as its time had not come, neither it
 * nor what came after it, which cannot be older, would ever be too old to keep.
 */
function settleTimes(state: StoreState, layer: Layer): void {
  const nowMs = Math.floor(state.clock.nowMs())
  if (layer.headMs <= nowMs) return
  writeBeside(state, () => {
    state.medium.run(
      'UPDATE layer SET at = min(at, ?2), floor_at = min(floor_at, ?2) WHERE id = ?1',
      layer.id,
      nowMs,
    )
    state.medium.run(`UPDATE log SET at = ?2 WHERE ${IN_LAYER} AND at > ?2`, layer.id, nowMs)
  })
  layer.createdMs = Math.min(layer.createdMs, nowMs)
  layer.floorMs = Math.min(layer.floorMs, nowMs)
  layer.headMs = nowMs
}

/**
 * When all that {@link prune} could forget has passed, in ms since 1970; undefined: there is no
 * history. Costs nothing.
 */
export function historyEndsMs(state: StoreState, retentionMs: number): number | undefined {
  let endsMs: number | undefined
  for (const layer of current(state).layers.values()) {
    if (layer.floor === layer.head) continue
    endsMs = Math.max(endsMs ?? 0, layer.dead ? 0 : layer.headMs + retentionMs)
  }
  return endsMs
}

/** Whether more than `rows` pages are kept that something has replaced. Looks at no more. */
export function keepsMoreThan(state: StoreState, rows: number): boolean {
  const found = state.medium.get('SELECT count(*) FROM (SELECT 1 FROM undo LIMIT ?1)', rows + 1)
  return asNumber(found?.[0] ?? 0) > rows
}

/** One slice over one layer whose floor becomes `floor`, or stays where it is if that is higher. */
export function pruneLayer(
  state: StoreState,
  id: LayerId,
  floor: Version,
  commitsMax: number = LIMITS.pruneCommitsPerSlice,
): PruneResult {
  assert(commitsMax > 0, 'a slice does something')
  const layer = layerOf(state, id)
  const target = Math.min(Math.max(floor, layer.floor), layer.head) as Version
  const floorMs = timeOf(state, layer, target)
  const rows = logRows(state, layer, { target, commitsMax })
  // The head's row stays for ever and would be swept on every idle moment.
  const idle = rows.every((row) => row[0] === layer.head && asBytes(row[1]).length <= 1)
  if (idle && target === layer.floor) return { rows: 0, more: false }
  const swept = writeBeside(state, () => {
    if (target > layer.floor) {
      const sql = 'UPDATE layer SET floor = ?2, floor_at = ?3 WHERE id = ?1'
      state.medium.run(sql, id, target, floorMs)
    }
    return sweep(state, layer, { rows, head: layer.head })
  })
  layer.floor = target
  layer.floorMs = floorMs
  layer.swept = swept.swept
  return { rows: swept.rows, more: swept.interrupted || rows.length === commitsMax }
}

/**
 * One slice of the same inside the transaction of a commit that has moved the floor to itself.
 * @param head the version that it makes
 * @returns up to where the log has been examined, to be remembered when it is done
 */
export function sweepLog(state: StoreState, layer: Layer, head: Version): number {
  const limits = { target: head, commitsMax: LIMITS.pruneCommitsPerSlice }
  return sweep(state, layer, { rows: logRows(state, layer, limits), head }).swept
}

function logRows(
  { medium }: StoreState,
  { id, swept }: Layer,
  { target, commitsMax }: { readonly target: Version; readonly commitsMax: number },
): readonly SqlRow[] {
  return medium.all(
    `SELECT ${KEY_OF_ID}, ids FROM log WHERE id > (?1<<44|?2) AND id <= (?1<<44|?3)
     ORDER BY id LIMIT ?4`,
    id,
    swept,
    target,
    commitsMax,
  )
}

function sweep(
  state: StoreState,
  layer: Layer,
  { rows, head }: { readonly rows: readonly SqlRow[]; readonly head: Version },
): Sweep {
  const swept = new Sweep(state, layer, head)
  for (const row of rows) {
    if (!swept.commit(asNumber(row[0]) as Version, asBytes(row[1]))) break
  }
  return swept
}

class Sweep {
  rows = 0
  swept: number
  interrupted = false
  readonly #state: StoreState
  readonly #layer: Layer
  readonly #head: Version
  readonly #pins: readonly number[]
  #keysLeft: number = KEYS_PER_SLICE

  constructor(state: StoreState, layer: Layer, head: Version) {
    this.#state = state
    this.#layer = layer
    this.#head = head
    this.#pins = pinsOf(state, layer.id)
    this.swept = layer.swept
  }

  /** Deletes what one commit replaced; false when the slice ended inside it. */
  commit(version: Version, ids: Uint8Array): boolean {
    const { medium } = this.#state
    const { id } = this.#layer
    const head = this.#head
    const kept: PageKey[] = []
    for (const key of KeyRuns.decode(ids) ?? this.#search(version)) {
      if (this.#keysLeft-- <= 0) this.interrupted = true
      if (this.interrupted || this.#pinned(key, version)) kept.push(key)
      else {
        const sql = `DELETE FROM undo WHERE id = ${ID} AND ver = ?3`
        this.rows += medium.run(sql, id, key, version)
      }
    }
    if (kept.length > 0 || version === head) {
      const list = kept.length > 0 ? KeyRuns.of(kept) : KeyRuns.none
      medium.run(`UPDATE log SET ids = ?3 WHERE id = ${ID}`, id, version, list.encode())
    } else this.rows += medium.run(`DELETE FROM log WHERE id = ${ID}`, id, version)
    if (!this.interrupted) this.swept = Math.min(version, head - 1)
    return !this.interrupted
  }

  #pinned(key: PageKey, version: Version): boolean {
    if (this.#pins.length === 0) return false
    const row = this.#state.medium.get(
      `SELECT since FROM undo WHERE id = ${ID} AND ver = ?3`,
      this.#layer.id,
      key,
      version,
    )
    if (row === undefined) return false
    const since = asNumber(row[0])
    return this.#pins.some((pin) => pin >= since && pin < version)
  }

  /** The keys that a commit replaced, when it was too large to list them. */
  #search(version: Version): readonly PageKey[] {
    const sql = `SELECT ${KEY_OF_ID} FROM undo WHERE ${IN_LAYER} AND ver = ?2`
    const rows = this.#state.medium.all(sql, this.#layer.id, version)
    return rows.map((row) => asNumber(row[0]) as PageKey)
  }
}
