/** What no interleaving shows: limits, waiting, the table, and who may go home. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { ShardIndex, TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { shardOf } from './assignment.ts'
import { Assignments, type Visit } from './assignments.ts'
import { Ownership } from './ownership.ts'

const names = Array.from({ length: 40 }, (_, index) => `tenant-${index}` as TenantName)
const ofFirst = names.filter((name) => shardOf(name, 2) === 0)
const [tenant = '' as TenantName, other = '' as TenantName, third = '' as TenantName] = ofFirst
const HOME = 0 as ShardIndex
const AWAY = 1 as ShardIndex

function setUp(options: { waitingMax?: number; movedMax?: number } = {}): {
  clock: ManualClock
  assignments: Assignments
  move: (name: TenantName, to: ShardIndex) => void
} {
  const clock = new ManualClock()
  const assignments = new Assignments({ shardCount: 2, clock, waitMs: 1_000, ...options })
  const move = (name: TenantName, to: ShardIndex): void => {
    const begun = assignments.begin(name, to)
    assert.ok(begun)
    assignments.letGo(begun)
    assignments.end(begun, to)
  }
  return { clock, assignments, move }
}

const codeOf = (error: unknown): string => (error instanceof PgnapError ? error.code : 'none')

test('a request goes to the shard of the hash, and after a move to the other one', () => {
  const { assignments, move } = setUp()
  const visit = assignments.enter(tenant, 'call') as Visit
  assert.equal(visit.shard, HOME)
  visit[Symbol.dispose]()
  visit[Symbol.dispose]()
  move(tenant, AWAY)
  assert.equal((assignments.enter(tenant, 'call') as Visit).shard, AWAY)
  assert.equal((assignments.enter(other, 'call') as Visit).shard, HOME)
  assert.equal(assignments.guestsOf(AWAY), 1)
})

test('newcomers of a tenant that moves wait, in bounds', async () => {
  const { assignments, clock } = setUp({ waitingMax: 2 })
  const move = assignments.begin(tenant, AWAY)
  assert.ok(move)
  assert.equal(assignments.begin(tenant, AWAY), undefined, 'one move at a time')
  const waiting = assignments.enter(tenant, 'call') as Promise<Visit>
  clock.advance(500)
  const late = assignments.enter(tenant, 'connection') as Promise<Visit>
  const tooMany = assignments.enter(tenant, 'call') as Promise<Visit>
  assert.equal(await tooMany.catch(codeOf), 'QUEUE_FULL')
  clock.advance(500)
  assert.equal(await waiting.catch(codeOf), 'QUERY_WAIT_TIMEOUT')
  assignments.letGo(move)
  assignments.end(move, AWAY)
  assert.equal((await late).shard, AWAY)
  assert.ok(assignments.isConnected(tenant))
})

test('calls in flight end before a tenant changes hands, or it stays', async () => {
  const { assignments, clock } = setUp()
  const call = assignments.enter(tenant, 'call') as Visit
  const first = assignments.begin(tenant, AWAY)
  assert.ok(first)
  const inTime = assignments.quiet(first)
  clock.advance(LIMITS.moveQuietMs)
  assert.equal(await inTime, false)
  assert.throws(() => assignments.letGo(first), /nobody uses/)
  assignments.end(first, HOME)
  const second = assignments.begin(tenant, AWAY)
  assert.ok(second)
  const quiet = assignments.quiet(second)
  call[Symbol.dispose]()
  assert.equal(await quiet, true)
  assignments.end(second, HOME)
  assert.equal(assignments.ownerOf(tenant), HOME)
})

test('a tenant with a connection does not move', () => {
  const { assignments } = setUp()
  const connection = assignments.enter(tenant, 'connection') as Visit
  assert.equal(assignments.begin(tenant, AWAY), undefined)
  connection[Symbol.dispose]()
  assert.ok(assignments.begin(tenant, AWAY))
})

test('the table is bounded; going home makes room', () => {
  const { assignments, clock, move } = setUp({ movedMax: 2 })
  move(tenant, AWAY)
  clock.advance(1_000)
  move(other, AWAY)
  assert.equal(assignments.begin(third, AWAY), undefined)
  assert.deepEqual(assignments.restingAway(1_000), [tenant])
  move(tenant, HOME)
  assert.deepEqual(assignments.moved(), [{ tenant: other, shard: AWAY }])
  move(third, AWAY)
})

test('who uses a moved tenant keeps it from going home', () => {
  const { assignments, clock, move } = setUp()
  move(tenant, AWAY)
  const visit = assignments.enter(tenant, 'connection') as Visit
  clock.advance(5_000)
  assert.deepEqual(assignments.restingAway(1_000), [])
  visit[Symbol.dispose]()
  assert.deepEqual(assignments.restingAway(1_000), [], 'it was used a moment ago')
  clock.advance(1_000)
  assert.deepEqual(assignments.restingAway(1_000), [tenant])
})

test('a thread that starts learns who is where, and that nobody has who is on the way', () => {
  const { assignments, move } = setUp()
  move(tenant, AWAY)
  const begun = assignments.begin(other, AWAY)
  assert.ok(begun)
  assignments.letGo(begun)
  const [first, second] = [0, 1].map(
    (index) => new Ownership({ index, shardCount: 2, moved: assignments.moved() }),
  )
  assert.ok(first && second)
  const owned = (name: TenantName): boolean[] => [first.owns(name), second.owns(name)]
  assert.deepEqual(owned(tenant), [false, true])
  assert.deepEqual(owned(other), [false, false])
  assert.deepEqual(owned(third), [true, false])
  assert.throws(() => first.check(tenant), { code: 'TENANT_MOVED' })
})

test('tenants with connections are counted where they are, or about to be', async () => {
  const { assignments } = setUp()
  const enter = (name: TenantName, kind: 'call' | 'connection'): Visit =>
    assignments.enter(name, kind) as Visit
  assert.deepEqual(assignments.connected, [0, 0])
  const call = enter(tenant, 'call')
  assert.deepEqual(assignments.connected, [0, 0], 'a call ends soon')
  const first = enter(tenant, 'connection')
  const second = enter(tenant, 'connection')
  assert.deepEqual(assignments.connected, [1, 0])
  for (const visit of [call, first, first]) visit[Symbol.dispose]()
  assert.deepEqual(assignments.connected, [1, 0])
  assert.ok(assignments.isInUse(tenant))
  second[Symbol.dispose]()
  assert.deepEqual(assignments.connected, [0, 0])
  assert.ok(!assignments.isInUse(tenant))
  const move = assignments.begin(tenant, AWAY)
  assert.ok(move && assignments.isInUse(tenant))
  const late = assignments.enter(tenant, 'connection') as Promise<Visit>
  assert.deepEqual(assignments.connected, [0, 1])
  assignments.letGo(move)
  assignments.end(move, AWAY)
  assert.deepEqual(assignments.connected, [0, 1])
  const visit = await late
  visit[Symbol.dispose]()
  assert.deepEqual(assignments.connected, [0, 0])
})
