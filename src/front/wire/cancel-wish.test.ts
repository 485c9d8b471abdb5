import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { FakeClient, FakeLink } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { CancelWish } from './cancel-wish.ts'
import { Session } from './session.ts'

const SQL = say.query('select 1')

/** A session whose client waits for its turn until it is released. */
function world({ mayCome = false } = {}) {
  const link = new FakeLink()
  const client = new FakeClient(true)
  Object.defineProperty(client, 'waitingSinceMs', { get: () => (client.waiting ? 1 : undefined) })
  const clock = new ManualClock()
  const wish = new CancelWish(clock, () => mayCome)
  const session = new Session({ link, client, clock, log: silentLog, wish, onClosed: () => {} })
  const send = (...messages: Uint8Array[]): void => session.receive(Buffer.concat(messages))
  const state = { over: false }
  let number = 0
  /** @param beforeByte what the client had sent by then */
  const cancel = (beforeByte: number): void => {
    state.over = false
    void wish.make({ number: ++number, beforeByte }).then(() => (state.over = true))
    session.cancelForWish()
  }
  /** The pool ends the wait of which it has been told. */
  const endWait = (): Promise<void> => {
    client.nextError = new PgnapError('QUERY_CANCELED', 'cancelled')
    return client.release()
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return { link, client, session, wish, clock, send, cancel, endWait, turn, state }
}

test('a batch that waits is ended, and none behind it', async () => {
  const { client, link, wish, send, cancel, endWait, turn, state } = world()
  send(SQL, SQL)
  cancel(2 * SQL.length)
  assert.equal(client.cancelled, 1)
  await endWait()
  await turn()
  assert.equal(link.summary(), 'ERROR:57014 ZI')
  assert.equal(state.over, true)
  assert.equal(client.cancelled, 1, 'the second one waits on')
  assert.equal(wish.begunByte, SQL.length)
  assert.equal(wish.spentWish, 1)
})

test('what is sent ahead is taken up one by one while a wish may be on its way', async () => {
  const { client, send, turn } = world({ mayCome: true })
  send(SQL, SQL, say.parse('', 'select 2'), say.flush(), say.sync())
  for (let count = 0; count < 4; count++) {
    await client.release()
    await turn()
  }
  assert.deepEqual(client.batches, ['Q|', 'Q|', 'PHS|', 'S|'])
})

test('what is read later is ended if it was sent before', async () => {
  const { client, send, cancel, turn, state } = world()
  cancel(SQL.length)
  await turn()
  assert.deepEqual([client.cancelled, state.over], [0, false])
  send(SQL.subarray(0, 3))
  await turn()
  assert.deepEqual([client.cancelled, state.over], [0, false], 'it has come in part')
  send(SQL.subarray(3))
  await turn()
  assert.deepEqual([client.cancelled, state.over], [1, true])
})

test('the rest of what has come in part is not waited for without end', async () => {
  const { client, clock, send, cancel, turn, state } = world()
  send(SQL.subarray(0, 3))
  cancel(3)
  clock.advance(LIMITS.cancelPartMs - 1)
  send(SQL.subarray(3, 5))
  clock.advance(LIMITS.cancelPartMs - 1)
  await turn()
  assert.equal(state.over, false, 'it has gone on coming')
  clock.advance(1)
  await turn()
  assert.equal(state.over, true)
  send(SQL.subarray(5))
  assert.equal(client.cancelled, 0)
})

test('but what it is about may wait for its turn for longer', async () => {
  const { client, clock, send, cancel, turn, state } = world()
  client.transactionStatus = 'transaction'
  send(SQL.subarray(0, 3))
  cancel(SQL.length)
  send(SQL.subarray(3))
  clock.advance(2 * LIMITS.cancelPartMs)
  await turn()
  assert.equal(state.over, false)
})

test('what was answered early is not what is ended, but what was sent behind it', async () => {
  const { client, link, clock, send, cancel, endWait, turn, state } = world()
  const prepare = Buffer.concat([say.parse('a', 'select a'), say.sync()])
  send(prepare)
  clock.advance(LIMITS.earlyParseMs)
  assert.equal(link.summary(), '1 ZI')
  send(SQL)
  cancel(prepare.length + SQL.length)
  assert.equal(client.cancelled, 1, 'the way is free for it')
  await endWait()
  await turn()
  assert.equal(state.over, true)
  assert.equal(link.summary(), '1 ZI ERROR:57014 ZI')
})

test('what is sent later is not', async () => {
  const { client, link, send, cancel, turn, state } = world()
  send(SQL)
  await client.release()
  cancel(SQL.length)
  await turn()
  assert.equal(state.over, true)
  send(SQL)
  assert.equal(client.cancelled, 0)
  await client.release()
  assert.equal(link.summary(), 'D C(select) ZI D C(select) ZI')
})

test('a batch that has begun has it from the other thread, which is known here', async () => {
  const { client, wish, send, cancel, turn, state } = world()
  send(SQL, SQL)
  // The other thread has heard of it first, and this one of its end.
  wish.fulfilled(1)
  cancel(2 * SQL.length)
  await turn()
  assert.deepEqual([client.cancelled, state.over], [0, true])
  cancel(2 * SQL.length)
  assert.equal(client.cancelled, 1, 'but a second wish is another one')
})

test('in a transaction nothing is ended that does not run', async () => {
  const { client, send, cancel, turn, state } = world()
  client.transactionStatus = 'transaction'
  send(SQL)
  cancel(SQL.length)
  await turn()
  assert.deepEqual([client.cancelled, state.over], [0, false], 'the other thread keeps it')
  await client.release()
  await turn()
  assert.equal(state.over, true)
})

test('it is over when the connection is', async () => {
  const { session, cancel, turn, state } = world()
  cancel(100)
  session.linkClosed()
  await turn()
  assert.equal(state.over, true)
})
