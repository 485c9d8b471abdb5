import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tellsOfMore } from './telltale-words.ts'

test('words that lock, write, or ask what a fork does not know', () => {
  const more = [
    'select * from t for update',
    'SELECT 1 FOR\n-- rows\nNO /* not its */ KEY UPDATE OF t NOWAIT',
    'select * from t for share skip locked',
    'table t for key share',
    `select nextval ('s')`,
    `select pg_catalog.setval('s', 3)`,
    'select pg_try_advisory_xact_lock_shared(1, 2)',
    `select 1; select pg_notify('a', 'b')`,
    'select * from pg_catalog.pg_locks l',
    'select Pg_Current_Snapshot()',
  ]
  for (const sql of more) assert.ok(tellsOfMore(sql), sql)
})

test('the same words where they are texts, names, comments, or something else', () => {
  const reads = [
    'select 1',
    `select 'for update', e'\\' for share', $$ nextval('s') $$`,
    'select "for update", "pg_locks" from t -- for update',
    'select update, share from t /* nextval(1) */',
    'select nextval from t where last = setval',
    `select substring(a from 1 for 2), share from t`,
    'select pg_locks_taken from t',
    'select * from t for /* not closed',
  ]
  for (const sql of reads) assert.ok(!tellsOfMore(sql), sql)
})

test('a text of millions of words is read once', () => {
  assert.ok(!tellsOfMore(`${'for no '.repeat(100_000)} key`))
  assert.ok(tellsOfMore(`select ${`'a''' || `.repeat(100_000)} '' from t for update`))
})
