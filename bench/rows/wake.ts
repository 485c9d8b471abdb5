/**
 * Claim: a tenant that naps or sleeps feels awake: its first row comes in milliseconds over TCP.
 *
 *   napping   its image is in memory; a new connection comes, or one that stayed open asks again
 *   asleep    its image is on disk, because the server was stopped and started meanwhile
 *
 * A new connection is the headline: connect, startup, wake, select. Its tenant naps by itself,
 * because nobody has asked it for a while: the pool keeps the store open meanwhile, for the last 64
 * tenants of a shard. For those before them, as for the sleeping ones here, a wake opens it again.
 * The tenant has a table of 1,000 rows.
 *
 * The server is warm: other tenants have woken and napped in the same way, after each start, until
 * its slots exist and its code is compiled, which takes V8 some 1,500 visits and ten seconds. A
 * peer process has no such thing, it is always young; what it is compared with is how tenants live
 * in a server that runs. `start` measures the other.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Goal, Metric, Row } from '../harness.ts'
import { type PgnapServer, startPgnap } from '../peers/pgnap.ts'
import { addressOf } from '../peers/server.ts'
import { Connection, firstRow } from '../wire/connection.ts'
import { prepareProcess, wakeProcess } from './native-process.ts'
import { expectTier, SMALL_ROW_COUNT, SMALL_SQL } from './tiers.ts'
import { accountStatements, firstRowsObservation, repeat } from './work.ts'

const wake = (name: string, title: string, ...goals: Goal[]): Metric => ({
  name,
  title,
  unit: 'ms',
  better: 'lower',
  reference: 'native process',
  goals: [...goals, { kind: 'ratio', against: 'native process', value: 15 }],
})

const NAP_AFTER_MS = 100
/** A tenant is asked again when it has been left alone for so long. */
const REST_MS = 3 * NAP_AFTER_MS
/** Visits of others before anything is measured. */
const WARM_UP_COUNT = 1_800
const SLOTS_MADE_MS = 1_000

const NAPPING = [
  { kind: 'limit', value: 2 },
  { kind: 'p99', value: 6 },
] as const

export const wakeRow: Row = {
  name: 'wake',
  metrics: [
    wake('wake-napping', 'napping tenant, connect, first row', ...NAPPING),
    wake('wake-connected', 'napping tenant, client still connected', ...NAPPING),
    wake('wake-asleep', 'sleeping tenant, connect, first row', { kind: 'limit', value: 5 }),
  ],
  contenders: (bench) => [pgnap(bench), nativeProcess(bench)],
}

function pgnap(bench: Bench): Contender {
  const folder = bench.newFolder('wake-pgnap')
  const tenantCount = bench.size(60, 2)
  const named = (name: string): string[] =>
    Array.from({ length: tenantCount }, (_, index) => `${name}-${index}`)
  const [tenants, others] = [named('wake'), named('warm')]
  const sampleCount = bench.size(100, 2)
  const start = async (): Promise<PgnapServer> => {
    const flags = ['--nap-after', `${NAP_AFTER_MS}ms`]
    const server = await startPgnap(bench.pgnapEntry, folder, flags)
    await connect(server, bench.size(WARM_UP_COUNT, 4), others)
    return server
  }
  const connect = (server: PgnapServer, count: number, whom: readonly string[] = tenants) =>
    repeat(count, async (sample) => {
      await wait(REST_MS / tenantCount)
      return await firstRow(addressOf(server, whom[sample % tenantCount] ?? ''), SMALL_SQL)
    })
  return {
    peer: 'pgnap',
    label: 'pgnap',
    prepare: async () => {
      const server = await startPgnap(bench.pgnapEntry, folder)
      try {
        for (const tenant of [...tenants, ...others]) {
          await using connection = await Connection.open(addressOf(server, tenant))
          for (const sql of accountStatements(SMALL_ROW_COUNT)) await connection.query(sql)
        }
      } finally {
        await server.stop()
      }
    },
    round: async () => {
      const server = await start()
      try {
        const asleep = await expectTier(server, { tier: 'asleep', count: tenantCount }, () =>
          connect(server, tenantCount),
        )
        // As many slots as are in use at a time here are made while nobody asks for anything.
        await connect(server, sampleCount)
        await wait(SLOTS_MADE_MS)
        const napping = await expectTier(server, { tier: 'napping', count: sampleCount }, () =>
          connect(server, sampleCount),
        )
        const connected = await stayConnected(server, tenants, sampleCount)
        return {
          'wake-napping': firstRowsObservation(napping),
          'wake-connected': firstRowsObservation(connected),
          'wake-asleep': firstRowsObservation(asleep),
        }
      } finally {
        await server.stop()
      }
    },
  }
}

/** One connection per tenant, opened beforehand; each statement finds its tenant napping. */
async function stayConnected(
  server: PgnapServer,
  tenants: readonly string[],
  sampleCount: number,
): Promise<{ elapsedMs: number; hash: number }[]> {
  const connections = await repeat(tenants.length, async (index) => {
    const connection = await Connection.open(addressOf(server, tenants[index] ?? ''))
    await connection.query(SMALL_SQL)
    return connection
  })
  await wait(REST_MS)
  const ask = async (sample: number): Promise<{ elapsedMs: number; hash: number }> => {
    const index = sample % tenants.length
    const connection = connections[index]
    assert(connection !== undefined, 'every tenant has its connection')
    connection.scanner.restart()
    await wait(REST_MS / tenants.length)
    const startMs = performance.now()
    await connection.query(SMALL_SQL)
    const elapsedMs = performance.now() - startMs
    return { elapsedMs, hash: connection.scanner.hash }
  }
  try {
    return await expectTier(server, { tier: 'napping', count: sampleCount }, () =>
      repeat(sampleCount, ask),
    )
  } finally {
    for (const connection of connections) await connection[Symbol.asyncDispose]()
  }
}

function nativeProcess(bench: Bench): Contender {
  const folder = bench.newPath('wake-process')
  return {
    peer: 'native',
    label: 'native process',
    prepare: async () => {
      await prepareProcess(bench, folder, accountStatements(SMALL_ROW_COUNT))
    },
    round: async () => {
      const rows = await repeat(bench.size(5, 1), () => wakeProcess(bench, folder, SMALL_SQL))
      const observation = firstRowsObservation(rows)
      // It knows one way of being asleep: all three are compared with the same starts.
      return {
        'wake-napping': observation,
        'wake-connected': observation,
        'wake-asleep': observation,
      }
    },
  }
}
