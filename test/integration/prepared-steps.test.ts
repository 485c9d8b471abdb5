/**
 * Clients that prepare in one step, with Flush, and run in a later one, as asyncpg does. In between
 * nothing of theirs is open: others write meanwhile, as with native Postgres.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type ServerProcess, startServer } from '../support/server.ts'
import { errorOf, frame, valuesOf, WireClient, type WireMessage } from '../support/wire-client.ts'

let server: ServerProcess
before(async () => {
  const flags = ['--shards', '1', '--slots', '2', '--query-wait-timeout', '1500ms']
  server = await startServer({ flags })
})
after(() => server[Symbol.asyncDispose]())

const NONE = Buffer.alloc(2)
const parse = (name: string, sql: string): Buffer => frame('P', `${name}\0${sql}\0`, NONE)
const describe = (name: string): Buffer => frame('D', `S${name}\0`)
const run = (name: string): Buffer =>
  Buffer.concat([frame('B', `\0${name}\0`, NONE, NONE, NONE), frame('E', '\0', Buffer.alloc(4))])
const flush = frame('H')
const sync = frame('S')
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
  one.send(parse('add', 'insert into t values (1) returning n'), describe('add'), flush)
  assert.equal(types(await told(one, 3)), '1tT')
  assert.equal(await other.value('insert into t values (2) returning n'), '2')
  assert.deepEqual(valuesOf(await one.say(run('add'), sync)), ['1'])
  one.send(parse('', 'select count(*) from t'), describe(''), flush)
  assert.equal(types(await told(one, 3)), '1tT')
  assert.equal(await other.value('update t set n = n + 1 where n = 2 returning n'), '3')
  assert.deepEqual(valuesOf(await one.say(run(''), sync)), ['2'])
  assert.equal(types(await one.say(sync)), 'Z')
})

test('what cannot be prepared is an error up to the Sync of its client', async () => {
  await using one = await WireClient.connect(server, 'failing')
  await using other = await WireClient.connect(server, 'failing')
  one.send(parse('bad', 'select * from nothing'), describe('bad'), flush)
  assert.match(errorOf(await told(one, 1)) ?? '', /^42P01/)
  assert.equal(types(await one.say(run('bad'), parse('', 'select 1'), sync)), 'Z')
  assert.equal(await other.value('create table nothing(n int)'), '')
  assert.equal(types(await one.say(parse('bad', 'select * from nothing'), sync)), '1Z')
})

test('what has been run keeps its place: it is one transaction up to the Sync', async () => {
  await using one = await WireClient.connect(server, 'pipeline')
  await using other = await WireClient.connect(server, 'pipeline')
  await one.query('create table t(n int)')
  one.send(parse('add', 'insert into t values (1)'), flush)
  await told(one, 1)
  one.send(run('add'), flush)
  assert.equal(types(await told(one, 2)), '2C')
  one.send(parse('read', 'select count(*) from t'), flush)
  await told(one, 1)
  assert.equal(await other.value('select count(*) from t'), '0', 'nothing is committed yet')
  const failed = await one.say(run('read'), run('add'), parse('', 'select 1 / 0'), run(''), sync)
  assert.match(errorOf(failed) ?? '', /^22012/)
  assert.equal(await other.value('select count(*) from t'), '0', 'nor will be')
})

test('in a transaction its client keeps the backend, as ever', async () => {
  await using one = await WireClient.connect(server, 'open')
  await using other = await WireClient.connect(server, 'open')
  await one.query('create table t(n int); begin; insert into t values (1)')
  one.send(parse('add', 'insert into t values (2)'), describe('add'), flush)
  assert.equal(types(await told(one, 3)), '1tn')
  assert.match(await other.value('insert into t values (3)'), /^57014/)
  assert.equal(types(await one.say(run('add'), sync)), '2CZ')
  await one.query('commit')
  assert.equal(await other.value('select sum(n) from t'), '3')
})
