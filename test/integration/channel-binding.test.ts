/**
 * Passwords that are bound to TLS (SCRAM-SHA-256-PLUS), as drivers, psql and whoever stands between
 * them and the server meet it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline, Transform } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import type { ClientConfig } from 'pg'
import {
  connectPg,
  failureOf,
  missing,
  type PgConnection,
  runClient,
  type Target,
} from '../support/clients.ts'
import {
  directTls,
  negotiatedTls,
  plainSocket,
  readBytes,
  startupPacket,
} from '../support/raw-tls.ts'
import { loginByHand } from '../support/scram-client.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import {
  ED25519_FILES,
  OTHER_FILES,
  PSS_FILES,
  ROOT,
  ROOT_PATH,
  SERVER_FILES,
  tlsFlags,
} from '../support/tls-files.ts'
import { endPointBinding } from '../../src/host/node/tls/end-point-binding.ts'
import type { TlsFiles } from '../../src/host/node/tls/identity.ts'

const folder = temporaryFolder()
const authFile = join(folder.path, 'users')
writeFileSync(authFile, '"alice" "secret"\n')
after(() => folder[Symbol.dispose]())

const start = (files: TlsFiles): Promise<ServerProcess> =>
  startServer({
    flags: ['--shards', '1', '--auth', 'scram', '--auth-file', authFile, ...tlsFlags(files)],
  })

const LOGIN = { user: 'alice', password: 'secret', database: 'bound' } as const
/** A client that would have channel binding, and trusts any certificate. */
const bound = (target: Target, config: ClientConfig = {}): Promise<PgConnection> =>
  connectPg(target, LOGIN.database, {
    ...LOGIN,
    ssl: { rejectUnauthorized: false },
    enableChannelBinding: true,
    ...config,
  })

const psql = (target: Target, environment: Readonly<Record<string, string>>) =>
  runClient('psql', ['-XAtq'], target, LOGIN.database, {
    input: 'select 42',
    environment: { PGUSER: 'alice', PGPASSWORD: 'secret', PGSSLMODE: 'require', ...environment },
  })

describe('a server with a certificate', () => {
  let server: ServerProcess
  before(async () => void (server = await start(SERVER_FILES)))
  after(() => server[Symbol.asyncDispose]())

  test('node-postgres binds its password', async () => {
    await using connection = await bound(server, { ssl: { ca: ROOT, servername: 'localhost' } })
    assert.equal(await connection.value('select 1'), 1)
    const wrong = await failureOf(bound(server, { password: 'wrong' }))
    assert.equal(wrong.code, '28P01')
  })

  test(
    'psql with channel_binding require, prefer, disable',
    { skip: missing('psql') },
    async () => {
      for (const PGCHANNELBINDING of ['require', 'prefer', 'disable']) {
        const { stdout, stderr } = await psql(server, { PGCHANNELBINDING })
        assert.deepEqual([stdout, stderr], ['42\n', ''], PGCHANNELBINDING)
      }
      const verified = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: ROOT_PATH, PGHOST: 'localhost' }
      const { stdout } = await psql(server, { ...verified, PGCHANNELBINDING: 'require' })
      assert.equal(stdout, '42\n')
      const { stderr } = await psql(server, { PGSSLMODE: 'disable', PGCHANNELBINDING: 'require' })
      assert.match(stderr, /channel binding/)
    },
  )

  test('the console asks in the same way', async () => {
    await using console_ = await bound(server, { database: 'pgnap' })
    assert.ok((await console_.column('show version')).length > 0)
  })

  test('both ways of beginning TLS offer it, the clear does not', async () => {
    const plus = /^R\0\0\0.\0\0\0\nSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0$/s
    const mechanism = 'SCRAM-SHA-256-PLUS'
    for (const open of [negotiatedTls, directTls]) {
      const inside = await open(server)
      const certificate = inside.getPeerX509Certificate()
      assert.ok(certificate)
      const end = endPointBinding(certificate.raw)
      assert.ok(end)
      const header = 'p=tls-server-end-point,,'
      const offers: Buffer[] = []
      inside.once('data', (chunk: Buffer) => offers.push(chunk))
      const answer = await loginByHand(inside, { ...LOGIN, mechanism, header, bound: end })
      assert.match(String(answer), /^R/, String(answer))
      assert.match(String(offers[0]), plus)
      inside.destroy()
    }
    const clear = await plainSocket(server)
    clear.write(startupPacket(LOGIN.database, LOGIN.user))
    assert.match(String(await readBytes(clear, 24)), /^R\0\0\0.\0\0\0\nSCRAM-SHA-256\0\0$/s)
    clear.destroy()
  })

  test('what Postgres refuses is refused', async () => {
    const other = new Uint8Array(32)
    for (const [mechanism, header, data, code] of [
      ['SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,', other, '28000'],
      ['SCRAM-SHA-256-PLUS', 'p=tls-unique,,', other, '08P01'],
      ['SCRAM-SHA-256-PLUS', 'n,,', undefined, '08P01'],
      ['SCRAM-SHA-256', 'p=tls-server-end-point,,', other, '08P01'],
      ['SCRAM-SHA-256', 'y,,', undefined, '28000'],
    ] as const) {
      const inside = await negotiatedTls(server)
      const login = { ...LOGIN, mechanism, header, ...(data ? { bound: data } : {}) }
      const answer = String(await loginByHand(inside, login))
      assert.ok(answer.startsWith('E') && answer.includes(`\0C${code}\0`), `${header} ${answer}`)
      inside.destroy()
    }
  })

  describe('with somebody in between', () => {
    const strip = (): Transform =>
      new Transform({
        transform(chunk: Buffer, _, done) {
          const text = chunk.toString('latin1').replace('SCRAM-SHA-256-PLUS\0', '')
          const changed = Buffer.from(text, 'latin1')
          if (changed.length < chunk.length) changed.writeInt32BE(changed.length - 1, 1)
          done(null, changed)
        },
      })

    test('a password that is bound does not pass, one that is not does', async () => {
      await using proxy = await startProxy(server)
      const { code, message } = await failureOf(bound(proxy))
      assert.deepEqual([code, message], ['28000', 'SCRAM channel binding check failed'])
      await using loose = await bound(proxy, { enableChannelBinding: false })
      assert.equal(await loose.value('select 1'), 1)
    })

    test('who takes the offer away is found out', async () => {
      await using proxy = await startProxy(server, strip)
      const { code, message } = await failureOf(bound(proxy))
      assert.deepEqual([code, message], ['28000', 'SCRAM channel binding negotiation error'])
    })
  })
})

/** Shows clients another certificate, and passes on what they say. */
async function startProxy(server: Target, change?: () => Transform) {
  const sockets = new Set<Socket>()
  const { tlsCert, tlsKey } = OTHER_FILES
  const identity = { cert: readFileSync(tlsCert), key: readFileSync(tlsKey) }
  const serve = async (raw: Socket): Promise<void> => {
    sockets.add(raw)
    raw.on('error', () => {})
    await readBytes(raw, 8)
    raw.write('S')
    const inside = new TLSSocket(raw, { isServer: true, ...identity })
    const behind = await negotiatedTls(server)
    pipeline(inside, behind, () => {})
    if (change) pipeline(behind, change(), inside, () => {})
    else pipeline(behind, inside, () => {})
  }
  const proxy = createServer((raw) => void serve(raw)).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return {
    port: (proxy.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
      await once(proxy, 'close')
    },
  }
}

test('another hash than SHA-256: RSASSA-PSS with SHA-384', async () => {
  await using server = await start(PSS_FILES)
  await using connection = await bound(server)
  assert.equal(await connection.value('select 1'), 1)
})

test('an Ed25519 certificate has nothing to bind to, and locks nobody out', async () => {
  await using server = await start(ED25519_FILES)
  // It says that it would, and is believed that it was not offered.
  await using connection = await bound(server)
  assert.equal(await connection.value('select 1'), 1)
  if (missing('psql') !== false) return
  assert.equal((await psql(server, { PGCHANNELBINDING: 'prefer' })).stdout, '42\n')
  const { stderr } = await psql(server, { PGCHANNELBINDING: 'require' })
  assert.match(stderr, /channel binding is required/)
})

test('a connection is bound to the certificate that it was opened with', async () => {
  const files = { tlsCert: join(folder.path, 'now.crt'), tlsKey: join(folder.path, 'now.key') }
  const put = ({ tlsCert, tlsKey }: TlsFiles): void => {
    copyFileSync(tlsCert, files.tlsCert)
    copyFileSync(tlsKey, files.tlsKey)
  }
  put(SERVER_FILES)
  await using server = await start(files)
  const before_ = await negotiatedTls(server)
  put(OTHER_FILES)
  process.kill(server.pid, 'SIGHUP')
  while (!server.log().includes('certificate')) await delay(10)
  await using later = await bound(server)
  assert.equal(await later.value('select 1'), 1)
  const shown = before_.getPeerX509Certificate()
  assert.ok(shown)
  const end = endPointBinding(shown.raw)
  const header = 'p=tls-server-end-point,,'
  const login = { ...LOGIN, mechanism: 'SCRAM-SHA-256-PLUS', header } as const
  const answer = await loginByHand(before_, { ...login, ...(end ? { bound: end } : {}) })
  assert.match(String(answer), /^R/)
  before_.destroy()
})
