import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AnswerScanner } from './answer-scanner.ts'
import { executeMessage, queryMessage, startupMessage } from './messages.ts'

const message = (type: string, body: Buffer | string): Buffer => {
  const bytes = Buffer.from(body)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeUInt32BE(bytes.length + 4, 1)
  return Buffer.concat([head, bytes])
}

const row = (...values: (string | null)[]): Buffer => {
  const parts = values.flatMap((value) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value))
    return [length, Buffer.from(value ?? '')]
  })
  const count = Buffer.alloc(2)
  count.writeUInt16BE(values.length)
  return message('D', Buffer.concat([count, ...parts]))
}

const ready = message('Z', 'I')

test('however the bytes are split, the answer is the same', () => {
  const stream = Buffer.concat([
    message('R', Buffer.alloc(4)),
    row('1', null, 'äöü'),
    message('C', 'SELECT 1\0'),
    ready,
    row('2', '', 'x'.repeat(300)),
    ready,
  ])
  const whole = new AnswerScanner({ keepRows: true })
  assert.equal(whole.push(stream), 2)
  assert.deepEqual(whole.rows[0], ['1', null, 'äöü'])
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 20 }), (cuts) => {
      const scanner = new AnswerScanner({ keepRows: true })
      const edges = [0, ...cuts.toSorted((a, b) => a - b), stream.length]
      let readyCount = 0
      edges.slice(1).forEach((edge, index) => {
        // A reused buffer, as the socket hands it out: the scanner must not keep a view of it.
        const chunk = Buffer.from(stream.subarray(edges[index], edge))
        readyCount += scanner.push(chunk)
        chunk.fill(0)
      })
      assert.equal(readyCount, 2)
      assert.equal(scanner.hash, whole.hash)
      assert.deepEqual(scanner.rows, whole.rows)
    }),
  )
})

test('different rows give a different hash, other messages do not count', () => {
  const hashOf = (...parts: Buffer[]): number => {
    const scanner = new AnswerScanner({ keepRows: false })
    scanner.push(Buffer.concat(parts))
    return scanner.hash
  }
  assert.equal(hashOf(row('7'), ready), hashOf(message('T', 'oid 1'), row('7'), ready))
  assert.notEqual(hashOf(row('7'), ready), hashOf(row('8'), ready))
  assert.notEqual(hashOf(row('7'), row('8')), hashOf(row('8'), row('7')))
})

test('the first error is kept with its SQLSTATE, and taken once', () => {
  const scanner = new AnswerScanner({ keepRows: false })
  const error = message('E', 'SERROR\0C57P03\0Mstarting up\0\0')
  scanner.push(Buffer.concat([error, message('E', 'C00000\0Mother\0\0'), ready]))
  assert.equal(scanner.takeError()?.sqlState, '57P03')
  assert.equal(scanner.takeError(), undefined)
})

test('a password request is an error: peers must trust', () => {
  const scanner = new AnswerScanner({ keepRows: false })
  scanner.push(message('R', Buffer.from([0, 0, 0, 3])))
  assert.equal(scanner.takeError()?.sqlState, '28000')
})

test('messages have the lengths that they state', () => {
  const startup = startupMessage('postgres', 'acme')
  assert.equal(startup.readUInt32BE(0), startup.length)
  for (const bytes of [queryMessage('select 1'), executeMessage('s1', ['12', 'a longer one'])]) {
    let at = 0
    const types: string[] = []
    while (at < bytes.length) {
      types.push(String.fromCharCode(bytes[at] ?? 0))
      at += 1 + bytes.readUInt32BE(at + 1)
    }
    assert.equal(at, bytes.length)
    assert.ok(['Q', 'BDES'].includes(types.join('')))
  }
})
