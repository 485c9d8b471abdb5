import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { say } from '../../test/support/messages.ts'
import { message } from '../base/protocol-message.ts'
import { boundStatements, readingOf, saidIn, sayAgain } from './reading-batch.ts'

const NONE = new Set<string>()
const mayOnlyRead = (...batch: Parameters<typeof readingOf>): boolean =>
  readingOf(...batch) !== 'no'
const reads = (sql: string): boolean => mayOnlyRead(say.query(sql), true, NONE)
const parsed = message('1', new Uint8Array(0))
const closed = message('3', new Uint8Array(0))
const failed = message('E', utf8('M no\0\0'))
const ready = message('Z', utf8('I'))

test('the first word tells what is worth a try', () => {
  const yes = ['select 1', ' -- a\n/* b */ (SELECT 1)', 'with a as (select 1) table a', 'show all']
  yes.push('', ';', 'explain select 1', 'values (1)', 'set a.b = 1', 'copy t to stdout')
  for (const sql of yes) assert.ok(reads(sql), sql)
  yes.push('begin', 'START transaction read only', 'begin; select 1; show all', 'commit', 'end')
  yes.push('begin isolation level\nREPEATABLE read')
  const no = [
    'begin; delete from t',
    'begin isolation level\nREPEATABLE read; select 1',
    'insert into t values (1)',
    'selects',
    'copy t from stdin',
    'listen a',
  ]
  no.push('copy t to $$x$$', 'prepare a as select 1', 'do $$ $$', 'x')
  for (const sql of no) assert.ok(!reads(sql), sql)
  assert.ok(!reads(`${'/**/'.repeat(5_000)} x`), 'in a moment')
  for (const gap of ['\n', '--\n', '/**/', '(', ';']) {
    assert.ok(reads(`${gap.repeat(5_000_000)} select 1`), 'without a stack for each of them')
  }
})

test('a batch in which a transaction begins is told from others', () => {
  const tell = (sql: string): string => readingOf(say.query(sql), true, NONE)
  assert.deepEqual(['begin', 'start transaction', 'begin; select 1'].map(tell), [
    'begins',
    'begins',
    'begins',
  ])
  assert.deepEqual(['select 1', 'rollback', 'begins', 'insert'].map(tell), [
    'reads',
    'surely',
    'no',
    'no',
  ])
  const resets = ['discard all', 'DEALLOCATE a', 'close all; unlisten *', 'set a.b = 1']
  resets.push('SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;')
  for (const sql of resets) assert.equal(tell(sql), 'surely', sql)
  assert.equal(tell('reset all; select 1'), 'reads')
  const both = concatBytes([say.parse('', 'begin'), say.parse('', 'select 1'), say.sync()])
  assert.equal(readingOf(both, true, NONE), 'begins')
})

test('what lasts until the end of its transaction is not tried in one that floats', () => {
  const tell = (sql: string, keepsSnapshot?: boolean): string =>
    readingOf(
      say.query(sql),
      true,
      NONE,
      keepsSnapshot === undefined ? undefined : { keepsSnapshot },
    )
  for (const sql of ['set local a.b = 1', ' RESET a.b', 'fetch all in c']) {
    assert.notEqual(tell(sql), 'no', sql)
    assert.equal(tell(sql, false), 'no', sql)
  }
  assert.equal(tell('select 1', false), 'reads')
  assert.equal(tell('select 1', true), 'no', 'the snapshot is to be taken in the backend')
  for (const sql of ['set transaction read only', 'show a.b', 'commit', 'rollback', ''])
    assert.notEqual(tell(sql, true), 'no', sql)
  assert.equal(tell('commit; select 1', true), 'no')
  const bound = concatBytes([say.bind('', 'known'), say.execute(''), say.sync()])
  assert.equal(readingOf(bound, true, NONE, { keepsSnapshot: true }), 'no', 'it may be a query')
})

test('batches without an end are for forks only as long as nothing was executed', () => {
  const parse = say.parse('a', 'select 1')
  assert.ok(mayOnlyRead(concatBytes([parse, say.flush()]), false, NONE))
  const bound = [parse, say.bind('', 'a'), say.execute('')]
  assert.ok(!mayOnlyRead(concatBytes([...bound, say.flush()]), false, NONE))
  assert.ok(mayOnlyRead(concatBytes([...bound, say.sync()]), true, NONE))
  assert.ok(!mayOnlyRead(concatBytes([say.copyDone(), say.sync()]), true, NONE))
})

test('statements that are known to write are not tried, unless they are made anew', () => {
  const bind = concatBytes([say.bind('', 'w'), say.execute(''), say.sync()])
  assert.deepEqual(boundStatements(bind), ['w'])
  assert.ok(mayOnlyRead(bind, true, NONE))
  assert.ok(!mayOnlyRead(bind, true, new Set(['w'])))
  assert.ok(mayOnlyRead(concatBytes([say.parse('w', 'table t'), bind]), true, new Set(['w'])))
})

test('what was prepared and closed is what Postgres says was done, up to each error', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => say.parse(name, `select '${name}'`))
  assert.ok(a && b && c)
  const messages = concatBytes([a, say.close('x'), b, say.sync(), c, say.close('a'), say.sync()])
  const answer = concatBytes([parsed, closed, failed, ready, parsed, closed, ready])
  const said = saidIn(messages, answer)
  assert.deepEqual(
    [...(said ?? [])].map(([name, how]) => [name, how !== undefined]),
    [
      ['x', false],
      ['c', true],
      ['a', false],
    ],
  )
  assert.equal(sayAgain(said).length, 3)
  assert.deepEqual(sayAgain(undefined), [])
})

test('a simple query drops the unnamed statement; a skipped one leaves all in the dark', () => {
  const parse = say.parse('', 'select 1')
  const both = concatBytes([parse, say.sync(), say.query('select 2')])
  const said = saidIn(both, concatBytes([parsed, ready, ready]))
  assert.deepEqual([...(said ?? [])], [['', undefined]])
  const skipped = concatBytes([parse, say.query('select 2'), say.sync()])
  assert.equal(saidIn(skipped, concatBytes([failed, ready])), undefined)
})

test('what is kept of a message is a copy of it', () => {
  const messages = Buffer.from(concatBytes([say.parse('a', 'select 1'), say.sync()]))
  const said = saidIn(messages, concatBytes([parsed, ready]))
  messages.fill(0)
  assert.deepEqual(said?.get('a'), say.parse('a', 'select 1'))
})
