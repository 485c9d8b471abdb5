import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'
import { descriptorOf } from './socket-internals.ts'
import { loadAskUnread } from './unread-bytes.ts'

const ask = loadAskUnread()
const skip = ask ? false : 'this system cannot tell'

/** Both ends of a connection, of which nobody reads the server's. */
async function connection(): Promise<{ client: Socket; served: Socket; descriptor: number }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [served] = (await once(server, 'connection')) as [Socket]
  server.close()
  const descriptor = descriptorOf(served)
  assert.ok(descriptor !== undefined)
  return { client, served, descriptor }
}

async function becomes(descriptors: readonly number[], wanted: boolean): Promise<void> {
  for (let count = 0; count < 1_000 && ask?.(descriptors) !== wanted; count++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.equal(ask?.(descriptors), wanted)
}

test('one of many that has said something is seen, until it is read', { skip }, async () => {
  const all = await Promise.all(Array.from({ length: 50 }, connection))
  const descriptors = all.map(({ descriptor }) => descriptor)
  assert.equal(ask?.(descriptors), false)
  assert.equal(ask?.([]), false)
  const { client, served } = all[37] ?? assert.fail()
  client.write('select 1')
  await becomes(descriptors, true)
  served.resume()
  await becomes(descriptors, false)
  for (const each of all) each.client.destroy()
  for (const each of all) each.served.destroy()
})

test('who has ended its side waits for nothing that can be seen', { skip }, async () => {
  const { client, served, descriptor } = await connection()
  client.end()
  await once(client, 'finish')
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(ask?.([descriptor]), false)
  client.destroy()
  served.destroy()
})
