import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import { say } from '../../test/support/messages.ts'
import { triedKey, TriedTexts } from './tried-texts.ts'

const prepared = (sql: string, value = '1'): Uint8Array =>
  concatBytes([say.parse('', sql), say.bind('', '', [value]), say.execute(''), say.sync()])
const bound = (name: string): Uint8Array =>
  concatBytes([say.bind('', name), say.execute(''), say.sync()])

test('a batch is known by its texts, whatever its values, or by names of its client', () => {
  const numbers = [
    say.query('select 1'),
    say.query('select 2'),
    concatBytes([say.query('select'), say.query(' 1')]),
    say.query(''),
    bound('a'),
    bound('b'),
  ].map((batch) => triedKey(batch).number)
  assert.equal(new Set(numbers).size, numbers.length)
  for (const number of numbers) assert.ok(Number.isSafeInteger(number))
  assert.deepEqual(triedKey(prepared('select $1', '1')), triedKey(prepared('select $1', '2')))
  assert.equal(triedKey(prepared('select $1')).isOwn, false)
  assert.equal(triedKey(bound('a')).isOwn, true)
})

test('what came of it is known for a while, and of so many', () => {
  const tried = new TriedTexts()
  const [vain, read] = [triedKey(say.query('vain')), triedKey(say.query('read'))]
  tried.note(vain, true, 0)
  tried.note(read, false, 0)
  assert.deepEqual([tried.of(vain, 1), tried.of(read, 1)], ['vain', 'read'])
  tried.note(read, true, 1)
  assert.equal(tried.of(read, 1), 'vain')
  assert.equal(tried.of(vain, LIMITS.triedTextMs), undefined)
  assert.equal(tried.of(read, LIMITS.triedTextMs), 'vain')
  for (let n = 0; n < LIMITS.triedTextsMax; n++) tried.note(triedKey(say.query(`${n}`)), true, 2)
  assert.equal(tried.of(read, 2), undefined, 'the oldest has gone')
  assert.equal(tried.of(triedKey(say.query('0')), 2), 'vain')
})
