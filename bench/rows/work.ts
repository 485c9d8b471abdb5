/**
 * The statements and tables that the rows share: the same for every peer, so that hashes compare.
 */
import type { FirstRow } from '../wire/connection.ts'
import type { Observation } from '../harness.ts'
import { assert } from '../../src/base/assert.ts'
import { HASH_START, hashBytes } from '../wire/answer-scanner.ts'

/** A first row that needs no table. */
export const FIRST_ROW_SQL = 'select 42 as answer'

/** One row of {@link accountStatements} by primary key. */
export function accountSql(aid: number): string {
  return `select abalance from accounts where aid = ${aid}`
}

/** Makes the table of pgbench's shape with `rowCount` rows, vacuumed and checkpointed. */
export function accountStatements(rowCount: number): readonly string[] {
  return [
    'drop table if exists accounts',
    'create table accounts (aid int primary key, abalance int not null, filler text not null)',
    `insert into accounts select i, i::bigint * 7 % 1009, repeat('x', 84)
       from generate_series(1, ${rowCount}) i`,
    'vacuum analyze accounts',
    'checkpoint',
  ]
}

/** First rows of one round as an observation. All of them must have given the same answer. */
export function firstRowsObservation(
  rows: readonly Pick<FirstRow, 'elapsedMs' | 'hash'>[],
): Observation {
  const first = rows[0]
  assert(first !== undefined, 'a round takes a sample')
  assert(
    rows.every((row) => row.hash === first.hash),
    'the same question had different answers',
  )
  return { values: rows.map((row) => row.elapsedMs), work: first.hash }
}

/** Of rows that were kept, for answers that came over several connections. */
export function hashOfRows(rows: readonly (readonly (string | null)[])[]): number {
  const bytes = Buffer.from(JSON.stringify(rows))
  return hashBytes(HASH_START, bytes, 0, bytes.length)
}

/** Runs `sample` `count` times, one after the other. */
export async function repeat<Sample>(
  count: number,
  sample: (index: number) => Promise<Sample>,
): Promise<Sample[]> {
  const samples: Sample[] = []
  for (let index = 0; index < count; index++) samples.push(await sample(index))
  return samples
}
