/**
 * The HTTP port of a server with a certificate, the verbs of the command line that talk to it, the
 * renewal of the certificate, and starts that fail for it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { negotiatedTls, plainSocket } from '../support/raw-tls.ts'
import { type ServerProcess, runProgram, serveWords, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { OTHER_FILES, ROOT, SERVER_FILES, tlsFlags } from '../support/tls-files.ts'

async function get(
  { httpPort }: Pick<ServerProcess, 'httpPort'>,
  options: RequestOptions,
): Promise<{ readonly status: number | undefined; readonly body: unknown }> {
  const asked = request({ host: '127.0.0.1', port: httpPort, ca: ROOT, agent: false, ...options })
  asked.end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  const body: unknown = JSON.parse(String(await answer.toArray()))
  return { status: answer.statusCode, body }
}

/** A pair of files that a test may exchange. */
function filesIn(folder: string): typeof SERVER_FILES & { put(from: typeof SERVER_FILES): void } {
  const tlsCert = join(folder, 'now.crt')
  const tlsKey = join(folder, 'now.key')
  const put = (from: typeof SERVER_FILES): void => {
    copyFileSync(from.tlsCert, tlsCert)
    copyFileSync(from.tlsKey, tlsKey)
  }
  put(SERVER_FILES)
  return { tlsCert, tlsKey, put }
}

test('HTTP is HTTPS and nothing else', async () => {
  await using server = await startServer({ flags: tlsFlags() })
  const { status, body } = await get(server, { path: '/healthz' })
  assert.deepEqual([status, (body as { status: string }).status], [200, 'ok'])
  await assert.rejects(get(server, { path: '/healthz', ca: [] }), /self-signed|unable to/)
  await assert.rejects(server.request('/healthz'), /fetch failed/)
  const old = { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL@SECLEVEL=0' } as const
  await assert.rejects(get(server, { path: '/healthz', ...old }), /protocol version/)
  const Origin = `https://127.0.0.1:${server.httpPort}`
  assert.equal((await get(server, { path: '/v1/pool', headers: { Origin } })).status, 200)
})

test('a client that says nothing to the HTTPS port does not hold up the end', async () => {
  await using server = await startServer({ flags: tlsFlags() })
  const silent = await plainSocket({ port: server.httpPort })
  const half = await plainSocket({ port: server.httpPort })
  half.write(Uint8Array.of(0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3))
  await get(server, { path: '/healthz' })
  const fromMs = performance.now()
  assert.equal((await server.stop()).status, 0)
  assert.ok(performance.now() - fromMs < 15_000)
  silent.destroy()
  half.destroy()
})

test('verbs find a server by its data folder and know it by its certificate', async () => {
  // Its certificate is signed by nobody we trust; that of its successor is another one.
  await using server = await startServer({ flags: tlsFlags(OTHER_FILES) })
  const verb = (...words: string[]): ReturnType<typeof runProgram> => runProgram(words)
  const made = await verb('tenant', 'create', 'acme', '--data', server.data)
  assert.deepEqual([made.status, made.stderr], [0, ''])
  const asked = await verb('sql', 'acme', 'select 40 + 2 as n', '--json', '--data', server.data)
  assert.equal(asked.status, 0, asked.stderr)
  assert.match(asked.stdout, /"42"/)
  // Whoever may write the folder may say whom to trust; nobody else may.
  assert.equal(statSync(server.data).mode & 0o077, 0)
  const note = join(server.data, 'pgnap.owner.json')
  const owner = JSON.parse(readFileSync(note, 'utf8')) as Readonly<Record<string, string>>
  assert.equal(owner['url'], `https://127.0.0.1:${server.httpPort}`)
  const certificate = readFileSync(SERVER_FILES.tlsCert, 'utf8')
  writeFileSync(note, JSON.stringify({ ...owner, certificate }))
  const wrong = await verb('tenant', 'list', '--data', server.data)
  assert.equal(wrong.status, 69)
  assert.match(wrong.stderr, /no server answers at https:/)
  assert.match(wrong.stderr, /certificate/)
  // A URL of the user is checked as Node checks any.
  const url = `https://127.0.0.1:${server.httpPort}`
  const unknown = await verb('tenant', 'list', '--url', url)
  assert.equal(unknown.status, 69)
  assert.match(unknown.stderr, /self-signed certificate/)
})

test('verbs without a folder know the server by the configured certificate', async () => {
  using folder = temporaryFolder()
  await using server = await startServer({ flags: tlsFlags() })
  const config = join(folder.path, 'pgnap.json')
  const { tlsCert, tlsKey } = SERVER_FILES
  const data = join(folder.path, 'nothing')
  writeFileSync(config, JSON.stringify({ data, httpPort: server.httpPort, tlsCert, tlsKey }))
  const { status, stderr } = await runProgram(['tenant', 'list', '--config', config])
  assert.deepEqual([status, stderr.slice(0, 14)], [0, 'no tenants yet'])
})

test('SIGHUP renews the certificate of both ports, or changes nothing', async () => {
  using folder = temporaryFolder()
  const files = filesIn(folder.path)
  await using server = await startServer({ flags: tlsFlags(files) })
  const hangUp = async (line: RegExp): Promise<void> => {
    const from = server.log().length
    process.kill(server.pid, 'SIGHUP')
    while (!line.test(server.log().slice(from))) await delay(5)
  }
  const wireSubject = async (): Promise<string> => {
    const inside = await negotiatedTls(server, { rejectUnauthorized: false })
    const { CN } = inside.getPeerCertificate().subject
    inside.destroy()
    return String(CN)
  }
  const other = readFileSync(OTHER_FILES.tlsCert, 'utf8')
  assert.match(await wireSubject(), /server/)
  copyFileSync(OTHER_FILES.tlsCert, files.tlsCert)
  await hangUp(/the certificate was not renewed/)
  assert.match(await wireSubject(), /server/)
  assert.equal((await get(server, { path: '/healthz' })).status, 200)
  files.put(OTHER_FILES)
  await hangUp(/the certificate was read again/)
  assert.match(await wireSubject(), /other/)
  assert.equal((await get(server, { path: '/healthz', ca: other })).status, 200)
  const { status, stderr } = await runProgram(['tenant', 'list', '--data', server.data])
  assert.equal(status, 0, stderr)
})

test('a certificate that cannot be used ends the start with status 2', async () => {
  using folder = temporaryFolder()
  const { tlsCert, tlsKey } = SERVER_FILES
  const start = async (...flags: string[]): Promise<string> => {
    const { status, stderr } = await runProgram(serveWords(join(folder.path, 'data'), flags))
    assert.equal(status, 2, stderr)
    return stderr
  }
  assert.match(await start('--tls-cert', tlsCert), /tls-cert without tls-key.*--tls-key/)
  assert.match(
    await start(...tlsFlags({ tlsCert, tlsKey: OTHER_FILES.tlsKey })),
    /does not belong to the certificate/,
  )
  assert.match(await start(...tlsFlags({ tlsCert: '/nowhere', tlsKey })), /cannot read \/nowhere/)
  assert.match(await start('--require-tls'), /require-tls needs a certificate/)
})
