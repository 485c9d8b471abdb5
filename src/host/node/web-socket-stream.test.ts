import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { Socket } from 'node:net'
import { suite, test } from 'node:test'
import type WebSocket from 'ws'
import { LIMITS } from '../../base/limits.ts'
import { WebSocketStream } from './web-socket-stream.ts'

/** What the stream needs of the library's WebSocket; the network is the test. */
class FakeWebSocket extends EventEmitter {
  readonly OPEN = 1
  readonly CLOSED = 3
  readyState = 1
  bufferedAmount = 0
  isPaused = false
  pings = 0
  sent: Buffer[] = []
  closedWith: number | undefined
  terminated = false

  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
  ping(): void {
    this.pings++
  }
  send(bytes: Buffer, _options: object, done: () => void): void {
    this.sent.push(bytes)
    done()
  }
  close(code: number): void {
    this.closedWith ??= code
    this.readyState = 2
  }
  terminate(): void {
    this.terminated = true
    this.readyState = 3
  }
  /** The client's word, or the network's. */
  closed(code: number): void {
    this.readyState = 3
    this.emit('close', code)
  }
}

function open(): { fake: FakeWebSocket; stream: WebSocketStream } {
  const fake = new FakeWebSocket()
  return { fake, stream: new WebSocketStream(fake as unknown as WebSocket, new Socket(), 0) }
}

const SILENT_PULSES = LIMITS.webSocketSilenceMs / LIMITS.webSocketPingMs

suite('a WebSocket as a stream', () => {
  test('who gives no sign of life is cut off, whoever answers is not', () => {
    const { fake, stream } = open()
    for (let count = 0; count < 3 * SILENT_PULSES; count++) {
      stream.checkPulse()
      fake.emit('pong')
    }
    assert.equal(fake.pings, 3 * SILENT_PULSES)
    for (let count = 0; count < SILENT_PULSES; count++) stream.checkPulse()
    assert.equal(stream.destroyed, false)
    stream.checkPulse()
    assert.deepEqual([stream.destroyed, fake.terminated], [true, true])
  })

  test('silence says nothing while nothing is read, or bytes wait to be sent', () => {
    for (const state of [{ isPaused: true }, { bufferedAmount: 1 }]) {
      const { fake, stream } = open()
      Object.assign(fake, state)
      for (let count = 0; count < 3 * SILENT_PULSES; count++) stream.checkPulse()
      assert.equal(stream.destroyed, false)
    }
  })

  test('reading pauses when nobody takes what comes, and goes on', async () => {
    const { fake, stream } = open()
    fake.emit('message', Buffer.alloc(stream.readableHighWaterMark), true)
    assert.equal(fake.isPaused, true)
    stream.resume()
    await once(stream, 'data')
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(fake.isPaused, false)
  })

  test('a Close frame ends what is read; what is written then goes nowhere', async () => {
    const { fake, stream } = open()
    fake.emit('message', Buffer.from('last'), true)
    fake.closed(1005)
    const chunks = await stream.toArray()
    assert.deepEqual(chunks.map(String), ['last'])
    await new Promise((resolve) => stream.write('late', resolve))
    assert.deepEqual(fake.sent, [])
  })

  test('the end of what is written waits for the answer to its Close frame', async () => {
    const { fake, stream } = open()
    let isFinished = false
    stream.end('bye', () => (isFinished = true))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([fake.sent.map(String), fake.closedWith], [['bye'], 1000])
    assert.equal(isFinished, false)
    fake.closed(1000)
    await once(stream.resume(), 'close')
    assert.equal(isFinished, true)
  })

  test('what is torn off, or speaks text, is destroyed', async () => {
    const torn = open()
    torn.fake.closed(1006)
    assert.equal(torn.stream.destroyed, true)
    const text = open()
    text.fake.emit('message', Buffer.from('select 1'), false)
    text.fake.emit('message', Buffer.from('more'), true)
    assert.equal(text.fake.closedWith, 1003)
    assert.equal(text.stream.read(), null)
    text.fake.closed(1003)
    assert.equal(text.stream.destroyed, true)
  })
})
