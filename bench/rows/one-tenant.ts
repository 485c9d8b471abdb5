/**
 * Claim: eight clients of one tenant, which take turns on its one backend, have at least the rate
 * that pglite-socket has with a single client: for point selects, and for the transactions of
 * pgbench's TPC-B, seven statements each. Here those are durable, there they are not.
 *
 * Both do the same number of transactions, after as many that are not measured: V8 compiles what a
 * transaction needs for the first two thousand of them, there as here.
 */
import { SeededRandom } from '../../src/base/random.ts'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Metric, Observation, Row } from '../harness.ts'
import type { LoadClient } from '../load-worker.ts'
import { addressOf, type PeerServer } from '../peers/server.ts'
import { queryOnce } from '../wire/connection.ts'
import { loadContenders } from './load-contenders.ts'
import { accountStatements } from './work.ts'

const DATABASE = 'together'
const CLIENTS = 8
const SOCKET = 'pglite-socket'
const ROW_COUNT = 10_000
const TELLERS = 10
/** Of all clients together; eight can share them. */
const WARM_UP_TRANSACTIONS = 2_000
const TRANSACTIONS = 2_000
const SELECT = 'select abalance from accounts where aid = $1'
const TRANSACTION = [
  'begin',
  'update accounts set abalance = abalance + $2::int where aid = $1::int',
  SELECT,
  'update tellers set balance = balance + $2::int where tid = $1::int',
  'update branches set balance = balance + $1::int where bid = 1',
  'insert into history (tid, bid, aid, delta, at) values ($1, 1, $2, $3, now())',
  'end',
]

const metric = (name: string, title: string): Metric => ({
  name,
  title,
  unit: '1/s',
  better: 'higher',
  reference: SOCKET,
  goals: [{ kind: 'ratio', against: SOCKET, value: 1 }],
})

export const oneTenantRow: Row = {
  name: 'one-tenant',
  metrics: [
    metric('one-select', `one tenant, ${CLIENTS} clients: point selects`),
    metric('one-tpcb', `one tenant, ${CLIENTS} clients: TPC-B`),
  ],
  contenders: (bench) =>
    loadContenders(bench, {
      databases: [DATABASE],
      setup: [
        ...accountStatements(bench.size(ROW_COUNT, 1_000)),
        'drop table if exists tellers, branches, history',
        'create table tellers (tid int primary key, balance int not null)',
        'create table branches (bid int primary key, balance int not null)',
        'create table history (tid int, bid int, aid int, delta int, at timestamptz)',
        `insert into tellers select i, 0 from generate_series(1, ${TELLERS}) i`,
        'insert into branches values (1, 0)',
        'drop table if exists before',
        'create table before as select sum(abalance) from accounts',
        'checkpoint',
      ],
      round: (each, server, peer) => round(each, server, peer === SOCKET ? 1 : CLIENTS),
    }),
}

async function round(
  bench: Bench,
  server: PeerServer,
  clientCount: number,
): Promise<Record<string, Observation>> {
  const target = { port: server.port, user: server.user }
  const rowCount = bench.size(ROW_COUNT, 1_000)
  const clients = (parameters: (index: number) => string[][]): LoadClient[] =>
    Array.from({ length: clientCount }, (_, index) => ({
      database: DATABASE,
      parameters: parameters(index),
    }))
  const warmUpSelects = bench.size(300, 5)
  const selects = await bench.load.run({
    ...target,
    sql: SELECT,
    warmUpCount: warmUpSelects,
    clients: clients((index) => {
      const random = new SeededRandom(index + 1)
      const count = warmUpSelects + bench.size(2_000, 20)
      return Array.from({ length: count }, () => [String(1 + random.below(rowCount))])
    }),
  })
  const warmUps = bench.size(WARM_UP_TRANSACTIONS, 16) / clientCount
  const transactions = await bench.load.run({
    ...target,
    sql: TRANSACTION,
    warmUpCount: warmUps * TRANSACTION.length,
    clients: clients((index) => {
      const random = new SeededRandom(100 + index)
      const count = warmUps + bench.size(TRANSACTIONS, 24) / clientCount
      return Array.from({ length: count }, () => transactionOf(random, rowCount)).flat()
    }),
  })
  await check(server)
  const perSecond = ({ latenciesMs, elapsedMs }: typeof selects): number =>
    (latenciesMs.length / elapsedMs) * 1000
  return {
    'one-select': { values: [perSecond(selects)] },
    'one-tpcb': { values: [perSecond(transactions) / TRANSACTION.length] },
  }
}

/** Parameters of each statement of {@link TRANSACTION}. */
function transactionOf(random: SeededRandom, rowCount: number): string[][] {
  const account = String(1 + random.below(rowCount))
  const teller = String(1 + random.below(TELLERS))
  const delta = String(random.below(10_001) - 5_000)
  const move = [account, delta]
  return [[], move, [account], [teller, delta], [delta], [teller, account, delta], []]
}

/** Every transaction is there, whole. */
async function check(server: PeerServer): Promise<void> {
  const sums = await queryOnce(
    addressOf(server, DATABASE),
    `select (select sum(abalance) from accounts) - (select sum from before),
            (select sum(balance) from tellers), (select balance from branches),
            (select coalesce(sum(delta), 0) from history)`,
  )
  const [first, ...others] = sums[0] ?? []
  const areSame = others.every((sum) => sum === first)
  assert(first !== undefined && areSame, `the sums are not the same: ${String(sums[0])}`)
}
