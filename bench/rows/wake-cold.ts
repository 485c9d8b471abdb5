/**
 * Claim: a sleeping tenant answers its first row over TCP in milliseconds, whatever its size.
 * Against a native process per tenant on its existing cluster, and PGlite opened from a folder or
 * from a dump. Going to sleep is the other half of the trade, so it is timed too.
 */
import { performance } from 'node:perf_hooks'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Metric, Observation, Row } from '../harness.ts'
import { SMALL_SETTINGS, spawnNative, startNative } from '../peers/native.ts'
import type { PgnapServer } from '../peers/pgnap.ts'
import type { PgliteProcess } from '../peers/pglite.ts'
import { addressOf, START_MS_MAX } from '../peers/server.ts'
import { Connection, firstRow, firstRowOfStarting, freePort } from '../wire/connection.ts'
import {
  accountSql,
  accountStatements,
  FIRST_ROW_SQL,
  firstRowsObservation,
  repeat,
} from './work.ts'

const ASKED_AID = 4_242
const SMOKE_AID = 42

const wake = (name: string, title: string, limitMs: number): Metric => ({
  name,
  title,
  unit: 'ms',
  better: 'lower',
  reference: 'native process',
  goals: [
    { kind: 'limit', value: limitMs },
    { kind: 'ratio', against: 'native process', value: 2 },
  ],
})

export const wakeColdRow: Row = {
  name: 'wake-cold',
  metrics: [
    wake('wake-empty', 'cold empty tenant, first row', 20),
    // 1.3 times the empty tenant's limit: waking may hardly depend on the size of the database.
    wake('wake-million', 'cold tenant of 1M rows, first row', 26),
    {
      name: 'sleep',
      title: 'empty tenant goes to sleep',
      unit: 'ms',
      better: 'lower',
      reference: 'native process',
      goals: [],
    },
  ],
  contenders: (bench) => [
    pgnap(bench),
    nativeProcess(bench),
    pgliteFolder(bench),
    pgliteDump(bench),
  ],
}

const rowCountOf = (bench: Bench): number => bench.size(1_000_000, 1_000)
const millionSqlOf = (bench: Bench): string => accountSql(bench.size(ASKED_AID, SMOKE_AID))

interface Woken {
  readonly elapsedMs: number
  readonly hash: number
  readonly sleepMs: number
}

function observations(
  empty: readonly Woken[],
  million: readonly Woken[],
): Record<string, Observation> {
  return {
    'wake-empty': firstRowsObservation(empty),
    'wake-million': firstRowsObservation(million),
    sleep: { values: empty.map((woken) => woken.sleepMs) },
  }
}

function pgnap(bench: Bench): Contender {
  let server: PgnapServer | undefined
  const once = async (tenant: string, sql: string): Promise<Woken> => {
    assert(server !== undefined, 'prepared')
    const row = await firstRow(addressOf(server, tenant), sql)
    const startMs = performance.now()
    await server.nap(tenant)
    return { ...row, sleepMs: performance.now() - startMs }
  }
  return {
    peer: 'pgnap',
    label: 'pgnap',
    prepare: async () => {
      server = await bench.pgnap()
      await firstRow(addressOf(server, 'wake-empty'), FIRST_ROW_SQL)
      await server.nap('wake-empty')
      {
        await using connection = await Connection.open(addressOf(server, 'wake-million'))
        for (const sql of accountStatements(rowCountOf(bench))) await connection.query(sql)
      }
      await server.nap('wake-million')
    },
    round: async () => {
      const count = bench.size(10, 1)
      const empty = await repeat(count, () => once('wake-empty', FIRST_ROW_SQL))
      const million = await repeat(count, () => once('wake-million', millionSqlOf(bench)))
      return observations(empty, million)
    },
  }
}

function nativeProcess(bench: Bench): Contender {
  const folders = { empty: bench.newPath('wake-empty'), million: bench.newPath('wake-million') }
  const once = async (folder: string, sql: string): Promise<Woken> => {
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
  return {
    peer: 'native',
    label: 'native process',
    prepare: async () => {
      for (const [kind, folder] of Object.entries(folders)) {
        const server = await startNative(bench.nativeBinaries(), folder, SMALL_SETTINGS)
        try {
          const rowCount = kind === 'million' ? rowCountOf(bench) : 0
          await using connection = await Connection.open(addressOf(server, 'postgres'))
          const statements = rowCount > 0 ? accountStatements(rowCount) : []
          for (const sql of statements) await connection.query(sql)
        } finally {
          await server.stop()
        }
      }
    },
    round: async () => {
      const count = bench.size(4, 1)
      const empty = await repeat(count, () => once(folders.empty, FIRST_ROW_SQL))
      const million = await repeat(count, () => once(folders.million, millionSqlOf(bench)))
      return observations(empty, million)
    },
  }
}

function pgliteFolder(bench: Bench): Contender {
  let stock: PgliteProcess | undefined
  const folders = {
    empty: bench.newFolder('pglite-empty'),
    million: bench.newFolder('pglite-million'),
  }
  return {
    peer: 'pglite',
    label: 'PGlite folder',
    prepare: async () => {
      stock = bench.pglite()
      await stock.run({ kind: 'fill', folder: folders.empty, statements: [] })
      const statements = accountStatements(rowCountOf(bench))
      await stock.run({ kind: 'fill', folder: folders.million, statements })
    },
    round: async () => {
      assert(stock !== undefined, 'prepared')
      const sql = millionSqlOf(bench)
      const empty = await stock.run({ kind: 'open', folder: folders.empty, sql: FIRST_ROW_SQL })
      const million = await stock.run({ kind: 'open', folder: folders.million, sql })
      return {
        'wake-empty': firstRowsObservation([empty]),
        'wake-million': firstRowsObservation([million]),
      }
    },
  }
}

/** The dump lies in memory uncompressed; only an empty one, since its size is all that matters. */
function pgliteDump(bench: Bench): Contender {
  let stock: PgliteProcess | undefined
  const folder = bench.newFolder('pglite-dump')
  return {
    peer: 'pglite',
    label: 'PGlite dump',
    prepare: async () => {
      stock = bench.pglite()
      await stock.run({ kind: 'fill', folder, statements: [] })
    },
    round: async () => {
      assert(stock !== undefined, 'prepared')
      const row = await stock.run({ kind: 'load', folder, sql: FIRST_ROW_SQL })
      return { 'wake-empty': firstRowsObservation([row]) }
    },
  }
}
