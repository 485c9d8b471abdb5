/**
 * Claim: beside a neighbour with 300 connections that give their server no rest, the unlucky
 * requests of a quiet tenant take at most three times as long as elsewhere on a machine just as
 * busy. A round's value is the p99 of the quiet tenant's point selects. The reference is the same
 * server with the neighbour in its other shard; PgBouncer stands beside
 * it, which lets twenty connections per database into a native server at a time.
 */
import { performance } from 'node:perf_hooks'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Observation, Row } from '../harness.ts'
import { startNeighbour } from '../neighbour.ts'
import { startPgnap } from '../peers/pgnap.ts'
import { addressOf, type PeerServer } from '../peers/server.ts'
import { quantile } from '../statistics.ts'
import { Connection } from '../wire/connection.ts'
import { queryMessage } from '../wire/messages.ts'
import { type LoadWork, loadContenders } from './load-contenders.ts'
import { accountSql, accountStatements, repeat } from './work.ts'

/** Of two shards these share one, and the last is in the other. */
const [QUIET, BESIDE, ELSEWHERE] = ['quiet', 'neighbour', 'elsewhere'] as const
const APART_LABEL = 'pgnap, in another shard'
const FLAGS = ['--shards', '2', '--no-rebalance', '--slots', '4']
const CONNECTION_COUNT = 300
const VALUES_PER_ROUND = 3
const ROW_COUNT = 1_000

export const neighbourRow: Row = {
  name: 'neighbour',
  metrics: [
    {
      name: 'neighbour-p99',
      title: 'beside 300 busy connections: p99 of selects',
      unit: 'ms',
      better: 'lower',
      reference: APART_LABEL,
      goals: [{ kind: 'ratio', against: APART_LABEL, value: 1 / 3 }],
    },
  ],
  contenders,
}

function contenders(bench: Bench): readonly Contender[] {
  let running: Promise<PeerServer> | undefined
  const pgnap = (): Promise<PeerServer> =>
    (running ??= startPgnap(bench.pgnapEntry, bench.newFolder('neighbour'), FLAGS).then(
      (server) => {
        bench.keep(() => server.stop())
        return server
      },
    ))
  const work = (neighbour: string): LoadWork => ({
    databases: [QUIET, neighbour],
    setup: accountStatements(ROW_COUNT),
    separate: true,
    pgnap,
    round: (_, server) => round(bench, server, neighbour),
  })
  const beside = loadContenders(bench, work(BESIDE)).filter(({ peer }) => peer !== 'native')
  const [apart] = loadContenders(bench, work(ELSEWHERE))
  assert(apart?.peer === 'pgnap', 'pgnap comes first')
  return [...beside, { ...apart, label: APART_LABEL }]
}

async function round(
  bench: Bench,
  server: PeerServer,
  neighbour: string,
): Promise<Record<string, Observation>> {
  await using client = await Connection.open(addressOf(server, QUIET), { keepRows: false })
  const { port, user } = server
  const connectionCount = bench.size(CONNECTION_COUNT, 4)
  await using busy = await startNeighbour({
    port,
    user,
    tenant: neighbour,
    connectionCount,
    sql: accountSql(8),
  })
  const message = queryMessage(accountSql(7))
  const count = bench.size(400, 10)
  await repeat(count, () => client.exchange(message))
  client.scanner.restart()
  const values = await repeat(VALUES_PER_ROUND, async () => {
    const latenciesMs = await repeat(count, async () => {
      const startMs = performance.now()
      await client.exchange(message)
      return performance.now() - startMs
    })
    return quantile(latenciesMs, 0.99)
  })
  await busy.stop()
  return { 'neighbour-p99': { values, work: client.scanner.hash } }
}
