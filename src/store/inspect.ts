/**
 * Facts about a store, for `pgnap inspect`. Counting reads every row's header, so it takes a while.
 */
import { asNumber, readMeta } from './schema.ts'
import type { StoreMeta } from './schema.ts'
import type { Layer, StoreState } from './state.ts'
import { current } from './state.ts'
import { corrupt } from './varint.ts'

export interface TableFacts {
  readonly table: 'page' | 'undo' | 'log'
  readonly rows: number
  /** Bytes of values: pages, histories, lists. */
  readonly valueBytes: number
}

/** A branch, as others see it. */
export type LayerInfo = Readonly<
  Pick<
    Layer,
    | 'id'
    | 'name'
    | 'parent'
    | 'base'
    | 'createdMs'
    | 'head'
    | 'headMs'
    | 'floor'
    | 'floorMs'
    | 'dead'
  >
>

export interface StoreFacts {
  readonly meta: StoreMeta
  /** Of the file, with its write-ahead log. */
  readonly sizeBytes: number
  readonly tables: readonly TableFacts[]
  /** With those that were dropped and are still stood on. */
  readonly layers: readonly LayerInfo[]
}

const VALUE_BYTES = {
  page: 'length(data) + coalesce(length(hist), 0)',
  undo: 'length(data) + coalesce(length(hist), 0)',
  log: 'length(ids)',
} as const

export function inspect(state: StoreState): StoreFacts {
  const { medium, layers } = current(state)
  const meta = readMeta(medium)
  if (meta === undefined) throw corrupt('its facts are gone')
  const tables = (['page', 'undo', 'log'] as const).map((table) => {
    const row = medium.get(`SELECT count(*), total(${VALUE_BYTES[table]}) FROM ${table}`)
    return { table, rows: asNumber(row?.[0]), valueBytes: asNumber(row?.[1]) }
  })
  const sizeBytes = medium.sizeBytes()
  return { meta, sizeBytes, tables, layers: [...layers.values()].map(layerInfo) }
}

export function layerInfo(layer: Layer): LayerInfo {
  const { id, name, parent, base, createdMs, head, headMs, floor, floorMs, dead } = layer
  return { id, name, parent, base, createdMs, head, headMs, floor, floorMs, dead }
}
