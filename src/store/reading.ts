/**
 * Reading one layer, at its head or at a version of the past.
 *
 * At a version x: the row in `page` if its lineage had begun by then, else the oldest row in `undo`
 * that was replaced after x, if its lineage had begun by then, else nothing. The intervals of one
 * key never overlap, so a range at x is at most one row per key out of the two tables together.
 */
import { assert } from '../base/assert.ts'
import type { LayerId, PageKey, Version } from '../base/ids.ts'
import type { SqlRow } from '../medium/medium.ts'
import { contentAt } from './append-history.ts'
import { KeyRuns } from './key-runs.ts'
import { ID, IN_LAYER, IN_RANGE, KEY_OF_ID } from './keys.ts'
import type { KeyRange } from './keys.ts'
import { asBytes, asNumber } from './schema.ts'
import type { StoreState } from './state.ts'
import { current, rememberFrozen } from './state.ts'

/** Most keys of a frozen level that are remembered; beyond it every lookup asks SQL. */
const FROZEN_KEYS_MAX = 20_000

/** A layer at a version that will never change again, or at its head. */
export interface Level {
  readonly layer: LayerId
  /** Undefined: the head, whatever it is when asked. */
  readonly version: Version | undefined
}

/**
 * What `key` holds at this level alone (lower layers not asked), or undefined. The bytes are yours.
 */
export function readKey(state: StoreState, level: Level, key: PageKey): Uint8Array | undefined {
  const { medium } = current(state)
  const { layer, version } = level
  if (version === undefined) {
    const row = medium.get(`SELECT data FROM page WHERE id = ${ID}`, layer, key)
    return row === undefined ? undefined : asBytes(row[0])
  }
  const row = medium.get(`SELECT since, hist, data FROM page WHERE id = ${ID}`, layer, key)
  if (row !== undefined && asNumber(row[0]) <= version) return contentOf(row, version)
  const old = medium.get(
    `SELECT since, hist, data FROM undo WHERE id = ${ID} AND ver > ?3 ORDER BY ver LIMIT 1`,
    layer,
    key,
    version,
  )
  if (old !== undefined && asNumber(old[0]) <= version) return contentOf(old, version)
  return undefined
}

/** All keys of [from, to) that this level holds, with what they hold, in no particular order. */
export function readRange(
  state: StoreState,
  level: Level,
  { from, to }: KeyRange,
): readonly (readonly [PageKey, Uint8Array])[] {
  assert(from < to, 'a range is not empty')
  const { medium } = current(state)
  const { layer, version } = level
  if (version === undefined) {
    const rows = medium.all(
      `SELECT ${KEY_OF_ID}, data FROM page WHERE ${IN_RANGE}`,
      layer,
      from,
      to,
    )
    return rows.map((row) => [asNumber(row[0]) as PageKey, asBytes(row[1])])
  }
  const rows = medium.all(
    `SELECT since, hist, data, ${KEY_OF_ID} FROM page WHERE ${IN_RANGE} AND since <= ?4
     UNION ALL
     SELECT since, hist, data, ${KEY_OF_ID} FROM undo
     WHERE ${IN_RANGE} AND ver > ?4 AND since <= ?4`,
    layer,
    from,
    to,
    version,
  )
  return rows.map((row) => [asNumber(row[3]) as PageKey, contentOf(row, version)])
}

/**
 * The keys a frozen level holds, or undefined if they are too many to remember or the layer is main
 * (whose scan could be long). Asked once, it spares every later lookup of an absent key 8 us per
 * level.
 */
export function frozenKeys(state: StoreState, level: Level): KeyRuns | undefined {
  const { layer, version } = level
  assert(version !== undefined, 'a head is not frozen')
  const known = current(state).layers.get(layer)
  if (known === undefined || known.parent === undefined) return undefined
  const name = `${layer}@${version}`
  if (state.frozenKeys.has(name)) return state.frozenKeys.get(name)
  const rows = state.medium.all(
    `SELECT ${KEY_OF_ID} FROM page WHERE ${IN_LAYER} AND since <= ?2
     UNION ALL
     SELECT ${KEY_OF_ID} FROM undo WHERE ${IN_LAYER} AND ver > ?2 AND since <= ?2 LIMIT ?3`,
    layer,
    version,
    FROZEN_KEYS_MAX,
  )
  const few = rows.length < FROZEN_KEYS_MAX
  const keys = few ? KeyRuns.of(rows.map((row) => asNumber(row[0]))) : undefined
  rememberFrozen(state, name, keys)
  return keys
}

function contentOf(row: SqlRow, version: Version): Uint8Array {
  const since = asNumber(row[0]) as Version
  const history = row[1] === null ? null : asBytes(row[1])
  return contentAt({ since, history, data: asBytes(row[2]) }, version)
}
