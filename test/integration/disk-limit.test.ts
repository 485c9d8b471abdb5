/**
 * A tenant that has reached `--database-size`: what would grow it fails, everything else goes on,
 * and it gets below the ceiling by itself.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const folder = temporaryFolder()
const start = (size: string): Promise<ServerProcess> =>
  startServer({ data: folder.path, flags: ['--shards', '1', '--database-size', size] })

let server: ServerProcess
before(async () => {
  server = await start('64MB')
})
after(async () => {
  await server[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const MORE = `insert into t (x) select repeat('x', 1000) from generate_series(1, 2000)`

/** Fills a tenant up; tells what the last one was told. */
async function fill({ client }: PgConnection): Promise<Awaited<ReturnType<typeof failureOf>>> {
  await client.query('create table t (id serial primary key, x text)')
  for (let round = 0; round < 100; round++) {
    const failure = await client.query(MORE).then(
      () => undefined,
      (error: unknown) => failureOf(Promise.reject(error as Error)),
    )
    if (failure) return failure
  }
  assert.fail('there is an end')
}

test('what is too much is refused, and the session goes on', async () => {
  await using one = await connectPg(server, 'full')
  const failure = await fill(one)
  assert.equal(failure.code, '53100')
  assert.ok(failure.hint !== undefined)
  const count = await one.value('select count(*)::int from t')
  assert.ok(Number(count) > 2000)
  assert.equal((await failureOf(one.client.query(MORE))).code, '53100')
  assert.equal(await one.value('select count(*)::int from t'), count, 'nothing of it is there')
  await using other = await connectPg(server, 'other')
  await other.client.query('create table t (n int); insert into t values (1)')
})

for (const [name, statements] of Object.entries({
  truncate: ['truncate t'],
  delete: ['delete from t', 'vacuum t'],
  drop: ['drop table t', 'create table t (id serial primary key, x text)'],
})) {
  test(`it gets below the ceiling by ${name}`, async () => {
    {
      await using other = await connectPg(server, 'other')
      await other.client.query(`create database "by-${name}" template "full"`)
    }
    await using one = await connectPg(server, `by-${name}`)
    assert.equal((await failureOf(one.client.query(MORE))).code, '53100')
    for (const sql of statements) await one.client.query(sql)
    await one.client.query(MORE)
    assert.equal(await one.value('select count(*)::int from t'), 2000)
  })
}

test('a ceiling below what is there after a restart: it can be read, and emptied', async () => {
  {
    await using one = await connectPg(server, 'lowered')
    await one.client.query('create table t (id serial primary key, x text)')
    await server.stop()
    server = await start('1GB')
  }
  {
    await using one = await connectPg(server, 'lowered')
    for (let round = 0; round < 30; round++) await one.client.query(MORE)
    await one.client.end()
    await server.stop()
    server = await start('64MB')
  }
  await using one = await connectPg(server, 'lowered')
  assert.equal(await one.value('select count(*)::int from t'), 60_000)
  assert.equal((await failureOf(one.client.query(MORE))).code, '53100')
  await one.client.query('delete from t where id > 2000; ')
  await one.client.query('vacuum t')
  await one.client.query('truncate t')
  await one.client.query(MORE)
  assert.equal(await one.value('select count(*)::int from t'), 2000)
})
