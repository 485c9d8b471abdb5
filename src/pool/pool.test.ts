import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8, keptBytes } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import { type LiveClient, type PoolClient, setFloating } from './pool-client.ts'
import type { PoolLimits } from './pool-model.ts'
import { Pool } from './pool.ts'

interface Bench {
  readonly pool: Pool
  readonly engine: FakeEngine
  readonly stores: FakeStores
  readonly clock: ManualClock
  readonly connect: (tenant: string) => PoolClient
}

/** Lets everything that is ready to go on do so: promises, microtasks and timers that are due. */
async function turn(clock: ManualClock): Promise<void> {
  for (let round = 0; round < 20; round++) {
    clock.advance(0)
    await Promise.resolve()
  }
}

async function bench(limits: Partial<PoolLimits> = {}): Promise<Bench> {
  const engine = new FakeEngine()
  const stores = new FakeStores()
  const clock = new ManualClock()
  const few = { slotsPerShard: 1, spareSlots: 0, ...limits }
  const pool = new Pool({ engine, source: stores, clock, log: silentLog, limits: few })
  await turn(clock)
  return { pool, engine, stores, clock, connect: (tenant) => pool.connect(tenant as TenantName) }
}

async function ask(client: PoolClient, word: string): Promise<string> {
  return fromUtf8(await keptBytes(client.run(utf8(word), true)))
}

function failsWith(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof PgnapError && error.code === code
}

test('a batch of an awake tenant is answered at once, and what it wrote is committed', async () => {
  const { connect, stores } = await bench()
  const client = connect('acme')
  assert.equal(await ask(client, 'write'), 'did write')
  const answer = client.run(utf8('write'), true)
  assert.ok(answer instanceof Uint8Array, 'no promise')
  assert.equal(fromUtf8(answer), 'did write')
  assert.equal(stores.committed.get('acme'), 2)
})

test('WAL is committed inside a transaction too, other pages may wait for its end', async () => {
  const { connect, stores, engine } = await bench()
  const client = connect('acme')
  await ask(client, 'begin')
  await ask(client, 'write')
  assert.equal(stores.committed.get('acme'), 1)
  const files = engine.slots[0]?.files
  assert.equal(files?.commits, 1)
  await ask(client, 'hint')
  assert.equal(files?.commits, 1, 'deferred')
  await ask(client, 'commit')
  assert.equal(files?.commits, 2, 'not past the end of the transaction')
})

test('a hundred clients of a cold tenant cause one boot and are served in order', async () => {
  const { connect, engine } = await bench()
  const words = Array.from({ length: 100 }, (_, index) => `w${index}`)
  const answers = await Promise.all(words.map((word) => ask(connect('acme'), word)))
  assert.deepEqual(
    answers,
    words.map((word) => `did ${word}`),
  )
  const boots = engine.log.filter((line) => line.startsWith('boot'))
  assert.deepEqual(boots, ['boot acme'])
  assert.deepEqual(
    engine.log.slice(1, 101),
    words.map((word) => `acme: ${word}`),
  )
})

test('a transaction keeps the backend; others wait and get it when it ends', async () => {
  const { connect, engine } = await bench()
  const [first, second] = [connect('acme'), connect('acme')]
  await ask(first, 'begin')
  const waiting = ask(second, 'two')
  await ask(first, 'one')
  assert.equal(await ask(first, 'commit'), 'did commit', 'its own answer, not the next one')
  assert.equal(await waiting, 'did two')
  assert.deepEqual(engine.log.slice(1), ['acme: begin', 'acme: one', 'acme: commit', 'acme: two'])
})

test('an incomplete batch keeps the backend although its status is idle', async () => {
  const { connect, engine } = await bench()
  const [first, second] = [connect('acme'), connect('acme')]
  await first.run(utf8('flush'), false)
  const waiting = ask(second, 'two')
  await ask(first, 'sync')
  await waiting
  assert.deepEqual(engine.log.slice(1), ['acme: flush', 'acme: sync', 'acme: two'])
})

test('waiting ends with the name of the limit', async () => {
  const { connect, clock } = await bench({ queryWaitMs: 100, tenantQueueMax: 1 })
  const [first, second, third] = [connect('acme'), connect('acme'), connect('acme')]
  await ask(first, 'begin')
  const waiting = ask(second, 'two')
  await assert.rejects(ask(third, 'three'), failsWith('QUEUE_FULL'))
  clock.advance(99)
  const rejected = assert.rejects(waiting, (error) => {
    assert.ok(failsWith('QUERY_WAIT_TIMEOUT')(error))
    assert.match(String((error as PgnapError).hint), /query-wait-timeout/)
    return true
  })
  clock.advance(1)
  await rejected
  await ask(first, 'commit')
  assert.equal(await ask(second, 'again'), 'did again', 'nothing has run, it may go on')
})

test('a wait can be canceled, and a client that leaves takes its batch along', async () => {
  const { connect, engine } = await bench()
  const [first, second, third] = [connect('acme'), connect('acme'), connect('acme')]
  await ask(first, 'begin')
  const canceled = assert.rejects(ask(second, 'two'), failsWith('QUERY_CANCELED'))
  second.cancel()
  await canceled
  const left = assert.rejects(ask(third, 'three'), failsWith('QUERY_CANCELED'))
  third.close()
  await left
  await ask(first, 'commit')
  assert.ok(!engine.log.some((line) => line.endsWith('two') || line.endsWith('three')))
})

test('who leaves in a transaction is rolled back, and nobody leaves a session', async () => {
  const { connect, engine } = await bench()
  const [first, second] = [connect('acme'), connect('acme')]
  await ask(first, 'begin')
  const waiting = ask(second, 'two')
  first.close()
  await waiting
  const log = ['acme: begin', 'acme: abort', 'acme: discard all', 'acme: two']
  assert.deepEqual(engine.log.slice(1), log)
  second.close()
  second.close()
  assert.deepEqual(engine.log.slice(1), [...log, 'acme: discard all'])
})

test('the least recently used tenant makes room; a transaction is not disturbed', async () => {
  const roomy = { slotsPerShard: 3, spareSlots: 1, slotQuietMs: 5 }
  const { connect, engine, clock, pool } = await bench(roomy)
  const clients = new Map(['a', 'b', 'c', 'd'].map((name) => [name, connect(name)]))
  const use = async (name: string, word: string): Promise<void> => {
    const client = clients.get(name)
    assert.ok(client)
    await ask(client, word)
    clock.advance(10)
    await turn(clock)
  }
  await use('a', 'begin')
  await use('b', 'x')
  await use('c', 'x')
  await use('b', 'x')
  await use('d', 'x')
  assert.equal(pool.phaseOf('c' as TenantName), 'cold')
  assert.deepEqual(
    engine.log.filter((line) => line.startsWith('boot')),
    ['boot a', 'boot b', 'boot c', 'boot d'],
  )
  assert.equal(pool.statistics().evictions.pressure, 1)
  assert.equal(pool.statistics().tenants.awake, 3)
})

test('a stream of short batches does not keep a slot from others past the quantum', async () => {
  const { connect, clock, engine } = await bench({ slotQuantumMs: 5 })
  const busy = connect('busy')
  await ask(busy, 'x')
  const other = ask(connect('other'), 'y')
  let answer = busy.run(utf8('x'), true)
  while (answer instanceof Uint8Array) {
    clock.advance(1)
    await turn(clock)
    answer = busy.run(utf8('x'), true)
  }
  assert.equal(await other, 'did y')
  // The pool's own questions (what is the session of the one that leaves) are not batches.
  const log = engine.log.filter((entry) => !entry.endsWith(': own'))
  assert.ok(log.indexOf('boot other') <= 7, `after 5 ms: ${engine.log.join(', ')}`)
  clock.advance(5)
  assert.equal(fromUtf8(await answer), 'did x', 'and the other gives it back')
})

test('a slot that traps costs its own client one batch, and nobody else anything', async () => {
  const { connect, engine, stores } = await bench({
    slotsPerShard: 2,
    slotQuantumMs: 0,
    slotBusyMs: 0,
  })
  const [victim, bystander, neighbour] = [connect('acme'), connect('acme'), connect('zeta')]
  await ask(victim, 'begin')
  await ask(neighbour, 'begin')
  const waiting = ask(bystander, 'write')
  await assert.rejects(ask(victim, 'trap'), failsWith('SLOT_LOST'))
  assert.equal(victim.transactionStatus, 'idle')
  assert.equal(await waiting, 'did write')
  assert.equal(stores.committed.get('acme'), 1)
  assert.equal(await ask(neighbour, 'commit'), 'did commit')
  assert.equal(await ask(victim, 'again'), 'did again')
  assert.deepEqual(
    engine.slots.map((slot) => slot.discarded),
    [true, false, false],
  )
})

test('a slot that traps when a session enters it leaves no transaction that floats', async () => {
  const { connect, engine } = await bench()
  const [other, victim] = [connect('acme'), connect('acme') as LiveClient]
  await ask(other, 'write')
  const modes = { hasSnapshot: true, keepsSnapshot: false }
  setFloating(victim, { startedAt: 0n, begin: utf8('begin'), ...modes, isFailed: false })
  const trap = (): never => assert.fail('unreachable executed')
  Object.defineProperty(engine.slots[0]?.session, 'frame', { get: trap })
  await assert.rejects(ask(victim, 'write'), failsWith('SLOT_LOST'))
  assert.deepEqual([victim.transactionStatus, victim.isFloating], ['idle', false])
})

test('a commit that fails is an error for the client, and the slot goes', async () => {
  const { connect, engine, stores } = await bench()
  const client = connect('acme')
  await ask(client, 'write')
  stores.failCommit = new PgnapError('STORE_FULL', 'disk full')
  await assert.rejects(ask(client, 'write'), failsWith('STORE_FULL'))
  stores.failCommit = undefined
  assert.equal(await ask(client, 'write'), 'did write')
  assert.equal(stores.committed.get('acme'), 2)
  assert.deepEqual(
    engine.slots.map((slot) => slot.discarded),
    [true, false],
  )
  assert.deepEqual([...stores.openTenants], ['acme'])
})

test('who wrote is shut down before it leaves; who did not is not', async () => {
  const { pool, connect, engine, stores } = await bench({ slotQuantumMs: 0, slotBusyMs: 0 })
  const [writer, reader] = [connect('writer'), connect('reader')]
  await ask(writer, 'write')
  assert.equal(await ask(reader, 'read'), 'did read')
  await ask(writer, 'read')
  assert.deepEqual(
    engine.log.filter((line) => line.startsWith('shut down')),
    ['shut down writer'],
  )
  await ask(writer, 'write')
  stores.failCommit = new PgnapError('STORE_FULL', 'disk full')
  assert.equal(
    await ask(reader, 'read'),
    'did read',
    'a full disk is not the matter of a neighbour',
  )
  stores.failCommit = undefined
  const stays = pool.clientCountOf('writer' as TenantName)
  assert.equal(stays, 0, 'it does not go on without what it had set up')
  assert.equal(await ask(connect('writer'), 'write'), 'did write')
  assert.equal(stores.committed.get('writer'), 3)
})

test('a tenant that cannot be opened or booted fails its clients and nobody else', async () => {
  const { connect, engine, stores } = await bench()
  stores.failOpen = new PgnapError('STORE_CORRUPT', 'bad page')
  const clients = [connect('acme'), connect('acme')]
  const results = await Promise.allSettled(clients.map((client) => ask(client, 'x')))
  for (const result of results)
    assert.ok(result.status === 'rejected' && failsWith('STORE_CORRUPT')(result.reason))
  stores.failOpen = undefined
  assert.equal(engine.slots[0]?.discarded, false, 'the slot was not touched')
  const slot = engine.slots[0]
  assert.ok(slot)
  slot.bootError = new Error('no checkpoint record')
  await assert.rejects(ask(connect('acme'), 'x'), failsWith('SLOT_LOST'))
  assert.equal(slot.discarded, true)
  assert.equal(stores.openTenants.size, 0)
  assert.equal(await ask(connect('zeta'), 'x'), 'did x')
})

test('a store that opens later is waited for, also by clients who come meanwhile', async () => {
  const { connect, stores, clock, pool } = await bench()
  const gate = Promise.withResolvers<void>()
  stores.opening = gate.promise
  const first = ask(connect('acme'), 'one')
  await turn(clock)
  const second = ask(connect('acme'), 'two')
  assert.throws(() => pool.nap('acme' as TenantName), failsWith('TENANT_BUSY'))
  gate.resolve()
  assert.deepEqual(await Promise.all([first, second]), ['did one', 'did two'])
})

test('an idle tenant naps, and wakes for the next batch', async () => {
  const { connect, clock, pool, stores } = await bench({ napAfterMs: 1_000 })
  const client = connect('acme')
  client.measure()
  await ask(client, 'read')
  clock.advance(900)
  await ask(client, 'read')
  clock.advance(999)
  assert.equal(pool.phaseOf('acme' as TenantName), 'awake')
  clock.advance(1)
  assert.equal(pool.phaseOf('acme' as TenantName), 'cold')
  assert.equal(stores.openTenants.size, 0)
  await ask(client, 'read')
  assert.equal(client.timings?.wokenFrom, 'cold')
  await ask(client, 'read')
  assert.equal(client.timings?.wokenFrom, 'awake')
  const { found } = pool.statistics()
  assert.deepEqual(found, { awake: 2, napping: 0, asleep: 0, cold: 2, new: 0 })
})

test('nap and wake by hand; a transaction refuses the nap', async () => {
  const { connect, pool } = await bench()
  await pool.wake('acme' as TenantName)
  assert.equal(pool.phaseOf('acme' as TenantName), 'awake')
  pool.nap('acme' as TenantName)
  assert.equal(pool.phaseOf('acme' as TenantName), 'cold')
  const client = connect('acme')
  await ask(client, 'begin')
  assert.throws(() => pool.nap('acme' as TenantName), failsWith('TENANT_BUSY'))
})

test('expelled clients are told, and the store is closed', async () => {
  const { pool, stores } = await bench()
  const told: string[] = []
  const client = pool.connect('acme' as TenantName, { lost: (error) => told.push(error.code) })
  await ask(client, 'begin')
  await pool.expel('acme' as TenantName, new PgnapError('TENANT_UNKNOWN', 'deleted'))
  assert.deepEqual(told, ['TENANT_UNKNOWN'])
  assert.equal(stores.openTenants.size, 0)
  assert.equal(pool.clientCountOf('acme' as TenantName), 0)
})

test('a slot that grew is replaced when its tenant leaves; a spare is kept ready', async () => {
  const limits = { slotsPerShard: 2, spareSlots: 1, slotQuietMs: 5 }
  const { connect, engine, pool, clock } = await bench(limits)
  assert.equal(pool.statistics().slots.idle, 1)
  await ask(connect('acme'), 'grow')
  clock.advance(5)
  await turn(clock)
  assert.equal(pool.statistics().slots.idle, 1, 'a spare beside the one in use')
  pool.nap('acme' as TenantName)
  await turn(clock)
  assert.equal(engine.slots[0]?.discarded, true)
  assert.equal(pool.statistics().slots.retired, 1)
  assert.equal(pool.statistics().slots.idle, 1)
})

test('no spare slot is made while somebody waits for the first tenant to be loaded', async () => {
  const limits = { slotsPerShard: 2, spareSlots: 1, slotQuietMs: 5 }
  const { connect, engine, clock } = await bench(limits)
  clock.advance(1_000)
  const client = connect('acme')
  const answered = ask(client, 'x').then(() => engine.slots.length)
  assert.equal(await answered, 1)
  clock.advance(5)
  await turn(clock)
  assert.equal(engine.slots.length, 2, 'in the first quiet moment')
})

test('no slot at all: the error is told at once, and slots are tried again later', async () => {
  const { connect, engine, clock } = await bench({ slotRetryMs: 50 })
  engine.fail = new Error('out of memory')
  await assert.rejects(ask(connect('acme'), 'x'), failsWith('SLOT_LOST'))
  engine.fail = undefined
  const later = ask(connect('acme'), 'x')
  await turn(clock)
  clock.advance(50)
  assert.equal(await later, 'did x')
})

test('draining: idle tenants leave, transactions may end, nobody else begins', async () => {
  const limits = { slotsPerShard: 2, slotQuantumMs: 0, slotBusyMs: 0 }
  const { connect, engine, pool, stores, clock } = await bench(limits)
  const [writer, sleeper] = [connect('acme'), connect('zeta')]
  await ask(writer, 'begin')
  await ask(sleeper, 'x')
  const drained = pool.drain(1_000)
  await assert.rejects(ask(sleeper, 'x'), failsWith('SHUTTING_DOWN'))
  assert.equal(await ask(writer, 'write'), 'did write')
  assert.equal(await ask(writer, 'commit'), 'did commit')
  await turn(clock)
  await drained
  assert.equal(stores.committed.get('acme'), 1)
  assert.equal(stores.openTenants.size, 0)
  assert.ok(engine.slots.every((slot) => slot.discarded))
})

test('draining: a transaction that outlasts the grace is rolled back', async () => {
  const { connect, engine, pool, clock } = await bench()
  const writer = connect('acme')
  await ask(writer, 'begin')
  const drained = pool.drain(1_000)
  clock.advance(1_000)
  await drained
  assert.ok(engine.log.includes('acme: abort'))
  await assert.rejects(ask(writer, 'x'), failsWith('SLOT_LOST'))
  await assert.rejects(ask(writer, 'x'), failsWith('SHUTTING_DOWN'))
})

test('upkeep comes after a write and a rest, never into a transaction', async () => {
  const { connect, clock, pool, engine } = await bench({ maintenanceIdleMs: 200 })
  const client = connect('acme')
  const steps = (): number => pool.statistics().maintenanceSteps
  await ask(client, 'read')
  clock.advance(1_000)
  assert.equal(steps(), 0)
  await ask(client, 'write')
  clock.advance(150)
  await ask(client, 'read')
  clock.advance(150)
  assert.equal(steps(), 0, 'the rest begins anew with each batch')
  await ask(client, 'begin')
  clock.advance(1_000)
  assert.equal(steps(), 0)
  await ask(client, 'commit')
  clock.advance(200)
  assert.equal(steps(), 1)
  assert.equal(engine.log.at(-1), 'acme: own')
})

test('too much WAL is checkpointed before the next client gets the backend', async () => {
  const { connect, pool, engine } = await bench()
  const [first, second] = [connect('acme'), connect('acme')]
  await ask(first, 'begin')
  const waiting = ask(second, 'two')
  const files = engine.slots[0]?.files
  assert.ok(files)
  files.walBytesWritten += LIMITS.checkpointBusyBytes
  await ask(first, 'write')
  assert.equal(pool.statistics().maintenanceSteps, 0, 'not inside the transaction')
  await ask(first, 'commit')
  await waiting
  assert.equal(pool.statistics().maintenanceSteps, 1)
  assert.equal(engine.log.at(-1), 'acme: two')
})

test('an answer by promise stays when others use the backend, also of a Node Buffer', async () => {
  const { connect } = await bench()
  const [first, second] = [connect('acme'), connect('acme')]
  await ask(first, 'begin')
  const request = Buffer.from('two')
  const waiting = second.run(request, true)
  request.fill(0)
  await ask(first, 'commit')
  const answer = await waiting
  await ask(first, 'overwrite')
  assert.equal(fromUtf8(answer), 'did two')
})
