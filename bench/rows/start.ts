/**
 * Claim: the server itself starts fast enough to be started on demand: process start to first row.
 */
import type { Bench } from '../bench.ts'
import { performance } from 'node:perf_hooks'
import type { Contender, Row } from '../harness.ts'
import { spawnNative, startNative } from '../peers/native.ts'
import { spawnPgliteSocket } from '../peers/pglite-socket.ts'
import { spawnPgnap } from '../peers/pgnap.ts'
import { addressOf, START_MS_MAX, waitUntilReady, type PeerServer } from '../peers/server.ts'
import { firstRowOfStarting, freePort } from '../wire/connection.ts'
import { FIRST_ROW_SQL, firstRowsObservation } from './work.ts'

export const startRow: Row = {
  name: 'start',
  metrics: [
    {
      name: 'start',
      title: 'server process start to first row',
      unit: 'ms',
      better: 'lower',
      reference: 'native',
      goals: [{ kind: 'limit', value: 300 }],
    },
  ],
  contenders: (bench) => [
    starting(bench, 'pgnap', 'pgnap', 'start', bench.newFolder('start-pgnap'), (folder) =>
      spawnPgnap(bench.pgnapEntry, folder),
    ),
    nativeStart(bench),
    starting(
      bench,
      'pglite-socket',
      'pglite-socket',
      'postgres',
      bench.newFolder('start-socket'),
      spawnPgliteSocket,
    ),
  ],
}

/** A server that makes its data on its first start; the prepared folder is what rounds start on. */
function starting(
  bench: Bench,
  peer: 'pgnap' | 'pglite-socket',
  label: string,
  database: string,
  folder: string,
  spawn: (folder: string) => Promise<PeerServer>,
): Contender {
  return {
    peer,
    label,
    prepare: async () => {
      const server = await spawn(folder)
      try {
        await waitUntilReady(server.child, addressOf(server, database))
      } finally {
        await server.stop()
      }
    },
    round: async () => ({
      start: firstRowsObservation(await sample(bench, () => spawn(folder), database)),
    }),
  }
}

function nativeStart(bench: Bench): Contender {
  const folder = bench.newPath('start-native')
  return {
    peer: 'native',
    label: 'native',
    prepare: async () => {
      const server = await startNative(bench.nativeBinaries(), folder)
      await server.stop()
    },
    round: async () => {
      const spawn = async (): Promise<PeerServer> =>
        spawnNative(bench.nativeBinaries(), folder, await freePort(), [])
      return { start: firstRowsObservation(await sample(bench, spawn, 'postgres')) }
    },
  }
}

async function sample(
  bench: Bench,
  spawn: () => Promise<PeerServer>,
  database: string,
): Promise<{ elapsedMs: number; hash: number }[]> {
  const rows: { elapsedMs: number; hash: number }[] = []
  for (let count = bench.size(2, 1); count > 0; count--) {
    const startMs = performance.now()
    const server = await spawn()
    try {
      rows.push(
        await firstRowOfStarting(addressOf(server, database), FIRST_ROW_SQL, {
          startMs,
          timeoutMs: START_MS_MAX,
          abort: server.child.ended,
        }),
      )
    } finally {
      await server.stop()
    }
  }
  return rows
}
