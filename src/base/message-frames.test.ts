import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, fromUtf8 } from './bytes.ts'
import { say } from '../../test/support/messages.ts'
import { eachMessage, piecesOf, statementIn } from './message-frames.ts'

const lettersOf = (bytes: Uint8Array): string => {
  let letters = ''
  eachMessage(bytes, (type) => (letters += String.fromCharCode(type ?? 0)))
  return letters
}

test('a batch falls apart where the backend is ready, and never within a COPY', () => {
  const { query, parse, bind, execute, sync, flush } = say
  const copy = [say.copyData('1'), say.copyDone()]
  const batch = concatBytes([
    query('copy t from stdin'),
    ...copy,
    parse('', 'copy t from stdin'),
    bind('', ''),
    execute(''),
    ...copy,
    sync(),
    sync(),
    query('copy t from stdin'),
    say.copyFail('no'),
    parse('', 'select 1'),
    flush(),
  ])
  const pieces = piecesOf(batch)
  assert.deepEqual(pieces.map(lettersOf), ['Qdc', 'PBEdcS', 'S', 'Qf', 'PH'])
  assert.deepEqual(concatBytes(pieces), new Uint8Array(batch))
  assert.deepEqual(piecesOf(query('select 1')).map(lettersOf), ['Q'])
})

test('what is not whole is not walked over', () => {
  assert.throws(() => eachMessage(say.query('select 1').slice(0, -1), () => {}), /whole/)
})

test('the first statement of a batch, if the batch has its text', () => {
  const { query, parse, bind, execute, sync } = say
  const first = (...messages: Uint8Array[]): string => fromUtf8(statementIn(concatBytes(messages)))
  assert.equal(first(query('select 1'), query('select 2')), 'select 1')
  assert.equal(first(parse('s', 'select 3'), bind('', 's'), execute(''), sync()), 'select 3')
  assert.equal(first(bind('', 's'), execute(''), parse('', 'select 4'), sync()), '')
  assert.equal(first(sync()), '')
})
