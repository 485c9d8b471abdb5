/**
 * Fetching a tenant from its home, slice by slice. All slices show one version, so what the tenant
 * writes meanwhile does not matter; if that version is forgotten meanwhile, it is begun anew.
 */
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { FetchRequest, Home, HomeState, Slice } from './home.ts'
import { type Row, unpackRows } from '../store/packing.ts'
import { replicaTooLarge } from './replica.ts'

/** Times that a fetch is begun anew, because its version was forgotten before it had ended. */
const BEGINNINGS_MAX = 3

/** What a home has sent. */
export interface Fetched {
  readonly kind: Slice['kind']
  readonly state: HomeState
  readonly rows: readonly Row[]
  /** Of the rows, as they came. */
  readonly byteLength: number
  readonly sliceCount: number
}

/**
 * All that lacks to whoever has what is `known`; all there is if nothing is.
 * @throws PgnapError SERVER_UNREACHABLE, DATABASE_TOO_LARGE (replicaBytesMax), STORE_*
 */
export async function fetchAll(
  home: Home,
  asked: Omit<FetchRequest, 'cursor'> = {},
): Promise<Fetched> {
  for (let beginning = 1; ; beginning++) {
    try {
      return await fetchOnce(home, asked)
    } catch (error) {
      const isForgotten = error instanceof PgnapError && error.code === 'VERSION_NOT_RETAINED'
      if (!isForgotten || beginning === BEGINNINGS_MAX) throw error
    }
  }
}

async function fetchOnce(home: Home, asked: Omit<FetchRequest, 'cursor'>): Promise<Fetched> {
  const rows: Row[] = []
  let [byteLength, sliceCount] = [0, 0]
  for (let cursor: Slice['next']; ;) {
    const slice: Slice = await home.fetch(cursor ? { ...asked, cursor } : asked)
    sliceCount++
    byteLength += slice.rows.length
    if (byteLength > LIMITS.replicaBytesMax) throw replicaTooLarge()
    for (const row of unpackRows(slice.rows)) rows.push(row)
    cursor = slice.next
    const { kind, state } = slice
    if (!cursor) return { kind, state, rows, byteLength, sliceCount }
  }
}
