import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'
import { LoadGenerator } from './load.ts'

test('two jobs under way hear each of itself', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const clients = [{ database: 'a', parameters: [] }]
  const job = { user: 'a', sql: 'select 1', clients, warmUpCount: 0 }
  await using load = new LoadGenerator()
  const connected = once(silent, 'connection') as Promise<[Socket]>
  const givenUp = load.run({ ...job, port })
  const [socket] = await connected
  // Nothing listens on port 1.
  await assert.rejects(load.run({ ...job, port: 1 }), /ECONNREFUSED/)
  socket.destroy()
  silent.close()
  // What it had sent and nobody read makes it a reset.
  await assert.rejects(givenUp, /hung up|ECONNRESET/)
})
