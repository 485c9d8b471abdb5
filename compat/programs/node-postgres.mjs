/** node-postgres: what its users do, with types, errors, cursors of the protocol, pools. */
import pg from 'pg'
import { test } from './tool.mjs'

const client = new pg.Client()
await client.connect()
const rows = async (text, values) => (await client.query(text, values)).rows

await test('types', () =>
  rows(
    `select 1::int2 a, 2::int4 b, 3::int8 c, 1.5::float4 d, 'NaN'::float8 e, 1.10::numeric f,
      true g, 'x'::text h, 'y'::char(3) i, '\\x00ff'::bytea j, '2020-01-02 03:04:05+00'::timestamptz k,
      '1 day 2 hours'::interval l, array[1,null,3] m, '{"a":[1]}'::jsonb n, null::int o,
      '(1,2)'::point p, '192.168.0.1/24'::inet q, int4range(1,5) r, row(1,'a') s`,
  ))
await test('fields of a result', async () => {
  await client.query(
    'create table t (id serial primary key, name varchar(10) not null, n numeric(5,2))',
  )
  const { fields, command, rowCount } = await client.query(
    `insert into t (name, n) values ('a', 1), ('b', 2.5) returning *`,
  )
  return [
    command,
    rowCount,
    fields.map(({ name, dataTypeID, dataTypeModifier, columnID, format }) => ({
      name,
      dataTypeID,
      dataTypeModifier,
      columnID,
      format,
    })),
  ]
})
await test('several statements', async () =>
  (await client.query('select 1 a; select 2 b; update t set n = 3')).map(
    ({ command, rowCount }) => [command, rowCount],
  ))
await test('parameters', () =>
  rows(
    'select $1::int + 1 a, $2::text b, $3::jsonb c, $4::text[] d, $5::bytea e, $6::timestamptz f',
    [41, "it's", { a: 1 }, ['x', 'y"z', null], Buffer.from([0, 255]), new Date(0)],
  ))
for (const [name, text, values] of [
  ['syntax', 'select from where'],
  ['unknown table', 'select * from nowhere'],
  ['division', 'select 1/$1::int', [0]],
  ['unique', 'insert into t (id, name) values (1, $1)', ['x']],
  ['not null', 'insert into t (name) values (null)'],
  ['too long', `insert into t (name) values ('01234567890')`],
  ['wrong parameter', 'select $1::int', ['x']],
  ['missing parameter', 'select $1::int'],
]) {
  await test(`error: ${name}`, () => rows(text, values))
}
await test('a transaction that failed', async () => {
  await client.query('begin')
  await client.query('select 1/0').catch(() => {})
  const told = await client.query('select 1').catch(({ code }) => code)
  const { command } = await client.query('commit')
  return [told, command]
})
await test('named statements', async () => {
  const named = { name: 'twice', text: 'select $1::int * 2 as n' }
  const seen = []
  for (const value of [1, 2])
    seen.push((await client.query({ ...named, values: [value] })).rows[0].n)
  return [seen, await rows('select name, statement from pg_prepared_statements')]
})
await test('row limit of a portal', () =>
  rows({ text: 'select generate_series(1, 10) n', rows: 3 }))
await test('notices', async () => {
  const seen = []
  client.on('notice', ({ severity, code, message }) => seen.push([severity, code, message]))
  await client.query(`do $$ begin raise notice 'one'; raise warning 'two'; end $$`)
  return seen
})
await test('LISTEN from another connection', async () => {
  const other = new pg.Client()
  await other.connect()
  const heard = new Promise((resolve) =>
    client.once('notification', ({ channel, payload }) => resolve([channel, payload])),
  )
  await client.query('listen news')
  await other.query(`notify news, 'hello'`)
  await other.end()
  return heard
})
await test('two connections: settings, temporary tables, uncommitted rows', async () => {
  const pool = new pg.Pool({ max: 2 })
  const [a, b] = await Promise.all([pool.connect(), pool.connect()])
  await a.query(`set search_path to pg_catalog; create temp table mine (n int)`)
  const path = (await a.query('show search_path')).rows[0].search_path
  await a.query('drop table mine')
  const others = (await b.query('show search_path')).rows[0].search_path
  await a.query('begin')
  await a.query(`insert into public.t (name) values ('unseen')`)
  await a.query('rollback')
  const {
    rows: [count],
  } = await b.query(`select count(*)::int n from t where name = 'unseen'`)
  a.release()
  b.release()
  await pool.end()
  return [path, others, count]
})
await test('statement_timeout', async () => {
  const limited = new pg.Client({ statement_timeout: 100 })
  await limited.connect()
  const { code, message } = await limited.query('select pg_sleep(5)').catch((error) => error)
  const { rows: after } = await limited.query('select 1 as alive')
  await limited.end()
  return [code, message, after]
})
await test('pg_terminate_backend', async () => {
  const victim = new pg.Client()
  await victim.connect()
  const gone = new Promise((resolve) => victim.once('error', ({ code }) => resolve(code)))
  const {
    rows: [{ pid }],
  } = await victim.query('select pg_backend_pid() pid')
  const { rows: told } = await client.query('select pg_terminate_backend($1) as done', [pid])
  const late = new Promise((resolve) => setTimeout(() => resolve('still there'), 2_000))
  const seen = [told, await Promise.race([gone, late])]
  victim.end().catch(() => {})
  return seen
})
await test('a client that leaves while it sleeps', async () => {
  const sleeper = new pg.Client()
  sleeper.on('error', () => {})
  await sleeper.connect()
  sleeper.query('select pg_sleep(30)').catch(() => {})
  await new Promise((resolve) => setTimeout(resolve, 200))
  sleeper.connection.stream.destroy()
  const started = Date.now()
  await rows('select 1')
  return Date.now() - started < 2_000 ? 'others go on' : 'others waited'
})
await test('pg_stat_activity shows the session', async () =>
  rows(
    `select datname = current_database() as here, usename, state, backend_type from pg_stat_activity where pid = pg_backend_pid()`,
  ))
await client.end()
