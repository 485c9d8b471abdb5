import { strict as assert } from 'node:assert'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { test } from 'node:test'
import { loadDuplicate } from '../../src/host/node/handover/descriptors.ts'
import type { HandoverMode } from '../../src/host/node/handover/handover.ts'
import { TestClient } from './handover-client.ts'
import { patternBytes } from './handover-pattern.ts'
import { descriptorCount, eventually, startServer } from './handover-server.ts'
import type { TestServer } from './handover-server.ts'

const MIB = 1024 * 1024
const TIMEOUT_MS = 30_000
const CONNECTION_COUNT = 600
const CONCURRENCY = 40

type Way = (server: TestServer, name: string, route: string) => Promise<void>

async function greeted(server: TestServer, name: string, route: string): Promise<TestClient> {
  const client = await TestClient.connect(server.port, route)
  assert.equal(await client.ask('echo hello', `${name}:hello\n`), `${name}:hello\n`)
  return client
}

/** Every way in which a connection comes to its end. */
const WAYS: Readonly<Record<string, Way>> = {
  'the client ends': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.end()
    assert.equal((await client.readToEnd()).length, 0)
    assert.ok(client.hasEnded)
  },
  'the client closes with unread data': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.write('big 1000000\n')
    await client.read(1)
    client.socket.destroy()
  },
  'the client resets': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.resetAndDestroy()
  },
  'the server ends with last bytes': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.write('bye\n')
    assert.equal(String(await client.readToEnd()), `${name}:bye\n`)
    assert.ok(client.hasEnded)
    client.socket.end()
  },
  'the server stops reading and ends while the client still sends': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.write('pausebye\n')
    client.socket.write(patternBytes(200_000))
    assert.equal(String(await client.readToEnd()), `${name}:bye\n`)
    assert.equal(client.errorCode, undefined)
    client.socket.end()
  },
  'the server destroys': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.write('drop\n')
    assert.equal((await client.readToEnd()).length, 0)
    client.socket.destroy()
  },
  'the client resets in the middle of 8 MiB': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.write(`big ${8 * MIB}\n`)
    await client.read(1)
    client.socket.resetAndDestroy()
  },
  'the client half-closes and reads the rest': async (server, name, route) => {
    const client = await TestClient.connect(server.port)
    client.socket.end(`${route}echo a\nbig 300000\n`)
    const answer = await client.readToEnd()
    assert.deepEqual(answer, Buffer.concat([Buffer.from(`${name}:a\n`), patternBytes(300_000)]))
    assert.ok(client.hasEnded)
  },
  'a large answer is read whole': async (server, name, route) => {
    const client = await greeted(server, name, route)
    client.socket.write(`bigbye ${2 * MIB + 7}\n`)
    assert.ok((await client.readToEnd()).equals(patternBytes(2 * MIB + 7)))
    client.socket.end()
  },
  'the client asks for TLS first': async (server, name, route) => {
    const client = await TestClient.connect(server.port, '?')
    assert.equal(String(await client.read(1)), 'N')
    client.socket.write(`${route}bye\n`)
    assert.equal(String(await client.readToEnd()), `${name}:bye\n`)
    client.socket.end()
  },
  'the client goes before its route is known': async (server) => {
    const client = await TestClient.connect(server.port, 'half a lin')
    client.socket.destroy()
  },
  'the client ends before its route is known': async (server) => {
    const client = await TestClient.connect(server.port)
    client.socket.end('half a lin')
    assert.equal((await client.readToEnd()).length, 0)
  },
  'the client resets right after its route': async (server, _name, route) => {
    const client = await TestClient.connect(server.port)
    client.socket.write(route, () => client.socket.resetAndDestroy())
    await client.closed()
  },
  'the client closes right after its route': async (server, _name, route) => {
    const client = await TestClient.connect(server.port)
    client.socket.write(`${route}echo a\n`, () => client.socket.destroy())
    await client.closed()
  },
  'the client has no route': async (server) => {
    const client = await TestClient.connect(server.port, 'lost\n')
    assert.equal(String(await client.readToEnd()), 'no shard\n')
    client.socket.end()
  },
}

const modes: readonly HandoverMode[] = ['descriptor', 'ring']

for (const mode of modes) {
  const canRun = mode === 'ring' || loadDuplicate() !== undefined
  const skip = canRun ? false : 'this Node cannot duplicate descriptors'
  const options = { skip, timeout: TIMEOUT_MS }

  test(
    `${mode}: connections end in every way, none is lost and nothing leaks`,
    options,
    async () => {
      await using server = await startServer(mode)
      const witnesses = await Promise.all(
        [0, 1].map((shard) => greeted(server, `w${shard}`, `w${shard} ${shard}\n`)),
      )
      const before = descriptorCount()
      const ways = Object.values(WAYS)
      let started = 0
      const runner = async (): Promise<void> => {
        while (started < CONNECTION_COUNT) {
          const index = started++
          const way = ways[index % ways.length]
          await way?.(server, `c${index}`, `c${index} ${index & 1}\n`)
        }
      }
      await Promise.all(Array.from({ length: CONCURRENCY }, runner))
      await eventually(() => server.handover.openCount === witnesses.length)
      for (const shard of [0, 1]) {
        await eventually(async () => (await server.statistics(shard)).openCount === 1)
      }
      // Sockets of both ends have been closed by then; the operating system's count must agree.
      await eventually(() => descriptorCount() <= before)
      for (const [shard, witness] of witnesses.entries()) {
        assert.equal(await witness.ask('echo still', `w${shard}:still\n`), `w${shard}:still\n`)
        witness.socket.end()
      }
      await eventually(() => server.handover.openCount === 0)
    },
  )

  test(
    `${mode}: a client that does not read holds up nobody, and loses nothing`,
    options,
    async () => {
      await using server = await startServer(mode, 1)
      const slow = await greeted(server, 'slow', 'slow 0\n')
      const other = await greeted(server, 'other', 'other 0\n')
      slow.socket.pause()
      const { arrayBuffers } = process.memoryUsage()
      slow.socket.write(`big ${32 * MIB}\n`)
      await eventually(async () => (await server.statistics(0)).bufferedBytes > 16 * MIB)
      for (let round = 0; round < 50; round++) {
        assert.equal(await other.ask(`echo ${round}`, `other:${round}\n`), `other:${round}\n`)
      }
      // The answer waits in the shard, where the front sees it, and not in the main thread.
      assert.ok(process.memoryUsage().arrayBuffers - arrayBuffers < 12 * MIB)
      slow.socket.resume()
      const answer = await slow.read(32 * MIB)
      assert.ok(answer.equals(patternBytes(32 * MIB)))
      await eventually(async () => {
        const { bufferedBytes, drainedCount } = await server.statistics(0)
        return bufferedBytes === 0 && drainedCount >= 1
      })
      assert.equal(await slow.ask('echo after', 'slow:after\n'), 'slow:after\n')
      slow.socket.end()
      other.socket.end()
    },
  )

  test(`${mode}: an upload into a shard that keeps pausing arrives whole`, options, async () => {
    await using server = await startServer(mode, 1)
    const other = await greeted(server, 'other', 'other 0\n')
    const bytes = patternBytes(16 * MIB)
    const client = await greeted(server, 'up', 'up 0\n')
    assert.equal(await client.ask(`upload ${bytes.length}`, 'ready\n'), 'ready\n')
    client.socket.write(bytes)
    assert.equal(await other.ask('echo x', 'other:x\n'), 'other:x\n')
    const digest = (await client.read(65)).toString().trim()
    assert.equal(digest, createHash('sha256').update(bytes).digest('hex'))
    client.socket.end()
    other.socket.end()
  })

  test(`${mode}: a client that never closes its side is cut off`, options, async () => {
    await using server = await startServer(mode, 1, 50)
    const client = await greeted(server, 'deaf', 'deaf 0\n')
    client.socket.write('bye\n')
    assert.equal(String(await client.readToEnd()), 'deaf:bye\n')
    await eventually(() => server.handover.openCount === 0)
    await eventually(async () => (await server.statistics(0)).openCount === 0)
    client.socket.destroy()
  })

  test(`${mode}: what cannot be handed over stays with the caller`, options, async () => {
    await using server = await startServer(mode, 1)
    const stray = connect(server.port, '127.0.0.1')
    assert.equal(server.handover.hand(stray, 7, {}, new Uint8Array(0)), false)
    stray.destroy()
    assert.equal(server.handover.hand(stray, 0, {}, new Uint8Array(0)), false)
    assert.equal(server.handover.openCount, 0)
  })
}
