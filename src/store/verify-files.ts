/**
 * The part of `verify` that knows of files: records make one tree, and chunks belong to records.
 */
import { errorText } from '../base/errors.ts'
import type { InodeNo, Version } from '../base/ids.ts'
import { isDirectoryMode } from './file-node.ts'
import type { InodeRecord } from './inode-record.ts'
import { decodeRecord } from './inode-record.ts'
import { CHUNKS_PER_INODE, IN_LAYER, KEY_OF_ID, RECORD_KEYS } from './keys.ts'
import { levelsBelow } from './layers.ts'
import { readRange } from './reading.ts'
import { asNumber } from './schema.ts'
import type { Layer, StoreState } from './state.ts'
import type { Template } from './template.ts'

/** Adds what is wrong with the files of a layer's head. */
export function verifyFiles(
  state: StoreState,
  template: Template,
  layer: Layer,
  problems: string[],
): void {
  const say = (text: string): number => problems.push(`files of layer ${layer.id}: ${text}`)
  const records = new Map<InodeNo, InodeRecord>()
  const own = new Map<InodeNo, InodeRecord>()
  const range = { from: 0, to: RECORD_KEYS } as Parameters<typeof readRange>[2]
  const head: { layer: Layer['id']; version: Version | undefined } = {
    layer: layer.id,
    version: undefined,
  }
  for (const level of [head, ...levelsBelow(state, layer.id)]) {
    for (const [key, bytes] of readRange(state, level, range)) {
      const inode = key as number as InodeNo
      try {
        const record = decodeRecord(bytes)
        if (level === head) own.set(inode, record)
        if (!records.has(inode)) records.set(inode, record)
      } catch (error) {
        say(`inode ${inode}: ${errorText(error)}`)
      }
    }
  }
  verifyTree(template, records, layer, say)
  verifyChunks(state, own, layer, say)
}

function verifyTree(
  template: Template,
  records: ReadonlyMap<InodeNo, InodeRecord>,
  layer: Layer,
  say: (text: string) => number,
): void {
  const names = new Set<string>()
  const parentOf = (inode: InodeNo): InodeNo | 0 =>
    records.get(inode)?.parent ?? template.node(inode)?.parent ?? 0
  for (const [inode, record] of records) {
    if (template.node(inode) === undefined && inode >= layer.nextInode) {
      say(`inode ${inode} could be given again`)
    }
    if (record.parent === 0) continue
    const above = records.get(record.parent) ?? template.node(record.parent)
    if (above === undefined || !isDirectoryMode(above.mode))
      say(`inode ${inode} is in no directory`)
    const name = `${record.parent}/${record.name}`
    if (names.has(name)) say(`inode ${inode} has the name of another`)
    names.add(name)
    let up: InodeNo | 0 = inode
    for (let depth = 0; up !== 0 && up !== 1 && depth < 64; depth++) up = parentOf(up)
    if (up !== 1) say(`inode ${inode} does not hang on the root`)
  }
}

function verifyChunks(
  state: StoreState,
  own: ReadonlyMap<InodeNo, InodeRecord>,
  layer: Layer,
  say: (text: string) => number,
): void {
  const rows = state.medium.all(
    `SELECT ${KEY_OF_ID} / ${CHUNKS_PER_INODE} - 256, max(${KEY_OF_ID} % ${CHUNKS_PER_INODE})
     FROM page WHERE ${IN_LAYER} AND ${KEY_OF_ID} >= ${RECORD_KEYS} GROUP BY 1`,
    layer.id,
  )
  for (const row of rows) {
    const inode = asNumber(row[0]) as InodeNo
    const record = own.get(inode)
    if (record === undefined) say(`inode ${inode} has chunks and no record`)
    else if (asNumber(row[1]) * record.chunkBytes >= record.sizeBytes) {
      say(`inode ${inode} has chunks past its end`)
    }
  }
}
