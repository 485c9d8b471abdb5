/**
 * Claim: the server itself starts fast enough to be started on demand: process start to first row.
 * Twice on the same data: from the store alone, as after the loss of the machine, and from the
 * image that the last server left when it was stopped. The peers know one way.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { assert } from '../../src/base/assert.ts'
import type { Tier } from '../../src/front/control.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Metric, Row } from '../harness.ts'
import { spawnNative, startNative } from '../peers/native.ts'
import { spawnPgliteSocket } from '../peers/pglite-socket.ts'
import { type PgnapServer, spawnPgnap, startPgnap } from '../peers/pgnap.ts'
import { addressOf, START_MS_MAX, waitUntilReady, type PeerServer } from '../peers/server.ts'
import { Connection, firstRowOfStarting, freePort } from '../wire/connection.ts'
import { SMALL_ROW_COUNT, SMALL_SQL } from './tiers.ts'
import { accountStatements, firstRowsObservation, repeat } from './work.ts'

const DATABASE = 'start'

const start = (name: string, title: string, limitMs: number): Metric => ({
  name,
  title,
  unit: 'ms',
  better: 'lower',
  reference: 'native',
  goals: [{ kind: 'limit', value: limitMs }],
})

export const startRow: Row = {
  name: 'start',
  metrics: [
    start('start', 'server process start to first row', 300),
    start('start-asleep', 'the same, its image is on disk', 180),
  ],
  contenders: (bench) => [pgnap(bench), nativeStart(bench), pgliteSocket(bench)],
}

function pgnap(bench: Bench): Contender {
  const folder = bench.newFolder('start-pgnap')
  const spawn = (): Promise<PgnapServer> => spawnPgnap(bench.pgnapEntry, folder)
  const from = (tier: Tier): Promise<Started> =>
    sample(spawn, DATABASE, async (server) => {
      const { found } = await server.pool()
      assert(found[tier] === 1, `the tenant was not ${tier} but ${JSON.stringify(found)}`)
    })
  return {
    peer: 'pgnap',
    label: 'pgnap',
    prepare: async () => {
      await load(await startPgnap(bench.pgnapEntry, folder), DATABASE)
    },
    round: async () => {
      const count = bench.size(2, 1)
      const cold = await repeat(count, async () => {
        rmSync(join(folder, 'images'), { recursive: true })
        return await from('cold')
      })
      const asleep = await repeat(count, () => from('asleep'))
      return { start: firstRowsObservation(cold), 'start-asleep': firstRowsObservation(asleep) }
    },
  }
}

function nativeStart(bench: Bench): Contender {
  const folder = bench.newPath('start-native')
  return {
    peer: 'native',
    label: 'native',
    prepare: async () => {
      await load(await startNative(bench.nativeBinaries(), folder), 'postgres')
    },
    round: async () => {
      const rows = await repeat(bench.size(2, 1), () =>
        sample(
          async () => spawnNative(bench.nativeBinaries(), folder, await freePort(), []),
          'postgres',
        ),
      )
      const observation = firstRowsObservation(rows)
      return { start: observation, 'start-asleep': observation }
    },
  }
}

function pgliteSocket(bench: Bench): Contender {
  const folder = bench.newFolder('start-socket')
  return {
    peer: 'pglite-socket',
    label: 'pglite-socket',
    prepare: async () => {
      const server = await spawnPgliteSocket(folder)
      await waitUntilReady(server.child, addressOf(server, 'postgres'))
      await load(server, 'postgres')
    },
    round: async () => {
      const rows = await repeat(bench.size(2, 1), () =>
        sample(() => spawnPgliteSocket(folder), 'postgres'),
      )
      const observation = firstRowsObservation(rows)
      return { start: observation, 'start-asleep': observation }
    },
  }
}

/** Fills the small table and stops the server in order. */
async function load(server: PeerServer, database: string): Promise<void> {
  try {
    await using connection = await Connection.open(addressOf(server, database))
    for (const sql of accountStatements(SMALL_ROW_COUNT)) await connection.query(sql)
  } finally {
    await server.stop()
  }
}

interface Started {
  readonly elapsedMs: number
  readonly hash: number
}

/** Starts a server, waits for its first row, lets `check` look at it, stops it. */
async function sample<Server extends PeerServer>(
  spawn: () => Promise<Server>,
  database: string,
  check: (server: Server) => Promise<void> = async () => {},
): Promise<Started> {
  const startMs = performance.now()
  const server = await spawn()
  try {
    const row = await firstRowOfStarting(addressOf(server, database), SMALL_SQL, {
      startMs,
      timeoutMs: START_MS_MAX,
      abort: server.child.ended,
    })
    await check(server)
    return row
  } finally {
    await server.stop()
  }
}
