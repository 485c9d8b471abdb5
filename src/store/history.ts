/**
 * Time and change: which version was current at a time, which versions are kept, and what changed
 * since one. All of it comes from the log, whose rows of (floor, head] are all there, whose times
 * never go back, and whose lists name every key a commit touched.
 */
import { assert } from '../base/assert.ts'
import type { LayerId, PageKey, Version } from '../base/ids.ts'
import { KeyRuns } from './key-runs.ts'
import { ID, IN_LAYER, KEY_OF_ID } from './keys.ts'
import { asBytes, asNumber } from './schema.ts'
import type { Layer, StoreState } from './state.ts'
import { layerOf, notRetained } from './state.ts'
import { corrupt } from './varint.ts'

/** Log rows read at once; bounds the memory of `changesSince`. */
const LOG_ROWS_PER_READ = 1024

/** What a reader of an older version has to fetch. */
export interface Changes {
  readonly head: Version
  /** True: that version is not retained; fetch everything. */
  readonly full: boolean
  /** Keys that may differ from `version`; one that is absent at the head was deleted. */
  readonly keys: KeyRuns
}

/** Newest version at or before a time. Throws VERSION_NOT_RETAINED for a time before the floor. */
export function versionAt(state: StoreState, id: LayerId, timeMs: number): Version {
  const layer = layerOf(state, id)
  if (timeMs < layer.floorMs) throw notRetained(layer, `the state at ${timeMs} ms`)
  return lastVersionBy(state, layer, timeMs)
}

/** The floor that keeps `retentionMs` of history: the version that was current that long ago. */
export function floorFor(state: StoreState, id: LayerId, retentionMs: number): Version {
  assert(retentionMs >= 0, 'history is kept for a while')
  const layer = layerOf(state, id)
  const timeMs = state.clock.nowMs() - retentionMs
  return timeMs < layer.floorMs ? layer.floor : lastVersionBy(state, layer, timeMs)
}

/** When a version in [floor, head] became current. */
export function timeOf(state: StoreState, layer: Layer, version: Version): number {
  if (version === layer.floor) return layer.floorMs
  const row = state.medium.get(`SELECT at FROM log WHERE id = ${ID}`, layer.id, version)
  if (row === undefined) throw corrupt(`the log has no version ${version} of layer ${layer.id}`)
  return asNumber(row[0])
}

function lastVersionBy(state: StoreState, layer: Layer, timeMs: number): Version {
  let low: number = layer.floor
  let high: number = layer.head
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (timeOf(state, layer, middle as Version) <= timeMs) low = middle
    else high = middle - 1
  }
  return low as Version
}

/** Every key that any commit after `version` touched. */
export function changesSince(state: StoreState, id: LayerId, version: Version): Changes {
  const layer = layerOf(state, id)
  const { head } = layer
  if (version < layer.floor || version > head) return { head, full: true, keys: KeyRuns.none }
  let keys = KeyRuns.none
  for (let after: number = version; after < head;) {
    const rows = state.medium.all(
      `SELECT ${KEY_OF_ID}, ids FROM log WHERE id > (?1<<44|?2) AND id <= (?1<<44|?3)
       ORDER BY id LIMIT ?4`,
      id,
      after,
      head,
      LOG_ROWS_PER_READ,
    )
    const sets = rows.map((row) => KeyRuns.decode(asBytes(row[1])))
    const last = rows.at(-1)
    if (last === undefined) throw corrupt(`the log of layer ${id} ends before its head`)
    if (sets.includes(undefined))
      return { head, full: false, keys: searchChanges(state, id, version) }
    keys = KeyRuns.union([keys, ...sets.filter((set) => set !== undefined)])
    after = asNumber(last[0])
  }
  return { head, full: false, keys }
}

/** The same by looking at every row, for when a commit was too large to list. */
function searchChanges(state: StoreState, id: LayerId, version: Version): KeyRuns {
  // A row with a history may have been appended to since then; a superset is allowed.
  const rows = state.medium.all(
    `SELECT ${KEY_OF_ID} FROM page WHERE ${IN_LAYER} AND (since > ?2 OR hist IS NOT NULL)
     UNION SELECT ${KEY_OF_ID} FROM undo WHERE ${IN_LAYER} AND ver > ?2`,
    id,
    version,
  )
  return KeyRuns.of(rows.map((row) => asNumber(row[0]) as PageKey))
}
