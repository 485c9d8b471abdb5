/**
 * Claim: a durable single-row insert costs at most twice what it costs on native Postgres with
 * fsync on. The statement returns what it inserted, so the hash shows that rows were really stored.
 */
import type { Bench } from '../bench.ts'
import type { Observation, Row } from '../harness.ts'
import type { PeerServer } from '../peers/server.ts'
import { addressOf } from '../peers/server.ts'
import { queryOnce } from '../wire/connection.ts'
import { assert } from '../../src/base/assert.ts'
import { loadContenders } from './load-contenders.ts'

const DATABASE = 'insert'
const SQL = 'insert into notes (id, body) values ($1, $2) returning id, length(body)'

export const insertRow: Row = {
  name: 'insert',
  metrics: [
    {
      name: 'insert',
      title: 'durable single-row insert, one client',
      unit: 'ms',
      better: 'lower',
      reference: 'native',
      goals: [{ kind: 'ratio', against: 'native', value: 0.5 }],
    },
  ],
  contenders: (bench) =>
    loadContenders(bench, {
      databases: [DATABASE],
      setup: [
        'drop table if exists notes',
        'create table notes (id int primary key, body text not null)',
      ],
      round,
    }),
}

async function round(bench: Bench, server: PeerServer): Promise<Record<string, Observation>> {
  const address = addressOf(server, DATABASE)
  // Every round starts from the same empty table, and native and PgBouncer share one.
  await queryOnce(address, 'truncate notes')
  await queryOnce(address, 'checkpoint')
  const warmUpCount = bench.size(20, 2)
  const count = warmUpCount + bench.size(400, 5)
  const parameters = Array.from({ length: count }, (_, index) => [
    String(index + 1),
    `note ${index + 1} ${'x'.repeat(80)}`,
  ])
  const result = await bench.load.run({
    port: server.port,
    user: server.user,
    sql: SQL,
    warmUpCount,
    clients: [{ database: DATABASE, parameters }],
  })
  const stored = await queryOnce(address, 'select count(*), sum(id) from notes')
  const sum = (count * (count + 1)) / 2
  assert(stored[0]?.join() === `${count},${sum}`, `stored ${String(stored[0])}, not all rows`)
  return { insert: { values: result.latenciesMs, work: result.hash } }
}
