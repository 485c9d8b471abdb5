/**
 * ALTER DATABASE ... SET and ALTER ROLE ... SET: who connects from then on has the settings, hears
 * of them before its first answer, and RESET goes back to them; as in native Postgres.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { connectPg } from '../support/clients.ts'
import { say } from '../support/messages.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '3'] })
})
after(() => server[Symbol.asyncDispose]())

async function inTenant(tenant: string, sql: string): Promise<void> {
  await using one = await connectPg(server, tenant)
  await one.client.query(sql)
}

interface Told {
  readonly parameterName: string
  readonly parameterValue: string
}

/** A client, with what it has been told of its settings, in order. */
async function listener(
  { port }: { readonly port: number },
  tenant: string,
  options?: string,
): Promise<{ readonly client: Client; readonly told: Map<string, string> } & AsyncDisposable> {
  const given = options === undefined ? {} : { options }
  const at = { host: '127.0.0.1', port, user: 'postgres', database: tenant }
  const client = new Client({ ...at, ...given })
  const told = new Map<string, string>()
  const { connection } = client as unknown as {
    connection: { on(event: string, hear: (message: Told) => void): void }
  }
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    told.set(parameterName, parameterValue)
  })
  await client.connect()
  return { client, told, [Symbol.asyncDispose]: () => client.end() }
}

/** All that a server says to a client that says no more than that, by message. */
async function said(
  { port }: { readonly port: number },
  messages: readonly Uint8Array[],
): Promise<string[]> {
  const socket = connect(port, '127.0.0.1')
  socket.end(Buffer.concat([...messages, say.terminate()]))
  const heard: string[] = []
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket) bytes = Buffer.concat([bytes, chunk as Buffer])
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    const type = bytes.toString('latin1', at, at + 1)
    const values = type === 'S' ? bytes.toString('utf8', at + 5, end - 1).split('\0') : []
    heard.push([type, ...values].join(' '))
    at = end
  }
  return heard
}

async function show(client: Client, name: string): Promise<unknown> {
  const { rows } = await client.query<unknown[]>({ text: `show ${name}`, rowMode: 'array' })
  return rows[0]?.[0]
}

test('of a database, of a role, of a role in a database: the most special one counts', async () => {
  await inTenant(
    'special',
    `alter role all set work_mem = '5MB';
     alter database special set work_mem = '6MB';
     alter database special set timezone = 'Asia/Tokyo';
     alter role postgres set datestyle = 'german'; alter role postgres set timezone = 'Asia/Dubai';
     alter role postgres in database special set search_path = one, "$user";
     create role other; alter role other set statement_timeout = 1`,
  )
  await using one = await listener(server, 'special')
  assert.equal(await show(one.client, 'work_mem'), '6MB')
  assert.equal(await show(one.client, 'timezone'), 'Asia/Dubai')
  assert.equal(await show(one.client, 'search_path'), 'one, "$user"')
  assert.equal(await show(one.client, 'statement_timeout'), '0')
  await one.client.query(`set timezone = 'Europe/Rome'; set work_mem = '9MB'; reset all`)
  assert.equal(await show(one.client, 'timezone'), 'Asia/Dubai')
  await one.client.query('discard all')
  assert.equal(await show(one.client, 'work_mem'), '6MB')
})

test('a client that is there keeps what it has; its own startup settings come first', async () => {
  await using before = await listener(server, 'order')
  assert.equal(await show(before.client, 'timezone'), 'UTC')
  await before.client.query(`alter database "order" set timezone = 'Asia/Tokyo'`)
  assert.equal(await show(before.client, 'timezone'), 'UTC')
  await using next = await listener(server, 'order')
  assert.equal(await show(next.client, 'timezone'), 'Asia/Tokyo')
  await using own = await listener(server, 'order', '-c timezone=Europe/Rome')
  assert.equal(await show(own.client, 'timezone'), 'Europe/Rome')
  await before.client.query(`alter database "order" reset timezone`)
  await using last = await listener(server, 'order')
  assert.equal(await show(last.client, 'timezone'), 'UTC')
  assert.equal(await show(next.client, 'timezone'), 'Asia/Tokyo')
  assert.equal(await show(before.client, 'timezone'), 'UTC')
})

test('the greeting tells them, to each client', async () => {
  await inTenant('greeted', `alter database greeted set timezone = 'Asia/Tokyo'`)
  for (let round = 0; round < 3; round++) {
    await using one = await listener(server, 'greeted')
    assert.equal(one.told.get('TimeZone'), 'Asia/Tokyo')
    assert.equal(one.told.get('DateStyle'), 'ISO, MDY')
    await using other = await listener(server, 'greeted', '-c datestyle=german')
    assert.equal(other.told.get('TimeZone'), 'Asia/Tokyo')
    assert.equal(other.told.get('DateStyle'), 'German, DMY')
  }
})

test('who wakes its tenant hears them before its first answer', async () => {
  using folder = temporaryFolder()
  const start = (): Promise<ServerProcess> =>
    startServer({ data: folder.path, flags: ['--shards', '1'] })
  {
    await using first = await start()
    await using one = await connectPg(first, 'cold')
    await one.client.query(`alter database cold set datestyle = 'german'`)
    await one.client.end()
    await first.stop()
  }
  await using second = await start()
  const greeting = await said(second, [say.startup({ user: 'postgres', database: 'cold' })])
  assert.ok(greeting.includes('S DateStyle ISO, MDY'), 'nobody was woken for a greeting')
  const startup = say.startup({ user: 'postgres', database: 'cold' })
  const all = await said(second, [startup, say.query('select 1')])
  const at = all.indexOf('S DateStyle German, DMY')
  assert.ok(at > all.indexOf('S DateStyle ISO, MDY') && at < all.indexOf('T'), all.join('; '))
})

test('beside an open transaction too', async () => {
  await inTenant(
    'beside',
    `alter database beside set timezone = 'Asia/Tokyo'; create table t(n int)`,
  )
  await using writer = await connectPg(server, 'beside')
  await writer.client.query('begin; insert into t values (1)')
  await using reader = await listener(server, 'beside')
  assert.equal(await show(reader.client, 'timezone'), 'Asia/Tokyo')
  await writer.client.query('commit')
  await reader.client.query('insert into t values (2)')
  assert.equal(await show(reader.client, 'timezone'), 'Asia/Tokyo')
})

test('what is not possible any more is passed over', async () => {
  await inTenant(
    'gone',
    `create text search configuration mine (copy = simple);
     alter database gone set default_text_search_config = 'public.mine';
     alter database gone set timezone = 'Asia/Tokyo';
     drop text search configuration mine`,
  )
  await using one = await listener(server, 'gone')
  assert.equal(await show(one.client, 'timezone'), 'Asia/Tokyo')
})

test('an operator in the search path of another client hides none', async () => {
  await inTenant('hidden', `alter database hidden set work_mem = '6MB'`)
  await using evil = await connectPg(server, 'hidden')
  await evil.client.query(
    `create schema evil;
     create function evil.differs(oid, oid) returns bool language sql as 'select false';
     create function evil.differs(text, text) returns bool language sql as 'select false';
     create operator evil.= (leftarg = oid, rightarg = oid, function = evil.differs);
     create operator evil.= (leftarg = text, rightarg = text, function = evil.differs);
     set search_path = evil, pg_catalog`,
  )
  await using next = await listener(server, 'hidden')
  assert.equal(await show(next.client, 'work_mem'), '6MB')
})

test('a role of another client from which they are hidden hides none', async () => {
  await inTenant(
    'revoked',
    `alter database revoked set work_mem = '6MB'; create role low;
     revoke select on pg_db_role_setting from public`,
  )
  await using low = await connectPg(server, 'revoked')
  await low.client.query('set role low')
  await using next = await listener(server, 'revoked')
  assert.equal(await show(next.client, 'work_mem'), '6MB')
  await next.client.query(`set work_mem = '7MB'`)
  assert.equal(await low.value('show work_mem'), '6MB')
  assert.equal(await show(next.client, 'work_mem'), '7MB')
})
