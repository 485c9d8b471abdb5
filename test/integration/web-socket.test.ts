/** `/v2` against clients that do what no driver does, and pages that must not be there. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import WebSocket from 'ws'
import { LIMITS } from '../../src/base/limits.ts'
import { connectPg } from '../support/clients.ts'
import { claimFrame, rawSocketOf } from '../support/raw-frames.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
})
after(() => server[Symbol.asyncDispose]())

const wait = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

function message(type: string, ...parts: readonly (string | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)))
  const head = Buffer.alloc(type.length + 4)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, type.length)
  return Buffer.concat([head, body])
}

const startup = (database: string): Buffer =>
  message('', Buffer.from([0, 3, 0, 0]), `user\0ann\0database\0${database}\0\0`)
const password = (text: string): Buffer => message('p', `${text}\0`)
const query = (sql: string): Buffer => message('Q', `${sql}\0`)

interface Opened {
  readonly socket: WebSocket
  /** All that has come. */
  readonly bytes: () => Buffer
  /** Waits until `text` has come. */
  readonly heard: (text: string) => Promise<void>
  /** Code of the Close frame. */
  readonly closed: Promise<number>
}

async function open({ httpPort }: ServerProcess, options: object = {}): Promise<Opened> {
  const socket = new WebSocket(`ws://127.0.0.1:${httpPort}/v2?address=x:5432`, options)
  const chunks: Buffer[] = []
  socket.on('message', (chunk: Buffer) => void chunks.push(chunk))
  socket.on('error', () => {})
  const closed = once(socket, 'close').then(([code]) => code as number)
  await once(socket, 'open')
  const bytes = (): Buffer => Buffer.concat(chunks)
  const heard = async (text: string): Promise<void> => {
    while (!bytes().includes(text)) await once(socket, 'message')
  }
  return { socket, bytes, heard, closed }
}

/** The status line of the answer to a request that is written by hand. */
async function statusOf(
  { httpPort }: ServerProcess,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const socket = connectTcp(httpPort, '127.0.0.1')
  const all = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return Number(/^HTTP\/1\.1 (\d+)/.exec(bytes.toString('latin1'))?.[1])
}

/** The server goes on as if nothing had been. */
async function assertWell(): Promise<void> {
  await using client = await connectPg(server, 'well')
  assert.equal(await client.value('select 1'), 1)
}

async function clientCount(): Promise<number> {
  const answer = await server.request('/v1/pool')
  return ((await answer.json()) as { clients: number }).clients
}

async function settlesAt(count: number): Promise<void> {
  const endMs = performance.now() + 10_000
  while ((await clientCount()) !== count) {
    assert.ok(performance.now() < endMs, `${await clientCount()} clients are left`)
    await wait(50)
  }
}

describe('who may open a WebSocket', () => {
  const cases: readonly (readonly [string, string, Record<string, string>, number])[] = [
    ['a program', '/v2', {}, 101],
    ['a page on loopback', '/v2?address=a:1', { Origin: 'http://localhost:3000' }, 101],
    ['a foreign page', '/v2', { Origin: 'https://evil.example' }, 403],
    ['a page without a name', '/v2', { Origin: 'null' }, 403],
    ['a rebound name', '/v2', { Host: 'evil.example' }, 403],
    ['another path', '/v3', {}, 404],
    ['a path behind it', '/v2/x', {}, 404],
    ['a path that is no WebSocket', '/sql', {}, 405],
    ['no WebSocket', '/v2', { Upgrade: 'h2c' }, 426],
    ['a wrong key', '/v2', { 'Sec-WebSocket-Key': 'x' }, 400],
    ['an old version', '/v2', { 'Sec-WebSocket-Version': '7' }, 400],
  ]
  for (const [name, path, headers, status] of cases) {
    test(`${name}: ${status}`, async () => {
      assert.equal(await statusOf(server, path, headers), status)
    })
  }

  test('another upgrade of an ordinary request is ignored, as HTTP says', async () => {
    assert.equal(await statusOf(server, '/healthz', { Upgrade: 'h2c' }), 200)
  })

  test('with passwords, any page: it has to know one', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'users')
    writeFileSync(file, '"ann" "right"\n')
    await using guarded = await startServer({ flags: ['--auth', 'scram', '--auth-file', file] })
    assert.equal(await statusOf(guarded, '/v2', { Origin: 'https://page.example' }), 101)
    assert.equal(await statusOf(guarded, '/v2', { Host: 'db.example' }), 101)
    for (const [text, answer] of [
      ['right', 'server_version'],
      ['wrong', '28P01'],
      ['', '28P01'],
    ] as const) {
      const { socket, heard } = await open(guarded)
      socket.send(startup('acme'))
      socket.send(password(text))
      await heard(answer)
      socket.terminate()
    }
    // Whoever asks before the password is answered nothing but that.
    const early = await open(guarded)
    early.socket.send(Buffer.concat([startup('acme'), query('select 1')]))
    await early.heard('08P01')
    assert.ok(!early.bytes().includes('server_version'))
    // Over TCP it is SCRAM, for the same user.
    const socket: Socket = connectTcp(guarded.port, '127.0.0.1')
    socket.write(startup('acme'))
    const [asked] = (await once(socket, 'data')) as [Buffer]
    assert.equal(asked.readInt32BE(5), 10)
    socket.destroy()
  })
})

describe('what comes through it', () => {
  test('bytes split in every way', async () => {
    const { socket, heard, bytes } = await open(server)
    const all = Buffer.concat([startup('split'), password(''), query(`select 'he' || 'llo'`)])
    for (const byte of all) socket.send(Buffer.of(byte))
    await heard('hello')
    assert.equal(bytes().toString('latin1', 0, 9), 'R\0\0\0\x08\0\0\0\x03')
    socket.send(message('X'))
    socket.terminate()
  })

  test('TLS inside is refused, the rest goes on', async () => {
    const { socket, heard, bytes } = await open(server)
    socket.send(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
    while (bytes().length < 1) await once(socket, 'message')
    assert.equal(bytes().toString(), 'N')
    socket.send(Buffer.concat([startup('plain'), password('')]))
    await heard('server_version')
    socket.terminate()
  })

  test('Terminate ends it with a Close frame', async () => {
    const { socket, closed } = await open(server)
    socket.send(Buffer.concat([startup('bye'), password(''), message('X')]))
    assert.equal(await closed, 1000)
  })

  test('a Close frame ends what was asked for first', async () => {
    await using other = await connectPg(server, 'closing')
    await other.client.query('create table t (n int)')
    const { socket, closed } = await open(server)
    const insert = query('insert into t select 1 from pg_sleep(0.3)')
    socket.send(Buffer.concat([startup('closing'), password(''), insert]))
    socket.close()
    await closed
    const endMs = performance.now() + 5_000
    while ((await other.value('select count(*)::int from t')) !== 1) {
      assert.ok(performance.now() < endMs, 'as over TCP, it is run')
      await wait(20)
    }
  })

  test('a text frame is refused', async () => {
    for (const first of [[], [startup('text'), password('')]]) {
      const { socket, closed } = await open(server)
      for (const bytes of first) socket.send(bytes)
      socket.send('select 1')
      assert.equal(await closed, 1003)
    }
    await assertWell()
  })

  test('a frame that claims to be giant', async () => {
    const { socket, closed } = await open(server)
    claimFrame(socket, LIMITS.messageBytesMax + 1)
    assert.equal(await closed, 1009)
    await assertWell()
  })

  test('much before the client was let in', async () => {
    const { socket, closed } = await open(server)
    const raw = claimFrame(socket, LIMITS.messageBytesMax)
    raw.write(Buffer.alloc(LIMITS.webSocketUnprovenBytesMax + 1))
    assert.equal(await closed, 1009)
    await assertWell()
  })

  test('garbage: as frames, inside of frames, unmasked', async () => {
    for (const garbage of [Buffer.alloc(100, 0xff), Buffer.from([0x82, 0x01, 0x00])]) {
      const { socket, closed } = await open(server)
      rawSocketOf(socket).write(garbage)
      assert.equal(await closed, 1002)
    }
    const { socket, heard, closed } = await open(server)
    socket.send(Buffer.alloc(100, 0xff))
    await heard('invalid length of startup packet')
    assert.equal(await closed, 1000)
    await assertWell()
  })

  test('a slow reader of a large answer gets all of it, and keeps nobody waiting', async () => {
    const { socket, heard, closed } = await open(server)
    socket.send(Buffer.concat([startup('slow'), password('')]))
    await heard('server_version')
    socket.pause()
    const sql = `select repeat('x', 100000) from generate_series(1, 600)`
    socket.send(Buffer.concat([query(sql), query(`select 'the' || 'end'`)]))
    await wait(500)
    await assertWell()
    let count = 0
    let last = Buffer.alloc(0)
    socket.on('message', (bytes: Buffer) => {
      count += bytes.length
      last = Buffer.concat([last, bytes]).subarray(-200)
    })
    socket.resume()
    while (!last.includes('theend')) await once(socket, 'message')
    assert.ok(count > 60_000_000)
    socket.close()
    await closed
  })

  test('a client that is gone in the middle of a large answer', async () => {
    const { socket, heard } = await open(server)
    socket.send(Buffer.concat([startup('gone'), password('')]))
    await heard('server_version')
    socket.pause()
    socket.send(query(`select repeat('x', 100000) from generate_series(1, 600)`))
    await wait(200)
    socket.terminate()
    await using other = await connectPg(server, 'gone')
    assert.equal(await other.value('select 1'), 1)
  })

  test('200 connections opened and dropped in every way', async () => {
    await settlesAt(0)
    await Promise.all(
      Array.from({ length: 200 }, async (_, at) => {
        const { socket, heard } = await open(server)
        if (at % 5 > 0) socket.send(startup(`drop-${at % 7}`))
        if (at % 5 > 1) socket.send(password(''))
        if (at % 5 > 2) await heard('server_version')
        if (at % 5 > 3) socket.send(query('begin; select 1'))
        if (at % 2 === 0) socket.terminate()
        else socket.close()
      }),
    )
    await settlesAt(0)
    await assertWell()
  })
})
