import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { LIMITS } from '../../base/limits.ts'
import { PipelinedRequests } from './pipelined-requests.ts'

const REQUEST = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi'

/** A server that answers when it is told to, and a client that has sent so many requests. */
async function ask(count: number) {
  const pipelined = new PipelinedRequests()
  const begun: ServerResponse[] = []
  const server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    const begin = (): void => void begun.push(outgoing)
    const turn = pipelined.turn({ incoming, outgoing })
    if (turn) void turn.then(begin)
    else begin()
    incoming.resume()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let heard = ''
  client.on('data', (bytes) => void (heard += bytes.toString()))
  client.on('error', () => {})
  client.write(REQUEST.repeat(count))
  const close = async (): Promise<void> => {
    client.destroy()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { begun, client, close, heard: () => heard }
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1))

test('the next request of a connection begins when the one before has been answered', async () => {
  const count = LIMITS.httpPipelineMax
  const { begun, close, heard } = await ask(count)
  for (let index = 0; index < count; index++) {
    while (begun.length === index) await turn()
    assert.equal(begun.length, index + 1)
    begun[index]?.end(`answer ${index};`)
  }
  while (!heard().includes(`answer ${count - 1};`)) await turn()
  const answers = heard().match(/answer \d+/g)
  assert.deepEqual(
    answers,
    Array.from({ length: count }, (_, index) => `answer ${index}`),
  )
  await close()
})

test('a connection reads on when those that waited have had their turn', async () => {
  const { begun, client, close, heard } = await ask(3)
  for (let index = 0; index < 3; index++) {
    while (begun.length === index) await turn()
    begun[index]?.end('ok')
  }
  client.write(REQUEST)
  while (begun.length < 4) await turn()
  begun[3]?.end('last')
  while (!heard().includes('last')) await turn()
  await close()
})

test('a connection that sends too many ahead is cut off', async () => {
  const { begun, client, close } = await ask(LIMITS.httpPipelineMax + 2)
  await once(client, 'close')
  assert.ok(begun.length <= 1)
  await close()
})
