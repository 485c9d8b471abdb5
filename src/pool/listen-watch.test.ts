import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { say } from '../../test/support/messages.ts'
import { message } from '../base/protocol-message.ts'
import { ListenWatch } from './listen-watch.ts'

const UNKNOWN = undefined

/** What the backend says of statements with these tags. */
function answer(tags: readonly string[], { status = 'I', failed = false } = {}): Uint8Array {
  const done = tags.map((tag) => message('C', utf8(`${tag}\0`)))
  const error = failed ? [message('E', utf8('SERROR\0\0'))] : []
  return concatBytes([...done, ...error, message('Z', utf8(status))])
}

const heard = (sql: string, ...tags: string[]): readonly (string | undefined)[] =>
  new ListenWatch().take(say.query(sql), answer(tags))

describe('a name', () => {
  const long = 'é'.repeat(40)
  for (const [sql, channel] of [
    ['LISTEN News', 'news'],
    ['listen"News"', 'News'],
    ['  LISTEN\n"Odd ""one""; x" ;', 'Odd "one"; x'],
    ['listen CAFÉ', 'cafÉ'],
    ['listen _x$1;', '_x$1'],
    ['listen 🐘', '🐘'],
    [`listen x${long}`, `x${'é'.repeat(31)}`],
    [`listen ${long}`, 'é'.repeat(31)],
    [`listen "${'y'.repeat(70)}"`, 'y'.repeat(63)],
    ['/* app */ LISTEN /* to */ a -- it', 'a'],
    ['-- first\nlisten a', 'a'],
    ['LISTEN/**/a', 'a'],
    ['listen a /* a /* nested */ one */', 'a'],
  ] as const) {
    test(sql.slice(0, 30), () => assert.deepEqual(heard(sql, 'LISTEN'), [channel]))
  }

  test('among other statements', () => {
    const sql = 'begin; listen a;listen B ; unlisten c; commit; listen d'
    const tags = ['BEGIN', 'LISTEN', 'LISTEN', 'UNLISTEN', 'COMMIT', 'LISTEN']
    assert.deepEqual(heard(sql, ...tags), ['a', 'b', 'd'])
  })
})

test('words that are no statement mean nothing', () => {
  for (const sql of [
    `select 'listen a'`,
    `select '; listen a;'`,
    '/* ; listen a; */ select 1',
    '-- ;listen a\nselect 1',
    'select listen from listen',
    'unlisten a',
  ]) {
    assert.deepEqual(heard(sql, 'SELECT 1'), [], sql)
  }
})

test('what is not read with certainty is not known', () => {
  assert.deepEqual(heard('LISTEN U&"\\0061"', 'LISTEN'), [UNKNOWN])
  assert.deepEqual(heard(`select '; listen x;'; LISTEN a`, 'SELECT 1', 'LISTEN'), [UNKNOWN])
  assert.deepEqual(heard(`do $$ begin execute 'listen ' || 'a'; end $$`, 'DO'), [UNKNOWN])
  assert.deepEqual(heard('do $$ begin null; end $$', 'DO'), [])
})

test('a text that somebody has made for it is read once, and takes no stack', () => {
  assert.deepEqual(heard(`${'/**/'.repeat(60)}select 'listen'`, 'SELECT'), [])
  assert.deepEqual(heard(`${' '.repeat(20_000_000)}listen a`, 'LISTEN'), ['a'])
  assert.deepEqual(heard(`${';/*'.repeat(500_000)} listen a`, 'LISTEN'), [UNKNOWN])
  assert.deepEqual(heard(`listen "${'""'.repeat(5_000_000)}"`, 'LISTEN'), ['"'.repeat(63)])
  const count = 300_000
  const tags = Array.from({ length: count }, () => 'LISTEN')
  const many = new ListenWatch().take(say.query('listen a;'.repeat(count)), answer(tags))
  assert.deepEqual([many.length, new Set(many)], [count, new Set(['a'])])
})

test('only what is committed counts', () => {
  const watch = new ListenWatch()
  const take = (sql: string, ...rest: Parameters<typeof answer>): unknown =>
    watch.take(say.query(sql), answer(...rest))
  assert.deepEqual(take('listen a; bad', ['LISTEN'], { failed: true }), [])
  assert.deepEqual(
    take('listen a; commit; listen b; bad', ['LISTEN', 'COMMIT'], { failed: true }),
    ['a'],
  )
  assert.deepEqual(take('begin', ['BEGIN'], { status: 'T' }), [])
  assert.deepEqual(take('listen a', ['LISTEN'], { status: 'T' }), [])
  assert.deepEqual(take('listen b', ['LISTEN'], { status: 'T' }), [])
  assert.deepEqual(take('commit', ['COMMIT']), ['a', 'b'])
  assert.deepEqual(take('begin; listen a', ['BEGIN', 'LISTEN'], { status: 'T' }), [])
  assert.deepEqual(take('bad', [], { status: 'E', failed: true }), [])
  assert.deepEqual(take('listen c', [], { status: 'E', failed: true }), [])
  assert.deepEqual(take('commit', ['ROLLBACK']), [])
  assert.deepEqual(take('begin; listen a', ['BEGIN', 'LISTEN'], { status: 'T' }), [])
  assert.deepEqual(take('savepoint s; listen', ['SAVEPOINT'], { status: 'E', failed: true }), [])
  assert.deepEqual(take('rollback to s', ['ROLLBACK'], { status: 'T' }), [])
  assert.deepEqual(take('commit', ['COMMIT']), ['a'])
  assert.deepEqual(take('select 1', ['SELECT 1']), [])
})

test('prepared statements', () => {
  const watch = new ListenWatch()
  const run = (sent: Uint8Array[], ...tags: string[]): unknown =>
    watch.take(concatBytes([...sent, say.sync()]), answer(tags))
  assert.deepEqual(run([say.parse('s', 'listen a'), say.parse('t', 'select 1')]), [])
  assert.deepEqual(run([say.bind('', 's'), say.execute('')], 'LISTEN'), ['a'])
  assert.deepEqual(run([say.bind('', 't'), say.execute('')], 'SELECT 1'), [])
  assert.deepEqual(run([say.bind('p', 's'), say.bind('', 't'), say.execute('')], 'SELECT 1'), [])
  assert.deepEqual(run([say.bind('', 's'), say.execute('')], 'LISTEN'), ['a'])
  assert.deepEqual(run([say.close('s'), say.parse('s', 'listen b')]), [])
  assert.deepEqual(run([say.bind('', 's'), say.execute('')], 'LISTEN'), ['b'])
  assert.deepEqual(run([say.bind('', 'unseen'), say.execute('')], 'LISTEN'), [UNKNOWN])
  for (let index = 0; index < 200; index++) run([say.parse(`s${index}`, 'listen c')])
  assert.deepEqual(run([say.bind('', 's199'), say.execute('')], 'LISTEN'), ['c'])
  assert.deepEqual(run([say.bind('', 's0'), say.execute('')], 'LISTEN'), [UNKNOWN])
})
