/** Temporary tables of several clients of a tenant: whose they are, and what becomes of them. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeSessionSlot } from '../../test/support/fake-session-slot.ts'
import { EMPTY_FRAME } from '../engine/session-memory.ts'
import type { SessionOwner } from './tenant-channels.ts'
import { TenantSessions } from './tenant-sessions.ts'

const one: SessionOwner = { number: 1 }
const other: SessionOwner = { number: 2 }
const third: SessionOwner = { number: 3 }

let backend: FakeSessionSlot
let sessions: TenantSessions<SessionOwner>
beforeEach(() => {
  backend = new FakeSessionSlot()
  sessions = new TenantSessions()
})

/** Runs statements of a client, as the pool does. */
function run(client: SessionOwner, ...statements: string[]): void {
  assert.equal(sessions.enter(client, backend.slot), undefined)
  for (const sql of statements) backend.query(sql)
}

/** A nap without an image; false: it had to stay. */
function restart(): boolean {
  if (!sessions.carry(backend.slot)) return false
  sessions.clear()
  backend.restart()
  sessions.bringBack(backend.slot)
  return true
}

test('are each client’s own, and nobody’s when it has left', () => {
  run(one, 'CREATE TEMP TABLE a')
  run(other, 'CREATE TEMP TABLE b')
  run(third)
  run(one, 'CREATE TEMP TABLE c')
  run(third, 'CREATE TEMP TABLE d')
  const tablesOf = (client: SessionOwner): string[] => {
    run(client)
    return backend.temporaryTables
  }
  assert.deepEqual([one, other, third].map(tablesOf), [['a', 'c'], ['b'], ['d']])
  assert.equal(restart(), false, 'no other backend has them')
  sessions.leave(other)
  const newcomer: SessionOwner = { number: 4 }
  assert.deepEqual([newcomer, one, third].map(tablesOf), [[], ['a', 'c'], ['d']])
  run(newcomer, 'CREATE TEMP TABLE e')
  assert.deepEqual([one, newcomer, third].map(tablesOf), [['a', 'c'], ['e'], ['d']])
  for (const each of [one, third, newcomer]) sessions.leave(each)
  sessions.discard(backend.slot)
  assert.ok(restart())
  assert.deepEqual(tablesOf({ number: 5 }), [])
})

test('a newcomer has no schema of who has left, but may get its number', () => {
  run(one, 'CREATE TEMP TABLE a')
  run(other, 'CREATE TEMP TABLE b', 'PREPARE x AS')
  const { number } = backend.frame.temporary
  run(one)
  sessions.leave(other)
  run(third)
  assert.deepEqual(backend.frame.temporary, { ...EMPTY_FRAME.temporary, number })
  run({ number: 4 })
  assert.equal(backend.session.mayHaveTemporaryTables, false)
})

test('who leaves without any frees no number that somebody else has got meanwhile', () => {
  run(one)
  run(other)
  const { number } = backend.frame.temporary
  run(one, 'CREATE TEMP TABLE a')
  assert.equal(backend.frame.temporary.number, number)
  run(third)
  sessions.leave(other)
  run(third)
  run({ number: 4 }, 'CREATE TEMP TABLE d')
  assert.notEqual(backend.frame.temporary.number, number)
  run(one)
  assert.deepEqual(backend.temporaryTables, ['a'])
})

test('too many to be dropped at once are left behind, and nobody comes to have them', () => {
  run(one, 'CREATE TEMP TABLE a')
  run(other, 'CREATE TEMP TABLE b', 'CREATE TEMP TABLE c', 'PREPARE x AS', 'SET work_mem TO 9')
  const left = backend.frame.temporary
  backend.temporaryTablesMax = 1
  sessions.leave(other)
  run(third, 'CREATE TEMP TABLE d')
  assert.notEqual(backend.frame.temporary.number, left.number)
  assert.deepEqual([backend.temporaryTables, backend.prepared], [['d'], []])
  assert.equal(backend.settings.size, 0)
  assert.ok(!sessions.temporarySchemas(backend.slot).includes(left.schema))
  run(one)
  assert.deepEqual(backend.temporaryTables, ['a'])
  assert.equal(sessions.temporarySchemas(backend.slot).length, 2)
})

test('go on after a nap as somebody’s whom nobody knows, and end', () => {
  run(one)
  run(other, 'CREATE TEMP TABLE b')
  run(one, 'CREATE TEMP TABLE a')
  sessions = new TenantSessions()
  sessions.discard(backend.slot)
  assert.deepEqual(backend.temporaryTables, [])
  run(third, 'CREATE TEMP TABLE c')
  assert.deepEqual(backend.temporaryTables, ['c'])
  run(other, 'CREATE TEMP TABLE d')
  assert.deepEqual(backend.temporaryTables, ['d'])
})
