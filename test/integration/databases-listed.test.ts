/**
 * What programs find in `pg_database` and ask before CREATE DATABASE and after `\c`: the shipped
 * server, with real drivers and the programs that come with Postgres.
 */
import assert from 'node:assert/strict'
import { copyFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import postgres from 'postgres'
import { connectPg, majorVersionOf, missing, type PgConnection, psql } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()
const TEMPLATES = ['template0', 'template1']
const SAYS = `select current_database() || ' ' || current_catalog || ' ' ||
  (select datname from pg_database where datname = current_database()) || ' ' ||
  (select min(catalog_name) from information_schema.schemata) as said`
const saidOf = (name: string): string => [name, name, name, name].join(' ')

/** What a tenant says of itself, over HTTP: no connection keeps it awake. */
async function said(server: ServerProcess, tenant: string): Promise<[unknown, string | undefined]> {
  const body = JSON.stringify({ sql: SAYS })
  const response = await server.request(`/v1/tenants/${tenant}/query`, { method: 'POST', body })
  const text = await response.text()
  assert.equal(response.status, 200, text)
  const timing = response.headers.get('Server-Timing') ?? ''
  const { rows } = JSON.parse(text) as { rows: readonly { said: string }[] }
  return [rows[0]?.said, /wake;dur=[\d.]+;desc="(\w+)"/.exec(timing)?.[1]]
}

const nap = async (server: ServerProcess, tenant: string): Promise<void> => {
  const { status } = await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
  assert.ok(status < 300, `${tenant} naps`)
}

describe('a tenant by its own name', () => {
  const flags = ['--shards', '1', '--slots', '2']

  test('new, napping, asleep, after kill -9, and under another name', async () => {
    const data = join(folder, 'states')
    const path = (name: string, kind = 'tenants'): string =>
      join(data, kind, `${name}${kind === 'tenants' ? '.db' : '.img'}`)
    {
      await using server = await startServer({ data, flags })
      assert.deepEqual(await said(server, 'acme'), [saidOf('acme'), 'new'])
      const created = await connectPg(server, 'acme')
      await created.client.query('create table t as select current_database() as name')
      await created.client.end()
      await nap(server, 'acme')
      assert.deepEqual(await said(server, 'acme'), [saidOf('acme'), 'napping'])
      await server.stop()
    }
    {
      await using server = await startServer({ data, flags })
      assert.deepEqual(await said(server, 'acme'), [saidOf('acme'), 'asleep'])
    }
    {
      await using server = await startServer({ data, flags })
      assert.deepEqual(await said(server, 'acme'), [saidOf('acme'), 'cold'])
      await server.stop()
    }
    copyFileSync(path('acme'), path('copied'))
    copyFileSync(path('acme', 'images'), path('copied', 'images'))
    renameSync(path('acme'), path('renamed'))
    renameSync(path('acme', 'images'), path('renamed', 'images'))
    await using server = await startServer({ data, flags })
    for (const name of ['copied', 'renamed']) {
      assert.deepEqual(await said(server, name), [saidOf(name), 'cold'])
      await using one = await connectPg(server, name)
      assert.equal(await one.value('select name from t'), 'acme')
    }
  })

  test('in a fork, beside a transaction', async () => {
    await using server = await startServer({ flags: ['--shards', '1', '--slots', '3'] })
    await using writer = await connectPg(server, 'forked')
    await using reader = await connectPg(server, 'forked')
    await (await connectPg(server, 'other')).client.query('select 1')
    await writer.client.query('create table t (n int)')
    await writer.client.query('begin; insert into t values (1)')
    assert.equal(await reader.value('select count(*) from t'), '0')
    assert.equal(await reader.value(SAYS), saidOf('forked'))
    const names = await reader.column('select datname from pg_database order by 1')
    assert.deepEqual(names, ['forked', 'other', ...TEMPLATES])
    const { forks } = (await (await server.request('/v1/pool')).json()) as {
      forks: { reads: number }
    }
    assert.ok(forks.reads >= 3, 'these were read in a fork')
  })
})

describe('other tenants', () => {
  let server: ServerProcess
  let one: PgConnection
  before(async () => {
    server = await startServer({ flags: ['--shards', '2', '--slots', '2'] })
    one = await connectPg(server, 'home')
    for (const name of ['east', 'west']) await one.client.query(`create database ${name}`)
  })
  after(async () => {
    await one.client.end()
    await server[Symbol.asyncDispose]()
  })

  const names = (by: PgConnection = one): Promise<unknown[]> =>
    by.column('select datname from pg_database order by datname')

  test('are there as CREATE and DROP DATABASE say, from the same moment on', async () => {
    const isThere = async (by = one): Promise<boolean> =>
      (await by.column('select 1 from pg_database where datname = $1', ['now'])).length > 0
    await using other = await connectPg(server, 'east')
    for (let round = 0; round < 3; round++) {
      assert.deepEqual([await isThere(), await isThere(other)], [false, false])
      await one.client.query('create database now')
      assert.deepEqual([await isThere(), await isThere(other)], [true, true])
      await other.client.query('drop database now')
    }
    assert.deepEqual(await names(), ['east', 'home', ...TEMPLATES, 'west'])
    assert.deepEqual(await names(other), ['east', 'home', ...TEMPLATES, 'west'])
  })

  test('prepared, in a transaction, in a function, in a join, by a cursor', async () => {
    const text = 'select datname from pg_database where not datistemplate order by 1'
    const expected = ['east', 'home', 'west']
    const prepared = async (): Promise<unknown[]> => {
      const { rows } = await one.client.query({ name: 'listed', text, rowMode: 'array' })
      return rows.flat()
    }
    for (let round = 0; round < 7; round++) assert.deepEqual(await prepared(), expected)
    await nap(server, 'home')
    assert.deepEqual(await prepared(), expected)
    await one.client.query('begin')
    assert.deepEqual(await prepared(), expected)
    await one.client.query(`declare c scroll cursor for ${text.replace('order by 1', '')}`)
    assert.equal((await one.column('fetch 2 from c')).length, 2)
    assert.equal((await one.column('fetch all from c')).length, 1)
    assert.equal((await one.column('fetch backward all from c')).length, 3)
    await one.client.query('commit')
    const joined = 'pg_database a join pg_database b using (oid, datname)'
    const counted = `select count(*)::int from ${joined}`
    assert.equal(await one.value(counted), 5)
    await one.client.query(`do $$ begin
      if not exists (select from pg_database where datname = 'east') then raise 'missing'; end if;
    end $$`)
    const sql = postgres({ port: server.port, host: '127.0.0.1', database: 'home', max: 1 })
    assert.deepEqual(
      (await sql`select datname from pg_database where datname = any(${['east', 'x']})`).flat(),
      [{ datname: 'east' }],
    )
    await sql.end()
  })

  test('have ids of their own, sizes, and rights', async () => {
    const { rows } = await one.client.query<Record<string, unknown>>(
      `select datname, oid, datistemplate, datallowconn, pg_database_size(datname) as by_name,
         pg_database_size(oid) as by_id, has_database_privilege(datname, 'CONNECT') as may,
         has_database_privilege(oid, 'CREATE') and has_database_privilege(10::oid, oid, 'TEMP')
           and has_database_privilege('postgres', datname, 'TEMP') as might
       from pg_database where not datistemplate order by datname`,
    )
    assert.equal(new Set(rows.map(({ oid }) => oid)).size, 3)
    for (const { datname, by_name: byName, by_id: byId, may, might, ...rest } of rows) {
      assert.equal(byName, byId)
      assert.ok(Number(byName) > 10_000, `the size of ${String(datname)}`)
      assert.deepEqual([may, might], [true, true])
      assert.deepEqual([rest['datistemplate'], rest['datallowconn']], [false, true])
    }
    const again = await one.column(`select oid from pg_database where datname = 'east'`)
    assert.deepEqual(again, [rows[0]?.['oid']])
    const failure = await one.client.query(`select pg_database_size('nobody')`).catch((e) => e)
    assert.equal(failure.code, '3D000')
  })

  test('cannot be changed from here, and are never stored', async () => {
    const updated = await one.client.query(`update pg_database set datallowconn = datallowconn`)
    assert.equal(updated.rowCount, 3)
    assert.equal((await one.client.query('select from pg_database for update')).rowCount, 3)
    for (const sql of ['vacuum full pg_database', 'reindex table pg_database', 'vacuum', 'analyze'])
      await one.client.query(sql)
    assert.equal(await one.value('select count(*)::int from pg_database'), 5)
    await one.client.query('begin; lock table pg_database in row exclusive mode')
    assert.equal(await one.value('select count(*)::int from pg_database'), 3)
    await one.client.query('commit')
    assert.equal(await one.value('select count(*)::int from pg_database'), 5)
  })

  test('GRANT and ALTER name the session’s own database', async () => {
    await one.client.query('create role someone')
    await one.client.query('grant connect on database home to someone')
    await one.client.query(`alter database home set work_mem = '2MB'`)
    const granted = await one.column(
      `select datname from pg_database where datacl::text like '%someone%'`,
    )
    assert.deepEqual(granted, ['home'], 'rights of one are not those of others')
    await one.client.query('revoke connect on database home from someone; drop role someone')
  })

  const psqlMajor = majorVersionOf('psql') ?? 0
  // That of 15 asks for a column that Postgres 18 does not have.
  const canList = psqlMajor >= 16
  test('psql: \\l, \\l+, and \\c to each of them', { skip: missing('psql') }, async () => {
    const lists = canList ? '\\l\n\\l+\n' : ''
    const script = `${lists}\\c east\nselect current_database();\n\\c home\n\\conninfo`
    const { stdout, stderr, status } = await psql(server, 'home', script)
    assert.deepEqual([stderr, status], ['', 0])
    for (const name of canList ? ['east', 'home', 'west'] : []) {
      assert.equal(stdout.match(new RegExp(`^${name}\\|postgres\\|UTF8`, 'gm'))?.length, 2, name)
    }
    assert.match(stdout, /^east$/m)
  })
})
