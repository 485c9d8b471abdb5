/**
 * Strangers at the door: who guesses passwords, who wants to know which names there are, who opens
 * connections and says nothing, or says anything at all. One rule over all of them: they learn
 * nothing, and clients that mean it do not notice.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.ts'
import { type Failure, connectPg, failureOf } from '../support/clients.ts'
import { say } from '../support/messages.ts'
import { plainSocket, readBytes, readToEnd, startupPacket } from '../support/raw-tls.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const folder = temporaryFolder()
const users = join(folder.path, 'users')
writeFileSync(users, '"admin" "right"\n"other" "right"\n', { mode: 0o600 })
after(() => folder[Symbol.dispose]())
const SCRAM = ['--auth', 'scram', '--auth-file', users]
const RIGHT = { user: 'admin', password: 'right' }

const guess = (server: ServerProcess, user: string, tenant = 'acme'): Promise<Failure> =>
  failureOf(connectPg(server, tenant, { user, password: 'wrong' }))

describe('guessing', () => {
  test('who is wrong too often has to wait, on every way in', async () => {
    await using server = await startServer({
      flags: ['--shards', '2', ...SCRAM, '--login-failures', '3'],
    })
    // Known and unknown, tenants of both shards: all of it counts for the address.
    const codes = []
    for (const [user, tenant] of [
      ['admin', 'acme'],
      ['nobody', 'beta'],
      ['admin', 'gamma'],
      ['admin', 'acme'],
      ['nobody', 'delta'],
    ] as const) {
      codes.push((await guess(server, user, tenant)).code)
    }
    assert.deepEqual(codes, ['28P01', '28P01', '28P01', '53400', '53400'])
    const failure = await failureOf(connectPg(server, 'acme', RIGHT))
    assert.equal(failure.code, '53400')
    assert.match(failure.hint ?? '', /try again in \d+ s/)
    assert.equal((await failureOf(connectPg(server, 'pgnap', RIGHT))).code, '53400')
    const answer = await server.request('/sql', {
      method: 'POST',
      headers: { 'Neon-Connection-String': 'postgres://admin:right@localhost/acme' },
      body: JSON.stringify({ query: 'select 1' }),
    })
    assert.equal(answer.status, 429)
    const basic = { Authorization: `Basic ${btoa('admin:right')}` }
    assert.equal((await server.request('/v1/pool', { headers: basic })).status, 429)
  })

  test('guesses that come all at once are counted all the same', async () => {
    await using server = await startServer({
      flags: ['--shards', '1', ...SCRAM, '--login-failures', '3'],
    })
    const failures = await Promise.all(Array.from({ length: 40 }, () => guess(server, 'admin')))
    const looked = failures.filter(({ code }) => code === '28P01').length
    assert.equal(looked, 3)
    assert.ok(failures.every(({ code }) => code === '28P01' || code === '53400'))
  })

  test('without a limit nobody waits', async () => {
    await using server = await startServer({
      flags: ['--shards', '1', ...SCRAM, '--login-failures', '0'],
    })
    for (let count = 0; count < 30; count++) {
      assert.equal((await guess(server, 'admin')).code, '28P01')
    }
    await using connection = await connectPg(server, 'acme', RIGHT)
    assert.equal(await connection.value('select 1'), 1)
  })
})

describe('asking for names', () => {
  let server: ServerProcess
  before(async () => {
    const flags = ['--shards', '2', ...SCRAM, '--no-create-on-connect']
    server = await startServer({ flags })
    const headers = { Authorization: `Basic ${btoa('admin:right')}` }
    for (const name of ['acme', 'beta']) {
      const init = { method: 'POST', headers, body: JSON.stringify({ name }) }
      assert.equal((await server.request('/v1/tenants', init)).status, 201)
    }
  })
  after(() => server[Symbol.asyncDispose]())

  /** What the server says before it knows the password, without its nonce. */
  async function firstWords(user: string, tenant: string): Promise<string> {
    const socket = await plainSocket(server)
    socket.write(startupPacket(tenant, user))
    await readBytes(socket, 20)
    const first = 'n,,n=,r=nonce'
    socket.write(say.password((w) => w.string('SCRAM-SHA-256').int32(first.length).text(first)))
    const answer = String(await readBytes(socket, 30))
    socket.destroy()
    return /,(s=.*)$/.exec(answer)?.[1] ?? answer
  }

  test('a role that exists, one that does not, and no tenant at all begin alike', async () => {
    // acme is a role of tenant acme; the other names are in no table.
    const known = await firstWords('acme', 'acme')
    assert.match(known, /^s=[A-Za-z0-9+/]+=*,i=4096$/)
    for (const tenant of ['beta', 'nowhere', 'elsewhere', 'pgnap']) {
      assert.equal(await firstWords('acme', tenant), known, tenant)
    }
    // An administrator is the same everywhere, and so is somebody who is nobody.
    for (const user of ['admin', 'nobody']) {
      const words = await firstWords(user, 'acme')
      assert.notEqual(words, known)
      for (const tenant of ['beta', 'nowhere', 'pgnap']) {
        assert.equal(await firstWords(user, tenant), words, `${user} ${tenant}`)
      }
    }
  })

  test('they end alike, in words, SQLSTATE and fields', async () => {
    const told = async (user: string, tenant: string): Promise<unknown> => {
      const { code, message, detail, hint, severity } = await guess(server, user, tenant)
      return { code, message: message.replace(user, 'USER'), detail, hint, severity }
    }
    const wrong = await told('admin', 'acme')
    for (const [user, tenant] of [
      ['acme', 'acme'],
      ['acme', 'beta'],
      ['nobody', 'acme'],
      ['nobody', 'nowhere'],
      ['acme', 'nowhere'],
      ['admin', 'nowhere'],
    ] as const) {
      assert.deepEqual(await told(user, tenant), wrong, `${user} ${tenant}`)
    }
    const failure = await failureOf(connectPg(server, 'nowhere', RIGHT))
    assert.equal(failure.code, '3D000', 'an administrator may know')
  })

  test('unless the operator wants it to be told', async () => {
    const flags = ['--no-create-on-connect', '--tell-unknown-tenants']
    await using open = await startServer({ flags: ['--shards', '1', ...SCRAM, ...flags] })
    const failure = await guess(open, 'nobody', 'nowhere')
    assert.equal(failure.code, '3D000')
    assert.match(failure.hint ?? '', /pgnap tenant create nowhere/)
  })
})

describe('saying nothing', () => {
  const residentBytes = ({ pid }: ServerProcess): number =>
    Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096

  /** As many sockets, and how many of them the server has closed. */
  async function openMany(server: ServerProcess, count: number, bytes: Uint8Array) {
    let closed = 0
    const sockets: Socket[] = []
    for (let index = 0; index < count; index++) {
      const socket = await plainSocket(server)
      socket.on('close', () => closed++)
      socket.resume()
      socket.write(bytes)
      sockets.push(socket)
    }
    return {
      closed: () => closed,
      [Symbol.dispose]: () => {
        for (const socket of sockets) socket.destroy()
      },
    }
  }

  test('those that never finish their startup are bounded, in number and in bytes', async () => {
    await using server = await startServer({ flags: ['--shards', '1', ...SCRAM] })
    const before = residentBytes(server)
    const count = LIMITS.startupConnectionsMax + 300
    // The longest packet that there may be, without its last byte.
    const packet = new Uint8Array(LIMITS.startupPacketBytesMax - 1)
    new DataView(packet.buffer).setInt32(0, LIMITS.startupPacketBytesMax)
    using strangers = await openMany(server, count, packet)
    await using connection = await connectPg(server, 'acme', RIGHT)
    assert.equal(await connection.value('select 1'), 1)
    for (let turn = 0; turn < 400 && strangers.closed() < 299; turn++) await delay(50)
    // The client that was let in was one of those for a moment.
    assert.ok(strangers.closed() >= 299 && strangers.closed() <= 301, `${strangers.closed()}`)
    const grown = (residentBytes(server) - before) / 2 ** 20
    assert.ok(grown < 256, `${grown} MiB for ${count} connections and one tenant`)
  })

  test('who says who he is and no password gives way to who does', async () => {
    const flags = ['--shards', '1', ...SCRAM, '--max-connections', '20']
    await using server = await startServer({ flags })
    using strangers = await openMany(server, 20, startupPacket('acme', 'admin'))
    // All places are taken until the first of them have had their grace.
    for (let turn = 0; turn < 400 && strangers.closed() < 10; turn++) await delay(50)
    assert.equal(strangers.closed(), 10)
    await using connection = await connectPg(server, 'acme', RIGHT)
    assert.equal(await connection.value('select 1'), 1)
  })

  test('clients that are in are never sent away for strangers', async () => {
    const flags = ['--shards', '1', ...SCRAM, '--max-connections', '20']
    await using server = await startServer({ flags })
    await using first = await connectPg(server, 'acme', RIGHT)
    using strangers = await openMany(server, 19, startupPacket('acme', 'admin'))
    for (let turn = 0; turn < 400 && strangers.closed() < 9; turn++) await delay(50)
    assert.equal(await first.value('select 1'), 1)
  })
})

describe('saying anything', () => {
  let server: ServerProcess
  before(async () => {
    server = await startServer({ flags: ['--shards', '2', ...SCRAM] })
  })
  after(() => server[Symbol.asyncDispose]())

  test('a startup packet that claims too much is refused by its length alone', async () => {
    for (const length of [LIMITS.startupPacketBytesMax + 1, 2 ** 31 - 1, -1, 0, 7]) {
      const socket = await plainSocket(server)
      const head = Buffer.alloc(8)
      head.writeInt32BE(length, 0)
      socket.write(head)
      assert.match(String(await readToEnd(socket)), /C08P01/, String(length))
    }
  })

  test('garbage, cut and changed packets, behind the password too: nobody notices', async () => {
    await using neighbour = await connectPg(server, 'neighbour', RIGHT)
    const startup = Buffer.from(startupPacket('acme', 'admin'))
    const piece = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.constantFrom<Uint8Array>(
        startup,
        say.query('select 1'),
        say.password((w) => w.string('SCRAM-SHA-256').int32(-1)),
        say.password((w) => w.string('x'.repeat(9_000))),
        Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
        Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 252]),
        Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]),
      ),
      fc
        .tuple(fc.nat(startup.length - 1), fc.nat(255))
        .map(([at, byte]) => Buffer.from(startup).fill(byte, at, at + 1)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 4 }), async (pieces) => {
        const socket = await plainSocket(server)
        for (const bytes of pieces) socket.write(bytes)
        socket.end()
        const answer = await readToEnd(socket)
        socket.destroy()
        assert.ok(!answer.includes('R\0\0\0\x08\0\0\0\0'), 'nobody is let in')
        assert.ok(answer.length < 4_000)
      }),
      { numRuns: 150 },
    )
    assert.equal(await neighbour.value('select 1'), 1)
    assert.doesNotMatch(server.log(), /"level":"(?:warn|error)"/)
  })

  test('a password that comes byte by byte is as good as any', async () => {
    const socket = await plainSocket(server)
    for (const byte of startupPacket('acme', 'admin')) {
      socket.write(Buffer.from([byte]))
      await delay(1)
    }
    assert.match(String(await readBytes(socket, 20)), /SCRAM-SHA-256/)
    socket.destroy()
    await once(socket, 'close')
  })
})
