import assert from 'node:assert/strict'
import { once } from 'node:events'
import { openSync, closeSync } from 'node:fs'
import { type AddressInfo, createServer, connect, type Socket } from 'node:net'
import { devNull } from 'node:os'
import { test } from 'node:test'
import { loadAskSentBytes } from './sent-bytes.ts'
import { descriptorOf } from './socket-internals.ts'

const ask = loadAskSentBytes()
const skip = ask ? false : 'this system does not tell'

/** The two ends of a connection. */
async function pair(): Promise<{ client: Socket; server: Socket } & Disposable> {
  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(
    0,
    '127.0.0.1',
  )
  await once(listener, 'listening')
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1')
  const [server] = (await once(listener, 'connection')) as [Socket]
  const close = (): void => {
    client.destroy()
    server.destroy()
    listener.close()
  }
  return { client, server, [Symbol.dispose]: close }
}

const written = (socket: Socket, bytes: number): Promise<void> =>
  new Promise((resolve) => void socket.write(Buffer.alloc(bytes), () => resolve()))

test('bytes count as soon as they have come, read or not', { skip }, async () => {
  using ends = await pair()
  const { client, server } = ends
  const sent = (): number | undefined => ask?.(descriptorOf(server) ?? -1)
  assert.equal(sent(), 0)
  await written(client, 1000)
  // The kernel may take its time with them.
  while (sent() === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([sent(), server.bytesRead], [1000, 0])
  server.resume()
  await written(client, 500)
  while (server.bytesRead < 1500) await once(server, 'data')
  assert.equal(sent(), 1500)
})

test('what is no connection has sent nothing that is known', { skip }, () => {
  const descriptor = openSync(devNull, 'r')
  assert.equal(ask?.(descriptor), undefined)
  closeSync(descriptor)
  assert.equal(ask?.(-1), undefined)
})
