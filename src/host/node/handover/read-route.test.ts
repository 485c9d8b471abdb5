import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { ManualClock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import { type Peeked, readRoute } from './read-route.ts'

/** A client that says what it is told to, and what it hears. */
class FakeSocket extends Duplex {
  heard = ''

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.heard += String(chunk)
    done()
  }

  async say(text: string): Promise<void> {
    this.push(Buffer.from(text))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Routes are words that end in a full stop; `?` is answered, `!` refused. */
function peek(bytes: Uint8Array): Peeked<string> {
  const text = Buffer.from(bytes).toString()
  if (text.startsWith('?')) {
    return { kind: 'reply', reply: Buffer.from('N'), consumedBytes: 1 }
  }
  if (text.startsWith('!')) return { kind: 'refuse', lastBytes: Buffer.from('no') }
  return text.endsWith('.') ? { kind: 'route', route: text } : undefined
}

function open() {
  const socket = new FakeSocket()
  const clock = new ManualClock()
  const routes: string[] = []
  readRoute({ socket, clock, peek }, (route) => routes.push(route))
  return { socket, clock, routes }
}

suite('the first bytes of a connection', () => {
  test('in pieces, with a question before them, they make one route', async () => {
    const { socket, routes, clock } = open()
    for (const text of ['?', 'ac', 'me', '.']) await socket.say(text)
    assert.deepEqual([routes, socket.heard], [['acme.'], 'N'])
    clock.advance(LIMITS.authenticationMs * 2)
    assert.equal(socket.destroyed, false, 'it is somebody else’s now')
  })

  test('who says nothing is cut off', () => {
    const { socket, clock } = open()
    clock.advance(LIMITS.authenticationMs - 1)
    assert.equal(socket.destroyed, false)
    clock.advance(1)
    assert.equal(socket.destroyed, true)
  })

  test('who says a byte now and then gets no more time for it', async () => {
    const { socket, clock, routes } = open()
    for (let second = 0; second < LIMITS.authenticationMs / 1000; second++) {
      await socket.say('x')
      clock.advance(1_000)
    }
    assert.deepEqual([socket.destroyed, routes], [true, []])
  })

  test('who says more than a startup packet may have is cut off', async () => {
    const { socket, routes } = open()
    await socket.say('x'.repeat(LIMITS.startupPacketBytesMax))
    assert.equal(socket.destroyed, false)
    await socket.say('x')
    assert.deepEqual([socket.destroyed, routes], [true, []])
  })

  test('who is refused hears why', async () => {
    const { socket, routes } = open()
    await socket.say('!')
    assert.deepEqual([socket.heard, routes], ['no', []])
  })
})
