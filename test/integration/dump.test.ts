/**
 * `pgnap dump` and `pgnap restore`, with a server and without: a database with one of everything is
 * dumped, restored, and dumped again, and both dumps are the same. And what must never happen: half
 * a dump that looks whole, half a restore, a tenant that was made by asking for it.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connectPg, type PgConnection } from '../support/clients.ts'
import { EVERYTHING } from '../support/everything.ts'
import { type Outcome, type ServerProcess, runProgram, startServer } from '../support/server.ts'
import { testFolder } from '../support/temporary-folder.ts'

const data = testFolder()
const folder = testFolder()
const file = join(folder, 'acme.sql')
let server: ServerProcess

/** A verb on the data folder, whoever holds that at the moment. */
const verb = (...words: readonly string[]): Promise<Outcome> =>
  runProgram([...words, '--data', data])

const dumpOf = async (tenant: string, ...flags: readonly string[]): Promise<string> => {
  const { status, stdout, stderr } = await verb('dump', tenant, ...flags)
  assert.equal(status, 0, stderr)
  return stdout
}

/** Without the key, which is another one each time. */
const comparable = (dump: string): string => dump.replaceAll(/^(\\(?:un)?restrict) .*/gm, '$1')

const connect = (tenant: string): Promise<PgConnection> => connectPg(server, tenant)

before(async () => {
  server = await startServer({ data })
  await using acme = await connect('acme')
  await acme.client.query(EVERYTHING)
})
after(() => server.stop('SIGKILL'))

test('of a running server: dumped, restored, and dumped again, it is the same', async () => {
  const made = await verb('dump', 'acme', '--output', file)
  assert.deepEqual([made.status, made.stdout, made.stderr], [0, '', ''])
  const dump = readFileSync(file, 'utf8')
  assert.match(dump, /^-- Dumped by pg_dump version 18/m)
  assert.equal(dump.match(/^\d+\t.*;\\n$/gm)?.length, 20_000, 'a table that comes in parts')
  assert.deepEqual(readdirSync(folder), ['acme.sql'])

  await using copy = await connect('copy')
  await copy.client.query('select')
  const { status, stdout, stderr } = await runProgram(['restore', 'copy', '--data', data], dump)
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /^copy is restored: \d+ statements, 200\d\d rows copied\n$/)
  assert.equal(comparable(await dumpOf('copy')), comparable(dump))
  assert.equal(await copy.value('select lo_get(70000)::text'), String.raw`\x01025c27`)
})

test('a part of a tenant: its schema, its rows, some of its tables', async () => {
  const [schema, rows, none] = await Promise.all([
    dumpOf('acme', '--schema-only', '--table', 'shop.part*'),
    dumpOf('acme', '--data-only', '--table', 'shop.tied', '--table', 'shop.fast'),
    verb('dump', 'acme', '--table', 'nowhere'),
  ])
  assert.equal(schema.match(/^(?:CREATE TABLE|COPY) \S+/gm)?.length, 3)
  assert.deepEqual(rows.match(/^(?:CREATE|COPY) \S+/gm), ['COPY shop.fast', 'COPY shop.tied'])
  assert.deepEqual([none.status, none.stderr], [1, 'pgnap: no matching tables were found\n'])
})

test('a tenant that is not there is an error, and is not made', async () => {
  const names = (): string[] => readdirSync(join(data, 'tenants')).toSorted()
  const before = names()
  const [dump, restore] = await Promise.all([
    verb('dump', 'nobody'),
    verb('restore', 'nobody', file, '--json'),
  ])
  assert.deepEqual([dump.status, dump.stdout, restore.status, restore.stdout], [1, '', 1, ''])
  assert.match(dump.stderr, /^pgnap: tenant "nobody" does not exist\nhint: /)
  assert.match(restore.stderr, /"code":"TENANT_UNKNOWN","sqlState":"3D000"/)
  assert.deepEqual(names(), before)
})

test('a restore that fails leaves the tenant as it was', async () => {
  await using half = await connect('half')
  await half.client.query('create table mine (a int)')
  const good = 'create table t (a int);\ncopy t from stdin;\n1\n\\.\n'
  const scripts = {
    'statement.sql': `${good}\nselect 1/0;\n`,
    'row.sql': `${good}copy t from stdin;\n2\nx\n\\.\n`,
    'cut.sql': readFileSync(file, 'utf8').slice(0, -200),
  }
  for (const [name, text] of Object.entries(scripts)) writeFileSync(join(folder, name), text)
  const restore = (name: string, ...flags: readonly string[]): Promise<Outcome> =>
    verb('restore', 'half', join(folder, name), ...flags)
  const [refused, statement, row, cut] = await Promise.all([
    restore('statement.sql'),
    restore('statement.sql', '--into-existing'),
    restore('row.sql', '--into-existing'),
    restore('cut.sql', '--into-existing'),
  ])
  for (const { status, stdout } of [refused, statement, row, cut]) {
    assert.deepEqual([status, stdout], [1, ''])
  }
  assert.match(refused.stderr, /^pgnap: the tenant has tables .*\ndetail: mine\nhint: .*--into-/)
  assert.match(statement.stderr, /^ERROR: {2}division by zero\nCONTEXT: {2}statement at line 6 /)
  assert.match(row.stderr, /^ERROR: {2}invalid input .*\nCONTEXT: {2}COPY t, line 2, column a: "x"/)
  assert.match(cut.stderr, /^pgnap: the dump is cut off after line \d+\nhint: /)
  assert.deepEqual(
    await half.column('select tablename from pg_tables where schemaname !~ $1', ['_']),
    ['mine'],
  )
})

test('a dump that is told to end leaves nothing, and its tenant is free', async () => {
  await using writer = await connect('acme')
  await writer.client.query('begin; create table shop.later (a int)')
  const changes = watch(folder)
  const program = process.env['PGNAP_PROGRAM'] ?? join(import.meta.dirname, '../../src/cli/main.ts')
  const path = join(folder, 'killed.sql')
  const child = spawn(process.execPath, [program, 'dump', 'acme', '--data', data, '--output', path])
  // Its file is there, under another name.
  await once(changes, 'change')
  changes.close()
  child.kill('SIGTERM')
  assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM'])
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('killed')),
    [],
  )
  await writer.client.query('rollback')
})

test('who may not is told so, and an administrator may', async () => {
  const users = join(folder, 'users')
  writeFileSync(users, '"admin" "p%ss word"\n', { mode: 0o600 })
  await using guarded = await startServer({ flags: ['--auth', 'scram', '--auth-file', users] })
  const url = (user: string): string => `http://${user}127.0.0.1:${guarded.httpPort}`
  const admin = url('admin:p%25ss%20word@')
  const Authorization = `Basic ${Buffer.from('admin:p%ss word').toString('base64')}`
  const body = JSON.stringify({ name: 'acme' })
  await guarded.request('/v1/tenants', { method: 'POST', body, headers: { Authorization } })
  const [good, wrong, nobody] = await Promise.all(
    [admin, url('admin:wrong@'), url('')].map((each) =>
      runProgram(['dump', 'acme', '--url', each]),
    ),
  )
  assert.deepEqual([good?.status, good?.stderr], [0, ''])
  for (const refused of [wrong, nobody]) {
    assert.deepEqual([refused?.status, refused?.stdout], [1, ''])
    assert.match(refused?.stderr ?? '', /^pgnap: .*\nhint: /)
  }
})

test('without a server, on the data folder, it is the same', async () => {
  {
    await using alone = await connect('alone')
    await alone.client.query('select')
  }
  assert.deepEqual(await server.stop(), { status: 0, signal: null })
  assert.equal((await verb('dump', 'nobody')).status, 1)
  const restored = await verb('restore', 'alone', file, '--json')
  const facts = JSON.parse(restored.stdout) as { tenant: string; rows: number }
  assert.deepEqual([facts.tenant, facts.rows > 20_000], ['alone', true])
  assert.equal(comparable(await dumpOf('alone')), comparable(readFileSync(file, 'utf8')))
  assert.ok(!existsSync(join(data, 'tenants', 'nobody.db')))
})
