/**
 * A statement that never looks whether it should end: what its limit, its client or its neighbours
 * want comes to nothing, and so it loses its thread after a grace, long before a shard that is
 * merely silent would. Nobody else's tenant loses anything but its connections.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../../src/base/ids.ts'
import { shardOf } from '../../src/router/assignment.ts'
import { connectPg, failureOf, type PgConnection, type Target } from '../support/clients.ts'
import { startServer } from '../support/server.ts'
import { startTwoShards } from '../support/shards.ts'
import { UNHEEDING } from '../support/unheeding.ts'

const GRACE_MS = 1_000
/** Two looks at the silence, a restart, and a slow machine; far below `shardHangMs`. */
const BOUND_MS = 20_000
const NAMES = Array.from({ length: 20 }, (_, index) => `tenant-${index}` as TenantName)
const [ONE = '', OTHER = ''] = NAMES.filter((name) => shardOf(name, 2) === 0)

async function reconnect(target: Target, tenant: string): Promise<PgConnection> {
  const deadlineMs = performance.now() + BOUND_MS
  for (;;) {
    try {
      return await connectPg(target, tenant)
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
    }
  }
}

/** Asks again and again: the first times may come before what is to be waited for. */
async function untilLost(client: PgConnection): Promise<void> {
  const deadlineMs = performance.now() + BOUND_MS
  const asking = async (): Promise<void> => {
    while (performance.now() < deadlineMs) await client.value('select n from t')
  }
  assert.equal((await failureOf(asking())).code, '57P01')
}

async function boundedMs(work: Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work
  const tookMs = performance.now() - startMs
  assert.ok(tookMs < BOUND_MS, `${tookMs} ms`)
  return tookMs
}

test('its own limit: it is over a grace later, and its tenant is there again', async () => {
  await using server = await startTwoShards({ graceMs: GRACE_MS })
  await using stuck = await connectPg(server, ONE)
  // What a slow machine does before it multiplies does heed its limit.
  await stuck.client.query(`create table t as select 1 as n; set statement_timeout = '1s'`)
  let code: string | undefined
  const failed = failureOf(stuck.client.query(UNHEEDING)).then((error) => (code = error.code))
  const tookMs = await boundedMs(failed)
  assert.equal(code, '57P01')
  assert.ok(tookMs >= GRACE_MS, 'it had its grace')
  await using again = await reconnect(server, ONE)
  assert.equal(await again.value('select n from t'), 1)
})

test('a neighbour who waits: as soon, from neighbour-wait-timeout on', async () => {
  const config = { neighbourWaitMs: 500, rebalance: false }
  await using server = await startTwoShards({ graceMs: GRACE_MS, config })
  await using neighbour = await connectPg(server, OTHER)
  await neighbour.client.query('create table t as select 2 as n')
  await using stuck = await connectPg(server, ONE)
  const failed = failureOf(stuck.client.query(UNHEEDING))
  await boundedMs(untilLost(neighbour))
  assert.equal((await failed).code, '57P01')
  await using again = await reconnect(server, OTHER)
  assert.equal(await again.value('select n from t'), 2)
})

test('the log tells of a shard that is silent, and of the end of that', async () => {
  // With less it may lose its thread in the very moment in which the log would tell of it.
  const wait = ['--neighbour-wait-timeout', '2s']
  await using server = await startServer({ flags: ['--shards', '1', ...wait] })
  await using neighbour = await connectPg(server, OTHER)
  await neighbour.client.query('create table t as select 2 as n')
  await using stuck = await connectPg(server, ONE)
  const failed = failureOf(stuck.client.query(UNHEEDING))
  await boundedMs(untilLost(neighbour))
  assert.equal((await failed).code, '57P01')
  assert.match(server.log(), /a shard has been silent for some seconds/)
  assert.match(server.log(), /a statement does not heed its cancel: its thread is replaced/)
  await using again = await reconnect(server, OTHER)
  assert.equal(await again.value('select n from t'), 2)
})
