/**
 * Claim: a cold tenant answers its first row over TCP in milliseconds, whatever its size. Cold is
 * what a tenant is without an image: Postgres boots from the store. The server keeps no images, so
 * that every wake is one. Against a native process per tenant on its existing cluster, and PGlite
 * opened from a folder or from a dump. Going to sleep is the other half of the trade, so it is
 * timed too: with a checkpoint on both sides, as nothing else is left behind.
 */
import { performance } from 'node:perf_hooks'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Goal, Metric, Observation, Row } from '../harness.ts'
import { type PgnapServer, startPgnap } from '../peers/pgnap.ts'
import type { PgliteProcess } from '../peers/pglite.ts'
import { addressOf } from '../peers/server.ts'
import { Connection, firstRow, queryOnce } from '../wire/connection.ts'
import { prepareProcess, wakeProcess, type Woken } from './native-process.ts'
import { expectTier } from './tiers.ts'
import {
  accountSql,
  accountStatements,
  FIRST_ROW_SQL,
  firstRowsObservation,
  repeat,
} from './work.ts'

const WITHOUT_IMAGES = ['--image-cache', '0', '--image-disk', '0']
/** A tenant that never wrote anything is not cold but new, which is faster. */
const LITTLE_SQL = 'create table notes (id int primary key)'
const ASKED_AID = 4_242
const SMOKE_AID = 42

const wake = (name: string, title: string, more: readonly Goal[] = []): Metric => ({
  name,
  title,
  unit: 'ms',
  better: 'lower',
  reference: 'native process',
  goals: [
    { kind: 'limit', value: 20 },
    { kind: 'ratio', against: 'native process', value: 2 },
    ...more,
  ],
})

export const wakeColdRow: Row = {
  name: 'wake-cold',
  metrics: [
    wake('wake-empty', 'cold tenant of one table, first row'),
    // Waking may hardly depend on the size of the database.
    wake('wake-million', 'cold tenant of 1M rows, first row', [
      { kind: 'within', metric: 'wake-empty', called: 'the tenant of one table', value: 1.3 },
    ]),
    {
      name: 'sleep',
      title: 'it goes to sleep, with a checkpoint',
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
      server = await startPgnap(bench.pgnapEntry, bench.newFolder('wake-cold'), WITHOUT_IMAGES)
      bench.keep(() => server?.stop() ?? Promise.resolve())
      await queryOnce(addressOf(server, 'wake-empty'), LITTLE_SQL)
      await server.nap('wake-empty')
      {
        await using connection = await Connection.open(addressOf(server, 'wake-million'))
        for (const sql of accountStatements(rowCountOf(bench))) await connection.query(sql)
      }
      await server.nap('wake-million')
    },
    round: async () => {
      assert(server !== undefined, 'prepared')
      const count = bench.size(10, 1)
      return await expectTier(server, { tier: 'cold', count: 2 * count }, async () => {
        const empty = await repeat(count, () => once('wake-empty', FIRST_ROW_SQL))
        const million = await repeat(count, () => once('wake-million', millionSqlOf(bench)))
        return observations(empty, million)
      })
    },
  }
}

function nativeProcess(bench: Bench): Contender {
  const folders = { empty: bench.newPath('wake-empty'), million: bench.newPath('wake-million') }
  return {
    peer: 'native',
    label: 'native process',
    prepare: async () => {
      await prepareProcess(bench, folders.empty, [LITTLE_SQL])
      await prepareProcess(bench, folders.million, accountStatements(rowCountOf(bench)))
    },
    round: async () => {
      const count = bench.size(4, 1)
      const empty = await repeat(count, () => wakeProcess(bench, folders.empty, FIRST_ROW_SQL))
      const sql = millionSqlOf(bench)
      const million = await repeat(count, () => wakeProcess(bench, folders.million, sql))
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
      await stock.run({ kind: 'fill', folder: folders.empty, statements: [LITTLE_SQL] })
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
      await stock.run({ kind: 'fill', folder, statements: [LITTLE_SQL] })
    },
    round: async () => {
      assert(stock !== undefined, 'prepared')
      const row = await stock.run({ kind: 'load', folder, sql: FIRST_ROW_SQL })
      return { 'wake-empty': firstRowsObservation([row]) }
    },
  }
}
