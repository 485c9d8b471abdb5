/**
 * TLS on the Postgres port as clients meet it: drivers and psql, each way of beginning it, what
 * hostile bytes around it do, and what it must not change: sessions, naps, cancels, ends.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import type { ClientConfig } from 'pg'
import {
  type PgConnection,
  type Target,
  cancelPg,
  connectPg,
  failureOf,
  missing,
  runClient,
} from '../support/clients.ts'
import {
  GSSENC_REQUEST,
  SSL_REQUEST,
  directTls,
  greet,
  negotiate,
  negotiatedTls,
  plainSocket,
  queryMessage,
  readBytes,
  readToEnd,
  startupPacket,
} from '../support/raw-tls.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { startTwoShards } from '../support/shards.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { OTHER_FILES, ROOT, ROOT_PATH, SERVER_FILES, tlsFlags } from '../support/tls-files.ts'

const MIB = 1024 * 1024

const SSL: ClientConfig = { ssl: { ca: ROOT, servername: 'localhost' } }

const connectTls = (
  target: Target,
  tenant: string,
  config: ClientConfig = {},
): Promise<PgConnection> => connectPg(target, tenant, { ...SSL, ...config })

/** What `SHOW CLIENTS` says of the TLS of `tenant`'s clients. */
async function ciphersOf(server: Target, tenant: string): Promise<string[]> {
  await using console_ = await connectTls(server, 'pgnap')
  const { rows } = await console_.client.query<{ database: string; tls: string }>('show clients')
  return rows.filter(({ database }) => database === tenant).map(({ tls }) => tls)
}

/** A request that comes before its statement cancels nothing, so it is sent again. */
async function isCancelled(connection: PgConnection, send: () => Promise<void>): Promise<void> {
  const sleeping = failureOf(connection.client.query('select pg_sleep(60)'))
  let isOver = false
  const over = sleeping.finally(() => (isOver = true))
  while (!isOver) {
    await Promise.race([delay(100), over])
    if (!isOver) await send()
  }
  assert.equal((await sleeping).code, '57014')
}

describe('a server with a certificate', () => {
  let server: ServerProcess
  before(async () => {
    const flags = ['--shards', '2', '--slots', '2', '--nap-after', '50ms', '--log-level', 'debug']
    server = await startServer({ flags: [...flags, ...tlsFlags()] })
  })
  after(() => server[Symbol.asyncDispose]())

  /** Whatever a client did before: the server is there, and nobody but us is in it. */
  const isWell = async (): Promise<void> => {
    await using connection = await connectTls(server, 'well')
    assert.equal(await connection.value('select 1'), 1)
  }

  test('node-postgres checks the certificate and is served', async () => {
    await using connection = await connectTls(server, 'acme')
    assert.equal(await connection.value('select $1::text', ['inside']), 'inside')
    const [cipher] = await ciphersOf(server, 'acme')
    assert.match(String(cipher), /^TLSv1\.3\/TLS_\w+$/)
    const { message } = await failureOf(connectPg(server, 'acme', { ssl: true }))
    assert.match(message, /self-signed certificate|unable to get/)
  })

  test('clients without TLS are served as before', async () => {
    await using connection = await connectPg(server, 'acme')
    assert.equal(await connection.value('select 1'), 1)
    assert.deepEqual(await ciphersOf(server, 'acme'), [''])
  })

  test('TLS 1.2 is taken, 1.1 is not', async () => {
    const old = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
    await using connection = await connectTls(server, 'acme', { ssl: { ca: ROOT, ...old } })
    assert.equal(await connection.value('select 1'), 1)
    const older = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' } as const
    await assert.rejects(negotiatedTls(server, older), /protocol version/)
    await isWell()
  })

  test('psql with sslmode require and verify-full', { skip: missing('psql') }, async () => {
    const run = (environment: Readonly<Record<string, string>>): ReturnType<typeof runClient> =>
      runClient('psql', ['-XAtq'], server, 'acme', { input: 'select 42', environment })
    const verify = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: ROOT_PATH, PGHOST: 'localhost' }
    for (const environment of [{ PGSSLMODE: 'require' }, verify]) {
      const { status, stdout, stderr } = await run(environment)
      assert.deepEqual([status, stdout, stderr], [0, '42\n', ''])
    }
    const { status, stderr } = await run({ ...verify, PGSSLROOTCERT: OTHER_FILES.tlsCert })
    assert.equal(status, 2)
    assert.match(stderr, /certificate verify failed/)
  })

  test('the console is reached inside TLS', async () => {
    await using connection = await connectTls(server, 'pgnap')
    const { rows } = await connection.client.query<{ key: string; value: string }>('show config')
    const shown = rows.find(({ key }) => key === 'tlsCert')
    assert.equal(shown?.value, SERVER_FILES.tlsCert)
    const [cipher] = await ciphersOf(server, 'pgnap')
    assert.match(String(cipher), /^TLSv1\.3\//)
  })

  test('cancel requests are heard in the clear and inside TLS', async () => {
    await using connection = await connectTls(server, 'cancelled')
    await isCancelled(connection, () => cancelPg(server, connection))
    await isCancelled(connection, async () => {
      const { processID, secretKey } = connection.client as unknown as Record<string, number>
      const words = Buffer.alloc(16)
      for (const [index, word] of [16, 80_877_102, processID ?? 0, secretKey ?? 0].entries()) {
        words.writeInt32BE(word, index * 4)
      }
      const inside = await negotiatedTls(server)
      inside.write(words)
      assert.equal((await readToEnd(inside)).length, 0)
    })
    assert.equal(await connection.value('select 1'), 1)
  })

  test('50 connections at once keep their sessions over naps', async () => {
    const rounds = async (index: number): Promise<void> => {
      await using connection = await connectTls(server, `tenant-${index % 10}`)
      await connection.client.query(`set application_name = 'client ${index}'`)
      for (let round = 0; round < 3; round++) {
        assert.equal(await connection.value('show application_name'), `client ${index}`)
        const text = 'x'.repeat(100_000)
        assert.equal(await connection.value('select md5($1) = md5($2)', [text, text]), true)
        await delay(80)
      }
    }
    await Promise.all(Array.from({ length: 50 }, (_, index) => rounds(index)))
  })

  describe('how TLS begins', () => {
    /** A session by hand inside of `inside`. */
    const isServed = async (inside: TLSSocket): Promise<void> => {
      await greet(inside, 'raw')
      inside.write(queryMessage('select 40 + 2'))
      assert.match(String(await readBytes(inside, 60)), /42/)
      inside.end('X\0\0\0\x04')
      await readToEnd(inside)
    }

    test('asked for, with ALPN and without', async () => {
      const without = await negotiatedTls(server)
      assert.equal(without.alpnProtocol, false)
      await isServed(without)
      const named = await negotiatedTls(server, { ALPNProtocols: ['postgresql'] })
      assert.equal(named.alpnProtocol, 'postgresql')
      await isServed(named)
      await assert.rejects(negotiatedTls(server, { ALPNProtocols: ['h2'] }), /no application proto/)
    })

    test('from the first byte on, only with ALPN postgresql', async () => {
      await isServed(await directTls(server))
      await assert.rejects(directTls(server, { ALPNProtocols: ['h2'] }), /no application protocol/)
      // The client's handshake may end before the server has looked at it.
      const inside = await directTls(server, { ALPNProtocols: [] })
      inside.write(startupPacket('raw'))
      assert.equal((await readToEnd(inside)).length, 0)
      await isWell()
    })

    test('in pieces of one byte', async () => {
      const socket = await plainSocket(server)
      socket.setNoDelay(true)
      for (const byte of SSL_REQUEST) {
        socket.write(Uint8Array.of(byte))
        await delay(2)
      }
      assert.equal(String(await readBytes(socket, 1)), 'S')
      socket.destroy()
      await isWell()
    })

    test('after a request for GSSAPI, which is told no', async () => {
      const socket = await plainSocket(server)
      socket.write(GSSENC_REQUEST)
      assert.equal(String(await readBytes(socket, 1)), 'N')
      socket.write(SSL_REQUEST)
      assert.equal(String(await readBytes(socket, 1)), 'S')
      socket.destroy()
      await isWell()
    })
  })

  describe('hostile bytes', () => {
    test('what comes in the clear behind the request is refused, not taken along', async () => {
      const socket = await plainSocket(server)
      socket.write(Buffer.concat([SSL_REQUEST, startupPacket('stolen')]))
      const answer = String(await readToEnd(socket))
      assert.match(answer, /^E/)
      assert.match(answer, /C08P01\0Mreceived unencrypted data after SSL request\0/)
      assert.ok(!(await tenants()).includes('stolen'))
    })

    test('words instead of a ClientHello end the connection', async () => {
      const socket = await plainSocket(server)
      socket.write(SSL_REQUEST)
      assert.equal(String(await readBytes(socket, 1)), 'S')
      socket.write(startupPacket('stolen'))
      const answer = await readToEnd(socket)
      assert.ok(!answer.includes('R\0\0\0'), 'nobody is let in')
      assert.ok(!(await tenants()).includes('stolen'))
      await isWell()
    })

    test('inside TLS neither TLS nor GSSAPI can be asked for', async () => {
      for (const request of [SSL_REQUEST, GSSENC_REQUEST]) {
        const inside = await negotiatedTls(server)
        inside.write(request)
        assert.match(String(await readToEnd(inside)), /C08P01\0Mthis connection is encrypted alre/)
      }
      const nested = await negotiatedTls(server)
      nested.write(Uint8Array.of(0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3))
      assert.match(String(await readToEnd(nested)), /invalid length of startup packet/)
    })

    test('a connection that breaks is over, whenever it breaks', async () => {
      const noise = Buffer.alloc(5000, 0x16)
      const ways: (() => Promise<void>)[] = [
        async () => void (await plainSocket(server)).end(SSL_REQUEST),
        async () => {
          const socket = await plainSocket(server)
          socket.write(SSL_REQUEST)
          await readBytes(socket, 1)
          socket.resetAndDestroy()
        },
        async () => void (await plainSocket(server)).end(noise),
        async () => {
          const socket = await plainSocket(server)
          socket.write(noise.subarray(0, 100))
          await delay(5)
          socket.resetAndDestroy()
        },
        async () => void (await negotiatedTls(server)).destroy(),
        async () => void (await negotiatedTls(server)).end(),
        async () => void (await directTls(server)).end(startupPacket('raw').subarray(0, 9)),
      ]
      for (let round = 0; round < 5; round++) await Promise.all(ways.map((way) => way()))
      await isWell()
      assert.ok(!server.log().includes('"level":"error"'), server.log())
    })
  })

  const tenants = async (): Promise<string[]> => {
    await using console_ = await connectTls(server, 'pgnap')
    return (await console_.column('show tenants')) as string[]
  }
})

test('what the table of connections holds falls back, however they end', async () => {
  await using shards = await startTwoShards({ tls: SERVER_FILES })
  const { handover } = shards
  interface Session {
    readonly raw: Socket
    readonly inside: TLSSocket
  }
  const ends: ((session: Session) => unknown)[] = [
    ({ inside }) => inside.end('X\0\0\0\x04'),
    ({ inside }) => inside.end(),
    ({ inside }) => inside.destroy(),
    ({ inside }) => inside.write('no message'),
    ({ raw }) => raw.resetAndDestroy(),
    ({ raw }) => raw.end(),
    ({ raw }) => raw.write('no record of TLS'),
    ({ inside, raw }) => {
      inside.write(queryMessage("select repeat('x', 10000000)"))
      raw.resetAndDestroy()
    },
  ]
  const open = async (index: number): Promise<Session> => {
    const raw = await plainSocket(shards)
    const inside = await negotiate(raw)
    await greet(inside, `tenant-${index}`)
    return { raw, inside }
  }
  for (const end of ends) {
    const sessions = await Promise.all(Array.from({ length: 5 }, (_, index) => open(index)))
    assert.equal(handover.openCount, 5)
    for (const session of sessions) {
      session.inside.resume()
      end(session)
    }
    const deadlineMs = Date.now() + 10_000
    while (handover.openCount > 0) {
      assert.ok(Date.now() < deadlineMs, `${handover.openCount} are left by ${String(end)}`)
      await delay(5)
    }
    for (const { raw } of sessions) raw.destroy()
  }
})

test('a large COPY to a slow client waits with its shard, not in the main thread', async () => {
  await using shards = await startTwoShards({ tls: SERVER_FILES })
  const inside = await negotiatedTls(shards)
  await greet(inside, 'bulk')
  const memoryBytes = (): number => process.memoryUsage().arrayBuffers
  const beforeBytes = memoryBytes()
  inside.write(
    queryMessage("copy (select repeat('x', 999999) from generate_series(1, 40)) to stdout"),
  )
  // The client reads nothing: the kernel, Node and a window of the ring fill up, and that is all.
  inside.pause()
  await using neighbour = await connectTls(shards, 'neighbour')
  for (let round = 0; round < 50; round++) {
    assert.equal(await neighbour.value('select 1'), 1)
    await delay(10)
    assert.ok(memoryBytes() - beforeBytes < 10 * MIB, `${memoryBytes() - beforeBytes} bytes`)
  }
  // And then slowly, to the last byte.
  let bytes = Buffer.alloc(0)
  let copiedBytes = 0
  for await (const chunk of inside) {
    for (const byte of chunk as Buffer) if (byte === 0x78) copiedBytes++
    bytes = Buffer.concat([bytes, chunk as Buffer]).subarray(-6)
    if (bytes.equals(Buffer.from('Z\0\0\0\x05I'))) break
    if (copiedBytes % 17 === 0) await delay(1)
  }
  assert.equal(copiedBytes, 40 * 999_999)
})

test('passwords inside TLS', async () => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'users')
  writeFileSync(file, '"alice" "secret"\n')
  const scram = ['--auth', 'scram', '--auth-file', file]
  await using server = await startServer({ flags: [...scram, ...tlsFlags()] })
  await using connection = await connectTls(server, 'acme', { user: 'alice', password: 'secret' })
  assert.equal(await connection.value('select 1'), 1)
  const wrong = connectTls(server, 'acme', { user: 'alice', password: 'wrong' })
  assert.equal((await failureOf(wrong)).code, '28P01')
})

test('with --require-tls nobody is served in the clear', async () => {
  await using server = await startServer({ flags: ['--require-tls', ...tlsFlags()] })
  for (const tenant of ['acme', 'pgnap']) {
    const { code, severity, message, hint } = await failureOf(connectPg(server, tenant))
    assert.deepEqual([code, severity], ['28000', 'FATAL'])
    assert.match(message, /^no encryption:/)
    assert.match(String(hint), /sslmode=require/)
  }
  await using connection = await connectTls(server, 'acme')
  // psql before 17 sends its cancel requests in the clear, whatever its connection is.
  await isCancelled(connection, () => cancelPg(server, connection))
})

test('a drained server says goodbye inside TLS and ends', async () => {
  await using server = await startServer({ flags: tlsFlags() })
  const sessions = await Promise.all(
    ['one', 'two', 'pgnap'].map(async (name) => {
      const inside = await negotiatedTls(server)
      await greet(inside, name)
      return inside
    }),
  )
  const handshaking = await plainSocket(server)
  handshaking.write(SSL_REQUEST)
  await readBytes(handshaking, 1)
  const goodbyes = Promise.all(sessions.map((inside) => readToEnd(inside)))
  const ended = server.stop()
  for (const goodbye of await goodbyes) assert.match(String(goodbye), /C57P01/)
  // With close_notify; a connection cut off would have ended by an error.
  for (const inside of sessions) {
    assert.ok(inside.readableEnded)
    inside.end()
  }
  assert.equal((await ended).status, 0)
})
