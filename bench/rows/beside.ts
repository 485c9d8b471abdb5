/**
 * Claim: a reader does not wait for another client's open transaction. A writer opens one, inserts
 * and then says nothing; the first row that another connection reads is timed, and those after it.
 * pglite-socket and session pooling on one server connection would wait for its end: left out.
 */
import { performance } from 'node:perf_hooks'
import type { Bench } from '../bench.ts'
import type { Metric, Observation, Row } from '../harness.ts'
import type { PeerServer } from '../peers/server.ts'
import { addressOf } from '../peers/server.ts'
import { Connection } from '../wire/connection.ts'
import { loadContenders } from './load-contenders.ts'
import { accountSql, accountStatements, firstRowsObservation, repeat } from './work.ts'

const DATABASE = 'beside'
const ROW_COUNT = 1_000
const SQL = accountSql(7)
/** Longer than a client thinks between two statements of a transaction that is about to end. */
const THINK_MS = 5

const metric = (name: string, title: string, limitMs?: number): Metric => ({
  name,
  title,
  unit: 'ms',
  better: 'lower',
  reference: 'native',
  goals: limitMs === undefined ? [] : [{ kind: 'limit', value: limitMs }],
})

export const besideRow: Row = {
  name: 'beside',
  metrics: [
    metric('beside-first', 'beside an open transaction, first row', 4),
    metric('beside-next', 'beside an open transaction, next rows'),
  ],
  contenders: (bench) =>
    loadContenders(bench, {
      databases: [DATABASE],
      setup: accountStatements(ROW_COUNT),
      separate: true,
      round,
    }),
}

async function round(bench: Bench, server: PeerServer): Promise<Record<string, Observation>> {
  const address = addressOf(server, DATABASE)
  await using writer = await Connection.open(address)
  await using reader = await Connection.open(address)
  const read = async (): Promise<{ elapsedMs: number; hash: number }> => {
    reader.scanner.restart()
    const startMs = performance.now()
    await reader.query(SQL)
    return { elapsedMs: performance.now() - startMs, hash: reader.scanner.hash }
  }
  const next: Awaited<ReturnType<typeof read>>[] = []
  const first = await repeat(bench.size(50, 2), async (index) => {
    await writer.query('begin')
    await writer.query(`insert into accounts values (${ROW_COUNT + 1 + index}, 0, '')`)
    await new Promise((resolve) => setTimeout(resolve, THINK_MS))
    const row = await read()
    next.push(...(await repeat(bench.size(10, 1), read)))
    await writer.query('rollback')
    return row
  })
  return { 'beside-first': firstRowsObservation(first), 'beside-next': firstRowsObservation(next) }
}
