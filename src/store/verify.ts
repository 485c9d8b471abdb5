/**
 * Every invariant of a store, checked against every row; used by `pgnap verify` and by tests after
 * every fault. Reads in slices, so memory does not grow with the store. Finds; never repairs.
 */
import { errorText } from '../base/errors.ts'
import type { PageKey, Version } from '../base/ids.ts'
import type { SqlRow } from '../medium/medium.ts'
import { VALUE_BYTES_MAX } from './commit.ts'
import { KeyRuns } from './key-runs.ts'
import { ID, KEY_OF_ID } from './keys.ts'
import { asBytes, asNumber } from './schema.ts'
import type { Layer, StoreState } from './state.ts'
import { current } from './state.ts'
import type { Template } from './template.ts'
import { VarintReader } from './varint.ts'
import { verifyFiles } from './verify-files.ts'

const ROWS_PER_READ = 512
/** Problems reported; a broken store would repeat itself for ever. */
const PROBLEMS_MAX = 100

/**
 * Problems, one sentence each; none for a sound store. Throws only when the medium cannot be read.
 */
export function verify(state: StoreState, template: Template): readonly string[] {
  current(state)
  const problems: string[] = []
  for (const damage of state.medium.damage()) problems.push(`database file: ${damage}`)
  verifyLayers(state, problems)
  verifyStrays(state, problems)
  for (const layer of state.layers.values()) {
    verifyLog(state, layer, problems)
    verifyLineages(state, layer, problems)
    if (problems.length === 0) verifyFiles(state, template, layer, problems)
    if (problems.length >= PROBLEMS_MAX) break
  }
  return problems.slice(0, PROBLEMS_MAX)
}

function verifyLayers(state: StoreState, problems: string[]): void {
  const names = new Set<string>()
  for (const layer of state.layers.values()) {
    const say = (text: string): number => problems.push(`layer ${layer.id}: ${text}`)
    if (layer.id >= state.nextLayer) say('its id could be given again')
    if (layer.floor < layer.base || layer.floor > layer.head) say('its floor is out of range')
    if (layer.floorMs > layer.headMs) say('its floor is younger than its head')
    if (layer.name !== undefined && names.has(layer.name)) say('its name is taken')
    if (layer.name !== undefined) names.add(layer.name)
    if (layer.parent === undefined) {
      if (layer.id !== 0) say('it stands on nothing')
      continue
    }
    const parent = state.layers.get(layer.parent)
    if (parent === undefined) say('what it stands on is gone')
    else if (parent.id >= layer.id) say('it stands on a younger layer')
    else if (layer.base > parent.head || layer.base < parent.base) say('its base is out of range')
  }
}

/** Rows of layers that do not exist. */
function verifyStrays(state: StoreState, problems: string[]): void {
  for (const table of ['page', 'undo', 'log']) {
    const rows = state.medium.all(
      `SELECT id >> 44, count(*) FROM ${table} GROUP BY 1 HAVING id >> 44 NOT IN
       (SELECT id FROM layer)`,
    )
    for (const row of rows)
      problems.push(
        `${table}: ${asNumber(row[1])} rows of layer ${asNumber(row[0])}, which is gone`,
      )
  }
}

function verifyLog(state: StoreState, layer: Layer, problems: string[]): void {
  const say = (text: string): number => problems.push(`log of layer ${layer.id}: ${text}`)
  let expected = layer.floor + 1
  let atMs = layer.createdMs
  let after: number = layer.base
  for (;;) {
    const rows = state.medium.all(
      `SELECT ${KEY_OF_ID}, at, ids FROM log WHERE id > (?1<<44|?2) AND id < ((?1+1)<<44)
       ORDER BY id LIMIT ${ROWS_PER_READ}`,
      layer.id,
      after,
    )
    for (const row of rows) {
      const version = asNumber(row[0])
      if (asNumber(row[1]) < atMs) say(`time goes back at version ${version}`)
      atMs = asNumber(row[1])
      if (version > layer.floor && version !== expected++) say(`version ${expected - 1} is missing`)
      attempt(() => KeyRuns.decode(asBytes(row[2])), `version ${version}`, say)
      after = version
    }
    if (rows.length < ROWS_PER_READ) break
  }
  if (layer.head > layer.base && after !== layer.head) say('it does not end at the head')
  if (expected !== layer.head + 1 && layer.floor < layer.head) say('it has gaps')
}

/** Contents: bounds, well-formed histories, and that no two of one key claim the same version. */
function verifyLineages(state: StoreState, layer: Layer, problems: string[]): void {
  const say = (text: string): number => problems.push(`layer ${layer.id}: ${text}`)
  let lastKey = -1
  let lastUntil = 0
  let afterKey = -1
  let afterUntil = 0
  for (;;) {
    // Old contents before the present one, which has no end (2^44).
    const rows = state.medium.all(
      `SELECT k, until, since, hist, data FROM (
         SELECT ${KEY_OF_ID} AS k, ver AS until, since, hist, data FROM undo
         WHERE id >= (?1<<44|?2) AND id < ((?1+1)<<44)
         UNION ALL
         SELECT ${KEY_OF_ID}, 1<<44, since, hist, data FROM page
         WHERE id >= (?1<<44|?2) AND id < ((?1+1)<<44))
       WHERE k > ?3 OR (k = ?3 AND until > ?4) ORDER BY k, until LIMIT ${ROWS_PER_READ}`,
      layer.id,
      Math.max(afterKey, 0),
      afterKey,
      afterUntil,
    )
    for (const row of rows) {
      const key = asNumber(row[0]) as PageKey
      const until = asNumber(row[1])
      const what = `key ${key} until ${until === 2 ** 44 ? 'now' : until}`
      const since = asNumber(row[2])
      if (since >= until || since > layer.head) say(`${what}: it ends before it begins`)
      if (key === lastKey && since < lastUntil) say(`${what}: two contents of one version`)
      if (until <= layer.head) verifyUndoIsListed(state, layer, key, until as Version, say)
      else if (until !== 2 ** 44) say(`${what}: it was replaced in the future`)
      attempt(() => verifyContent(row, Math.min(until - 1, layer.head)), what, say)
      lastKey = key
      lastUntil = until
    }
    if (rows.length < ROWS_PER_READ) return
    afterKey = lastKey
    afterUntil = lastUntil
  }
}

function verifyContent(row: SqlRow, newestVersion: number): void {
  const data = asBytes(row[4])
  if (data.length > VALUE_BYTES_MAX) throw new RangeError('its content is too long')
  if (row[3] === null || row[3] === undefined) return
  const reader = new VarintReader(asBytes(row[3]))
  let version = asNumber(row[2])
  let length = 0
  while (!reader.done) {
    const step = reader.next()
    version += step
    length += reader.next()
    if (step === 0) throw new RangeError('its history stands still')
  }
  if (version > newestVersion) throw new RangeError('its history is ahead of it')
  if (length > data.length) throw new RangeError('its history is longer than it')
}

/** Prune finds old contents through the log alone; one that is not listed would stay for ever. */
function verifyUndoIsListed(
  state: StoreState,
  layer: Layer,
  key: PageKey,
  version: Version,
  say: (text: string) => number,
): void {
  const row = state.medium.get(`SELECT ids FROM log WHERE id = ${ID}`, layer.id, version)
  if (row === undefined) {
    say(`key ${key}: what version ${version} replaced can never be forgotten`)
    return
  }
  attempt(
    () => {
      if (KeyRuns.decode(asBytes(row[0]))?.has(key) === false) {
        throw new RangeError(`version ${version} does not list it`)
      }
    },
    `key ${key}`,
    say,
  )
}

function attempt(check: () => unknown, what: string, say: (text: string) => number): void {
  try {
    check()
  } catch (error) {
    say(`${what}: ${errorText(error)}`)
  }
}
