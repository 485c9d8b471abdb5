/**
 * Readers beside a transaction that has temporary files open: a cursor over a sort that does not
 * fit memory, a statement in the middle of one. The files are of no use to a copy of the backend.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectPg } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

const BOUNDED_MS = 5_000
let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '3', '--nap-after', '1h'] })
})
after(() => server[Symbol.asyncDispose]())

async function bounded<Result>(work: Promise<Result>): Promise<Result> {
  const late = delay(BOUNDED_MS, undefined, { ref: false }).then(() => assert.fail('it waits'))
  late.catch(() => {})
  return Promise.race([work, late])
}

async function reads(): Promise<number> {
  const answer = await server.request('/v1/pool')
  return ((await answer.json()) as { forks: { reads: number } }).forks.reads
}

const SORTED = `select n from generate_series(1, 200000) n order by md5(n::text)`

test('a cursor over a spilled sort: others read, and it goes on', async () => {
  await using one = await connectPg(server, 'cursor')
  await using other = await connectPg(server, 'cursor')
  await one.client.query(`create table t(n int); set work_mem = '64kB'`)
  const expected = await one.column(`${SORTED} limit 1000`)
  await one.client.query(`begin; insert into t values (1); declare c cursor for ${SORTED}`)
  const found = await one.column('fetch 500 from c')
  const before = await reads()
  for (let times = 0; times < 5; times++) {
    assert.equal(await bounded(other.value('select count(*) from t')), '0')
    const sorted = `select count(*) from (${SORTED} offset 0) as sorted`
    await bounded(other.client.query(`set work_mem = '64kB'`))
    assert.equal(await bounded(other.value(sorted)), '200000', 'it spills by itself there')
    found.push(...(await one.column('fetch 100 from c')))
  }
  assert.ok((await reads()) >= before + 10)
  assert.deepEqual(found, expected)
  await one.client.query('commit')
  assert.equal(await bounded(other.value('select count(*) from t')), '1')
  assert.doesNotMatch(server.log(), /no fork|fork could not|IMAGE_INVALID|pgsql_tmp/)
})

test('a statement that is in the middle of one', async () => {
  await using one = await connectPg(server, 'midway')
  await using other = await connectPg(server, 'midway')
  await one.client.query(`create table t(n int); set work_mem = '64kB'`)
  let isOver = false
  const long = one.client
    .query(`insert into t select n from (select n from generate_series(1, 1000000) n
      order by md5(n::text)) as sorted limit 1`)
    .then(() => (isOver = true))
  await delay(300)
  for (let times = 0; times < 5 && !isOver; times++) {
    assert.match(String(await bounded(other.value('select count(*) from t'))), /[01]/)
  }
  await long
  assert.equal(await other.value('select count(*) from t'), '1')
  assert.doesNotMatch(server.log(), /no fork|fork could not|IMAGE_INVALID|pgsql_tmp/)
})
