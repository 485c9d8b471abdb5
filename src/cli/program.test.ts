import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { FakeControl, resultOf } from '../../test/support/fake-control.ts'
import { ManualClock } from '../base/clock.ts'
import { silentLog } from '../base/log.ts'
import { createHttp } from '../front/http/app.ts'
import { PostgresError } from '../front/wire/result.ts'
import { validate } from '../host/node/config.ts'
import { createProgram, run } from './program.ts'
import { readyLine, welcome } from './serve.ts'
import { localUrl } from '../host/node/local-url.ts'
import { silentTerminal } from '../../test/support/silent-terminal.ts'
import { testFolder } from '../../test/support/temporary-folder.ts'

interface Said {
  out: string
  complaint: string
  exitCode: number
}

/** Runs a command line as a user would, and tells everything the user would see. */
async function say(
  words: readonly string[],
  environment: Record<string, string> = {},
  input = '',
): Promise<Said> {
  const said = { out: '', complaint: '', exitCode: -1 }
  said.exitCode = await run(words, {
    ...silentTerminal,
    out: (text) => void (said.out += text),
    complain: (text) => void (said.complaint += text),
    environment,
    input: async () => input,
  })
  return said
}

suite('command line', () => {
  test('every verb has help with an example', async () => {
    const help = async (...words: string[]): Promise<void> => {
      const { out, exitCode } = await say([...words, '--help'])
      assert.match(out, new RegExp(`Examples?:\\n(?:.*\\n)*  .*pgnap ${words.join(' ')}`))
      assert.equal(exitCode, 0)
    }
    for (const verb of createProgram(silentTerminal).commands) {
      await help(verb.name())
      for (const inner of verb.commands) await help(verb.name(), inner.name())
    }
    assert.match((await say(['--version'])).out, /^\d+\.\d+\.\d+\n$/)
  })

  test('wrong usage is 2, and says what would be right', async () => {
    for (const words of [
      ['srve'],
      ['serve', '--prot', '1'],
      ['sql', 'acme'],
      ['tenant', 'create'],
    ]) {
      const { complaint, exitCode, out } = await say(words)
      assert.deepEqual([exitCode, out], [2, ''])
      assert.match(complaint, /^error: /)
      const asked = await say([...words, '--json'])
      assert.deepEqual([asked.exitCode, asked.out], [2, ''])
      const { error } = JSON.parse(asked.complaint) as { error: { code: string; message: string } }
      assert.equal(error.code, 'CONFIG_INVALID')
      assert.ok(complaint.includes(error.message), error.message)
    }
  })

  test('wrong configuration is 2, wherever it comes from', async () => {
    const folder = testFolder()
    const file = join(folder, 'pgnap.json')
    writeFileSync(file, '{ "port": "many" }')
    for (const [words, environment] of [
      [['serve', '--port', 'many'], {}],
      [['serve'], { PGNAP_PORT: 'many' }],
      [['serve', '--config', file], {}],
      [['serve'], { PGNAP_CONFIG: file }],
    ] as const) {
      const { complaint, exitCode } = await say(words, environment)
      assert.equal(exitCode, 2)
      assert.match(complaint, /^pgnap: port: not a number.*\nhint: set it with --port, PGNAP_PORT/)
    }
    const { exitCode, complaint } = await say(['serve', '--host', '0.0.0.0'])
    assert.equal(exitCode, 2)
    assert.match(complaint, /trust/)
    const twice = await say(['serve', '--port', '7000', '--http-port', '7000'])
    assert.deepEqual([twice.exitCode, /both 7000/.test(twice.complaint)], [2, true])
    writeFileSync(file, '{ "port": null }')
    assert.match((await say(['serve', '--config', file])).complaint, /^pgnap: port: not a number\n/)
    writeFileSync(file, '{ "prot": 1 }')
    const unknown = await say(['serve', '--config', file])
    assert.equal(unknown.exitCode, 2)
    assert.match(unknown.complaint, /^pgnap: prot: no such setting\nhint: the settings are data, /)
  })

  test('a verb that makes no tenant makes no data folder either, whoever named it', async () => {
    const above = testFolder()
    const data = join(above, 'typo')
    const one = ['show', 'delete', 'nap', 'wake', 'pin', 'unpin', 'roles', 'rotate']
    for (const words of [
      ['inspect', 'acme'],
      ['verify', 'acme'],
      ['tenant', 'list'],
      ...one.map((verb) => ['tenant', verb, 'acme']),
      ['tenant', 'revoke', 'acme', '--role', 'app'],
    ]) {
      for (const told of [
        await say([...words, '--data', data]),
        await say(words, { PGNAP_DATA: data }),
      ]) {
        assert.deepEqual([told.exitCode, told.out], [2, ''], words.join(' '))
        assert.ok(told.complaint.startsWith(`pgnap: there is no data folder at ${data}\nhint: `))
      }
    }
    const strict = { PGNAP_DATA: data, PGNAP_CREATE_ON_CONNECT: 'off' }
    const asked = await say(['sql', 'acme', 'select 1', '--json'], strict)
    assert.equal(asked.exitCode, 2)
    const { error } = JSON.parse(asked.complaint) as { error: { code: string; sqlState: string } }
    assert.deepEqual([error.code, error.sqlState], ['CONFIG_INVALID', 'F0000'])
    assert.deepEqual(readdirSync(above), [])
  })

  test('what a server prints when it is ready', () => {
    const addresses = {
      wireAddress: { host: '127.0.0.1', port: 6432 },
      httpAddress: { host: '127.0.0.1', port: 6480 },
    }
    assert.deepEqual(JSON.parse(readyLine(addresses)), {
      event: 'ready',
      host: '127.0.0.1',
      port: 6432,
      httpPort: 6480,
      pid: process.pid,
    })
    const text = welcome(addresses, validate({ data: './somewhere', shards: 2 }))
    assert.match(text, /psql postgres:\/\/127\.0\.0\.1:6432\/acme/)
    assert.match(text, /http:\/\/127\.0\.0\.1:6480\//)
    assert.match(text, /\.\/somewhere/)
    assert.match(text, /2 shards x 8 slots/)
    assert.match(text, /ready/)
    const secure = welcome(addresses, validate({ tlsCert: 'a.crt', tlsKey: 'a.key' }))
    assert.match(secure, /psql 'postgres:\/\/127\.0\.0\.1:6432\/acme\?sslmode=require'/)
    assert.match(secure, /https:\/\/127\.0\.0\.1:6480\//)
  })

  test('a server on every address is asked at the nearest one', () => {
    const of = (host: string, tlsCert?: string): string => localUrl({ host, httpPort: 1, tlsCert })
    assert.equal(of('0.0.0.0'), 'http://127.0.0.1:1')
    assert.equal(of('::'), 'http://[::1]:1')
    assert.equal(of('db.example.com'), 'http://db.example.com:1')
    assert.equal(of('0.0.0.0', 'server.crt'), 'https://127.0.0.1:1')
  })
})

suite('verbs over HTTP', () => {
  const control = new FakeControl()
  const app = createHttp({
    control,
    clock: new ManualClock(),
    log: silentLog,
    version: '1',
    serverVersion: '18',
    authenticate: async (user, password) => user === 'alice' && password === 's:p',
  })
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => void answer(Buffer.concat(chunks)))
    const answer = async (body: Buffer): Promise<void> => {
      const headers = new Headers(request.headers as Record<string, string>)
      const { method = 'GET', url = '/' } = request
      const init = { method, headers, ...(body.length > 0 ? { body: new Uint8Array(body) } : {}) }
      const result = await app.request(`http://localhost${url}`, init)
      response.writeHead(result.status, Object.fromEntries(result.headers))
      response.end(Buffer.from(await result.arrayBuffer()))
    }
  })
  let environment: Record<string, string> = {}
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    environment = { PGNAP_URL: `http://alice:s%3Ap@127.0.0.1:${port}` }
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })

  test('the life of a tenant', async () => {
    assert.match((await say(['tenant', 'create', 'acme'], environment)).out, /^name +acme\n/)
    const again = await say(['tenant', 'create', 'acme'], environment)
    assert.deepEqual([again.exitCode, again.complaint], [1, 'pgnap: tenant acme exists\n'])
    const listed = await say(['tenant', 'list', '--json'], environment)
    assert.deepEqual(
      (JSON.parse(listed.out) as { name: string }[]).map(({ name }) => name),
      ['acme'],
    )
    assert.match((await say(['tenant', 'list'], environment)).out, /^ name .*\n-.*\n acme/)
    const woken = await say(['tenant', 'wake', 'acme', '--json'], environment)
    assert.equal((JSON.parse(woken.out) as { state: string }).state, 'awake')
    assert.equal((await say(['tenant', 'delete', 'acme'], environment)).out, 'acme is deleted\n')
    assert.equal((await say(['tenant', 'show', 'acme'], environment)).exitCode, 1)
  })

  test('more tenants than one page holds are all listed', async () => {
    for (let index = 0; index < 2345; index++) control.names.add(`t${index}`)
    const { out } = await say(['tenant', 'list', '--json'], environment)
    assert.equal((JSON.parse(out) as unknown[]).length, 2345)
    control.leaving.add('t0')
    const { out: withoutOne } = await say(['tenant', 'list', '--json'], environment)
    assert.equal((JSON.parse(withoutOne) as unknown[]).length, 2344)
    control.names.clear()
    control.leaving.clear()
  })

  test('a statement from the line or from standard input, as a table or as JSON', async () => {
    control.answer = resultOf([['n', 23]], [['41'], [null]])
    const { out } = await say(['sql', 'acme', 'select 1'], environment)
    assert.equal(out, ' n\n----\n 41\n\n(2 rows)\n')
    const piped = await say(['sql', 'acme', '-', '--json'], environment, 'select 2')
    assert.deepEqual(JSON.parse(piped.out), {
      fields: [{ name: 'n', dataTypeID: 23 }],
      rows: [['41'], [null]],
      command: 'SELECT',
      rowCount: 2,
    })
    assert.equal(control.asked.at(-1)?.statement.sql, 'select 2')
  })

  test('an error of Postgres points into the statement, and is 1', async () => {
    control.answer = new PostgresError({ V: 'ERROR', C: '42703', M: 'no x', P: '8', H: 'none' })
    const { complaint, exitCode } = await say(['sql', 'acme', 'select x'], environment)
    assert.equal(exitCode, 1)
    assert.equal(complaint, 'ERROR:  no x\nLINE 1: select x\n               ^\nHINT:  none\n')
  })

  test('a wrong password, no server, and somebody else at the port', async () => {
    const wrong = { PGNAP_URL: (environment['PGNAP_URL'] ?? '').replace('alice', 'mallory') }
    const refused = await say(['tenant', 'list'], wrong)
    assert.equal(refused.exitCode, 1)
    assert.match(refused.complaint, /password authentication failed/)
    assert.ok(!refused.complaint.includes('s:p'))

    let strange = (response: ServerResponse): unknown => response.end('<html>')
    const stranger = createServer((_, response) => strange(response))
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve))
    const { port } = stranger.address() as AddressInfo
    const url = `http://127.0.0.1:${port}`
    const other = await say(['tenant', 'list', '--url', url])
    assert.equal(other.exitCode, 69)
    assert.match(other.complaint, /is not pgnap/)
    for (const error of ['null', '{}', '[]', '"no"']) {
      strange = (response) => response.writeHead(500).end(`{"error": ${error}}`)
      const said = await say(['tenant', 'list', '--url', url])
      assert.deepEqual([said.exitCode, /is not pgnap/.test(said.complaint)], [69, true], error)
    }
    strange = (response) =>
      response.writeHead(500).end('{"error": {"code": "toString", "message": "\\u001b[2J"}}')
    const forged = await say(['tenant', 'list', '--url', url])
    assert.deepEqual([forged.exitCode, forged.complaint], [1, 'pgnap: \\x1b[2J\n'])
    strange = (response) => {
      response.writeHead(200, { 'Content-Length': '100' }).write('{')
      setImmediate(() => response.destroy())
    }
    const cut = await say(['tenant', 'list', '--url', url])
    assert.deepEqual([cut.exitCode, /broke off/.test(cut.complaint)], [69, true])
    stranger.closeAllConnections()
    await new Promise((resolve) => stranger.close(resolve))
    const none = await say(['sql', 'acme', 'select 1', '--url', url])
    assert.equal(none.exitCode, 69)
    assert.match(none.complaint, /^pgnap: no server answers at .*\n(?:.*\n)*hint: start one with/)
    for (const wrongUrl of ['nonsense', 'http://100%:x@127.0.0.1:1']) {
      assert.equal((await say(['tenant', 'list', '--url', wrongUrl])).exitCode, 2, wrongUrl)
    }
  })
})
