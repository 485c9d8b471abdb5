/** Batches that pause: what their pool makes of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, type FakeSlot, FakeStores } from '../../test/support/fake-shard.ts'
import type { PoolClient } from './pool-client.ts'
import { Pool } from './pool.ts'

const ACME = 'acme' as TenantName
const BETA = 'beta' as TenantName

interface Stage {
  readonly pool: Pool
  readonly engine: FakeEngine
  readonly slot: FakeSlot
  readonly clock: ManualClock
  readonly clients: readonly PoolClient[]
  readonly pauses: PromiseWithResolvers<void>[]
}

/** A tenant that is awake, with so many clients, whose batches pause. */
async function stage(clientCount: number): Promise<Stage> {
  const engine = new FakeEngine()
  const clock = new ManualClock()
  const limits = { slotsPerShard: 3, spareSlots: 0 }
  const source = new FakeStores()
  const pool = new Pool({ engine, source, clock, log: silentLog, limits })
  const clients = Array.from({ length: clientCount }, () => pool.connect(ACME))
  for (const client of clients) await client.run(utf8('read'), true)
  const slot = engine.slots.find(({ files }) => files !== undefined)
  assert.ok(slot, 'it is awake')
  const pauses: PromiseWithResolvers<void>[] = (slot.pauses = [])
  return { pool, engine, slot, clock, clients, pauses }
}

function later(client: PoolClient | undefined, messages: Uint8Array): Promise<Uint8Array> {
  const answer = client?.run(messages, true)
  assert.ok(answer instanceof Promise, 'it is answered later')
  return answer
}

async function turn(): Promise<void> {
  for (let round = 0; round < 30; round++) await Promise.resolve()
}

test('what has paused reads what its client has sent, not what came after it', async () => {
  const { clients, pauses } = await stage(1)
  const lent = utf8('write')
  const answer = later(clients[0], lent)
  // The buffer that all sockets of a thread are read into.
  lent.set(utf8('other'))
  pauses[0]?.resolve()
  assert.equal(fromUtf8(await answer), 'did write')
})

test('who waits for a tenant waits for what pauses next, too', async () => {
  const { pool, clients, pauses } = await stage(2)
  const first = later(clients[0], utf8('read'))
  const second = later(clients[1], utf8('write'))
  pauses[0]?.resolve()
  await first
  await turn()
  assert.equal(pauses.length, 2, 'the second one has begun')
  let isOver = false
  const synced = pool.synced(ACME).then(() => (isOver = true))
  await turn()
  assert.equal(isOver, false)
  pauses[1]?.resolve()
  assert.equal(fromUtf8(await second), 'did write')
  await synced
  pauses.length = 0
  const third = later(clients[0], utf8('read'))
  const expelled = pool.expel(ACME, new PgnapError('TENANT_UNKNOWN', 'it is gone'))
  pauses[0]?.resolve()
  await assert.rejects(third)
  await expelled
  assert.equal(pool.phaseOf(ACME), 'cold')
})

test("time in which the thread did something else is nobody's", async () => {
  const { pool, slot, clock, clients, pauses } = await stage(1)
  const before = pool.busiest(1)[0]?.busyMs ?? 0
  const answer = later(clients[0], utf8('read'))
  clock.advance(1_000)
  slot.awayMs += 1_000
  pauses[0]?.resolve()
  await answer
  assert.equal((pool.busiest(1)[0]?.busyMs ?? 0) - before, 0)
})

test('of what has paused the tenant goes on first that has had less of the thread', async () => {
  const { pool, engine, slot, clock, clients, pauses } = await stage(1)
  slot.works = () => clock.advance(30)
  const first = later(clients[0], utf8('read'))
  const beta = pool.connect(BETA)
  await beta.run(utf8('read'), true)
  const second = engine.slots.find(({ files }) => files?.tenant === BETA)
  assert.ok(second, 'it has a slot of its own')
  second.pauses = []
  const answers = [first, later(beta, utf8('read'))]
  await turn()
  slot.log.length = 0
  for (let turns = 0; turns < 2; turns++) {
    clock.advance(0)
    await turn()
  }
  assert.deepEqual(slot.log, ['beta goes on', 'acme goes on'])
  pauses[0]?.resolve()
  second.pauses[0]?.resolve()
  await Promise.all(answers)
})
