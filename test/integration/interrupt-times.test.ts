/**
 * How soon a running statement ends: within a tenth of a second, whatever it does, and whoever
 * wants its end. The median of several, since the machine's pauses are not the server's.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { cancelPg, connectPg, failureOf } from '../support/clients.ts'
import { NOTHING_PAUSES, type ServerProcess, startServer } from '../support/server.ts'

const SOON_MS = 100
const TIMES = 5
/** Long enough that the statement certainly runs, and has been seen to. */
const RUNS_MS = 150

/** What holds a backend for ever if nobody ends it. */
const KINDS: Readonly<Record<string, string>> = {
  pg_sleep: 'select pg_sleep(1000)',
  'a computing loop': 'select count(*) from generate_series(1, 100000000000)',
  'a plpgsql loop': 'do $$ begin loop null; end loop; end $$',
}

/** From the moment at which its end was wanted. */
type Way = (server: ServerProcess, tenant: string, sql: string) => Promise<number>

const WAYS: Readonly<Record<string, Way>> = {
  'a cancel request': async (server, tenant, sql) => {
    await using one = await connectPg(server, tenant)
    const failed = failureOf(one.client.query(sql))
    await delay(RUNS_MS)
    const sinceMs = performance.now()
    const canceling = cancelPg(server, one)
    assert.equal((await failed).code, '57014')
    const tookMs = performance.now() - sinceMs
    await canceling
    assert.equal(await one.value('select 1'), 1)
    return tookMs
  },
  statement_timeout: async (server, tenant, sql) => {
    await using one = await connectPg(server, tenant)
    await one.client.query(`set statement_timeout = ${RUNS_MS}`)
    const sinceMs = performance.now()
    assert.equal((await failureOf(one.client.query(sql))).code, '57014')
    const tookMs = performance.now() - sinceMs
    assert.equal(await one.value('select 1'), 1)
    return tookMs - RUNS_MS
  },
  'a disconnect': (server, tenant, sql) => disconnectMs(server, tenant, sql, RUNS_MS),
  // It has not been seen to run by then.
  'a disconnect at once': (server, tenant, sql) => disconnectMs(server, tenant, sql, 5),
}

async function disconnectMs(
  server: ServerProcess,
  tenant: string,
  sql: string,
  runsMs: number,
): Promise<number> {
  const one = await connectPg(server, tenant)
  await using other = await connectPg(server, tenant)
  one.client.query(sql).catch(() => {})
  await delay(runsMs)
  // It writes, so it waits for the backend.
  const next = other.client.query('create temp table next()')
  const sinceMs = performance.now()
  one.client.connection.stream.destroy()
  await next
  return performance.now() - sinceMs
}

const SERVERS: Readonly<Record<string, readonly string[]>> = {
  'where statements pause': ['--shards', '1', '--slots', '3'],
  'where nothing pauses': NOTHING_PAUSES,
}

for (const [where, flags] of Object.entries(SERVERS)) {
  describe(where, () => {
    let server: ServerProcess
    before(async () => {
      server = await startServer({ flags: [...flags] })
    })
    after(() => server[Symbol.asyncDispose]())

    for (const [way, end] of Object.entries(WAYS)) {
      for (const [kind, sql] of Object.entries(KINDS)) {
        test(`${way} ends ${kind} within ${SOON_MS} ms`, async () => {
          const times: number[] = []
          for (let n = 0; n < TIMES; n++) times.push(await end(server, 'soon', sql))
          const median = times.toSorted((a, b) => a - b)[TIMES >> 1] ?? Number.NaN
          assert.ok(median < SOON_MS, times.map((ms) => `${Math.round(ms)} ms`).join(', '))
        })
      }
    }
  })
}
