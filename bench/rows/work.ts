/**
 * The statements and tables that the rows share: the same for every peer, so that hashes compare.
 */
import type { FirstRow } from '../wire/connection.ts'
import type { Observation } from '../harness.ts'
import { assert } from '../../src/base/assert.ts'
import { HASH_START, hashBytes } from '../wire/answer-scanner.ts'

const VECTOR_LENGTH = 16

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

/** The row of {@link vectorStatements} that is nearest to one of them: itself. */
export function nearestSql(id: number): string {
  return `select id from places order by place <-> '[${vectorOf(id).join()}]' limit 1`
}

/** Makes a table of pgvector with `rowCount` rows in an HNSW index. */
export function vectorStatements(rowCount: number): readonly string[] {
  const ids = Array.from({ length: rowCount }, (_, index) => index + 1)
  return [
    'create extension if not exists vector',
    'drop table if exists places',
    `create table places (id int primary key, place vector(${VECTOR_LENGTH}) not null)`,
    `insert into places values ${ids.map((id) => `(${id}, '[${vectorOf(id).join()}]')`).join()}`,
    'create index on places using hnsw (place vector_l2_ops)',
    'vacuum analyze places',
    'checkpoint',
  ]
}

/** Spread over the space, and never the same twice. */
function vectorOf(id: number): readonly number[] {
  return Array.from({ length: VECTOR_LENGTH }, (_, at) => (id * (7 + 2 * at)) % 1009)
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
