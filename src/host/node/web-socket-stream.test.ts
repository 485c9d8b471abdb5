import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import type { Socket } from 'node:net'
import { suite, test } from 'node:test'
import type WebSocket from 'ws'
import { ManualClock } from '../../base/clock.ts'
import { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { AUTHENTICATION_OK } from '../../front/wire/server-messages.ts'
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

/** Of which only what it has read is asked. */
class FakeSocket extends EventEmitter {
  bytesRead = 0

  read(bytes: number): void {
    this.bytesRead += bytes
    this.emit('data', new Uint8Array(0))
  }
}

function open(provenMax = 2 ** 30) {
  const fake = new FakeWebSocket()
  const socket = new FakeSocket()
  const clock = new ManualClock()
  const accounts = { unproven: new HeldBytes(2 ** 28), proven: new HeldBytes(provenMax) }
  const stream = new WebSocketStream({
    webSocket: fake as unknown as WebSocket,
    socket: socket as unknown as Socket,
    headBytes: 0,
    accounts,
    owner: '127.0.0.1',
    clock,
  })
  return { fake, socket, accounts, clock, stream }
}

const SILENT_PULSES = LIMITS.webSocketSilenceMs / LIMITS.webSocketPingMs

suite('a WebSocket as a stream', () => {
  test('who gives no sign of life is cut off, whoever answers is not', () => {
    const { fake, stream } = open()
    for (let count = 0; count < 3 * SILENT_PULSES; count++) {
      stream.checkPulse()
      fake.emit('pong', Buffer.alloc(0))
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

  test('what has come of a frame counts once it is proven who sends it', async () => {
    const { fake, socket, accounts, clock, stream } = open(1_000_000)
    socket.read(300_000)
    assert.deepEqual([accounts.unproven.bytes, accounts.proven.bytes], [300_000, 0])
    stream.write(AUTHENTICATION_OK)
    assert.deepEqual([accounts.unproven.bytes, accounts.proven.bytes], [0, 300_000])
    socket.read(200_000)
    assert.equal(accounts.proven.bytes, 500_000)
    fake.emit('message', Buffer.alloc(500_000), true)
    assert.equal(accounts.proven.bytes, 500_000, 'it waits to be read')
    stream.resume()
    await once(stream, 'data')
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(accounts.proven.bytes, 0)
    socket.read(1_000_001)
    await Promise.resolve()
    assert.deepEqual([fake.closedWith, fake.isPaused, accounts.proven.bytes], [1009, true, 0])
    assert.equal(stream.destroyed, false)
    clock.advance(LIMITS.webSocketGoodbyeMs)
    assert.equal(stream.destroyed, true)
  })

  test('what comes after the end of what is written counts', async () => {
    const { fake, socket, accounts, stream } = open(1_000_000)
    stream.write(AUTHENTICATION_OK)
    stream.end()
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(fake.closedWith, 1000)
    socket.read(700_000)
    assert.equal(accounts.proven.bytes, 700_000)
    fake.emit('message', Buffer.alloc(700_000), true)
    assert.equal(accounts.proven.bytes, 0, 'nobody keeps it')
    socket.read(1_000_001)
    await Promise.resolve()
    assert.deepEqual([stream.destroyed, accounts.proven.bytes], [true, 0])
  })

  test('who is sent away and sends on is cut off', () => {
    const { fake, socket, accounts, stream } = open()
    fake.emit('message', Buffer.from('select 1'), false)
    assert.equal(fake.closedWith, 1003)
    socket.read(LIMITS.webSocketUnprovenBytesMax)
    assert.equal(accounts.unproven.bytes, LIMITS.webSocketUnprovenBytesMax)
    socket.read(1)
    assert.deepEqual([stream.destroyed, accounts.unproven.bytes], [true, 0])
  })

  test('signs of life are not held', () => {
    const { fake, socket, accounts, stream } = open()
    stream.write(AUTHENTICATION_OK)
    socket.read(100_000)
    for (const kind of ['ping', 'pong']) {
      for (let count = 0; count < 1_000; count++) {
        socket.read(131)
        fake.emit(kind, Buffer.alloc(125))
      }
    }
    socket.read(1)
    assert.equal(accounts.proven.bytes, 100_001)
  })

  test('a large frame can be read in part', async () => {
    const { fake, stream } = open()
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      stream.pause()
    })
    await new Promise((resolve) => setImmediate(resolve))
    const frame = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251))
    fake.emit('message', frame, true)
    assert.deepEqual([chunks[0]?.length, stream.readableLength], [65_536, 200_000 - 65_536])
    while (stream.readableLength > 0) {
      stream.resume()
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.ok(Buffer.concat(chunks).equals(frame))
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
