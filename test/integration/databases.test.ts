/**
 * CREATE DATABASE and DROP DATABASE from a session, as migration tools say them: tenants come and
 * go, on whichever shard. Each test begins with what native Postgres does.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import postgres from 'postgres'
import { connectPg, failureOf, missing, type PgConnection, psql } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
let one: PgConnection
before(async () => {
  server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
  one = await connectPg(server, 'home')
})
after(async () => {
  await one.client.end()
  await server[Symbol.asyncDispose]()
})

const statusOf = async (tenant: string): Promise<number> =>
  (await server.request(`/v1/tenants/${tenant}`)).status

const run = (sql: string): Promise<unknown> => one.client.query(sql)

async function refused(sql: string, by: PgConnection = one): Promise<[unknown, string]> {
  const { code, message } = await failureOf(by.client.query(sql))
  return [code, message]
}

describe('CREATE DATABASE', () => {
  test('makes a tenant, which one can connect to', async () => {
    for (const name of ['made-1', 'made-2', 'made-3', 'made-4']) {
      assert.equal(await statusOf(name), 404)
      await run(`create database "${name}"`)
      assert.equal(await statusOf(name), 200)
      await using other = await connectPg(server, name)
      await other.client.query('create table t (n int)')
    }
  })

  test('however it is said', async () => {
    await run(`/* a */ CREATE -- b
      DATABASE Said_1 WITH TEMPLATE = template0 OWNER postgres ENCODING 'UTF8' LC_COLLATE 'C';`)
    await one.client.query({ text: 'create database said_2 template template1', values: [] })
    await one.client.query({ name: 'prepared', text: 'create database "said_3"' })
    for (const name of ['said_1', 'said_2', 'said_3']) assert.equal(await statusOf(name), 200)
    const sql = postgres({ port: server.port, host: '127.0.0.1', database: 'home', max: 1 })
    await sql`create database said_4`
    await sql.unsafe('create database said_5 template default')
    await sql`drop database said_4`
    await sql.end()
    assert.deepEqual([await statusOf('said_4'), await statusOf('said_5')], [404, 200])
  })

  test('of what exists, of a name that is none, with an option that is none', async () => {
    await run('create database twice')
    assert.deepEqual(await refused('create database twice'), [
      '42P04',
      'database "twice" already exists',
    ])
    assert.deepEqual(await refused('create database home'), [
      '42P04',
      'database "home" already exists',
    ])
    assert.equal((await refused('create database template1'))[0], '42P04')
    assert.deepEqual(await refused('create database "No Name"'), [
      '3D000',
      'database name "No Name" is not valid',
    ])
    assert.deepEqual(await refused('create database other colour = red'), [
      '42601',
      'option "colour" not recognized',
    ])
    assert.equal((await refused(`create database other encoding 'LATIN1'`))[0], '0A000')
    assert.equal(await statusOf('other'), 404)
    assert.equal(await one.value('select 1'), 1, 'the session goes on')
  })

  test('in a transaction, beside other statements, in a function', async () => {
    await run('begin')
    assert.equal((await refused('create database inside'))[0], '25001')
    await run('rollback')
    assert.equal((await refused('create database inside; select 1'))[0], '25001')
    assert.equal(
      (await refused(`do $$ begin execute 'create database inside'; end $$`))[0],
      '25001',
    )
    assert.equal(await statusOf('inside'), 404)
    assert.equal(await one.value(`select 'create database inside'`), 'create database inside')
    assert.equal(await statusOf('inside'), 404)
  })

  test('by a role that may, and by one that may not', async () => {
    await run('create role maker createdb; create role reader')
    await using other = await connectPg(server, 'home')
    await other.client.query('set role reader')
    const denied = 'permission denied to create database'
    assert.deepEqual(await refused('create database by_role', other), ['42501', denied])
    await run('create database to_drop')
    assert.equal((await refused('drop database to_drop', other))[0], '42501')
    await other.client.query('reset role; set role maker')
    await other.client.query('create database by_role')
    assert.equal(await statusOf('by_role'), 200)
  })

  test('ends a pipeline at its error, as any statement', async () => {
    const results = await Promise.allSettled([
      one.client.query('create database piped'),
      one.client.query('create database piped'),
      one.client.query('select 1'),
      one.client.query('drop database piped'),
    ])
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    )
    assert.equal(await statusOf('piped'), 404)
  })
})

describe('DROP DATABASE', () => {
  test('removes a tenant with all it has', async () => {
    await run('create database gone')
    const other = await connectPg(server, 'gone')
    await other.client.query('create table t (n int)')
    await other.client.end()
    await run('drop database gone')
    assert.equal(await statusOf('gone'), 404)
    await run('create database gone')
    await using again = await connectPg(server, 'gone')
    assert.equal((await failureOf(again.client.query('table t'))).code, '42P01')
  })

  test('of what does not exist', async () => {
    const notices: string[] = []
    one.client.on('notice', ({ message }) => notices.push(message ?? ''))
    const message = 'database "nobody" does not exist'
    assert.deepEqual(await refused('drop database nobody'), ['3D000', message])
    await run('drop database if exists nobody')
    await run('drop database if exists "No Name"')
    assert.deepEqual(notices, [
      `${message}, skipping`,
      'database "No Name" does not exist, skipping',
    ])
  })

  test('of one’s own, and of one that others use, unless by force', async () => {
    assert.deepEqual(await refused('drop database home'), [
      '55006',
      'cannot drop the currently open database',
    ])
    const other = await connectPg(server, 'used')
    await other.client.query('create table t (n int)')
    const leaving = await connectPg(server, 'leaving')
    await leaving.client.query('create table t (n int)')
    const dropped = run('drop database leaving')
    await leaving.client.end()
    await dropped
    const failure = await failureOf(run('drop database if exists used'))
    assert.equal(failure.code, '55006')
    assert.equal(failure.message, 'database "used" is being accessed by other users')
    assert.equal(failure.detail, 'There is 1 other session using the database.')
    const ended = new Promise<Error>((resolve) => other.client.once('error', resolve))
    await run('drop database used with (force)')
    const { code, detail } = (await ended) as Error & Record<string, unknown>
    assert.deepEqual([code, detail], ['57P01', 'database "used" has been deleted'])
    assert.equal(await statusOf('used'), 404)
    assert.equal((await refused('drop database template1'))[0], '42501')
  })

  test('in a transaction', async () => {
    await run('create database kept')
    await run('begin')
    assert.equal((await refused('drop database kept'))[0], '25001')
    await run('rollback')
    assert.equal(await statusOf('kept'), 200)
  })
})

test('over HTTP', async () => {
  const ask = (sql: string): Promise<Response> => {
    const body = JSON.stringify({ sql })
    return server.request('/v1/tenants/home/query', { method: 'POST', body })
  }
  assert.equal((await ask('create database by_http')).status, 200)
  assert.match(await (await ask('create database by_http')).text(), /42P04/)
  assert.equal((await ask('drop database by_http')).status, 200)
  assert.equal(await statusOf('by_http'), 404)
})

test('psql: \\c to what was just made, and away', { skip: missing('psql') }, async () => {
  const script = `create database shadow;
\\c shadow
create table t (n int);
\\c home
drop database shadow;
select 'done';`
  const { stdout, stderr, status } = await psql(server, 'home', script)
  assert.equal(stderr, '')
  assert.match(stdout, /done/)
  assert.equal(status, 0)
  assert.equal(await statusOf('shadow'), 404)
})

test('where connecting makes nothing, SQL does not either', async () => {
  await using strict = await startServer({ flags: ['--shards', '1', '--no-create-on-connect'] })
  const made = await strict.request('/v1/tenants', {
    method: 'POST',
    body: JSON.stringify({ name: 'home' }),
  })
  assert.equal(made.status, 201)
  await using other = await connectPg(strict, 'home')
  assert.equal((await refused('create database more', other))[0], '42501')
  assert.equal((await refused('drop database more', other))[0], '42501')
})
