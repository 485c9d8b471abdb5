import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { FakeClient, FakeLink } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { Session } from './session.ts'

/** A session whose client waits for its turn until it is released. */
function waiting() {
  const link = new FakeLink()
  const client = new FakeClient(true)
  Object.defineProperty(client, 'waitingSinceMs', { get: () => (client.waiting ? 1 : undefined) })
  const clock = new ManualClock()
  const session = new Session({ link, client, clock, log: silentLog, onClosed: () => {} })
  const send = (...messages: Uint8Array[]): void => session.receive(Buffer.concat(messages))
  const wait = (): void => clock.advance(LIMITS.earlyParseMs)
  return { link, client, session, send, wait }
}

test('who only prepares and has waited for a while is answered', async () => {
  const { link, client, send, wait } = waiting()
  send(say.parse('a', 'select a'), say.parse('b', 'select b'), say.sync())
  assert.equal(link.summary(), '')
  wait()
  assert.equal(link.summary(), '1 1 ZI')
  assert.deepEqual(client.batches, [])
  send(say.bind('', 'a'), say.execute(''), say.sync())
  assert.equal(link.summary(), '1 1 ZI', 'the next one waits for its turn')
  await client.release()
  assert.deepEqual(client.batches, ['PPS|'])
  await client.release()
  assert.deepEqual(client.batches, ['PPS|', 'BES|'])
  assert.match(link.summary(), /^1 1 ZI 2 .*ZI$/)
})

test('whatever does more than prepare waits', () => {
  for (const batch of [
    [say.query('select a')],
    [say.parse('', 'select a'), say.describe(), say.sync()],
    [say.parse('', 'select a'), say.bind('', ''), say.execute(''), say.sync()],
    [say.parse('', 'select a'), say.flush()],
    [say.sync()],
  ]) {
    const { link, send, wait } = waiting()
    send(...batch)
    wait()
    assert.equal(link.summary(), '')
  }
})

test('a promise that cannot be kept is the answer to the next batch', async () => {
  const { link, client, send, wait } = waiting()
  client.nextError = new PgnapError('QUERY_WAIT_TIMEOUT', 'waited too long')
  send(say.parse('a', 'select a'), say.sync())
  wait()
  await client.release()
  assert.equal(link.summary(), '1 ZI')
  send(say.bind('', 'a'), say.execute(''), say.sync())
  assert.equal(link.summary(), '1 ZI ERROR:57014 ZI')
  assert.deepEqual(client.batches, [])
  send(say.query('select b'))
  await client.release()
  assert.equal(link.summary(), '1 ZI ERROR:57014 ZI D C(select) ZI')
})

test('a cancel request does not reach what has been answered', () => {
  const { client, session, send, wait } = waiting()
  send(say.parse('a', 'select a'), say.sync())
  wait()
  session.cancel()
  assert.equal(client.cancelled, 0)
})

test('a wait that ends in vain leaves nothing unprepared', async () => {
  const { link, client, session, send, wait } = waiting()
  send(say.parse('a', 'select a'), say.sync())
  wait()
  send(say.bind('', 'a'), say.execute(''), say.sync())
  session.cancel()
  assert.equal(client.cancelled, 1, 'it waits for what it has said since')
  client.nextError = new PgnapError('QUERY_CANCELED', 'cancelled')
  await client.release()
  assert.equal(link.summary(), '1 ZI ERROR:57014 ZI')
  assert.deepEqual(client.batches, [])
  send(say.bind('', 'a'), say.execute(''), say.sync())
  await client.release()
  assert.deepEqual(client.batches, ['PSBES|'], 'the statement first')
  assert.match(link.summary(), /^1 ZI ERROR:57014 ZI 2 [^1]*ZI$/)
  send(say.query('select b'))
  await client.release()
  assert.deepEqual(client.batches.slice(1), ['Q|'])
})

test('who has been answered is sent away at once', () => {
  const { link, session, send, wait } = waiting()
  send(say.parse('a', 'select a'), say.sync())
  wait()
  session.shutdown(new PgnapError('SHUTTING_DOWN', 'bye'))
  assert.equal(link.summary(), '1 ZI FATAL:57P01')
})

test('who does not wait for long is answered by the backend, errors too', async () => {
  const { link, client, send, wait } = waiting()
  client.nextError = new PgnapError('QUERY_WAIT_TIMEOUT', 'waited too long')
  send(say.parse('a', 'select a'), say.sync())
  await client.release()
  wait()
  assert.equal(link.summary(), 'ERROR:57014 ZI')
})
