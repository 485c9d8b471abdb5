/**
 * Postgres's own examination of its structures: every B-tree index against its table, every table
 * and TOAST table page by page, catalogs included.
 */
import { rowsOf } from './observe.ts'
import type { WireClient } from './wire-client.ts'

const BTREES = `select c.oid, c.relname from pg_class c join pg_am a on a.oid = c.relam
  join pg_index i on i.indexrelid = c.oid
  where a.amname = 'btree' and c.relpersistence = 'p' and i.indisready and i.indisvalid order by 1`
const HEAPS = `select oid, relname from pg_class
  where relkind in ('r', 't', 'm') and relpersistence = 'p' order by 1`

export interface Examination {
  readonly problems: readonly string[]
  /** Indexes and tables that were examined. */
  readonly relationCount: number
}

/** Examines a tenant. The extension is made if it is missing. */
export async function examine(wire: WireClient): Promise<Examination> {
  await rowsOf(wire, 'create extension if not exists amcheck')
  const btrees = await rowsOf(wire, BTREES)
  const heaps = await rowsOf(wire, HEAPS)
  const problems: string[] = []
  const { error } = await wire.ask(`select bt_index_check(c.oid, true) from (${BTREES}) c`)
  // One query for all; only a damaged tenant is asked index by index.
  if (error) for (const [oid, name] of btrees) await examineIndex(wire, String(oid), name, problems)
  const damaged = await rowsOf(
    wire,
    `select c.relname, v.blkno, v.offnum, v.msg
     from (${HEAPS}) c, verify_heapam(c.oid, check_toast => true) v limit 20`,
  )
  for (const row of damaged) problems.push(`verify_heapam: ${row.join(', ')}`)
  return { problems, relationCount: btrees.length + heaps.length }
}

async function examineIndex(
  wire: WireClient,
  oid: string,
  name: string | null | undefined,
  problems: string[],
): Promise<void> {
  const { error } = await wire.ask(`select bt_index_check(${oid}, true)`)
  if (error) problems.push(`bt_index_check ${name}: ${error.message}`)
}
