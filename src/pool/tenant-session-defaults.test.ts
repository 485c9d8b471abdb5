/** What RESET goes back to, in the sessions of several clients. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeSessionSlot } from '../../test/support/fake-session-slot.ts'
import type { SessionOwner } from './tenant-channels.ts'
import { TenantSessions } from './tenant-sessions.ts'

const NO_ANSWER = new Uint8Array(0)
const one: SessionOwner = { number: 1 }
const other: SessionOwner = { number: 2 }

let backend: FakeSessionSlot
let sessions: TenantSessions<SessionOwner>
beforeEach(() => {
  backend = new FakeSessionSlot()
  backend.roles.add('reader')
  sessions = new TenantSessions()
})

const enter = (client: SessionOwner): string | undefined => sessions.enter(client, backend.slot)

const begin = (client: SessionOwner, ...statements: string[]): void => {
  assert.equal(enter(client), undefined)
  for (const sql of statements) backend.query(sql)
  sessions.begun(client, backend.slot, NO_ANSWER)
}
const defaults = (): Record<string, string> => Object.fromEntries(backend.defaults)

test('is what a client came with, and for who came with nothing the backend’s own', () => {
  begin(one, 'SET work_mem TO 9', 'SET my.own TO mine')
  assert.deepEqual(defaults(), { work_mem: '9', 'my.own': 'mine' })
  begin(other, 'SET work_mem TO 7')
  assert.deepEqual(defaults(), { work_mem: '7', 'my.own': '' })
  enter(one)
  assert.deepEqual(defaults(), { work_mem: '9', 'my.own': 'mine' })
  enter({ number: 3 })
  assert.deepEqual(defaults(), { work_mem: '4', 'my.own': '' })
})

test('is left alone where the backend’s own value cannot be seen', () => {
  begin(one, 'SET hidden TO 1', 'SET work_mem TO 9')
  assert.deepEqual(defaults(), { work_mem: '9' })
  begin(other)
  assert.deepEqual(defaults(), { work_mem: '4' })
})

test('is known without a word to the backend, whose role may not see it', () => {
  backend.refuses = /pg_settings/
  begin(one, 'SET work_mem TO 9', 'SET ROLE reader')
  assert.deepEqual(defaults(), { work_mem: '9' })
  begin(other, 'SET my.own TO mine')
  assert.equal(enter(one), undefined)
  assert.deepEqual(defaults(), { work_mem: '9', 'my.own': '' })
  assert.equal(backend.settings.get('role'), 'reader')
})

test('is nobody’s in a nap, and one’s again after it', () => {
  begin(one, 'SET work_mem TO 9')
  assert.equal(sessions.countInImage, 2, 'whoever takes it over would have them')
  sessions.beforeNap(backend.slot)
  assert.deepEqual(defaults(), { work_mem: '4' })
  assert.equal(sessions.countInImage, 1)
  enter(one)
  assert.deepEqual(defaults(), { work_mem: '9' })
})

test('goes along to the next backend, and away with its client', () => {
  begin(one, 'SET work_mem TO 9')
  begin(other, 'SET work_mem TO 8')
  assert.equal(sessions.carry(backend.slot), true)
  sessions.clear()
  backend.restart()
  sessions.bringBack(backend.slot)
  enter(one)
  assert.deepEqual(defaults(), { work_mem: '9' })
  sessions.leave(one)
  sessions.discard(backend.slot)
  assert.deepEqual(defaults(), { work_mem: '4' })
})
