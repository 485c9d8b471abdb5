import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Database } from 'sql.js'
import { ownSqlJs, sqlJs } from '../../test/support/sql-js.ts'
import { PgnapError } from '../base/errors.ts'
import { isOutOfMemory } from './sql-js-error.ts'
import { changesOf, runStatements, sqliteValues, tablesOf } from './sqlite-statements.ts'

async function opened(): Promise<Database & Disposable> {
  const { Database } = await sqlJs()
  const database = new Database()
  return Object.assign(database, { [Symbol.dispose]: () => database.close() })
}

test('an empty database has no tables, and a look changes nothing', async () => {
  using database = await opened()
  const before = changesOf(database)
  assert.deepEqual(tablesOf(database), [])
  assert.deepEqual(runStatements(database, 'select 1 as n where 0', []), {
    fields: [{ name: 'n' }],
    rows: [],
    rowCount: 0,
  })
  assert.deepEqual(runStatements(database, '  ', []).rows, [])
  assert.equal(changesOf(database), before)
})

test('statements run in order, and what the last one returns is the answer', async () => {
  using database = await opened()
  const before = changesOf(database)
  const text = "create table t(n, b); insert into t values (1, x'00ff'), (2, null); select * from t"
  assert.deepEqual(runStatements(database, text, []), {
    fields: [{ name: 'n' }, { name: 'b' }],
    rows: [
      { n: 1, b: '00ff' },
      { n: 2, b: null },
    ],
    rowCount: 2,
  })
  const created = changesOf(database)
  assert.notEqual(created, before)
  assert.equal(runStatements(database, 'update t set n = n + ?', ['10']).rowCount, 2)
  assert.notEqual(changesOf(database), created)
  assert.deepEqual(tablesOf(database), ['t'])
})

test('values of JSON keep what they are', async () => {
  using database = await opened()
  const typed = (value: unknown): unknown => {
    const values = sqliteValues([value])
    return runStatements(database, 'select typeof(?1) as t, ?1 as v', values).rows[0]
  }
  assert.deepEqual(typed(7), { t: 'integer', v: 7 })
  assert.deepEqual(typed(0.5), { t: 'real', v: 0.5 })
  assert.deepEqual(typed(true), { t: 'integer', v: 1 })
  assert.deepEqual(typed(false), { t: 'integer', v: 0 })
  assert.deepEqual(typed(null), { t: 'null', v: null })
  assert.deepEqual(typed('7'), { t: 'text', v: '7' })
  assert.deepEqual(typed([1, { a: 2 }]), { t: 'text', v: '[1,{"a":2}]' })
})

test('a table alone is a change', async () => {
  using database = await opened()
  const before = changesOf(database)
  runStatements(database, 'create table t(n)', [])
  assert.notEqual(changesOf(database), before)
})

test('what JSON would change is text: large whole numbers, and what is none', async () => {
  using database = await opened()
  const values = (sql: string): unknown[] =>
    Object.values(runStatements(database, sql, []).rows[0] ?? {})
  const sql =
    'select 9007199254740991, 9007199254740993, -9223372036854775808, 1e400, -1e400, 1e300'
  const large = ['9007199254740993', '-9223372036854775808', 'Infinity', '-Infinity', 1e300]
  assert.deepEqual(values(sql), [9_007_199_254_740_991, ...large])
})

test('a transaction that is left open is rolled back, and said to be', async () => {
  using database = await opened()
  runStatements(database, 'create table t(n)', [])
  for (const sql of ['begin; insert into t values (1)', 'savepoint a; insert into t values (1)']) {
    assert.throws(() => runStatements(database, sql, []), {
      code: 'REQUEST_INVALID',
      hint: /COMMIT/,
    })
  }
  assert.equal(runStatements(database, 'select count(*) as n from t', []).rows[0]?.['n'], 0)
  runStatements(database, 'begin; insert into t values (1); commit', [])
  assert.equal(runStatements(database, 'select count(*) as n from t', []).rows[0]?.['n'], 1)
})

test('what SQLite does not understand is an error of who asks', async () => {
  using database = await opened()
  for (const text of ['selekt 1', 'select * from nowhere', 'select ?1 + 1, ?2; select 1 2 3']) {
    assert.throws(() => runStatements(database, text, []), { code: 'REQUEST_INVALID' })
  }
})

test('no other file is opened, however it is said', async () => {
  const { Database } = await sqlJs()
  using database = await opened()
  const other = new Database()
  other.run('create table secret(n); insert into secret values (42)')
  // Where it lies is nobody's to know, but it is a number of 32 bits.
  const path = (other as unknown as { filename: string }).filename
  const texts = [
    `attach '${path}' as other`,
    `ATTACH DATABASE '${path}' AS other`,
    `/* a */ -- b\n aTTach '${path}' as other`,
    `select 1; attach '${path}' as other`,
    `explain attach '${path}' as other`,
    `vacuum into '/copy'`,
    `VACUUM main INTO '/copy'`,
    `vacuum/**/main/**/into/**/'/copy'`,
  ]
  for (const text of texts) {
    assert.throws(() => runStatements(database, text, []), { code: 'NOT_SUPPORTED' }, text)
  }
  assert.throws(() => runStatements(database, 'select * from other.secret', []), {
    code: 'REQUEST_INVALID',
  })
  runStatements(database, 'vacuum', [])
  other.close()
})

test('a number in the header alone is a change', async () => {
  using database = await opened()
  for (const text of ['pragma user_version = 7', 'pragma main.application_id = 7']) {
    const before = changesOf(database)
    runStatements(database, text, [])
    assert.notEqual(changesOf(database), before, text)
  }
})

test('no pragma reaches beyond its own database, however it is said', async () => {
  using database = await opened()
  runStatements(database, 'create table t(n)', [])
  const texts = [
    'pragma hard_heap_limit = 1000',
    'PRAGMA hard_heap_limit(1000)',
    "select ';'; pragma/**/hard_heap_limit = 1000",
    '/* a */ -- b\n pRagma -- c\n hard_heap_limit = 1000',
    'pragma "hard_heap_limit" = 1000',
    'pragma[hard_heap_limit]=1000',
    'pragma main.hard_heap_limit = 1000',
    'pragma "main".hard_heap_limit = 1000',
    "select $a('); pragma hard_heap_limit = 1000 --",
    "create table a$b(')'); pragma hard_heap_limit = 1000; select ''",
    'explain pragma hard_heap_limit = 1000',
    'explain query plan pragma hard_heap_limit = 1000',
    '\ufeffpragma hard_heap_limit = 1000',
    'pragma soft_heap_limit = 1000',
    'pragma writable_schema = 1',
  ]
  for (const text of texts) {
    assert.throws(() => runStatements(database, text, []), { code: 'NOT_SUPPORTED' }, text)
  }
  const limit = runStatements(database, 'select * from pragma_hard_heap_limit', []).rows
  assert.deepEqual(limit, [{ hard_heap_limit: 0 }])
  const names = runStatements(database, "select 'a; pragma x'; pragma table_info(t)", []).rows
  assert.equal(names[0]?.['name'], 'n')
})

test('that there is no more memory is told apart from other failures', async () => {
  // One of its own: the limit is for everything in it.
  const { Database } = await ownSqlJs()
  using database = Object.assign(new Database(), { [Symbol.dispose]: () => database.close() })
  database.run('create table t(n); pragma hard_heap_limit = 1000')
  const fails = (sql: string): unknown => {
    try {
      return runStatements(database, sql, [])
    } catch (error) {
      return error
    }
  }
  assert.ok(isOutOfMemory(fails('select count(*) from t')))
  assert.ok(!isOutOfMemory(new PgnapError('STORE_IO', 'the bucket cannot be read', { hint: 'h' })))
  assert.ok(!isOutOfMemory(new Error('out of memory')))
})
