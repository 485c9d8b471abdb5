/** Sessions of a backend whose memory was given to others: nobody could be asked any more. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeSessionSlot } from '../../test/support/fake-session-slot.ts'
import { remainsOf } from '../engine/session-memory.ts'
import { queryMessage } from '../front/wire/result.ts'
import type { SessionOwner } from './tenant-channels.ts'
import { TenantSessions } from './tenant-sessions.ts'

const one: SessionOwner = { number: 1 }
const other: SessionOwner = { number: 2 }
const third: SessionOwner = { number: 3 }

let backend: FakeSessionSlot
let sessions: TenantSessions<SessionOwner>
beforeEach(() => {
  backend = new FakeSessionSlot()
  backend.roles.add('reader')
  sessions = new TenantSessions()
})

function run(client: SessionOwner, ...statements: string[]): void {
  assert.equal(sessions.enter(client, backend.slot), undefined)
  for (const sql of statements) void sessions.channels.run(client, backend.slot, queryMessage(sql))
}

/** @returns who is told */
function take(told?: SessionOwner): SessionOwner[] {
  const said = backend.said.length
  const remains = remainsOf(backend.session)
  const lost = sessions.taken(told, remains)
  assert.equal(backend.said.length, said, 'nothing is asked of what is gone')
  backend.restart()
  sessions.bringBack(backend.slot)
  return lost
}

function settingsOf(client: SessionOwner): Record<string, string> {
  assert.equal(sessions.enter(client, backend.slot), undefined)
  return Object.fromEntries(backend.settings)
}

test('settings, roles and channels go on, of whoever had the backend last', () => {
  run(one, 'SET work_mem TO 9', 'LISTEN news')
  run(other, 'SET ROLE reader')
  run(third)
  assert.deepEqual(take(), [])
  assert.deepEqual(settingsOf(one), { work_mem: '9' })
  assert.deepEqual(settingsOf(other), { role: 'reader' })
  assert.deepEqual(settingsOf(third), {})
  assert.deepEqual(backend.channels, ['news'])
  assert.deepEqual(take(), [], 'and again')
  assert.deepEqual(settingsOf(one), { work_mem: '9' })
})

test('what cannot be read from memory is told, in the backend or put aside', () => {
  run(one, 'PREPARE a AS SELECT 1')
  run(other, 'PREPARE a AS SELECT 2')
  run(third, 'SET work_mem TO 9')
  assert.deepEqual(take(), [one, other])
  assert.match(sessions.enter(one, backend.slot) ?? '', /ended with its backend/)
  assert.deepEqual(settingsOf(third), { work_mem: '9' })
})

test('locks, cursors and temporary tables are told of', () => {
  run(one)
  backend.holdsOn = true
  assert.deepEqual(take(), [one])
  run(other, 'CREATE TEMP TABLE mine')
  assert.deepEqual(take(), [other])
  run(third, 'CREATE TEMP TABLE mine')
  run({ number: 4 })
  assert.deepEqual(take(), [third], 'also where somebody else has the backend')
})

test('who was in a transaction is told by its error, and begins anew', () => {
  run(one, 'SET work_mem TO 9', 'LISTEN news')
  assert.deepEqual(sessions.taken(one, undefined), [])
  backend.restart()
  sessions.bringBack(backend.slot)
  assert.deepEqual(settingsOf(one), {})
  assert.deepEqual(backend.channels, [])
})

test('who has left comes back in no backend', () => {
  run(one, 'SET work_mem TO 9')
  run(other, 'SET work_mem TO 8')
  sessions.leave(one)
  sessions.leave(other)
  assert.deepEqual(take(), [])
  assert.equal(sessions.count, 0)
})
