/**
 * Neon's serverless driver over HTTP and WebSocket. Native Postgres speaks neither, so there the
 * same statements go through node-postgres, whose rows and errors the driver promises.
 */
import { neon, neonConfig, Pool as NeonPool } from '@neondatabase/serverless'
import pg from 'pg'
import { test } from './tool.mjs'

const { COMPAT_SERVER, COMPAT_HTTP_PORT, PGDATABASE, PGUSER } = process.env
const isNative = COMPAT_SERVER === 'native'
const url = `postgres://${PGUSER}:unused@localhost/${PGDATABASE}`
neonConfig.fetchEndpoint = `http://127.0.0.1:${COMPAT_HTTP_PORT}/sql`
neonConfig.wsProxy = () => `127.0.0.1:${COMPAT_HTTP_PORT}/v2`
neonConfig.useSecureWebSocket = false
neonConfig.pipelineConnect = false
neonConfig.webSocketConstructor = globalThis.WebSocket

const pool = isNative ? new pg.Pool({ max: 2 }) : new NeonPool({ connectionString: url, max: 2 })
const http = isNative
  ? { query: async (text, values) => (await pool.query(text, values)).rows }
  : neon(url)
const array = async (text, values) =>
  isNative
    ? (await pool.query({ text, values, rowMode: 'array' })).rows
    : http.query(text, values, { arrayMode: true })
const transaction = async (texts, options = '') => {
  if (!isNative)
    return http.transaction(
      texts.map((text) => http.query(text)),
      options === '' ? {} : { isolationLevel: options, readOnly: true },
    )
  const client = await pool.connect()
  try {
    await client.query(
      `begin ${options === '' ? '' : `isolation level ${options.replace(/([a-z])([A-Z])/, '$1 $2')} read only`}`,
    )
    const results = []
    for (const text of texts) results.push((await client.query(text)).rows)
    await client.query('commit')
    return results
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

await test('http: types', () =>
  http.query(`select 1::int2 a, 2::int8 b, 1.5::float8 c, 'NaN'::float4 d, 1.10::numeric e, true f, null g, 'é' h,
    array[1,2] i, array['a,b', null] j, '{"x":[1,null]}'::jsonb k, '2020-01-02'::date l, '\\x00ff'::bytea m`))
await test('http: parameters', () =>
  http.query('select $1::int + 1 a, $2::text b, $3::jsonb c, $4::int[] d, $5::bool e', [
    41,
    `it's`,
    { a: 1 },
    [1, 2],
    false,
  ]))
await test('http: arrays', () => array('select 1 a, 2 a'))
await test('http: tables', async () => {
  await http.query('create table t (id serial primary key, name text unique)')
  return http.query(`insert into t (name) values ('a'), ('b') returning *`)
})
await test('http: an error', async () => {
  const { code, constraint, table, severity, detail, schema } = await http
    .query(`insert into t (name) values ('a')`)
    .catch((error) => error)
  return { code, constraint, table, severity, detail, schema }
})
await test('http: a transaction', () =>
  transaction([
    `insert into t (name) values ('c') returning name`,
    'select count(*)::int n from t',
  ]))
await test('http: a transaction that fails', async () => {
  const { code } = await transaction([`insert into t (name) values ('d')`, 'select 1/0']).catch(
    (error) => error,
  )
  return [code, await http.query(`select count(*)::int n from t where name = 'd'`)]
})
await test('http: a read-only transaction', async () => {
  const { code, message } = await transaction(
    [`insert into t (name) values ('e')`],
    'Serializable',
  ).catch((error) => error)
  return [code, message, await transaction(['show transaction_isolation'], 'RepeatableRead')]
})
await test('WebSocket: a pool', async () => {
  const { rows, fields, command, rowCount } = await pool.query(
    'select id, name from t where id > $1 order by id',
    [1],
  )
  return [rows, fields.map(({ name, dataTypeID }) => [name, dataTypeID]), command, rowCount]
})
await test('WebSocket: a session', async () => {
  const client = await pool.connect()
  await client.query(`begin; set local timezone = 'Europe/Rome'`)
  const { rows } = await client.query('show timezone')
  await client.query('rollback')
  const { code } = await client.query('select 1/0').catch((error) => error)
  client.release()
  return [rows, code]
})
await test('WebSocket: LISTEN', async () => {
  const client = await pool.connect()
  const heard = new Promise((resolve) =>
    client.once('notification', ({ channel, payload }) => resolve([channel, payload])),
  )
  await client.query('listen news')
  await pool.query(`notify news, 'hello'`)
  const seen = await heard
  client.release()
  return seen
})
await pool.end()
