/** What clients make a server hold, all together, and which of them has to let go. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { FakeClient, FakeLink } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { Session } from './session.ts'

const LARGE = 'x'.repeat(300_000)

/** Whoever has to give up has done so by then. */
const reviewed = (): Promise<void> => Promise.resolve()

function open(held: HeldBytes, tenant = 'acme', later = false) {
  const link = new FakeLink()
  const client = new FakeClient(later)
  const clock = new ManualClock()
  const onClosed = (): void => {}
  const session = new Session({ link, client, clock, log: silentLog, held, tenant, onClosed })
  return { link, client, session }
}

suite('what a client makes its server hold', () => {
  test('a message that has no end yet', () => {
    const held = new HeldBytes(1_000_000)
    const { session, client } = open(held)
    const message = say.query(`select ${LARGE}`)
    session.receive(message.subarray(0, 1000))
    assert.equal(held.bytes, 0, 'a little is not counted')
    session.receive(message.subarray(1000, 200_000))
    assert.equal(held.bytes, 200_000)
    session.receive(message.subarray(200_000))
    assert.equal(held.bytes, 0)
    assert.equal(client.batches.length, 1)
  })

  test('a batch that waits for its turn, and what has come behind it', async () => {
    const held = new HeldBytes(1_000_000)
    const { session, client } = open(held, 'acme', true)
    const message = say.query(`select ${LARGE}`)
    session.receive(message)
    assert.equal(held.bytes, message.length)
    session.receive(message.subarray(0, 100_000))
    assert.equal(held.bytes, message.length + 100_000)
    await client.release()
    assert.equal(held.bytes, 100_000)
    session.linkClosed()
    assert.equal(held.bytes, 0)
  })

  test('the data of a COPY', () => {
    const held = new HeldBytes(1_000_000)
    const { session, client } = open(held)
    const head = say.query('copy t from stdin')
    session.receive(head)
    const shapeBytes = 64
    for (let count = 1; count <= 2; count++) {
      const data = say.copyData(LARGE)
      session.receive(data)
      assert.equal(held.bytes, head.length + shapeBytes + count * data.length)
    }
    session.receive(say.copyDone())
    assert.equal(held.bytes, 0)
    assert.equal(client.copied.length, 1)
  })

  test('a COPY that is too much by itself fails, and its session goes on', () => {
    const held = new HeldBytes(1_000_000)
    const { session, link } = open(held)
    session.receive(say.query('copy t from stdin'))
    for (let count = 0; count < 3; count++) session.receive(say.copyData(LARGE))
    session.receive(say.copyDone())
    session.receive(say.query('select a'))
    assert.match(link.summary(), /ERROR:57014 ZI.* ZI$/)
    assert.equal(held.bytes, 0)
  })

  test('a large message of which one byte has come behind it, and then a little more', () => {
    const held = new HeldBytes(1_000_000)
    const { session, client } = open(held)
    const message = say.query(`select ${LARGE}`)
    const next = say.query('select a')
    session.receive(message.subarray(0, 200_000))
    session.receive(Buffer.concat([message.subarray(200_000), next.subarray(0, 1)]))
    assert.equal(client.batches.length, 1)
    assert.equal(held.bytes, 0, 'its memory is not kept for that byte')
    session.receive(next.subarray(1))
    assert.equal(client.batches.length, 2)
  })

  test('a COPY with a long comment, and names of prepared ones', () => {
    const held = new HeldBytes(1_000_000)
    const { session } = open(held)
    session.receive(say.query(`copy t from stdin -- ${LARGE}`))
    assert.ok(held.bytes > LARGE.length)
    session.receive(say.copyDone())
    assert.equal(held.bytes, 0)
    const names = Array.from({ length: 20 }, (_, at) => `${at}`.padEnd(9_000, 'n'))
    for (const name of names) session.receive(say.parse(name, 'copy t from stdin'))
    session.receive(say.sync())
    assert.ok(held.bytes > 2 * 20 * 9_000)
    for (const name of names) session.receive(say.close(name))
    session.receive(say.sync())
    assert.equal(held.bytes, 0)
  })

  test('a pipeline that waits is kept a second time, to end one of it', async () => {
    const held = new HeldBytes(10_000_000)
    const { session, client } = open(held, 'acme', true)
    const message = say.query(`select ${LARGE}`)
    session.receive(message)
    session.receive(Buffer.concat([message, message, message, message]))
    await client.release()
    await client.release()
    assert.ok(held.bytes >= 2 * (client.batches.at(-1)?.length ?? 0))
    session.linkClosed()
    assert.equal(held.bytes, 0)
  })

  test('what nobody asked for and nobody reads', () => {
    const held = new HeldBytes(1_000_000)
    const { session, link } = open(held)
    link.stuck = true
    session.deliver(new Uint8Array(100_000))
    assert.equal(held.bytes, 100_000)
    session.linkClosed()
    assert.equal(held.bytes, 0)
  })

  test('answers that are not read, also after the end of the session', () => {
    const held = new HeldBytes(10_000_000)
    const { session, link } = open(held)
    link.stuck = true
    session.receive(say.query(`select ${LARGE}`))
    assert.equal(held.bytes, link.bufferedBytes)
    session.receive(say.terminate())
    assert.equal(link.ended, true)
    assert.equal(held.bytes, link.bufferedBytes)
    session.linkClosed()
    assert.equal(held.bytes, 0)
  })

  test('answers that have been read at last', () => {
    const held = new HeldBytes(10_000_000)
    const { session, link } = open(held)
    link.stuck = true
    session.receive(say.query(`select ${LARGE}`))
    assert.ok(held.bytes > LARGE.length)
    link.bufferedBytes = 0
    session.linkDrained()
    assert.equal(held.bytes, 0)
  })
})

test('what is kept to be told later counts until it is', () => {
  const held = new HeldBytes(1_000_000)
  const { session } = open(held)
  session.keeps(200_000)
  assert.equal(held.bytes, 200_000)
  session.receive(say.query('select a'))
  assert.equal(held.bytes, 200_000)
  session.keeps(0)
  assert.equal(held.bytes, 0)
  session.keeps(200_000)
  session.receive(say.terminate())
  assert.equal(held.bytes, 0)
  session.keeps(300_000)
  assert.equal(held.bytes, 0, 'it has gone')
})

suite('when it is too much', () => {
  test('of the tenant that holds most, the client that holds most goes, and says why', async () => {
    const held = new HeldBytes(1_000_000)
    const neighbour = open(held, 'other')
    neighbour.session.receive(say.query('copy t from stdin'))
    neighbour.session.receive(say.copyData(LARGE))
    const crowd = Array.from({ length: 4 }, () => open(held, 'crowd'))
    for (const [at, { session }] of crowd.entries()) {
      session.receive(say.query('copy t from stdin'))
      session.receive(say.copyData('x'.repeat(200_000 + at)))
    }
    await reviewed()
    assert.deepEqual(
      crowd.map(({ link }) => link.summary().replace(/^.*G ?/, '')),
      ['', '', '', 'FATAL:53200'],
    )
    assert.ok(crowd[3]?.client.closed)
    neighbour.session.receive(say.copyDone())
    assert.match(neighbour.link.summary(), /C\(.*\) ZI$/)
  })

  test('one that does not read is cut off: its words would wait behind what it has', async () => {
    const held = new HeldBytes(2 * LIMITS.answerPauseBytes)
    const { session, link } = open(held)
    link.stuck = true
    for (let count = 0; count < 5; count++) session.receive(say.query(`select ${LARGE}`))
    assert.equal(link.destroyed, false)
    const other = open(held, 'other')
    other.session.receive(say.query('copy t from stdin'))
    other.session.receive(say.copyData('x'.repeat(1_000_000)))
    await reviewed()
    assert.equal(link.destroyed, true)
    assert.equal(other.link.ended, false)
  })

  test('one that has said its last words already is cut off', async () => {
    const held = new HeldBytes(LARGE.length)
    const { session, link } = open(held)
    link.stuck = true
    session.receive(say.query(`select ${LARGE.slice(0, 200_000)}`))
    session.receive(say.terminate())
    assert.deepEqual([link.ended, link.destroyed], [true, false])
    open(held).session.receive(say.query(LARGE.slice(1)).subarray(0, 190_000))
    await reviewed()
    assert.equal(link.destroyed, true)
    session.linkClosed()
    assert.equal(held.bytes, 190_000)
  })

  test('nobody is sent away in the middle of the answer of another one', () => {
    const held = new HeldBytes(LARGE.length)
    const { session, link, client } = open(held)
    session.receive(say.query(LARGE).subarray(0, 200_000))
    const other = open(held, 'other')
    other.link.stuck = true
    let wasClosed: boolean | undefined
    const write = other.link.write.bind(other.link)
    other.link.write = (bytes) => {
      write(bytes)
      wasClosed = client.closed
    }
    other.session.receive(say.query(`select ${LARGE.slice(0, 150_000)}`))
    assert.deepEqual([wasClosed, link.ended], [false, false])
  })

  test('a batch that waits for its turn is given up', async () => {
    const held = new HeldBytes(LARGE.length)
    const { session, link, client } = open(held, 'acme', true)
    session.receive(say.query(`select ${LARGE}`))
    await reviewed()
    assert.equal(link.summary(), 'FATAL:53200')
    assert.ok(client.closed)
  })
})
