import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { FakeClient, FakeLink, split } from '../../../test/support/fake-gateway.ts'
import { strictLog, summarize } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { Session } from './session.ts'

function open(later = false) {
  const clock = new ManualClock()
  const link = new FakeLink()
  const client = new FakeClient(later)
  let closedCount = 0
  const onClosed = (): void => void closedCount++
  const session = new Session({ link, client, clock, log: strictLog, onClosed })
  const send = (...messages: Uint8Array[]): void => session.receive(Buffer.concat(messages))
  return { link, client, clock, session, send, closedCount: () => closedCount }
}

const PIPELINE = [say.parse('', 'select a'), say.bind('', ''), say.describe(), say.execute('')]

suite('session: batches', () => {
  test('a query is answered at once and in one run', () => {
    const { link, client, send } = open()
    send(say.query('select a'))
    assert.equal(link.summary(), 'D C(select) ZI')
    assert.deepEqual(client.batches, ['Q|'])
  })

  test('what is sent ahead without an end waits for it', () => {
    const { link, client, send } = open()
    send(...PIPELINE, say.sync(), say.query('select b'), say.parse('', 'select c'))
    assert.equal(link.summary(), '1 2 n D C(select) ZI D C(select) ZI')
    assert.deepEqual(client.batches, ['PBDES|', 'Q|'])
    send(say.sync())
    assert.deepEqual(client.batches, ['PBDES|', 'Q|', 'PS|'])
  })

  test('a flush keeps the backend', () => {
    const { client, send } = open()
    send(...PIPELINE, say.flush())
    assert.deepEqual(client.batches, ['PBDEH'])
  })

  test('after an error the backend itself skips till Sync', () => {
    const { link, send } = open()
    send(say.bind('', 'nothing'), say.execute(''), say.sync(), say.query('select a'))
    assert.equal(link.summary(), 'ERROR:26000 ZI D C(select) ZI')
  })

  for (const later of [true, false]) {
    const how = later ? 'waited' : 'was tried'
    test(`a ROLLBACK behind what ${how} in vain ends a transaction that floats`, async () => {
      const { link, client, send } = open(later)
      Object.defineProperty(client, 'isFloating', {
        get: () => client.transactionStatus !== 'idle',
      })
      client.transactionStatus = 'failed'
      client.nextError = new PgnapError('QUERY_CANCELED', 'it takes too long')
      send(say.query('insert'), say.query('rollback'))
      if (later) {
        await client.release()
        await client.release()
      }
      assert.equal(link.summary(), 'ERROR:57014 ZE C(rollback) ZI')
    })
  }

  test('a chunk of whole messages is handed on without a copy', () => {
    const { session, client } = open()
    let seen: Uint8Array | undefined
    const run = client.run.bind(client)
    client.run = (messages, complete) => run((seen = messages), complete)
    const chunk = say.query('select a')
    session.receive(chunk)
    assert.equal(seen, chunk)
  })

  test('a client that has sent its last byte still gets its answer, then the end', async () => {
    const { link, client, session, send, closedCount } = open(true)
    send(say.query('select a'), say.query('select b'))
    session.linkEnded()
    assert.equal(closedCount(), 0)
    await client.release()
    await client.release()
    assert.equal(link.summary(), 'D C(select) ZI D C(select) ZI')
    assert.equal(closedCount(), 1)
    assert.equal(client.closed, true)
  })

  test('a client at rest that has sent its last byte is let go at once', () => {
    const { session, closedCount, send } = open()
    send(say.query('begin'))
    session.linkEnded()
    assert.equal(closedCount(), 1)
  })

  test('answers keep their order when the backend takes its time', async () => {
    const { link, client, send } = open(true)
    send(say.query('select a'))
    send(say.query('fail'), say.query('begin'))
    assert.equal(link.summary(), '')
    await client.release()
    await client.release()
    await client.release()
    assert.equal(link.summary(), 'D C(select) ZI ERROR:42601 ZI C(begin) ZT')
    assert.deepEqual(client.batches, ['Q|', 'Q|', 'Q|'])
  })

  test('a pipeline without an end is taken by the backend before it fills the memory', () => {
    const { client, session } = open()
    const large = say.parse('', `select '${'x'.repeat(LIMITS.pipelineBytesMax / 2)}'`)
    session.receive(large)
    assert.deepEqual(client.batches, [])
    session.receive(large)
    assert.deepEqual(client.batches, ['PP'])
    session.receive(say.sync())
    assert.deepEqual(client.batches, ['PP', 'S|'])
  })
})

suite('session: splits', () => {
  const messages = fc.oneof(
    fc
      .constantFrom('select a', 'begin', 'commit', 'fail', 'rollback', 'select 1;select 2')
      .map((sql) => [say.query(sql)]),
    fc
      .constantFrom('select a', 'fail')
      .map((sql) => [say.parse('', sql), say.bind('', ''), say.execute(''), say.sync()]),
    fc.constant([say.bind('', 'unknown'), say.describe(), say.flush(), say.sync()]),
    fc
      .tuple(
        fc.constantFrom(
          'copy t from stdin',
          'copy missing from stdin',
          'select 1;copy t from stdin',
        ),
        fc.array(fc.string(), { maxLength: 3 }),
        fc.constantFrom(say.copyDone(), say.copyFail('no')),
      )
      .map(([sql, rows, last]) => [say.query(sql), ...rows.map(say.copyData), last]),
    fc
      .array(fc.string(), { maxLength: 3 })
      .map((rows) => [
        say.parse('c', 'copy t from stdin'),
        say.bind('', 'c'),
        say.execute(''),
        say.sync(),
        ...rows.map(say.copyData),
        say.copyDone(),
        say.sync(),
      ]),
  )

  test('any split of the stream gives the same answers', () => {
    const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 })
    fc.assert(
      fc.property(fc.array(messages, { maxLength: 6 }), cuts, (script, cutAt) => {
        const stream = Buffer.concat(script.flat())
        const whole = open()
        whole.session.receive(stream)
        const parts = open()
        for (const part of split(stream, cutAt)) {
          // The bytes are only lent: what is kept must have been copied.
          const lent = Buffer.from(part)
          parts.session.receive(lent)
          lent.fill(0xff)
        }
        assert.equal(parts.link.summary(), whole.link.summary())
        assert.deepEqual(parts.client.copied, whole.client.copied)
        assert.equal(whole.link.ended, false)
        const readyCount = script.filter((part) => part[0]?.[0] !== undefined).length
        assert.equal(whole.link.summary().match(/Z[ITE]/g)?.length ?? 0, readyCount)
      }),
    )
  })

  test('a backend that takes its time gives the same answers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(messages, { maxLength: 5 }), async (script) => {
        const stream = Buffer.concat(script.flat())
        const direct = open()
        direct.session.receive(stream)
        const late = open(true)
        for (const part of split(stream, [0.3, 0.6])) late.session.receive(part)
        while (late.client.waiting) await late.client.release()
        assert.equal(late.link.summary(), direct.link.summary())
        assert.deepEqual(late.client.copied, direct.client.copied)
      }),
    )
  })

  test('random bytes end in order or wait, and never throw', () => {
    const letters = fc.constantFrom(...'QPBDESHCFdcfXp?'.split(''))
    const frame = fc
      .tuple(letters, fc.uint8Array({ maxLength: 30 }), fc.integer({ min: -3, max: 40 }))
      .map(([letter, body, lie]) => {
        const head = Buffer.alloc(5)
        head.write(letter)
        head.writeInt32BE(lie > 30 ? lie * 9_999_999 : body.length + 4 + Math.min(lie, 0))
        return Buffer.concat([head, body])
      })
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(frame).map((f) => Buffer.concat(f)),
    )
    fc.assert(
      fc.property(bytes, fc.array(fc.double({ min: 0, max: 1, noNaN: true })), (stream, cuts) => {
        const { session, client, link } = open()
        // Anything may reach this backend, so it answers nothing.
        client.run = () => new Uint8Array(0)
        for (const part of split(stream, cuts)) session.receive(part)
        assert.equal(link.ended, client.closed)
      }),
    )
  })
})

suite('session: COPY FROM STDIN', () => {
  test('the client hears what the backend knows of the table, and the data arrives whole', () => {
    const { link, client, send } = open()
    send(say.query('copy t from stdin'))
    assert.equal(link.summary(), 'G')
    assert.equal(link.bytes()[7], 3, 'the column count of the catalog')
    send(say.copyData('a\nb'), say.copyData('\n'))
    send(say.copyDone())
    assert.equal(link.summary(), 'G C(COPY 2) ZI')
    assert.deepEqual(client.copied, ['a\nb\n'])
  })

  test('a missing table is told at once, and data sent ahead is ignored', () => {
    const { link, client, send } = open()
    send(say.query('copy missing from stdin'))
    assert.equal(link.summary(), 'ERROR:42P01 ZI')
    send(say.copyData('a\n'), say.copyData('b\n'), say.copyDone(), say.query('select a'))
    assert.equal(link.summary(), 'ERROR:42P01 ZI D C(select) ZI')
    assert.deepEqual(client.batches, ['Qf|', 'Q|'])
  })

  test('inside a transaction the trial leaves no trace, and an error fails the transaction', () => {
    const { link, client, send } = open()
    send(say.query('begin'))
    send(say.query('copy t from stdin'), say.copyData('a\n'), say.copyDone())
    assert.equal(link.summary(), 'C(begin) ZT G C(COPY 1) ZT')
    send(say.query('copy missing from stdin'))
    assert.equal(link.summary(), 'C(begin) ZT G C(COPY 1) ZT ERROR:42P01 ZE')
    send(say.query('copy t from stdin'))
    assert.equal(link.summary().split(' ').slice(-2).join(' '), 'ERROR:25P02 ZE')
    assert.equal(client.copied.length, 1)
  })

  test('COPY FREEZE is not tried', () => {
    const { link, client, send } = open()
    send(say.query('copy t (a, b) from stdin with (freeze on)'))
    assert.deepEqual(client.batches, [])
    assert.equal(link.bytes()[7], 2, 'the length of the column list')
    send(say.copyData('a\n'), say.copyDone())
    assert.equal(link.summary(), 'G C(COPY 1) ZI')
  })

  test('a client may fail it', () => {
    const { link, client, send } = open()
    send(say.query('copy t from stdin'), say.copyData('a\n'), say.copyFail('changed my mind'))
    assert.equal(link.summary(), 'G ERROR:57014 ZI')
    assert.deepEqual(client.copied, [])
  })

  test('several in one query are asked for one by one', () => {
    const { link, client, send } = open()
    send(say.query('copy a from stdin; select x; copy b from stdin'))
    assert.equal(link.summary(), 'G')
    send(say.copyData('1\n'), say.copyDone())
    assert.equal(link.summary(), 'G G')
    send(say.copyData('2\n'), say.copyDone())
    assert.equal(link.summary(), 'G G C(COPY 1) D C(select) C(COPY 1) ZI')
    assert.deepEqual(client.copied, ['1\n', '2\n'])
  })

  test('as a prepared statement, with the Sync that comes before the data', () => {
    const { link, client, send } = open()
    send(say.parse('s', 'copy t from stdin'), say.sync())
    send(say.bind('', 's'), say.describe(), say.execute(''), say.sync())
    assert.equal(link.summary(), '1 ZI 2 n G')
    send(say.copyData('1\n'), say.copyDone(), say.sync())
    assert.equal(link.summary(), '1 ZI 2 n G C(COPY 1) ZI')
    assert.deepEqual(client.copied, ['1\n'])
  })

  test('as a prepared statement behind an error it asks for nothing', () => {
    const { link, send } = open()
    send(say.parse('s', 'copy t from stdin'), say.bind('', 'no'), say.bind('', 's'))
    send(say.execute(''), say.sync())
    assert.equal(link.summary(), '1 ERROR:26000 ZI')
  })

  test('as a prepared statement whose table is missing there is one ReadyForQuery', () => {
    const { link, send } = open()
    send(say.parse('', 'copy missing from stdin'), say.bind('', ''), say.execute(''), say.sync())
    send(say.copyData('1\n'), say.copyDone(), say.sync())
    assert.equal(link.summary(), '1 2 G ERROR:42P01 ZI')
  })

  test('any other message in the middle ends the session', () => {
    const { link, client, send } = open()
    send(say.query('copy t from stdin'), say.query('select a'))
    assert.equal(link.summary(), 'G FATAL:08P01')
    assert.ok(link.ended && client.closed)
  })

  test('Terminate in the middle closes without an answer', () => {
    const { link, client, send } = open()
    send(say.query('copy t from stdin'), say.copyData('1\n'), say.terminate())
    assert.equal(link.summary(), 'G')
    assert.ok(link.ended && client.closed)
    assert.deepEqual(client.copied, [])
  })
})

suite('session: errors of the way to the backend', () => {
  const waited = (): PgnapError => new PgnapError('QUERY_WAIT_TIMEOUT', 'waited too long')

  test('one that came before anything ran is an ERROR per ReadyForQuery', () => {
    const { link, client, send } = open()
    send(say.query('select a'), say.query('select b'), say.query('select c'))
    client.nextError = waited()
    send(say.query('select a'), ...PIPELINE, say.sync())
    assert.deepEqual(client.batches, ['Q|', 'QQ|'])
    assert.ok(link.summary().endsWith(' D C(select) ZI ERROR:57014 ZI ERROR:57014 ZI'))
    send(say.query('select a'))
    assert.ok(link.summary().endsWith('D C(select) ZI'))
  })

  test('of a batch without Sync, the rest is skipped till Sync', () => {
    const { link, client, send } = open()
    client.nextError = waited()
    send(...PIPELINE, say.flush())
    send(say.execute(''), say.query('select b'))
    assert.equal(link.summary(), 'ERROR:57014')
    send(say.sync(), say.query('select a'))
    assert.equal(link.summary(), 'ERROR:57014 ZI D C(select) ZI')
    assert.deepEqual(client.batches, ['Q|'])
  })

  test('in a transaction it is FATAL: the transaction would go on without a statement', () => {
    const { link, client, send } = open()
    send(say.query('begin'))
    client.nextError = waited()
    send(say.query('select a'))
    assert.equal(link.summary(), 'C(begin) ZT FATAL:57014')
    assert.ok(client.closed && link.ended)
  })

  test('of a store that could not be opened: an ERROR if the session is kept', () => {
    const { link, client, send } = open()
    client.nextError = new PgnapError('STORE_IO', 'no disk')
    client.mayGoOn = true
    send(say.query('select a'))
    assert.equal(link.summary(), 'ERROR:58030 ZI')
    client.mayGoOn = false
    send(say.query('select a'))
    client.nextError = new PgnapError('STORE_IO', 'no disk')
    send(say.query('select a'))
    assert.equal(link.summary(), 'ERROR:58030 ZI D C(select) ZI FATAL:58030')
    assert.ok(client.closed && link.ended)
  })

  test('a lost slot is FATAL, also by promise', async () => {
    const { link, client, send, closedCount } = open(true)
    client.nextError = new PgnapError('SLOT_LOST', 'the slot was lost')
    send(say.query('select a'))
    await client.release()
    assert.equal(link.summary(), 'FATAL:57P01')
    assert.equal(closedCount(), 1)
  })
})

suite('session: endings', () => {
  test('Terminate runs what came before it and closes', () => {
    const { link, client, send, closedCount } = open()
    send(say.query('select a'), say.terminate(), say.query('select b'))
    assert.equal(link.summary(), 'D C(select) ZI')
    assert.ok(link.ended && client.closed)
    assert.equal(closedCount(), 1)
  })

  test('a link that closes gives the client up, wherever it is', async () => {
    for (const script of [[], [say.query('begin')], [say.query('copy t from stdin')]]) {
      const { client, session, send } = open()
      send(...script)
      session.linkClosed()
      assert.ok(client.closed)
    }
    const { client, link, session, send } = open(true)
    send(say.query('select a'))
    session.linkClosed()
    assert.ok(client.closed)
    await client.release()
    assert.equal(link.summary(), '')
  })

  test('shutdown waits for the batch in flight only', async () => {
    const error = new PgnapError('SHUTTING_DOWN', 'bye')
    const idle = open()
    idle.session.shutdown(error)
    assert.equal(idle.link.summary(), 'FATAL:57P01')
    const busy = open(true)
    busy.send(say.query('select a'))
    busy.session.shutdown(error)
    busy.send(say.query('select b'))
    assert.equal(busy.link.summary(), '')
    await busy.client.release()
    assert.equal(busy.link.summary(), 'D C(select) ZI FATAL:57P01')
    assert.ok(busy.client.closed)
  })
})

suite('session: limits and hostile frames', () => {
  function frame(letter: string, length: number): Uint8Array {
    const head = Buffer.alloc(5)
    head.write(letter)
    head.writeInt32BE(length, 1)
    return head
  }

  test('a length is refused as soon as it is read', () => {
    const cases: [Uint8Array, string][] = [
      [frame('Q', LIMITS.messageBytesMax + 1), 'FATAL:54000'],
      [frame('S', LIMITS.smallMessageBytesMax + 1), 'FATAL:54000'],
      [frame('Q', 3), 'FATAL:08P01'],
      [frame('Q', -1), 'FATAL:08P01'],
      [frame('z', 4), 'FATAL:08P01'],
      [frame('p', 4), 'FATAL:08P01'],
    ]
    for (const [bytes, expected] of cases) {
      const { link, client, session } = open()
      session.receive(bytes)
      assert.equal(link.summary(), expected)
      assert.ok(client.closed)
    }
  })

  test('what came whole before a violation is run', () => {
    const { link, send } = open()
    send(say.query('select a'), frame('z', 4))
    assert.equal(link.summary(), 'D C(select) ZI FATAL:08P01')
  })

  test('too many prepared COPYs end the session', () => {
    const { link, send } = open()
    for (let count = 0; count <= LIMITS.preparedCopiesMax; count++) {
      send(say.parse(`s${count}`, 'copy t from stdin'), say.sync())
    }
    assert.ok(link.summary().endsWith('FATAL:54000'))
  })

  test('reading pauses while a batch runs and enough is waiting', async () => {
    const { link, client, send } = open(true)
    send(say.query('select a'))
    assert.equal(link.paused, false)
    send(say.query(`select ${'x'.repeat(LIMITS.pipelineBytesMax)}`))
    assert.equal(link.paused, true)
    await client.release()
    assert.equal(link.paused, false)
  })

  test('a client that does not read is not worked for, then goes on', () => {
    const { link, client, session, send } = open()
    link.stuck = true
    send(say.query(`select ${'x'.repeat(LIMITS.answerPauseBytes)}`))
    send(say.query('select b'))
    assert.equal(client.batches.length, 1)
    assert.equal(link.paused, true)
    link.bufferedBytes = 0
    session.linkDrained()
    assert.equal(client.batches.length, 2)
    assert.equal(link.paused, false)
  })

  test('an answer too large to keep is not kept', () => {
    const { link, client, send } = open()
    link.stuck = true
    link.bufferedBytes = LIMITS.answerBytesMax
    send(say.query('select a'))
    assert.equal(link.summary(), 'FATAL:54000')
    assert.ok(client.closed)
  })
})

test('notifications reach an idle client and none after the end', () => {
  const { link, session, send } = open()
  session.deliver(Buffer.from('A\0\0\0\x04', 'latin1'))
  assert.equal(link.summary(), 'A')
  send(say.terminate())
  session.deliver(Buffer.from('A\0\0\0\x04', 'latin1'))
  assert.equal(summarize(link.bytes()), 'A')
})
