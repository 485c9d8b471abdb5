import assert from 'node:assert/strict'
import { test } from 'node:test'
import { libraryTicket, nameOnTicket } from './library-ticket.ts'
import { withCustomSection } from './wasm-module.ts'

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)
// How it is to be linked, and then something that a ticket need not have.
const LINKING = withCustomSection(EMPTY, 'dylink.0', Uint8Array.of(1, 4, 9, 9, 9, 9))
const LIBRARY = withCustomSection(LINKING, 'code', new Uint8Array(1000))

test('a ticket is what a loader reads of a library, and a name', () => {
  const ticket = libraryTicket(LIBRARY, 'plpgsql')
  assert.deepEqual(ticket.subarray(0, LINKING.length), LINKING)
  assert.ok(ticket.length < 100)
  assert.ok(WebAssembly.validate(ticket))
  assert.equal(nameOnTicket(ticket), 'plpgsql')
  assert.equal(nameOnTicket(LIBRARY), undefined)
  assert.equal(nameOnTicket(EMPTY), undefined)
})

test('only a side module gets a ticket', () => {
  assert.throws(() => libraryTicket(EMPTY, 'x'), /too early/)
  assert.throws(() => libraryTicket(withCustomSection(EMPTY, 'other', EMPTY), 'x'), /be linked/)
  assert.throws(() => libraryTicket(LIBRARY, ''), /has a name/)
})
