/**
 * Claim: many small databases that are busy at once are as fast as native Postgres with as many
 * databases behind PgBouncer: 16 clients on 16 tenants, prepared point selects and durable inserts.
 * pgnap has a slot for each of them, wherever their names put them; with fewer slots than busy
 * tenants they would take turns, which is what `density-10k` measures.
 */
import { assert } from '../../src/base/assert.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { Bench } from '../bench.ts'
import type { Observation, Row } from '../harness.ts'
import { startPgnap } from '../peers/pgnap.ts'
import { addressOf, type PeerServer } from '../peers/server.ts'
import { queryOnce } from '../wire/connection.ts'
import { loadContenders } from './load-contenders.ts'
import { accountStatements } from './work.ts'

const TENANT_COUNT = 16
const ROW_COUNT = 10_000
const SELECT = 'select abalance from accounts where aid = $1'
const INSERT = 'insert into notes (id, body) values ($1, $2) returning id, length(body)'

const tenantsOf = (bench: Bench): readonly string[] =>
  Array.from({ length: bench.size(TENANT_COUNT, 2) }, (_, index) => `many${index}`)

export const manyRow: Row = {
  name: 'many',
  metrics: [
    {
      name: 'many-select',
      title: 'point selects, 16 clients on 16 tenants',
      unit: '1/s',
      better: 'higher',
      reference: 'PgBouncer',
      goals: [{ kind: 'ratio', against: 'PgBouncer', value: 1.2 }],
    },
    {
      name: 'many-insert',
      title: 'durable inserts, 16 clients, 16 tenants',
      unit: '1/s',
      better: 'higher',
      reference: 'PgBouncer',
      goals: [{ kind: 'ratio', against: 'PgBouncer', value: 0.8 }],
    },
  ],
  contenders: (bench) =>
    loadContenders(bench, {
      databases: tenantsOf(bench),
      setup: [
        ...accountStatements(bench.size(ROW_COUNT, 100)),
        'drop table if exists notes',
        'create table notes (id int primary key, body text not null)',
      ],
      // Tenants are spread over shards by their names: any shard could get all of them.
      pgnap: async () => {
        const flags = ['--slots', String(TENANT_COUNT)]
        const server = await startPgnap(bench.pgnapEntry, bench.newFolder('many'), flags)
        bench.keep(() => server.stop())
        return server
      },
      separate: true,
      round: async (given, server) => ({
        'many-select': await selects(given, server),
        'many-insert': await inserts(given, server),
      }),
    }),
}

async function selects(bench: Bench, server: PeerServer): Promise<Observation> {
  const warmUpCount = bench.size(200, 2)
  const count = warmUpCount + bench.size(2_000, 5)
  const rowCount = bench.size(ROW_COUNT, 100)
  return await rate(bench, server, SELECT, warmUpCount, (client) => {
    const random = new SeededRandom(client + 1)
    return Array.from({ length: count }, () => [String(1 + random.below(rowCount))])
  })
}

/** Every round starts from the same empty tables, and native and PgBouncer share them. */
async function inserts(bench: Bench, server: PeerServer): Promise<Observation> {
  const warmUpCount = bench.size(20, 2)
  const count = warmUpCount + bench.size(200, 5)
  for (const tenant of tenantsOf(bench)) {
    await queryOnce(addressOf(server, tenant), 'truncate notes')
    await queryOnce(addressOf(server, tenant), 'checkpoint')
  }
  const observation = await rate(bench, server, INSERT, warmUpCount, (client) =>
    Array.from({ length: count }, (_, index) => [
      String(index + 1),
      `note ${index + 1} of ${client} ${'x'.repeat(80)}`,
    ]),
  )
  for (const tenant of tenantsOf(bench)) {
    const [row] = await queryOnce(addressOf(server, tenant), 'select count(*) from notes')
    assert(row?.[0] === String(count), `${tenant} stored ${String(row?.[0])} rows of ${count}`)
  }
  return observation
}

async function rate(
  bench: Bench,
  server: PeerServer,
  sql: string,
  warmUpCount: number,
  parametersOf: (client: number) => readonly (readonly string[])[],
): Promise<Observation> {
  const result = await bench.load.run({
    port: server.port,
    user: server.user,
    sql,
    warmUpCount,
    clients: tenantsOf(bench).map((database, client) => ({
      database,
      parameters: parametersOf(client),
    })),
  })
  return { values: [(result.latenciesMs.length / result.elapsedMs) * 1000], work: result.hash }
}
