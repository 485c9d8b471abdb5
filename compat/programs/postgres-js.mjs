/** postgres.js: pipelines, prepared statements by name, cursors, COPY by streams, transactions. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import postgres from 'postgres'
import { test } from './tool.mjs'

const sql = postgres({ max: 3, onnotice: () => {} })

await test('a table and rows', async () => {
  await sql`create table item (id int generated always as identity, name text, data jsonb, at timestamptz)`
  const given = [
    { name: 'a', data: sql.json({ x: 1 }), at: new Date(0) },
    { name: 'b', data: null, at: null },
  ]
  return sql`insert into item ${sql(given, 'name', 'data', 'at')} returning *`
})
await test('a pipeline', () =>
  Promise.all(
    Array.from({ length: 20 }, (_, n) => sql`select ${n}::int + 1 as n`.then(([row]) => row.n)),
  ))
await test('helpers', () =>
  sql`select name from item where name in ${sql(['a', 'b'])} order by ${sql('name')}`)
await test('describe', async () => {
  const { string, types, columns } = await sql`select ${1}::int as one, name from item`.describe()
  return [string, types, columns.map(({ name, type }) => [name, type])]
})
await test('a transaction with a savepoint', async () => {
  const inside = await sql.begin(async (tx) => {
    await tx`insert into item (name) values ('in')`
    await tx.savepoint((point) => point`select 1/0`).catch(({ code }) => code)
    return tx`select count(*)::int from item`
  })
  const failed = await sql.begin((tx) => tx`select 1/0`).catch(({ code }) => code)
  return [inside, failed]
})
await test('a cursor', async () => {
  const sizes = []
  await sql`select generate_series(1, 10) n`.cursor(4, (rows) => void sizes.push(rows.length))
  return sizes
})
await test('COPY in and out', async () => {
  await pipeline(Readable.from(['one\ntwo\n']), await sql`copy item (name) from stdin`.writable())
  let text = ''
  for await (const part of await sql`copy (select name from item order by id) to stdout`.readable())
    text += part
  return text
})
await test('LISTEN and NOTIFY', async () => {
  const heard = Promise.withResolvers()
  const { unlisten } = await sql.listen('news', heard.resolve)
  await sql.notify('news', 'hello')
  const payload = await heard.promise
  await unlisten()
  return payload
})
await test('cancel', async () => {
  const query = sql`select pg_sleep(20)`
  setTimeout(() => query.cancel(), 200)
  const { code } = await query.catch((error) => error)
  return [code, await sql`select 1 as alive`]
})
await test('errors', () => sql`select ${'x'}::int`)
await test('unsafe and simple', () => sql.unsafe('select 1 as a; select 2 as b').simple())
await test('types', () =>
  sql`select array[1,2] a, '{"a":1}'::json b, 1::int8 c, now() - now() d, 'x'::bytea e`)
await sql.end()
