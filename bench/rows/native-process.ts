/**
 * A native process tree per tenant, which is the other way to have databases that cost nothing
 * while nobody uses them: started on its existing cluster, stopped when the tenant sleeps.
 */
import { performance } from 'node:perf_hooks'
import type { Bench } from '../bench.ts'
import { SMALL_SETTINGS, spawnNative, startNative } from '../peers/native.ts'
import { addressOf, START_MS_MAX } from '../peers/server.ts'
import { Connection, firstRowOfStarting, freePort } from '../wire/connection.ts'

/** One life of a tenant: its first row, and how long it then took to put it away. */
export interface Woken {
  readonly elapsedMs: number
  readonly hash: number
  readonly sleepMs: number
}

/**
 * Makes the cluster of one tenant, runs `statements` in it, and stops it in order. Returns the rows
 * of the last one.
 */
export async function prepareProcess(
  bench: Bench,
  folder: string,
  statements: readonly string[],
): Promise<(string | null)[][]> {
  const server = await startNative(bench.nativeBinaries(), folder, SMALL_SETTINGS)
  try {
    await using connection = await Connection.open(addressOf(server, 'postgres'))
    let rows: (string | null)[][] = []
    for (const sql of statements) rows = await connection.query(sql)
    return rows
  } finally {
    await server.stop()
  }
}

/** Process start to first row, then a fast shutdown. */
export async function wakeProcess(bench: Bench, folder: string, sql: string): Promise<Woken> {
  const port = await freePort()
  const startMs = performance.now()
  const server = spawnNative(bench.nativeBinaries(), folder, port, SMALL_SETTINGS)
  try {
    const row = await firstRowOfStarting(addressOf(server, 'postgres'), sql, {
      startMs,
      timeoutMs: START_MS_MAX,
      abort: server.child.ended,
    })
    const stopMs = performance.now()
    await server.stop()
    return { ...row, sleepMs: performance.now() - stopMs }
  } finally {
    await server.stop()
  }
}
