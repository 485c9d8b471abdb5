import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeSessionSlot } from '../../test/support/fake-session-slot.ts'
import { SessionDefaults } from './session-defaults.ts'

const STORED = /pg_db_role_setting/

test('what is stored is read once, and again only where it was refused', () => {
  const backend = new FakeSessionSlot()
  backend.stored.set('work_mem', '9').set('my.other', 'stored')
  const readCount = (): number => backend.said.filter((sql) => STORED.test(sql)).length
  const inForce = (): object => Object.fromEntries(backend.defaults)
  const defaults = new SessionDefaults<object>()
  const [one, other] = [{}, {}]
  backend.refuses = STORED
  assert.equal(defaults.begin(one, backend.slot), undefined)
  backend.settings.set('my.own', 'mine').set('my.other', 'given')
  defaults.keep(one, backend.slot)
  defaults.apply(one, backend.slot)
  assert.deepEqual(inForce(), { 'my.own': 'mine', 'my.other': 'given' })
  backend.refuses = undefined
  defaults.begin(one, backend.slot)
  assert.equal(readCount(), 1)
  const all = { 'my.own': 'mine', 'my.other': 'given', work_mem: '9' }
  assert.deepEqual(inForce(), all, 'what it came with comes first')
  defaults.begin(one, backend.slot)
  assert.equal(readCount(), 1)
  defaults.begin(other, backend.slot)
  assert.deepEqual(inForce(), { 'my.own': '', 'my.other': 'stored', work_mem: '9' })
})

test('an owner’s are in force while it has the backend, and its own afterwards', () => {
  const backend = new FakeSessionSlot()
  const defaults = new SessionDefaults<object>()
  const owner = {}
  backend.settings.set('work_mem', '9').set('my.own', 'mine').set('hidden', '1')
  defaults.keep(owner, backend.slot)
  defaults.apply(owner, backend.slot)
  // Of what the backend does not show nobody knows what it was.
  assert.deepEqual(Object.fromEntries(backend.defaults), { work_mem: '9', 'my.own': 'mine' })
  defaults.apply(undefined, backend.slot)
  assert.deepEqual(Object.fromEntries(backend.defaults), { work_mem: '4', 'my.own': '' })
})
