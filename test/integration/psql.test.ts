/**
 * psql against the shipped program: what a person does in a terminal, and every form of COPY,
 * because the backend cannot wait for data in the middle of a statement and so COPY is in part our
 * own work.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  connectPg,
  majorVersionOf,
  missing,
  psql,
  runClient,
  spawnClient,
} from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const skip = missing('psql')
/** Settings of older clients name a column of pg_database that Postgres 17 has renamed. */
const skipList =
  skip === false && (majorVersionOf('psql') ?? 0) < 17
    ? 'the \\l of this psql does not know Postgres 17 and later'
    : skip

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
})
after(() => server[Symbol.asyncDispose]())

/** Output of psql, which must have gone well. */
async function output(tenant: string, input: string): Promise<string> {
  const { status, stdout, stderr } = await psql(server, tenant, input)
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
  return stdout
}

test('a first session: version, tables, descriptions', { skip }, async () => {
  const text = await output(
    'people',
    `select substring(version() from '^PostgreSQL \\d+');
     create table person(id int primary key, name text not null);
     insert into person values (1, 'Zoë'), (2, '李雷 🐘');
     select * from person order by id;
     \\dt
     \\t off
     \\d person
     \\conninfo
    `,
  )
  assert.match(text, /^PostgreSQL 18\n1\|Zoë\n2\|李雷 🐘\n/)
  assert.match(text, /public\|person\|table\|postgres\n/)
  assert.match(text, /id\|integer\|\|not null\|\nname\|text\|\|not null\|\n/)
  assert.match(text, /"person_pkey" PRIMARY KEY, btree \(id\)/)
  assert.match(text, /database "people" as user "postgres"/)
})

test('\\l lists databases', { skip: skipList }, async () => {
  assert.match(await output('people', '\\l\n'), /^postgres\|/m)
})

test('errors: SQLSTATE, position, detail, and the session goes on', { skip }, async () => {
  const { status, stdout, stderr } = await psql(
    server,
    'errors',
    `\\set VERBOSITY verbose
     select nothing from nowhere;
     create table t(n int primary key);
     insert into t values (1);
     insert into t values (1);
     do $$ begin raise notice 'a notice %', 7; end $$;
     select 'alive';
    `,
  )
  assert.equal(status, 0, 'psql goes on after errors unless it is told not to')
  assert.equal(stdout, 'alive\n')
  assert.match(
    stderr,
    /ERROR: {2}42P01: relation "nowhere" does not exist\nLINE 1: .*nowhere;\n +\^/,
  )
  assert.match(stderr, /ERROR: {2}23505: .*"t_pkey"\nDETAIL: {2}Key \(n\)=\(1\) already exists\./)
  assert.match(stderr, /NOTICE: {2}00000: a notice 7/)
  const stopped = await psql(server, 'errors', '\\set ON_ERROR_STOP on\nselect 1/0;\nselect 2;\n')
  assert.deepEqual([stopped.status, stopped.stdout], [3, ''])
})

test('several statements in one message are one transaction', { skip }, async () => {
  const one = (sql: string): Promise<{ stdout: string; stderr: string }> =>
    runClient('psql', ['-XAtq', '-c', sql], server, 'multi')
  await one('create table t(n int); insert into t values (1); insert into t values (2)')
  const failed = await one('insert into t values (3); select 1/0; insert into t values (4)')
  assert.match(failed.stderr, /division by zero/)
  assert.equal((await one('select n from t order by n')).stdout, '1\n2\n')
})

test('transactions, savepoints, cursors', { skip }, async () => {
  const text = await output(
    'moves',
    `create table t(n int);
     begin; insert into t values (1); savepoint a; insert into t values (2);
     rollback to a; insert into t values (3); release a; commit;
     begin; insert into t values (4); rollback;
     select string_agg(n::text, ',' order by n) from t;
     begin; declare c cursor for select generate_series(1, 10);
     fetch 2 from c; move 5 in c; fetch all from c; close c; commit;
     \\set FETCH_COUNT 3
     select count(*) from generate_series(1, 5) g;
    `,
  )
  assert.equal(text, '1,3\n1\n2\n8\n9\n10\n5\n')
})

test('\\copy carries rows in and out as they are', { skip }, async () => {
  using folder = temporaryFolder()
  const [input, result] = ['in.csv', 'out.csv'].map((name) => join(folder.path, name))
  assert.ok(input !== undefined && result !== undefined)
  const lines = Array.from({ length: 20_000 }, (_, n) => `${n},"line ""${n}"", ünïcode 🐘"`)
  const csv = `${lines.join('\n')}\n`
  writeFileSync(input, csv)
  const text = await output(
    'copies',
    `create table t(n int primary key, text text);
     \\copy t from '${input}' csv
     select count(*), sum(n) from t;
     \\copy (select * from t order by n) to '${result}' (format csv, force_quote (text))
    `,
  )
  assert.equal(text, '20000|199990000\n')
  assert.equal(readFileSync(result, 'utf8'), csv)
})

test('COPY: binary, within a transaction, beside other statements, FREEZE', { skip }, async () => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'rows.bin')
  const text = await output(
    'forms',
    `create table a(n int, b bytea);
     insert into a select n, decode(lpad(to_hex(n), 8, '0'), 'hex') from generate_series(1, 300) n;
     \\copy a to '${file}' (format binary)
     create table b(like a);
     \\copy b from '${file}' (format binary)
     select count(*) from (table a except table b) d;
     begin;
     copy b(n) from stdin;
1000
1001
\\.
     select count(*) from b;
     rollback;
     select count(*) from b;
     begin; create table frozen(n int); copy frozen from stdin (freeze);
5
\\.
     commit;
     select n, tableoid::regclass from frozen;
    `,
  )
  assert.equal(text, '0\n302\n300\n5|frozen\n')
  // Results of what stands before a COPY come after its data (docs/wire.md), which psql 15 takes
  // for an empty error: what stands behind it is in order.
  const several = 'copy frozen from stdin; select count(*) from frozen; select 2'
  const beside = await runClient('psql', ['-XAtq', '-c', several], server, 'forms', {
    input: '6\n7\n\\.\n',
  })
  assert.deepEqual([beside.status, beside.stderr, beside.stdout], [0, '', '3\n2\n'])
})

test('COPY that fails says why, leaves nothing, and the session goes on', { skip }, async () => {
  const { stdout, stderr } = await psql(
    server,
    'failed-copies',
    `create table t(n int);
     copy missing from stdin;
     \\copy t from program 'echo 1; echo x; echo 3'
     select count(*) from t;
     begin;
     insert into t values (1);
     copy t from stdin;
not a number
\\.
     select 'never';
     rollback;
     select count(*) from t;
    `,
  )
  assert.match(stderr, /ERROR: {2}relation "missing" does not exist/)
  assert.match(stderr, /invalid input syntax for type integer: "x"\nCONTEXT: {2}COPY t, line 2/)
  assert.match(stderr, /invalid input syntax for type integer: "not a number"/)
  assert.match(stderr, /current transaction is aborted/)
  assert.equal(stdout, '0\n0\n')
})

test('a psql that is killed in its transaction leaves nothing of it', { skip }, async () => {
  await using watcher = await connectPg(server, 'killed')
  await watcher.client.query('create table t(n int)')
  const child = spawnClient('psql', ['-XAtq'], server, 'killed')
  const said = once(child.stdout ?? child, 'data')
  child.stdin?.write("begin; insert into t values (1); select 'inserted';\n")
  assert.equal(String((await said)[0]), 'inserted\n')
  // Asked before the death, answered after it: the answer must not hold what was never committed.
  const count = watcher.value('select count(*)::int from t')
  const gone = once(child, 'close')
  child.kill('SIGKILL')
  await gone
  assert.equal(await count, 0)
  await watcher.client.query('insert into t values (2)')
  assert.deepEqual(await watcher.column('select n from t'), [2])
})
