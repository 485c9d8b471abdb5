/** Claim: prepared point selects at the speed of native Postgres behind PgBouncer. */
import type { Bench } from '../bench.ts'
import type { Observation, Row } from '../harness.ts'
import type { LoadClient } from '../load-worker.ts'
import type { PeerServer } from '../peers/server.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { loadContenders } from './load-contenders.ts'
import { accountStatements } from './work.ts'

const TENANT_COUNT = 8
const ROW_COUNT = 10_000
const SQL = 'select abalance from accounts where aid = $1'

const tenantName = (index: number): string => `point${index}`

export const pointRow: Row = {
  name: 'point',
  metrics: [
    {
      name: 'point-8',
      title: 'point selects, 8 clients on 8 tenants',
      unit: '1/s',
      better: 'higher',
      reference: 'PgBouncer',
      goals: [{ kind: 'ratio', against: 'PgBouncer', value: 1 }],
    },
    {
      name: 'point-1',
      title: 'point select, one client',
      unit: 'ms',
      better: 'lower',
      reference: 'PgBouncer',
      goals: [{ kind: 'ratio', against: 'PgBouncer', value: 1 / 1.2 }],
    },
  ],
  contenders: (bench) =>
    loadContenders(bench, {
      databases: Array.from({ length: TENANT_COUNT }, (_, index) => tenantName(index)),
      setup: accountStatements(bench.size(ROW_COUNT, 1_000)),
      round,
    }),
}

async function round(bench: Bench, server: PeerServer): Promise<Record<string, Observation>> {
  const warmUpCount = bench.size(300, 5)
  const rowCount = bench.size(ROW_COUNT, 1_000)
  const clients = (count: number, statements: number): LoadClient[] =>
    Array.from({ length: count }, (_, index) => {
      const random = new SeededRandom(index + 1)
      const parameters = Array.from({ length: warmUpCount + statements }, () => [
        String(1 + random.below(rowCount)),
      ])
      return { database: tenantName(index), parameters }
    })
  const target = { port: server.port, user: server.user, sql: SQL, warmUpCount }
  const many = await bench.load.run({
    ...target,
    clients: clients(TENANT_COUNT, bench.size(3_000, 20)),
  })
  const one = await bench.load.run({ ...target, clients: clients(1, bench.size(3_000, 20)) })
  const generatorUs = (many.generatorMsPerStatement * 1000).toFixed(1)
  bench.progress(`point: the generator took ${generatorUs} us of processor per statement`)
  const perSecond = (many.latenciesMs.length / many.elapsedMs) * 1000
  return {
    'point-8': { values: [perSecond], work: many.hash },
    'point-1': { values: one.latenciesMs, work: one.hash },
  }
}
