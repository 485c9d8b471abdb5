import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes } from '../base/bytes.ts'
import { say } from '../../test/support/messages.ts'
import { endOfFailed } from './failed-transaction.ts'

const unnamed = (sql: string): Uint8Array =>
  concatBytes([say.parse('', sql), say.bind('', ''), say.describe(), say.execute(''), say.sync()])
const answerTo = (batch: Uint8Array): string | undefined => {
  const ended = endOfFailed(batch)
  return ended && String.fromCharCode(...ended.answer)
}

test('the usual ways to end a transaction, answered as by Postgres', () => {
  const simple = 'C\0\0\0\rROLLBACK\0Z\0\0\0\x05I'
  for (const sql of [
    'rollback',
    ' ABORT work;',
    'commit',
    'End Transaction',
    'rollback and no chain',
  ])
    assert.equal(answerTo(say.query(sql)), simple, sql)
  assert.equal(answerTo(unnamed('rollback')), `1\0\0\0\x042\0\0\0\x04n\0\0\0\x04${simple}`)
  assert.equal(endOfFailed(say.query('rollback'))?.said.get(''), undefined)
  assert.deepEqual(endOfFailed(unnamed('rollback'))?.said.get(''), say.parse('', 'rollback'))
})

test('whatever else is for Postgres', () => {
  const others = [
    say.query('select 1'),
    say.query('rollback and chain'),
    say.query('rollback to savepoint a'),
    say.query('rollback; select 1'),
    say.query(`rollback${' '.repeat(200)}`),
    concatBytes([say.query('rollback'), say.query('select 1')]),
    concatBytes([say.parse('a', 'rollback'), say.bind('', 'a'), say.execute(''), say.sync()]),
    concatBytes([say.parse('', 'rollback', [23]), say.bind('', ''), say.execute(''), say.sync()]),
    concatBytes([say.parse('', 'rollback'), say.bind('', '', ['1']), say.execute(''), say.sync()]),
    concatBytes([say.parse('', 'rollback'), say.sync()]),
    say.sync(),
  ]
  for (const other of others) assert.equal(endOfFailed(other), undefined)
})
