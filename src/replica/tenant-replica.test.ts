/** What is a compute's own: its bounds, and how long it waits. The rest is test/conformance. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Compute, HomeUnderTest, settled, template } from '../../test/support/replica-world.ts'
import { SeededRandom } from '../base/random.ts'
import { LIMITS } from '../base/limits.ts'
import { NodeSqliteMedium } from '../host/node/sqlite-medium.ts'
import { MAIN } from '../store/keys.ts'
import type { HomeFault } from './faulty-home.ts'
import { checkStrategies } from './local-tenant.ts'
import { LOAD_STRATEGIES } from './load-strategy.ts'
import { TenantReplica, type Transfer } from './tenant-replica.ts'
import { WRITE_STRATEGIES, type WriteName } from './write-back.ts'

const newHome = (): HomeUnderTest => {
  const medium = NodeSqliteMedium.inMemory()
  return new HomeUnderTest({ open: () => medium })
}

/** Commits of so many bytes on it, one after the other. */
function newReplica(
  world: HomeUnderTest,
  write: WriteName,
  seed = 1,
): {
  tenant: TenantReplica
  flushes: number[]
  transfers: Transfer[]
  commit: (bytes: number) => Promise<void> | undefined
} {
  const flushes: number[] = []
  const transfers: Transfer[] = []
  const tenant = new TenantReplica({
    clock: world.clock,
    random: new SeededRandom(seed),
    load: LOAD_STRATEGIES.delta,
    write: WRITE_STRATEGIES[write],
    template: async () => template,
    flushWithin: (delayMs) => void flushes.push(delayMs),
    observe: (transfer) => void transfers.push(transfer),
  })
  let key = 2 ** 30
  const commit = (bytes: number): Promise<void> | undefined =>
    tenant.commitAhead(() => {
      using view = tenant.view()
      const puts = []
      for (let left = bytes; left > 0; left -= 8192) {
        puts.push({ key: key++ as never, data: new Uint8Array(Math.min(8192, left)).fill(1) })
      }
      view.commit({ puts, deletions: [] })
    })
  return { tenant, flushes, transfers, commit }
}

test('async answers at once within its bounds, and waits for a flush beyond them', async () => {
  const world = newHome()
  const { tenant, flushes, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  for (let count = 0; count < LIMITS.bufferedCommitsMax; count++) assert.equal(commit(1), undefined)
  assert.equal(tenant.pending.commits, LIMITS.bufferedCommitsMax)
  assert.equal(world.store.head(), 0)
  assert.deepEqual(new Set(flushes), new Set([LIMITS.flushMs]))
  await commit(1)
  assert.equal(tenant.pending.commits, 0)
  assert.equal(world.store.head(), LIMITS.bufferedCommitsMax + 1)
  const large = commit(LIMITS.bufferedBytesMax + 1)
  assert.ok(large instanceof Promise)
  await large
})

test('async tells how long what it may lose has been on its way', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  assert.deepEqual(tenant.pending, { commits: 0, bytes: 0, sinceMs: undefined })
  void commit(100)
  const sinceMs = world.clock.nowMs()
  world.clock.advance(500)
  void commit(100)
  assert.equal(tenant.pending.sinceMs, sinceMs)
  assert.ok(tenant.pending.bytes >= 200)
  await tenant.flush(world.calls)
  assert.equal(tenant.pending.commits, 0)
})

test('async: what came home unheard is not lost, however often that happens', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  void commit(100)
  // It arrives unheard, and is brought in vain before the next load.
  const faults: (HomeFault | undefined)[] = ['answer lost', 'request lost']
  world.calls.fault = (call) => (call === 'deliver' ? faults.shift() : undefined)
  await assert.rejects(tenant.deliver(false), { code: 'OUTCOME_UNKNOWN' })
  await assert.rejects(tenant.freshen(world.calls), { code: 'SERVER_UNREACHABLE' })
  assert.equal(tenant.pending.commits, 1)
  await tenant.freshen(world.calls)
  assert.deepEqual(tenant.loss, { commits: 0, bytes: 0 })
  assert.deepEqual([tenant.pending.commits, world.store.head()], [0, 1])
})

const SYNC = { load: LOAD_STRATEGIES.delta, write: WRITE_STRATEGIES.sync }
const ASYNC = { load: LOAD_STRATEGIES.image, write: WRITE_STRATEGIES.async }

test('what was acknowledged ahead is at home before a request that promises more', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'sync')
  await tenant.freshen(world.calls, { strategies: ASYNC })
  assert.equal(commit(100), undefined)
  assert.equal(world.store.head(), 0)
  await tenant.freshen(world.calls, { strategies: SYNC, hint: world.store.stamp() })
  assert.deepEqual([tenant.pending.commits, world.store.head()], [0, 1])
  await commit(100)
  assert.equal(world.store.head(), 2)
  await tenant.freshen(world.calls, { strategies: ASYNC })
  assert.equal(commit(100), undefined)
  assert.deepEqual([tenant.pending.commits, tenant.loss.commits], [1, 0])
})

test('what was acknowledged ahead outlives a request that promises more and fails', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  void commit(100)
  world.calls.fault = () => 'request lost'
  const asked = { strategies: SYNC }
  await assert.rejects(tenant.freshen(world.calls, asked), { code: 'SERVER_UNREACHABLE' })
  const { staleMs } = await tenant.freshen(world.calls, { ...asked, staleAllowed: true })
  assert.ok(staleMs !== undefined)
  tenant.leave()
  assert.deepEqual([tenant.pending.commits, tenant.loss.commits], [1, 0])
  world.calls.fault = () => undefined
  await tenant.flush(world.calls)
  assert.deepEqual([tenant.pending.commits, world.store.head()], [0, 1])
})

test('what others were quicker than is told to be lost', async () => {
  const world = newHome()
  const [one, other] = [newReplica(world, 'async'), newReplica(world, 'sync', 2)]
  await one.tenant.freshen(world.calls)
  void one.commit(100)
  await other.tenant.freshen(world.calls)
  await other.commit(100)
  await one.tenant.freshen(world.calls, { strategies: SYNC })
  assert.deepEqual([one.tenant.pending.commits, one.tenant.loss.commits], [0, 1])
  await one.commit(100)
  assert.equal(world.store.head(), 2)
})

test('async: a disk that fails at home discards nothing', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  void commit(100)
  world.failCommit('before')
  await assert.rejects(tenant.flush(world.calls), { code: 'OUTCOME_UNKNOWN' })
  assert.deepEqual([tenant.pending.commits, tenant.loss.commits], [1, 0])
  await tenant.flush(world.calls)
  assert.deepEqual([tenant.pending.commits, world.store.head()], [0, 1])
})

test('whoever has queued while the home was away is told, and may read what is known', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  void commit(100)
  world.calls.fault = () => 'no answer'
  const since = tenant.unreachedCount
  const startMs = world.clock.nowMs()
  // The first may itself have ended, the second is sure.
  for (const asking of ['first', 'second']) {
    const answer = tenant.freshen(world.calls, { since })
    await settled(world.clock, answer)
    await assert.rejects(answer, { code: 'SERVER_UNREACHABLE' }, asking)
  }
  for (let count = 0; count < 8; count++) {
    await assert.rejects(tenant.freshen(world.calls, { since }), { code: 'SERVER_UNREACHABLE' })
  }
  const { staleMs } = await tenant.freshen(world.calls, { since, staleAllowed: true })
  assert.ok(staleMs !== undefined && staleMs >= LIMITS.homeAnswerMs)
  assert.ok(world.clock.nowMs() - startMs <= 2 * LIMITS.homeAnswerMs + 100)
  // Whoever comes later tries it.
  world.calls.fault = () => undefined
  await tenant.freshen(world.calls, { since: tenant.unreachedCount })
  assert.deepEqual([tenant.pending.commits, tenant.loss.commits, world.store.head()], [0, 0, 1])
})

test('what was acknowledged outlives a request that never comes back', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'async')
  await tenant.freshen(world.calls)
  void commit(100)
  const view = tenant.view()
  world.calls.fault = () => 'no answer'
  const stuck = tenant.flush(world.calls)
  while (world.calls.calls.deliver === 0) await Promise.resolve()
  const next = tenant.handOver()
  assert.deepEqual([tenant.pending.commits, next.pending.commits], [0, 1])
  world.calls.fault = () => undefined
  await next.flush(world.calls)
  assert.deepEqual([next.pending.commits, world.store.head()], [0, 1])
  assert.throws(() => view.commit({ puts: [], deletions: [] }), { code: 'STORE_FENCED' })
  await settled(world.clock, stuck)
  await assert.rejects(stuck)
  await assert.rejects(tenant.freshen(world.calls), { code: 'STORE_FENCED' })
  assert.deepEqual([tenant.loss.commits, next.loss.commits], [0, 0])
})

test('delays are told of loads and saves that fail, and with all that they took', async () => {
  const world = newHome()
  const { tenant, transfers, commit } = newReplica(world, 'cdc')
  await tenant.freshen(world.calls)
  world.calls.fault = () => 'no answer'
  const saving = commit(10)
  await settled(world.clock, saving ?? Promise.resolve())
  await assert.rejects(saving ?? Promise.resolve(), { code: 'OUTCOME_UNKNOWN' })
  const loading = tenant.freshen(world.calls)
  await settled(world.clock, loading)
  await assert.rejects(loading, { code: 'SERVER_UNREACHABLE' })
  const [, save, load] = transfers
  assert.ok(save?.kind === 'save' && save.tookMs >= LIMITS.deliveryMs - LIMITS.homeAnswerMs)
  assert.ok(load?.kind === 'load' && load.tookMs >= LIMITS.homeAnswerMs)
  assert.equal(transfers.length, 3)
})

test('rows that outgrow a compute one load after the other are refused', async () => {
  const world = newHome()
  const { tenant } = newReplica(world, 'sync')
  await tenant.freshen(world.calls)
  const grow = async (): Promise<void> => {
    for (let from = 0; from < 2 * LIMITS.replicaBytesMax; from += 2_000_000) {
      const puts = []
      for (let at = from; at < from + 2_000_000; at += 8192) {
        puts.push({ key: (2 ** 32 + at) as never, data: new Uint8Array(8192).fill(1) })
      }
      world.store.commit(MAIN, world.store.head(), { puts, deletions: [] })
      await tenant.freshen(world.calls)
    }
  }
  await assert.rejects(grow, { code: 'DATABASE_TOO_LARGE' })
  assert.equal(tenant.byteLength, 0)
})

test('too much in one go is refused, and what came before is taken back with it', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'sync')
  await tenant.freshen(world.calls)
  const tooMuch = (): unknown =>
    tenant.commitAhead(() => {
      using view = tenant.view()
      for (let key = 0; ; key++) {
        const puts = [{ key: (2 ** 31 + key) as never, data: new Uint8Array(8192).fill(1) }]
        view.commit({ puts, deletions: [] })
      }
    })
  assert.throws(tooMuch, { code: 'STORE_FULL', sqlState: '53100' })
  assert.ok(tenant.pending.bytes <= LIMITS.undeliveredBytesMax)
  tenant.leave()
  assert.equal(tenant.pending.commits, 0)
  await tenant.freshen(world.calls)
  await commit(10)
  assert.equal(world.store.head(), 1)
})

test('a database that has grown too large here is refused', async () => {
  const world = newHome()
  const { tenant, commit } = newReplica(world, 'sync')
  await tenant.freshen(world.calls)
  const grow = async (): Promise<void> => {
    for (let count = 0; count < 10; count++) await commit(2_000_000)
  }
  await assert.rejects(grow, { code: 'DATABASE_TOO_LARGE', sqlState: '53100' })
  assert.ok(tenant.byteLength <= LIMITS.replicaBytesMax)
  assert.ok(world.store.head() >= 5)
})

test('a home that does not answer costs so long, and no longer', async () => {
  for (const [write, limitMs] of [
    ['sync', LIMITS.homeAnswerMs],
    ['cdc', LIMITS.deliveryMs + LIMITS.homeAnswerMs],
  ] as const) {
    const world = newHome()
    const compute = new Compute(world, 'image', write, new SeededRandom(1))
    await compute.append('a')
    world.calls.fault = (call) => (call === 'deliver' ? 'no answer' : undefined)
    const startMs = world.clock.nowMs()
    const appending = compute.append('b')
    await settled(world.clock, appending)
    await assert.rejects(appending, { code: 'OUTCOME_UNKNOWN', sqlState: '08007' })
    assert.ok(world.clock.nowMs() - startMs <= limitMs + 100, write)
  }
})

test('strategies that cannot be are refused, and told why', () => {
  for (const write of ['sync', 'async', 'cdc'] as const) {
    assert.throws(() => checkStrategies('lazy', write, false), {
      code: 'NOT_SUPPORTED',
      sqlState: '0A000',
    })
    for (const load of ['snapshot', 'delta', 'image'] as const) checkStrategies(load, write, false)
  }
  checkStrategies('lazy', 'sync', true)
  assert.throws(() => checkStrategies('lazy', 'async', true), { code: 'NOT_SUPPORTED' })
})
