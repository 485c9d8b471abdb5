import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'
import { ManualClock } from '../../../base/clock.ts'
import { type Ending, LifeQuestion, loadAskEnding } from './client-ending.ts'
import { descriptorOf } from './socket-internals.ts'

const ask = loadAskEnding()
const skip = ask ? false : 'this system cannot tell'

/** Both ends of a connection, of which nobody reads the server's. */
async function connection(): Promise<{ client: Socket; ending: () => Ending; served: Socket }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [served] = (await once(server, 'connection')) as [Socket]
  server.close()
  client.on('error', () => {})
  served.on('error', () => {})
  const descriptor = descriptorOf(served)
  assert.ok(ask && descriptor !== undefined)
  return { client, served, ending: () => ask(descriptor) }
}

async function becomes(ending: () => Ending, wanted: Ending): Promise<void> {
  for (let count = 0; count < 1_000 && ending() !== wanted; count++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.equal(ending(), wanted)
}

test('who has said its last, and who has gone, are told apart by a byte', { skip }, async () => {
  const { client, served, ending } = await connection()
  client.write('unread')
  await becomes(ending, 'open')
  client.end()
  await becomes(ending, 'half')
  served.write('still there?')
  const [answer] = await once(client, 'data')
  assert.equal(String(answer), 'still there?')
  assert.equal(ending(), 'half')
  client.destroy()
  served.write('and now?')
  await becomes(ending, 'whole')
  served.destroy()
})

test('who resets its connection has gone', { skip }, async () => {
  const { client, served, ending } = await connection()
  client.resetAndDestroy()
  await becomes(ending, 'whole')
  served.destroy()
})

test('a client is asked twice, and then seldom', () => {
  const clock = new ManualClock(0)
  const question = new LifeQuestion(clock)
  assert.deepEqual([question.isDue(), question.isDue(), question.isDue()], [true, true, false])
  clock.advance(9_999)
  assert.equal(question.isDue(), false)
  clock.advance(1)
  assert.deepEqual([question.isDue(), question.isDue(), question.isDue()], [true, true, false])
})
