/**
 * A client of the wire that goes away while its statement runs, in each way a connection can end,
 * over each transport: the statement ends, and what it had open is rolled back. Who has only said
 * its last word still gets its answer.
 */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectPg, missing, spawnClient } from '../support/clients.ts'
import {
  greet,
  negotiatedTls,
  plainSocket,
  queryMessage,
  readToEnd,
  startupPacket,
} from '../support/raw-tls.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { tlsFlags } from '../support/tls-files.ts'

const ENDLESS = 'do $$ begin loop null; end loop; end $$'
/** The end must be seen by the server; a busy machine adds to its two looks of 50 ms. */
const SOON_MS = 2_000
const TERMINATE = Buffer.from('X\0\0\0\x04')

const ENDS: Readonly<Record<string, (socket: Socket) => void>> = {
  'closes its connection': (socket) => socket.destroy(),
  'resets it': (socket) => socket.resetAndDestroy(),
  'says goodbye in the middle': (socket) => socket.end(TERMINATE).destroySoon(),
}

const TRANSPORTS: Readonly<
  Record<string, { flags: string[]; open: (server: ServerProcess) => Promise<Socket> }>
> = {
  'by descriptor': { flags: ['--transport', 'descriptor'], open: plainSocket },
  'by ring': { flags: ['--transport', 'ring'], open: plainSocket },
  'in TLS': { flags: tlsFlags(), open: (server) => negotiatedTls(server) },
}

for (const [transport, { flags, open }] of Object.entries(TRANSPORTS)) {
  describe(transport, async () => {
    const start = (): Promise<ServerProcess> =>
      startServer({ flags: ['--shards', '1', '--slots', '2', ...flags] })

    for (const [how, leave] of Object.entries(ENDS)) {
      if (transport === 'in TLS' && how === 'resets it') continue
      test(`a client that ${how} ends its statement and its transaction`, async () => {
        await using server = await start()
        await using other = await connectPg(server, 'vanish', {
          ssl: transport === 'in TLS' ? { rejectUnauthorized: false } : false,
        })
        await other.client.query('create table t (n int)')
        const socket = await open(server)
        await greet(socket, 'vanish')
        socket.write(queryMessage(`begin; insert into t values (1); select 1`))
        await delay(50)
        socket.resume()
        socket.write(queryMessage(ENDLESS))
        await delay(200)
        leave(socket)
        const leftMs = performance.now()
        assert.equal(await other.value('select count(*)::int from t'), 0)
        assert.ok(performance.now() - leftMs < SOON_MS, 'it did not go on')
      })
    }

    test('a client that has sent its last byte gets its answer, then the end', async () => {
      await using server = await start()
      const socket = await open(server)
      socket.write(Buffer.concat([startupPacket('half'), queryMessage('select 1')]))
      socket.end(queryMessage(`select pg_sleep(1), 'the answer'`))
      const answer = String(await readToEnd(socket))
      assert.match(answer, /the answer/)
      assert.ok(answer.endsWith('Z\0\0\0\x05I'))
    })
  })
}

test('psql that is killed', { skip: missing('psql') }, async () => {
  await using server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
  await using other = await connectPg(server, 'killed')
  const child = spawnClient('psql', ['-X', '-c', ENDLESS], server, 'killed')
  await delay(500)
  child.kill('SIGKILL')
  const leftMs = performance.now()
  assert.equal(await other.value('select 1'), 1)
  assert.ok(performance.now() - leftMs < SOON_MS, 'it did not go on')
})
