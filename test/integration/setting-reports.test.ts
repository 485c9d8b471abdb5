/**
 * Clients are told when a setting changes that they follow (ParameterStatus), each of its own
 * session and of no other's, over changes of hands, naps and restarts of the backend.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1'] })
})
after(() => server[Symbol.asyncDispose]())

interface Listener extends AsyncDisposable {
  /** Runs a statement; what it was told of, in order of names. */
  readonly told: (sql: string) => Promise<string[]>
  readonly greeted: readonly string[]
}

async function connect(tenant: string, options = ''): Promise<Listener> {
  const client = new pg.Client({ connectionString: server.url(tenant), options })
  const heard: string[] = []
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter }
  connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) =>
    heard.push(`${message.parameterName}=${message.parameterValue}`),
  )
  await client.connect()
  const greeted = heard.splice(0)
  const told = async (sql: string): Promise<string[]> => {
    await client.query(sql)
    return heard.splice(0).toSorted()
  }
  return { told, greeted, [Symbol.asyncDispose]: () => client.end() }
}

test('what a statement changes is told before it is ready', async () => {
  await using one = await connect('told')
  assert.deepEqual(await one.told('select 1'), [])
  assert.deepEqual(await one.told(`set datestyle = 'german'`), ['DateStyle=German, DMY'])
  assert.deepEqual(await one.told(`set timezone = 'Europe/Rome'; set search_path = public`), [
    'TimeZone=Europe/Rome',
    'search_path=public',
  ])
  assert.deepEqual(await one.told('set standard_conforming_strings = off'), [
    'standard_conforming_strings=off',
  ])
})

test('what is set to what it was is no news, from the first statement on', async () => {
  for (const tenant of ['same', 'same-cold']) {
    await using first = await connect(tenant)
    await first.told('create table t(n int)')
    if (tenant === 'same-cold') {
      // Without an image it boots from its store.
      await first.told('create unlogged table u(n int)')
      await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
    }
    for (const sql of [
      `set datestyle = 'ISO, MDY'; set timezone = 'UTC'; set client_encoding = 'UTF8'`,
      `set application_name = ''; set search_path = "$user", public`,
      `set standard_conforming_strings = on; set intervalstyle = postgres`,
      `set default_transaction_read_only = off; set scram_iterations = 4096`,
      'set role postgres; reset role; set session authorization default',
      'create index on t(n)',
      `begin; set local datestyle = 'german'; rollback`,
      'reset all',
      'discard all',
    ]) {
      assert.deepEqual(await first.told(sql), [], sql)
    }
    await using other = await connect(tenant)
    assert.deepEqual(await first.told(`set timezone = 'Europe/Rome'`), ['TimeZone=Europe/Rome'])
    // It is no news to the one who has said it, and it is to the other.
    assert.deepEqual(await first.told(`set timezone = 'Europe/Rome'`), [])
    assert.deepEqual(await other.told(`set timezone = 'Europe/Rome'`), ['TimeZone=Europe/Rome'])
    assert.deepEqual(await first.told('reset timezone'), ['TimeZone=UTC'])
    assert.deepEqual(await other.told('reset timezone'), ['TimeZone=UTC'])
  }
})

test('a transaction that is rolled back, and a setting that is local to one', async () => {
  await using one = await connect('undone')
  assert.deepEqual(await one.told(`begin; set local timezone = 'Europe/Rome'`), [
    'TimeZone=Europe/Rome',
  ])
  assert.deepEqual(await one.told('commit'), ['TimeZone=UTC'])
  await one.told(`begin; set datestyle = 'sql'`)
  assert.deepEqual(await one.told('rollback'), ['DateStyle=ISO, MDY'])
})

test('nobody hears of another one’s settings, whoever has the backend', async () => {
  await using one = await connect('apart')
  await using two = await connect('apart')
  for (const style of ['German, DMY', 'SQL, MDY']) {
    assert.deepEqual(await one.told(`set datestyle = '${style}'`), [`DateStyle=${style}`])
    assert.deepEqual(await two.told('select 1'), [])
    assert.deepEqual(await one.told('select 1'), [])
  }
  assert.deepEqual(await two.told(`set datestyle = 'german'`), ['DateStyle=German, DMY'])
  assert.deepEqual(await one.told('select 1'), [])
  await using three = await connect('apart')
  assert.deepEqual(await three.told('select 1'), [], 'a newcomer has its own')
})

test('a nap tells nobody anything, with an image or without one', async () => {
  await using one = await connect('napper')
  await one.told(`set datestyle = 'german'; create unlogged table volatile(n int)`)
  for (const sql of ['select 1', 'drop table volatile']) {
    const { status } = await server.request('/v1/tenants/napper/nap', { method: 'POST' })
    assert.equal(status, 200)
    assert.deepEqual(await one.told(sql), [])
  }
  assert.deepEqual(await one.told('reset datestyle'), ['DateStyle=ISO, MDY'])
})

test('a greeting has what the startup packet asked for', async () => {
  await using one = await connect('started', '-c datestyle=german -c timezone=Europe/Rome')
  assert.ok(one.greeted.includes('DateStyle=German, DMY'))
  assert.ok(one.greeted.includes('TimeZone=Europe/Rome'))
  assert.deepEqual(await one.told('select 1'), [])
})
