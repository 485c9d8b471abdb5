/**
 * What a cancel request is about where its shard's thread is held meanwhile, over each transport:
 * the first statement that the client had sent by then, and nothing that it sends afterwards.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectPg, type PgConnection } from '../support/clients.ts'
import {
  cancelRequestIn,
  greet,
  negotiatedTls,
  plainSocket,
  queryMessage,
  readBytes,
} from '../support/raw-tls.ts'
import { NOTHING_PAUSES, type ServerProcess, startServer } from '../support/server.ts'
import { tlsFlags } from '../support/tls-files.ts'

const TRANSPORTS: Readonly<
  Record<string, { flags: string[]; open: (server: ServerProcess) => Promise<Socket> }>
> = {
  'by descriptor': { flags: ['--transport', 'descriptor'], open: plainSocket },
  'by ring': { flags: ['--transport', 'ring'], open: plainSocket },
  'in TLS': { flags: tlsFlags(), open: (server) => negotiatedTls(server) },
}
const ENDLESS = 'select pg_sleep(1000)'
/** Longer than two looks of the main thread. */
const long = (word: string): Buffer => queryMessage(`select '${word}' from pg_sleep(0.15)`)

/** The answers, as the rows and errors in them. */
async function answers(socket: Socket, count: number): Promise<string[]> {
  let all = Buffer.alloc(0)
  const ends = (): number => String(all).split('Z\0\0\0\x05I').length - 1
  while (ends() < count) {
    const more = await readBytes(socket, 1)
    assert.ok(more.length > 0, 'the connection ends early')
    all = Buffer.concat([all, more])
  }
  return String(all).match(/(?<=C)57014|word [a-z]+/g) ?? []
}

for (const [transport, { flags, open }] of Object.entries(TRANSPORTS)) {
  describe(transport, () => {
    let server: ServerProcess
    let holder: PgConnection
    before(async () => {
      server = await startServer({ flags: [...NOTHING_PAUSES, ...flags] })
      const ssl = transport === 'in TLS' ? { rejectUnauthorized: false } : false
      holder = await connectPg(server, 'holder', { ssl })
      await holder.value('select 1')
    })
    after(async () => {
      await holder[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    })

    /** A client, the request that cancels it, and the thread held for a while. */
    async function held(tenant: string) {
      const socket = await open(server)
      const request = cancelRequestIn(await greet(socket, tenant))
      const cancel = async (): Promise<void> => {
        const other = connect(server.port, '127.0.0.1')
        other.resume().end(request)
        await once(other, 'close')
      }
      const free = holder.value('select pg_sleep(0.5)::text')
      await delay(100)
      return { socket, cancel, free }
    }

    test('the first of what was sent before, not the second, nor what comes after', async () => {
      const { socket, cancel, free } = await held('several')
      socket.write(Buffer.concat([queryMessage(ENDLESS), long('word second')]))
      await cancel()
      socket.write(long('word third'))
      const expected = ['57014', 'word second', 'word third']
      assert.deepEqual(await answers(socket, 3), expected)
      await free
      socket.destroy()
    })

    test('nothing if nothing was sent before', async () => {
      const { socket, cancel, free } = await held('nothing')
      await cancel()
      socket.write(long('word later'))
      assert.deepEqual(await answers(socket, 1), ['word later'])
      await free
      socket.destroy()
    })

    test('what was sent before in part', async () => {
      const { socket, cancel, free } = await held('part')
      const message = queryMessage(ENDLESS)
      socket.write(message.subarray(0, 12))
      await cancel()
      socket.write(Buffer.concat([message.subarray(12), long('word behind')]))
      assert.deepEqual(await answers(socket, 2), ['57014', 'word behind'])
      await free
      socket.destroy()
    })

    test('of each client its own', async () => {
      const [first, second] = [await held('each-first'), await held('each-second')]
      first.socket.write(queryMessage(ENDLESS))
      second.socket.write(long('word spared'))
      await first.cancel()
      assert.deepEqual(await answers(first.socket, 1), ['57014'])
      assert.deepEqual(await answers(second.socket, 1), ['word spared'])
      await Promise.all([first.free, second.free])
      for (const { socket } of [first, second]) socket.destroy()
    })
  })
}
