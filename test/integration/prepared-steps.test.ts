/**
 * Clients that prepare in one step, with Flush, and run in a later one, as asyncpg does. In between
 * nothing of theirs is open: others write meanwhile, as with native Postgres.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { say } from '../support/messages.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { errorOf, valuesOf, WireClient, type WireMessage } from '../support/wire-client.ts'

let server: ServerProcess
before(async () => {
  const flags = ['--shards', '1', '--slots', '2', '--query-wait-timeout', '1500ms']
  server = await startServer({ flags })
})
after(() => server[Symbol.asyncDispose]())

const run = (name: string): Uint8Array => Buffer.concat([say.bind('', name), say.execute('')])
const [flush, sync] = [say.flush(), say.sync()]
const types = (messages: readonly WireMessage[]): string =>
  messages.map(({ type }) => type).join('')

async function told(client: WireClient, count: number): Promise<readonly WireMessage[]> {
  const messages: WireMessage[] = []
  while (messages.length < count) messages.push(await client.next())
  return messages
}

test('who has only prepared keeps nobody waiting, and runs it whenever it wants', async () => {
  await using one = await WireClient.connect(server, 'prepared')
  await using other = await WireClient.connect(server, 'prepared')
  await one.query('create table t(n int)')
  one.send(say.parse('add', 'insert into t values (1) returning n'), say.describe('add'), flush)
  assert.equal(types(await told(one, 3)), '1tT')
  assert.equal(await other.value('insert into t values (2) returning n'), '2')
  assert.deepEqual(valuesOf(await one.say(run('add'), sync)), ['1'])
  one.send(say.parse('', 'select count(*) from t'), say.describe(''), flush)
  assert.equal(types(await told(one, 3)), '1tT')
  assert.equal(await other.value('update t set n = n + 1 where n = 2 returning n'), '3')
  assert.deepEqual(valuesOf(await one.say(run(''), sync)), ['2'])
  assert.equal(types(await one.say(sync)), 'Z')
})

test('what cannot be prepared is an error up to the Sync of its client', async () => {
  await using one = await WireClient.connect(server, 'failing')
  await using other = await WireClient.connect(server, 'failing')
  one.send(say.parse('bad', 'select * from nothing'), say.describe('bad'), flush)
  assert.match(errorOf(await told(one, 1)) ?? '', /^42P01/)
  assert.equal(types(await one.say(run('bad'), say.parse('', 'select 1'), sync)), 'Z')
  assert.equal(await other.value('create table nothing(n int)'), '')
  assert.equal(types(await one.say(say.parse('bad', 'select * from nothing'), sync)), '1Z')
})

test('what has been run keeps its place: it is one transaction up to the Sync', async () => {
  await using one = await WireClient.connect(server, 'pipeline')
  await using other = await WireClient.connect(server, 'pipeline')
  await one.query('create table t(n int)')
  one.send(say.parse('add', 'insert into t values (1)'), flush)
  await told(one, 1)
  one.send(run('add'), flush)
  assert.equal(types(await told(one, 2)), '2C')
  one.send(say.parse('read', 'select count(*) from t'), flush)
  await told(one, 1)
  assert.equal(await other.value('select count(*) from t'), '0', 'nothing is committed yet')
  const failed = await one.say(
    run('read'),
    run('add'),
    say.parse('', 'select 1 / 0'),
    run(''),
    sync,
  )
  assert.match(errorOf(failed) ?? '', /^22012/)
  assert.equal(await other.value('select count(*) from t'), '0', 'nor will be')
})

test('in a transaction its client keeps the backend, as ever', async () => {
  await using one = await WireClient.connect(server, 'open')
  await using other = await WireClient.connect(server, 'open')
  await one.query('create table t(n int); begin; insert into t values (1)')
  one.send(say.parse('add', 'insert into t values (2)'), say.describe('add'), flush)
  assert.equal(types(await told(one, 3)), '1tn')
  assert.match(await other.value('insert into t values (3)'), /^57014/)
  assert.equal(types(await one.say(run('add'), sync)), '2CZ')
  await one.query('commit')
  assert.equal(await other.value('select sum(n) from t'), '3')
})
