/**
 * A tenant that means harm, or only types it: SQL that locks its owner out, breaks its backend, or
 * waits for ever. One rule over all of them: the client is told, its tenant can be used again, what
 * was acknowledged is there.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { concatBytes } from '../../src/base/bytes.ts'
import { connectPg, failureOf } from '../support/clients.ts'
import { say } from '../support/messages.ts'
import { plainSocket, readToEnd } from '../support/raw-tls.ts'
import { type ServerProcess, runProgram, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let server: ServerProcess

before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

async function napTenant(tenant: string): Promise<void> {
  const { status } = await server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
  assert.equal(status, 200)
}

const LOCKS_OUT = [
  "shared_preload_libraries = 'no_such_library'",
  'max_connections = 200000',
  "hba_file = '/no/such/file'",
]

for (const [index, setting] of LOCKS_OUT.entries()) {
  test(`ALTER SYSTEM SET ${setting}: told once, set aside, the tenant lives on`, async () => {
    const tenant = `system-${index}`
    {
      await using connection = await connectPg(server, tenant)
      await connection.client.query('create table kept as select 7 as n')
      await connection.client.query(`alter system set ${setting}`)
    }
    await napTenant(tenant)
    const failure = await failureOf(connectPg(server, tenant))
    assert.equal(failure.code, 'F0000')
    assert.match(failure.hint ?? '', /postgresql\.auto\.conf\.refused/)
    await using connection = await connectPg(server, tenant)
    const { client } = connection
    assert.deepEqual((await client.query('table kept')).rows, [{ n: 7 }])
    const kept = await client.query("select pg_read_file('postgresql.auto.conf.refused') as text")
    assert.ok(String(kept.rows[0]?.text).includes(setting.split(' ')[0] ?? ''))
    await client.query("alter system set work_mem = '5MB'")
    await napTenant(tenant)
    assert.deepEqual((await client.query('show work_mem')).rows, [{ work_mem: '5MB' }])
  })
}

test('a text of millions of lines ends nobody else', async () => {
  await using neighbour = await connectPg(server, 'neighbour-of-lines')
  await using connection = await connectPg(server, 'lines')
  assert.equal(await connection.value(`${'--\n'.repeat(5_000_000)}select 'copy'`), 'copy')
  assert.equal(await neighbour.value('select 1'), 1)
})

test('a commit does not wait for a standby that nobody has', async () => {
  await using connection = await connectPg(server, 'standby')
  const { client } = connection
  await client.query("alter system set synchronous_standby_names = '*'")
  await client.query('alter system set max_prepared_transactions = 10')
  await napTenant('standby')
  await client.query('create table t as select 1 as n')
  assert.deepEqual((await client.query('table t')).rows, [{ n: 1 }])
  await client.query('begin')
  const failure = await failureOf(client.query("prepare transaction 'x'"))
  assert.equal(failure.code, '55000')
})

test('recursion without end is an error of the statement, not of the backend', async () => {
  await using connection = await connectPg(server, 'deep')
  const { client } = connection
  await client.query(`create function deeper(n int) returns int language plpgsql as
    $$ begin return deeper(n + 1); end $$`)
  assert.equal((await failureOf(client.query('select deeper(1)'))).code, '54001')
  const ones = Array.from({ length: 200_000 }, () => '1').join('+')
  assert.equal((await failureOf(client.query(`select ${ones}`))).code, '54001')
  // Postgres stays within its own limit here; the frames of the machine need the larger stack.
  const group = `'${'('.repeat(20_000)}a${')'.repeat(20_000)}'`
  assert.deepEqual((await client.query(`select 'a' ~ ${group} as found`)).rows, [{ found: true }])
  assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }])
})

const isConversionRefused = (said: string): void => {
  assert.match(said, /0A000[^]*conversion between character encodings is not supported/)
  assert.match(said, /use client_encoding UTF8/)
  assert.doesNotMatch(said, /58P01|pglite|\.so/)
}

test('a client of an encoding that cannot be converted is told so, and what to do', async () => {
  const who = { user: 'postgres', database: 'startup-encoding' }
  for (const asked of [
    { client_encoding: 'JOHAB' },
    { options: '-c client_encoding=SHIFT_JIS_2004' },
  ]) {
    const socket = await plainSocket(server)
    socket.write(say.startup({ ...who, ...asked }))
    const said = (await readToEnd(socket)).toString()
    assert.match(said, /FATAL/)
    isConversionRefused(said)
  }
  await using connection = await connectPg(server, who.database)
  assert.deepEqual((await connection.client.query("select 'é' as e")).rows, [{ e: 'é' }])
})

test('an encoding that cannot be converted is refused, and the backend lives', async () => {
  await using connection = await connectPg(server, 'encoding')
  const { client } = connection
  for (const query of [
    "set client_encoding = 'JOHAB'",
    "set names 'JOHAB'",
    "select set_config('client_encoding', 'SHIFT_JIS_2004', false)",
    { text: "select set_config('client_encoding', $1, false)", values: ['SHIFT_JIS_2004'] },
    "select convert_to('x', 'SHIFT_JIS_2004')",
  ]) {
    const { code, message, detail = '', hint = '' } = await failureOf(client.query(query))
    isConversionRefused([code, message, detail, hint].join('\n'))
  }
  assert.deepEqual((await client.query("select 'é' as e")).rows, [{ e: 'é' }])
})

test('a commit with synchronous_commit off survives the nap that follows it', async () => {
  await using connection = await connectPg(server, 'asynchronous')
  const { client } = connection
  await client.query('create table t(n int)')
  for (const word of ['off', 'false', '0']) {
    await client.query(`set synchronous_commit = ${word}`)
    await client.query('insert into t values (1)')
    await napTenant('asynchronous')
  }
  await client.query('begin')
  await client.query('set local synchronous_commit = off')
  await client.query('insert into t values (1)')
  await client.query('commit')
  await napTenant('asynchronous')
  assert.deepEqual((await client.query('select count(*)::int as n from t')).rows, [{ n: 4 }])
})

test('verify names the table whose page was changed behind our back, and goes on', async () => {
  using folder = temporaryFolder()
  const data = folder.path
  {
    await using started = await startServer({ data, flags: ['--shards', '1', '--slots', '2'] })
    await using connection = await connectPg(started, 'acme')
    await connection.client.query("create table t as select 'a text to be found'::text as x")
    await connection.client.query('checkpoint')
    await connection.client.end()
    await started.stop()
  }
  const path = join(data, 'tenants', 'acme.db')
  const bytes = readFileSync(path)
  let at = bytes.indexOf('a text to be found')
  assert.ok(at > 0, 'the row is in the file')
  for (; at > 0; at = bytes.indexOf('a text to be found', at)) bytes[at] = 0x41
  writeFileSync(path, bytes)
  const { status, stdout } = await runProgram(['verify', 'acme', '--data', data, '--json'])
  assert.notEqual(status, 0)
  const { problems, checked } = JSON.parse(stdout) as {
    problems: string[]
    checked: { tables: number }
  }
  assert.match(problems.join('; '), /^table \d+: invalid page in block 0/)
  assert.ok(checked.tables > 50)
})

test('a pipeline that failed and was never synced swallows the query of another', async () => {
  await using connection = await connectPg(server, 'pipeline')
  const socket = connect(server.port, '127.0.0.1')
  const startup = say.startup({ user: 'u', database: 'pipeline' })
  // Execute of a portal that is not there; then a Query, which Postgres skips, because of no Sync.
  socket.write(concatBytes([startup, say.execute(''), say.query('select 1')]))
  for (let seen = ''; !seen.includes('34000'); seen += String((await once(socket, 'data'))[0]));
  socket.end()
  assert.deepEqual((await connection.client.query('select 2 as n')).rows, [{ n: 2 }])
})
