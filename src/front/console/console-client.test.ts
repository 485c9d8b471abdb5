import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes } from '../../base/bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { summarize } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { type FakeSources, consoleSources } from '../../../test/support/console-sources.ts'
import { BACKEND, FRONTEND, findFrame } from '../wire/frame.ts'
import { MessageWriter } from '../wire/message-writer.ts'
import { readAnswer } from '../wire/result.ts'
import { ConsoleClient } from './console-client.ts'

function open(sources: FakeSources = consoleSources()) {
  const client = new ConsoleClient(sources, silentLog)
  const run = async (...messages: Uint8Array[]): Promise<string> =>
    summarize(await client.run(concatBytes(messages)))
  return { client, run, sources }
}

/** A Bind with result formats, or any other hand-made message. */
function message(type: number, body: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter().begin(type)
  body(writer)
  return writer.end().copy()
}

test('a simple query: rows, tag, ready; an empty one', async () => {
  const { run, client } = open()
  assert.equal(await run(say.query('show version;')), 'T D C(SHOW) ZI')
  assert.equal(await run(say.query('show state; set a = b')), 'T D D D C(SHOW) C(SET) ZI')
  assert.equal(await run(say.query(' ;')), 'I ZI')
  const { result } = readAnswer(await client.run(say.query('SHOW VERSION')))
  assert.deepEqual(result.rows, [['pgnap 1.2.3 (PostgreSQL 18.6)']])
  assert.equal(await run(say.query('show tenants limit 1')), 'T D N C(SHOW) ZI')
})

test('errors are answers: the rest of the query is not run, the session goes on', async () => {
  const { run } = open()
  assert.equal(await run(say.query('show state; nonsense; show state')), 'ERROR:42601 ZI')
  assert.equal(
    await run(say.query('select 1'), say.query('show version')),
    'ERROR:0A000 ZI T D C(SHOW) ZI',
  )
  assert.equal(await run(message(FRONTEND.functionCall, (w) => w.int32(1))), 'ERROR:0A000 ZI')
})

test('the extended protocol, as drivers speak it', async () => {
  const { run } = open()
  const describeStatement = message(FRONTEND.describe, (w) => w.text('S').string('s'))
  assert.equal(await run(say.parse('s', 'show version'), describeStatement, say.sync()), '1 t T ZI')
  const again = [say.bind('', 's'), say.describe(), say.execute(''), say.sync()]
  assert.equal(await run(...again), '2 T D C(SHOW) ZI')
  assert.equal(await run(...again), '2 T D C(SHOW) ZI')
  assert.equal(await run(say.close('s'), say.sync()), '3 ZI')
  assert.equal(await run(...again), 'ERROR:08P01 ZI')
  const empty = [say.parse('', ''), say.bind('', ''), say.describe(), say.execute(''), say.sync()]
  assert.equal(await run(...empty), '1 2 n I ZI')
})

test('after an error everything up to Sync is passed over, over batches too', async () => {
  const { run } = open()
  assert.equal(await run(say.parse('', 'select 1'), say.bind('', ''), say.flush()), 'ERROR:0A000')
  assert.equal(await run(say.query('show version'), say.execute('')), '')
  assert.equal(await run(say.sync(), say.query('show version')), 'ZI T D C(SHOW) ZI')
})

test('rows in parts, and in binary', async () => {
  const { run, client } = open()
  const executeTwo = message(FRONTEND.execute, (w) => w.string('p').int32(2))
  const prepare = [say.parse('', 'show state'), say.bind('p', '')]
  assert.equal(await run(...prepare, executeTwo, executeTwo), '1 2 D D s D C(SHOW)')
  await run(say.sync())
  assert.equal(await run(executeTwo, say.sync()), 'ERROR:08P01 ZI', 'portals end with Sync')
  const bind = message(FRONTEND.bind, (w) =>
    w.string('').string('').int16(0).int16(0).int16(1).int16(1),
  )
  const slots = [say.parse('', 'show slots'), bind, say.execute(''), say.sync()]
  const answer = await client.run(concatBytes(slots))
  const row = Buffer.from(answer.subarray(findFrame(answer, BACKEND.dataRow)))
  assert.equal(row.readInt32BE(7), 4, 'the shard is an int4')
  assert.equal(row.readInt32BE(7 + 8 + 4), 8, 'the total of its slots')
})

test('bad formats and parameters are refused', async () => {
  const { run } = open()
  const bindWith = (formats: readonly number[], parameterCount = 0): Uint8Array =>
    message(FRONTEND.bind, (w) => {
      w.string('').string('').int16(0).int16(parameterCount)
      for (let count = 0; count < parameterCount; count++) w.value('x')
      w.int16(formats.length)
      for (const format of formats) w.int16(format)
    })
  for (const bind of [bindWith([2]), bindWith([1, 1]), bindWith([], 1)]) {
    const answer = await run(say.parse('', 'show version'), bind, say.sync())
    assert.equal(answer, '1 ERROR:08P01 ZI')
  }
})

test('a shard that does not answer: the wait ends by itself, or by a cancel', async () => {
  const { client, run, sources } = open()
  sources.control.activityFacts = new Promise(() => {})
  const late = run(say.query('show clients'))
  sources.clock.advance(LIMITS.consoleAnswerMs)
  assert.equal(await late, 'ERROR:57014 ZI')
  const cancelled = run(say.query('show clients'), say.query('show shards'))
  client.cancel()
  assert.equal(await cancelled, 'ERROR:57014 ZI T D C(SHOW) ZI')
  client.cancel()
  assert.equal(await run(say.query('show version')), 'T D C(SHOW) ZI', 'nothing was in flight')
  const left = client.run(say.query('show clients'))
  client.close()
  await left
})

test('commands that act: answered when they are done, errors as they come', async () => {
  const { run, sources } = open()
  const { operations } = sources
  operations.rested.resolve()
  assert.equal(await run(say.query('PAUSE; pause "acme"')), 'C(PAUSE) C(PAUSE) ZI')
  assert.equal(await run(say.query('resume acme; reconnect')), 'C(RESUME) C(RECONNECT) ZI')
  assert.equal(await run(say.query('kill acme; reload; resume')), 'C(KILL) ERROR:F0000 ZI')
  const prepared = [say.parse('', 'resume'), say.bind('', ''), say.describe(), say.execute('')]
  assert.equal(await run(...prepared, say.sync()), '1 2 n C(RESUME) ZI')
  assert.deepEqual(operations.asked, [
    'pause undefined',
    'pause acme',
    'resume acme',
    'reconnect undefined',
    'kill acme',
    'reload',
    'resume undefined',
  ])
})

test('a pause waits for as long as it takes; who cancels it or leaves takes it back', async () => {
  const { client, run, sources } = open()
  const { operations, clock } = sources
  const paused = run(say.query('pause acme'))
  clock.advance(LIMITS.consoleAnswerMs)
  client.cancel()
  assert.equal(await paused, 'ERROR:57014 ZI')
  const left = client.run(say.query('pause other'))
  client.close()
  await left
  const gone = new AbortController()
  const ending = new ConsoleClient(sources, silentLog, gone.signal)
  const ended = ending.run(say.query('pause third'))
  gone.abort()
  assert.equal(summarize(await ended), 'ERROR:57014 ZI')
  assert.equal(summarize(await ending.run(say.query('pause fourth'))), 'ERROR:57014 ZI')
  const back = operations.asked.filter((each) => each.startsWith('taken back'))
  assert.deepEqual(back, ['taken back acme', 'taken back other', 'taken back third'])
})

test('hostile: large messages, many names, garbage in every field', async () => {
  const { run } = open()
  const large = say.query(`show version -- ${'x'.repeat(LIMITS.consoleMessageBytesMax)}`)
  assert.equal(await run(large, say.query('show version')), 'ERROR:54000 ZI T D C(SHOW) ZI')
  const names = Array.from({ length: LIMITS.consolePreparedMax + 1 }, (_, index) =>
    say.parse(`s${index}`, 'show version'),
  )
  const answer = await run(...names, say.sync())
  assert.match(answer, /1 ERROR:54000 ZI$/)
  const types = Object.values(FRONTEND).filter((type) => type !== FRONTEND.terminate)
  const garbage = fc.record({ type: fc.constantFrom(...types), body: fc.uint8Array() })
  await fc.assert(
    fc.asyncProperty(fc.array(garbage), async (messages) => {
      const { run: runGarbage } = open()
      const bytes = messages.map(({ type, body }) => message(type, (w) => w.bytes(body)))
      await runGarbage(...bytes)
      assert.match(await runGarbage(say.sync(), say.query('show version')), /T D C\(SHOW\) ZI$/)
    }),
  )
})

test('a thousand commands in one batch', async () => {
  const { run } = open()
  const answer = await run(...Array.from({ length: 1000 }, () => say.query('show pools')))
  assert.equal(answer, Array.from({ length: 1000 }, () => 'T D D C(SHOW) ZI').join(' '))
})
