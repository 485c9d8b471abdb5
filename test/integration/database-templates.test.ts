/**
 * CREATE DATABASE ... TEMPLATE, and `template` over HTTP: a tenant with what another one holds, on
 * whichever shard. Each test begins with what native Postgres does.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { runProgram, type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let server: ServerProcess
let home: PgConnection
before(async () => {
  server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
  home = await connectPg(server, 'home')
})
after(async () => {
  await home.client.end()
  await server[Symbol.asyncDispose]()
})

async function refused(sql: string, by: PgConnection = home): Promise<unknown[]> {
  const { code, message, detail } = await failureOf(by.client.query(sql))
  return [code, message, ...(detail === undefined ? [] : [detail])]
}

/** Runs statements in a session of their own, which leaves. */
async function inTenant(tenant: string, sql: string, at: ServerProcess = server): Promise<void> {
  await using connection = await connectPg(at, tenant)
  await connection.client.query(sql)
}

async function valueIn(tenant: string, sql: string, at: ServerProcess = server): Promise<unknown> {
  await using connection = await connectPg(at, tenant)
  return await connection.value(sql)
}

function create(body: object, at: ServerProcess = server): Promise<Response> {
  return at.request('/v1/tenants', { method: 'POST', body: JSON.stringify(body) })
}

const FILL = `
  create table t (id serial primary key, word text);
  insert into t (word) select 'w' || n from generate_series(1, 1000) n;
  create unlogged table u (n int);
  insert into u values (1), (2);
  create sequence s;
  select nextval('s'), nextval('s');
  create role reader;
  grant select on t to reader;`
const HOLDS = `
  select concat_ws(' ', (select count(*) from t), (select sum(n) from u), nextval('s'),
    nextval('t_id_seq'), has_table_privilege('reader', 't', 'select'), current_database())`

describe('CREATE DATABASE ... TEMPLATE', () => {
  before(() => inTenant('full', FILL))

  test('makes a tenant with all that the other holds, wherever the two are', async () => {
    for (const name of ['copy-1', 'copy-2', 'copy-3', 'copy-4']) {
      await home.client.query(`create database "${name}" template "full"`)
      assert.equal(await valueIn(name, HOLDS), `1000 3 3 1001 t ${name}`)
    }
    assert.equal(await valueIn('full', HOLDS), '1000 3 3 1001 t full', 'nothing was used up there')
  })

  test('from then on the two have nothing in common', async () => {
    await home.client.query('create database apart template "full"')
    await inTenant('apart', 'delete from t; drop table u')
    await inTenant('full', `insert into t (word) values ('more')`)
    assert.equal(await valueIn('apart', 'select count(*)::int from t'), 0)
    assert.equal(await valueIn('full', 'select count(*)::int from t'), 1001)
    await inTenant('full', `delete from t where word = 'more'`)
  })

  test('of a copy, of one that napped, of one that is asleep', async () => {
    await home.client.query('create database second template "full"')
    await home.client.query('create database third template second')
    await server.request('/v1/tenants/third/nap', { method: 'POST' })
    await home.client.query('create database fourth template third')
    assert.equal(await valueIn('fourth', 'select count(*)::int from t'), 1000)
  })

  test('of one’s own, by a session that goes on', async () => {
    await using own = await connectPg(server, 'own')
    await own.client.query(`create table t (n int); set application_name = 'mine'`)
    await own.client.query({ name: 'one', text: 'select count(*)::int from t' })
    await own.client.query('create database of_own template own')
    assert.equal(await own.value('show application_name'), 'mine')
    await own.client.query('insert into t values (1)')
    const again = await own.client.query<{ count: number }>({ name: 'one', text: '' })
    assert.equal(again.rows[0]?.count, 1)
    assert.equal(await valueIn('of_own', 'select count(*)::int from t'), 0)
  })

  test('while others use it is refused, unless they leave in time', async () => {
    const other = await connectPg(server, 'full')
    const failure = ['55006', 'source database "full" is being accessed by other users']
    const detail = 'There is 1 other session using the database.'
    assert.deepEqual(await refused('create database no template "full"'), [...failure, detail])
    const copied = home.client.query('create database in_time template "full"')
    await other.client.query('select 1')
    await other.client.end()
    await copied
    assert.equal(await valueIn('in_time', 'select count(*)::int from t'), 1000)
  })

  test('of one that is deleted while it is waited for: it does not come back', async () => {
    const other = await connectPg(server, 'leaving')
    await other.client.query('create table t (n int)')
    other.client.on('error', () => {})
    const refusal = failureOf(home.client.query('create database left_over template leaving'))
    await new Promise((resolve) => setTimeout(resolve, 350))
    assert.equal((await server.request('/v1/tenants/leaving', { method: 'DELETE' })).status, 204)
    assert.equal((await refusal).code, '3D000')
    for (const name of ['leaving', 'left_over']) {
      assert.equal((await server.request(`/v1/tenants/${name}`)).status, 404, name)
    }
    await inTenant('leaving', 'create table t (n int)')
  })

  test('several at a time', async () => {
    await inTenant('popular', 'create table t as select 1 as n')
    const names = ['p1', 'p2', 'p3', 'p4', 'p5', 'p6']
    await Promise.all(
      names.map((name) => inTenant('postgres', `create database ${name} template popular`)),
    )
    const found = await Promise.all(names.map((name) => valueIn(name, 'select n from t')))
    assert.deepEqual(
      found,
      names.map(() => 1),
    )
  })

  test('of what does not exist, to what exists, by a role that is no superuser', async () => {
    const missing = 'template database "nobody" does not exist'
    assert.deepEqual(await refused('create database x template nobody'), ['3D000', missing])
    assert.deepEqual(await refused('create database home template "full"'), [
      '42P04',
      'database "home" already exists',
    ])
    await home.client.query('create role maker createdb')
    await using maker = await connectPg(server, 'home')
    await maker.client.query('set role maker')
    assert.deepEqual(await refused('create database x template "full"', maker), [
      '42501',
      'permission denied to copy database "full"',
    ])
    await maker.client.query('create database by_maker template template1')
    assert.equal((await server.request('/v1/tenants/x')).status, 404)
  })
})

describe('template of POST /v1/tenants', () => {
  test('copies a tenant that is in use, and has no transaction open', async () => {
    await using user = await connectPg(server, 'live')
    await user.client.query('create table t (n int); insert into t values (1)')
    const made = await create({ name: 'staging', template: 'live' })
    assert.equal(made.status, 201)
    assert.equal(await valueIn('staging', 'select n from t'), 1)
    await user.client.query('insert into t values (2)')
    assert.equal(await valueIn('staging', 'select count(*)::int from t'), 1)
  })

  test('is refused while a transaction stays open, and what waited goes on', async () => {
    await using user = await connectPg(server, 'held')
    await user.client.query('create table t (n int)')
    await user.client.query('begin; insert into t values (1)')
    const refusal = await create({ name: 'never', template: 'held' })
    assert.equal(refusal.status, 409)
    assert.match(await refusal.text(), /TENANT_BUSY/)
    await user.client.query('commit')
    assert.equal(await valueIn('held', 'select count(*)::int from t'), 1)
    assert.equal((await server.request('/v1/tenants/never')).status, 404)
  })

  test('of a tenant that an administrator has paused', async () => {
    await inTenant('rested', 'create table t as select 7 as n')
    await inTenant('pgnap', 'pause rested')
    assert.equal((await create({ name: 'from_rested', template: 'rested' })).status, 201)
    assert.equal(await valueIn('from_rested', 'select n from t'), 7)
    const facts = await (await server.request('/v1/tenants/rested')).json()
    assert.equal((facts as { paused: boolean }).paused, true, 'it stays so')
    await inTenant('pgnap', 'resume rested')
    assert.equal(await valueIn('rested', 'select n from t'), 7)
  })

  test('says what is wrong', async () => {
    assert.equal((await create({ name: 'x', template: 'nobody' })).status, 404)
    assert.equal((await create({ name: 'x', template: 1 })).status, 400)
    assert.equal((await create({ name: 'home', template: 'home' })).status, 409)
  })
})

test('pgnap tenant create --template', async () => {
  using folder = temporaryFolder()
  const data = ['--data', folder.path]
  const run = async (...words: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runProgram([...words, ...data])
    assert.equal(status, 0, stderr)
    return stdout
  }
  await run('sql', 'acme', 'create table t as select 5 as n')
  await run('tenant', 'create', 'copy', '--template', 'acme')
  assert.match(await run('sql', 'copy', 'select n from t', '--json'), /5/)
  const facts = JSON.parse(await run('inspect', 'copy', '--json')) as { layers: unknown[] }
  assert.equal(facts.layers.length, 1)
})

test('a crash in the middle leaves a whole tenant or none, and nothing else', async () => {
  using folder = temporaryFolder()
  const start = (): Promise<ServerProcess> =>
    startServer({ data: folder.path, flags: ['--shards', '1'] })
  const copies = join(folder.path, 'tenants', 'copies')
  mkdirSync(copies, { recursive: true })
  writeFileSync(join(copies, '0.db'), 'what a crash has left')
  const ROUNDS = 6
  {
    await using first = await start()
    assert.deepEqual(readdirSync(join(folder.path, 'tenants')), [])
    await inTenant(
      'big',
      `create table t as select repeat('x', 1000) as x
      from generate_series(1, 20000)`,
      first,
    )
    const startMs = performance.now()
    await inTenant('postgres', 'create database whole template big', first)
    const tookMs = performance.now() - startMs
    await first.stop()
    for (let round = 0; round < ROUNDS; round++) {
      await using victim = await start()
      const asking = connectPg(victim, 'postgres').then(({ client }) =>
        client.query(`create database c${round} template big`),
      )
      asking.catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, (tookMs * (round + 1)) / ROUNDS))
      await victim.stop('SIGKILL')
    }
  }
  await using last = await start()
  const names = readdirSync(join(folder.path, 'tenants'))
  assert.ok(!names.includes('copies'))
  for (let round = 0; round < ROUNDS; round++) {
    if (!names.includes(`c${round}.db`)) continue
    assert.equal(await valueIn(`c${round}`, 'select count(*)::int from t', last), 20_000)
  }
  assert.equal(await valueIn('big', 'select count(*)::int from t', last), 20_000)
})
