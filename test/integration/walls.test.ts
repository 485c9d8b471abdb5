/**
 * A tenant's superuser against the walls of its sandbox, by SQL alone, on a server with passwords
 * and a neighbour: files of the host, the neighbour's store, the control database, the network,
 * programs, the environment, names. Postgres is asked everything that it would answer a superuser;
 * none of the answers may hold what is secret outside.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { connectPg } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const SECRET = 'the-secret-of-the-host'
const NEIGHBOUR_SECRET = 'the-secret-of-the-neighbour'
const folder = temporaryFolder()
const users = join(folder.path, 'users')
const hostFile = join(folder.path, 'host-file')
writeFileSync(users, '"admin" "admin-password"\n', { mode: 0o600 })
writeFileSync(hostFile, `${SECRET}\n`)

let server: ServerProcess
let hostile: Client
before(async () => {
  process.env['PGNAP_TEST_SECRET'] = SECRET
  server = await startServer({ flags: ['--shards', '1', '--auth', 'scram', '--auth-file', users] })
  delete process.env['PGNAP_TEST_SECRET']
  const headers = { Authorization: `Basic ${btoa('admin:admin-password')}` }
  const body = JSON.stringify({ name: 'hostile' })
  const made = await server.request('/v1/tenants', { method: 'POST', headers, body })
  const { connectionString } = (await made.json()) as { connectionString: string }
  hostile = new Client(connectionString)
  await hostile.connect()
  const admin = { user: 'admin', password: 'admin-password' }
  await using neighbour = await connectPg(server, 'neighbour', admin)
  await neighbour.client.query(`create table t as select '${NEIGHBOUR_SECRET}'::text as s`)
})
after(async () => {
  await hostile.end()
  await server[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

/** All that Postgres answers, error or rows, as one text. */
async function said(sql: string): Promise<string> {
  try {
    const { rows } = await hostile.query<Record<string, unknown>>(sql)
    const texts = rows.flatMap((row) => Object.values(row))
    return texts.map((each) => (Buffer.isBuffer(each) ? each.toString() : String(each))).join('\n')
  } catch (error) {
    return `refused: ${String(error)}`
  }
}

const SECRETS = [SECRET, NEIGHBOUR_SECRET, 'admin-password', 'SCRAM-SHA-256$4096:']

async function tellsNothing(sql: string): Promise<string> {
  const answer = await said(sql)
  for (const secret of SECRETS) assert.ok(!answer.includes(secret), `${sql}\n${answer}`)
  return answer
}

test('it is superuser, so what follows is refused by the walls and not by Postgres', async () => {
  assert.equal(await said('select usesuper from pg_user where usename = current_user'), 'true')
})

test('files of the host cannot be read, by any name and any way', async () => {
  const paths = [
    hostFile,
    users,
    join(server.data, 'control.db'),
    join(server.data, 'tenants', 'neighbour.db'),
    `/proc/${server.pid}/environ`,
    '/proc/self/environ',
    '/etc/passwd',
    `../../../../..${hostFile}`,
    `/pglite/data/../../..${hostFile}`,
  ]
  for (const path of paths) {
    const name = `'${path}'`
    assert.match(await tellsNothing(`select pg_read_file(${name})`), /^refused/, path)
    assert.match(await tellsNothing(`select pg_read_binary_file(${name})`), /^refused/, path)
    assert.match(await tellsNothing(`select size from pg_stat_file(${name})`), /^refused/, path)
    assert.match(await tellsNothing(`select lo_import(${name})`), /^refused/, path)
    await tellsNothing('create table if not exists stolen(line text)')
    assert.match(await tellsNothing(`copy stolen from ${name}`), /^refused/, path)
  }
  assert.equal(await said('select count(*) from stolen'), '0')
})

test('folders are those of the sandbox, and name no other tenant', async () => {
  for (const path of ['/', '/pglite', '/pglite/data', '/tmp', '/home', '/dev', '.', '..']) {
    const names = await tellsNothing(`select pg_ls_dir('${path}')`)
    assert.doesNotMatch(names, /neighbour|control\.db|\.db$/m, path)
  }
  assert.match(await said(`select pg_ls_dir('${server.data}')`), /^refused/)
})

test('nothing can be written outside of it', async () => {
  const target = join(folder.path, 'written')
  assert.match(await said(`copy (select 1) to '${target}'`), /^refused/)
  await said("select lo_from_bytea(4711, 'x')")
  assert.match(await said(`select lo_export(4711, '${hostFile}')`), /^refused/)
  assert.ok(!existsSync(target))
  assert.equal(readFileSync(hostFile, 'utf8'), `${SECRET}\n`)
})

test('programs and the environment of the host are not there', async () => {
  const target = join(folder.path, 'program')
  await tellsNothing(`copy (select 1) to program 'cat > ${target}'`)
  await tellsNothing(`copy stolen from program 'cat ${hostFile}; env'`)
  assert.ok(!existsSync(target))
  for (const sql of [
    'show all',
    'table pg_settings',
    'table pg_config',
    'table pg_hba_file_rules',
  ]) {
    await tellsNothing(sql)
  }
})

test('there is no way to the network', async () => {
  let calls = 0
  const listener = createServer((socket) => {
    calls++
    socket.destroy()
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  try {
    for (const extension of ['dblink', 'postgres_fdw', 'file_fdw', 'plpython3u', 'plperlu']) {
      assert.match(await said(`create extension ${extension}`), /^refused/, extension)
    }
    const where = `host=127.0.0.1 port=${port} dbname=x`
    await said(`create subscription s connection '${where}' publication p`)
    await said(`alter system set primary_conninfo = '${where}'`)
    await said('select pg_promote(false)')
    assert.equal(calls, 0)
  } finally {
    listener.close()
  }
})

test('Postgres knows of nobody else', async () => {
  for (const sql of [
    'select datname from pg_database',
    'select datname, query, usename from pg_stat_activity',
    'select rolname, rolpassword from pg_authid',
    'select * from pg_shadow',
    'select * from pg_locks',
  ]) {
    assert.doesNotMatch(await tellsNothing(sql), /neighbour|admin/, sql)
  }
})

test('and after all of that both tenants are well', async () => {
  assert.equal(await said('select 1'), '1')
  const admin = { user: 'admin', password: 'admin-password' }
  await using neighbour = await connectPg(server, 'neighbour', admin)
  assert.equal(await neighbour.value('select s from t'), NEIGHBOUR_SECRET)
  assert.doesNotMatch(server.log(), new RegExp(SECRETS.slice(0, 3).join('|')))
})
