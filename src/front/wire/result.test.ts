import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BodyReader } from './body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES, FRONTEND, frameEnd } from './frame.ts'
import { MessageWriter } from './message-writer.ts'
import { queryMessages, readAnswer } from './result.ts'

test('rows, fields and tags come back as they were written', () => {
  const text = fc.string({ unit: 'grapheme' }).map((value) => value.replaceAll('\0', ''))
  const rows = fc.array(fc.array(fc.option(text), { minLength: 2, maxLength: 2 }))
  fc.assert(
    fc.property(rows, text, (values, name) => {
      const writer = new MessageWriter()
      writer.begin(BACKEND.rowDescription).int16(1).string(name)
      writer.int32(7).int16(3).int32(4_000_000_000).int16(-1).int32(-1).int16(0).end()
      for (const row of values) {
        writer.begin(BACKEND.dataRow).int16(row.length)
        for (const value of row) writer.value(value)
        writer.end()
      }
      writer.begin(BACKEND.commandComplete).string(`SELECT ${values.length}`).end()
      writer.begin(BACKEND.readyForQuery).text('I').end()
      const answer = readAnswer(writer.view())
      assert.deepEqual(answer.result.rows, values)
      assert.deepEqual(answer.result.fields, [
        {
          name,
          tableOid: 7,
          columnNumber: 3,
          typeOid: 4_000_000_000,
          typeBytes: -1,
          typeModifier: -1,
        },
      ])
      assert.equal(answer.result.command, 'SELECT')
      assert.equal(answer.result.rowCount, values.length)
    }),
  )
})

test('a value that begins with U+FEFF keeps it', () => {
  const writer = new MessageWriter().begin(BACKEND.dataRow).int16(1).value('\ufeffa').end()
  writer.begin(BACKEND.commandComplete).string('SELECT 1').end()
  assert.deepEqual(readAnswer(writer.view()).result.rows, [['\ufeffa']])
})

test('command and row count are those of the tag', () => {
  const cases = [
    ['INSERT 0 5', 'INSERT', 5],
    ['CREATE TABLE', 'CREATE', null],
  ] as const
  for (const [tag, command, rowCount] of cases) {
    const writer = new MessageWriter().begin(BACKEND.commandComplete).string(tag).end()
    const { result } = readAnswer(writer.view())
    assert.deepEqual([result.command, result.rowCount], [command, rowCount])
  }
  const empty = new MessageWriter().begin(BACKEND.emptyQueryResponse).end()
  const { result } = readAnswer(empty.view())
  assert.deepEqual([result.command, result.rowCount], ['', null])
})

test('of several statements the last result, and the first error', () => {
  const writer = new MessageWriter()
  writer.begin(BACKEND.commandComplete).string('INSERT 0 5').end()
  writer.begin(BACKEND.commandComplete).string('CREATE TABLE').end()
  const notice = writer.begin(BACKEND.noticeResponse).text('V').string('NOTICE')
  notice.text('M').string('hear').int8(0).end()
  for (const code of ['22012', '25P02']) {
    writer.begin(BACKEND.errorResponse).text('C').string(code).int8(0).end()
  }
  const answer = readAnswer(writer.view())
  assert.deepEqual([answer.result.command, answer.result.rowCount], ['CREATE', null])
  assert.equal(answer.error?.sqlState, '22012')
})

test('random bytes are read or refused', () => {
  const frame = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array()).map(([type, body]) => {
    return new MessageWriter()
      .begin(type === 0 ? 1 : type)
      .bytes(body)
      .end()
      .copy()
  })
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.array(frame).map((frames) => Buffer.concat(frames)),
  )
  fc.assert(
    fc.property(bytes, (answer) => {
      try {
        readAnswer(answer)
      } catch (error) {
        assert.equal((error as { code: string }).code, 'PROTOCOL_VIOLATION')
      }
    }),
  )
})

test('a question holds its text and parameters, and nothing can be forged by them', () => {
  const parameters = fc.array(fc.option(fc.string({ unit: 'binary' })))
  fc.assert(
    fc.property(fc.string(), parameters, (sql, values) => {
      if (sql.includes('\0')) {
        assert.throws(() => queryMessages(sql, values), { code: 'PROTOCOL_VIOLATION' })
        return
      }
      const bytes = queryMessages(sql, values)
      const types: number[] = []
      for (let at = 0; at < bytes.length; at = frameEnd(bytes, at, bytes.length)) {
        const body = new BodyReader(bytes, at + FRAME_HEAD_BYTES)
        types.push(bytes[at] ?? 0)
        if (bytes[at] === FRONTEND.parse)
          assert.deepEqual([body.string(), body.string()], ['', sql])
        if (bytes[at] !== FRONTEND.bind) continue
        assert.deepEqual(
          [body.string(), body.string(), body.int16(), body.int16()],
          ['', '', 0, values.length],
        )
        for (const value of values) {
          const length = body.int32()
          const expected = value === null ? null : Buffer.from(value).toString()
          assert.equal(length < 0 ? null : body.text(length), expected)
        }
      }
      assert.equal(String.fromCharCode(...types), 'PBDES')
    }),
  )
  assert.throws(
    () =>
      queryMessages(
        'x',
        Array.from({ length: 65_536 }, () => ''),
      ),
    /too many/,
  )
})
