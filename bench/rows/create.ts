/**
 * Claim: a tenant that did not exist answers its first row over TCP in milliseconds. The server is
 * warm, as every peer is except the native cluster: others have been made in it before.
 */
import { rmSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Row } from '../harness.ts'
import { createCluster, SMALL_SETTINGS, spawnNative } from '../peers/native.ts'
import type { PgnapServer } from '../peers/pgnap.ts'
import type { PgliteProcess } from '../peers/pglite.ts'
import { addressOf, START_MS_MAX, type PeerName, type PeerServer } from '../peers/server.ts'
import { Connection, firstRow, firstRowOfStarting, freePort } from '../wire/connection.ts'
import { warmUp } from './tiers.ts'
import { FIRST_ROW_SQL, firstRowsObservation, repeat } from './work.ts'

export const createRow: Row = {
  name: 'create',
  metrics: [
    {
      name: 'create',
      title: 'new tenant, connect, first row',
      unit: 'ms',
      better: 'lower',
      reference: 'native database',
      goals: [
        // What it had to be at first, and what it is to become.
        { kind: 'limit', value: 25 },
        { kind: 'limit', value: 4 },
        { kind: 'p99', value: 10 },
      ],
    },
  ],
  contenders: (bench) => [
    pgnap(bench),
    database(bench, 'native', 'native database', () => bench.native()),
    database(bench, 'pgbouncer', 'PgBouncer', () => bench.bouncer()),
    cluster(bench),
    pglite(bench),
  ],
}

function pgnap(bench: Bench): Contender {
  let server: PgnapServer | undefined
  return {
    peer: 'pgnap',
    label: 'pgnap',
    prepare: async () => {
      server = await bench.pgnap()
      await warmUp(server, bench.size(400, 2))
    },
    round: async (index) => {
      const running = server
      assert(running !== undefined, 'prepared')
      const rows = await repeat(bench.size(40, 1), (sample) =>
        firstRow(addressOf(running, `create-${index}-${sample}`), FIRST_ROW_SQL),
      )
      return { create: firstRowsObservation(rows) }
    },
  }
}

/**
 * CREATE DATABASE over a connection that is already open, then a new connection to the database.
 */
function database(
  bench: Bench,
  peer: PeerName,
  label: string,
  start: () => Promise<PeerServer>,
): Contender {
  let server: PeerServer | undefined
  return {
    peer,
    label,
    prepare: async () => {
      server = await start()
    },
    round: async (index) => {
      const running = server
      assert(running !== undefined, 'prepared')
      await using admin = await Connection.open(addressOf(running, 'postgres'))
      const rows = await repeat(bench.size(5, 1), async (sample) => {
        const name = `create_${peer}_${index}_${sample}`
        const startMs = performance.now()
        await admin.query(`create database ${name}`)
        const row = await firstRow(addressOf(running, name), FIRST_ROW_SQL)
        await admin.query(`drop database ${name} with (force)`)
        return { elapsedMs: row.atMs - startMs, hash: row.hash }
      })
      return { create: firstRowsObservation(rows) }
    },
  }
}

/** initdb, then a process tree of its own. */
function cluster(bench: Bench): Contender {
  return {
    peer: 'native',
    label: 'native cluster',
    prepare: async () => {},
    round: async () => {
      const folder = bench.newPath('create-cluster')
      const binaries = bench.nativeBinaries()
      const startMs = performance.now()
      await createCluster(binaries, folder)
      const server = spawnNative(binaries, folder, await freePort(), SMALL_SETTINGS)
      try {
        const row = await firstRowOfStarting(addressOf(server, 'postgres'), FIRST_ROW_SQL, {
          startMs,
          timeoutMs: START_MS_MAX,
          abort: server.child.ended,
        })
        return { create: firstRowsObservation([row]) }
      } finally {
        await server.stop()
        rmSync(folder, { recursive: true, force: true })
      }
    },
  }
}

function pglite(bench: Bench): Contender {
  let stock: PgliteProcess | undefined
  return {
    peer: 'pglite',
    label: 'PGlite',
    prepare: async () => {
      stock = bench.pglite()
      // Loads and compiles the module: from here on only the database is new.
      await stock.run({ kind: 'open', folder: bench.newFolder('pglite'), sql: FIRST_ROW_SQL })
    },
    round: async () => {
      assert(stock !== undefined, 'prepared')
      const folder = bench.newFolder('pglite')
      const row = await stock.run({ kind: 'open', folder, sql: FIRST_ROW_SQL })
      rmSync(folder, { recursive: true, force: true })
      return { create: firstRowsObservation([row]) }
    },
  }
}
