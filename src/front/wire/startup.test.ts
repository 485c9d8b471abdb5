import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { LIMITS } from '../../base/limits.ts'
import { quoteIdentifier } from '../../base/sql-name.ts'
import { say } from '../../../test/support/messages.ts'
import { quoteLiteral, settingsSql, splitOptions } from './startup-options.ts'
import { parseStartup } from './startup.ts'

function words(...numbers: number[]): Uint8Array {
  const bytes = Buffer.alloc(numbers.length * 4)
  for (const [index, number] of numbers.entries()) bytes.writeInt32BE(number, index * 4)
  return bytes
}

function refusal(bytes: Uint8Array): string {
  const request = parseStartup(bytes)
  assert.equal(request.kind, 'invalid')
  return request.kind === 'invalid' ? request.error.sqlState : ''
}

suite('startup packets', () => {
  test('names, defaults and what is left of the bytes', () => {
    const packet = say.startup({ user: 'ann', DateStyle: 'ISO', options: '-c a=1 --B-c=2' })
    const request = parseStartup(Buffer.concat([packet, say.query('select a')]))
    assert.equal(request.kind, 'startup')
    if (request.kind !== 'startup') return
    assert.equal(request.byteLength, packet.length)
    assert.deepEqual([request.user, request.database], ['ann', ''])
    assert.equal(request.minorVersion, 0)
    assert.deepEqual(
      [...request.parameters],
      [
        ['a', '1'],
        ['b_c', '2'],
        ['datestyle', 'ISO'],
      ],
    )
  })

  test('a parameter wins over the same one in options', () => {
    const request = parseStartup(
      say.startup({ user: 'a', TimeZone: 'UTC', options: '-ctimezone=x' }),
    )
    assert.ok(request.kind === 'startup')
    assert.equal(request.parameters.get('timezone'), 'UTC')
  })

  test('newer minor versions and protocol options are told, not refused', () => {
    const request = parseStartup(say.startup({ user: 'a', '_pq_.x': '1' }, (3 << 16) | 9999))
    assert.ok(request.kind === 'startup')
    assert.equal(request.minorVersion, 9999)
    assert.deepEqual(request.unknownOptions, ['_pq_.x'])
  })

  test('encryption and cancel requests', () => {
    assert.deepEqual(parseStartup(words(8, 80877103)), { kind: 'ssl', byteLength: 8 })
    assert.deepEqual(parseStartup(words(8, 80877104)), { kind: 'gssenc', byteLength: 8 })
    const cancel = parseStartup(words(16, 80877102, 42, 0x01020304))
    assert.ok(cancel.kind === 'cancel')
    assert.equal(cancel.processId, 42)
    assert.deepEqual([...cancel.secret], [1, 2, 3, 4])
  })

  test('what is refused, and with which SQLSTATE', () => {
    assert.equal(refusal(words(7)), '08P01')
    assert.equal(refusal(words(LIMITS.startupPacketBytesMax + 1)), '08P01')
    assert.equal(refusal(words(-1)), '08P01')
    assert.equal(refusal(Buffer.from('GET / HTTP/1.1\r\n')), '08P01')
    assert.equal(refusal(words(8, 2 << 16)), '0A000')
    assert.equal(refusal(words(9, 80877103, 0)), '08P01')
    assert.equal(refusal(words(12, 80877102, 1)), '08P01')
    assert.equal(refusal(say.startup({ database: 'x' })), '28000')
    assert.equal(refusal(say.startup({ user: 'a', replication: 'database' })), '0A000')
    assert.equal(refusal(say.startup({ user: 'a', options: '-x' })), '42601')
    assert.equal(refusal(words(12, 3 << 16, 0x61616161)), '08P01')
    for (const tail of ['', 'user\0', 'user\0a', 'user\0a\0', 'user\0a\0\0\0', 'user\0a\0\0a\0']) {
      const length = words(8 + tail.length, 3 << 16)
      const request = parseStartup(Buffer.concat([length, Buffer.from(tail)]))
      assert.ok(request.kind === 'invalid')
      assert.match(request.error.message, /^invalid startup packet layout: expected/, tail)
    }
    assert.equal(parseStartup(say.startup({ user: 'a', replication: 'off' })).kind, 'startup')
  })

  test('a part of a packet is incomplete, whatever the part', () => {
    const packet = say.startup({ user: 'ann', database: 'acme' })
    for (let length = 0; length < packet.length; length++) {
      assert.equal(parseStartup(packet.subarray(0, length)).kind, 'incomplete')
    }
  })

  test('a packet that was changed, cut or lengthened is read as what it is, or refused', () => {
    const corpus = [
      say.startup({ user: 'ann', database: 'acme', options: '-c a=1 endpoint=x', _pq_: 'x' }),
      say.startup({ user: 'ann.acme', replication: 'off' }, (3 << 16) | 2),
      words(8, 80877103),
      words(16, 80877102, 42, 0x01020304),
    ].map((bytes) => Buffer.from(bytes))
    const change = fc.record({ at: fc.nat(60), byte: fc.nat(255) })
    fc.assert(
      fc.property(
        fc.constantFrom(...corpus),
        fc.array(change, { maxLength: 4 }),
        fc.uint8Array({ maxLength: 40 }),
        fc.nat(100),
        (packet, changes, rest, cut) => {
          const bytes = Buffer.concat([packet, rest])
          for (const { at, byte } of changes) bytes[at % bytes.length] = byte
          const given = bytes.subarray(0, bytes.length - Math.min(cut, bytes.length))
          const request = parseStartup(given)
          if (request.kind === 'incomplete') {
            // It waits for no more than the length that it has read, and that is bounded.
            assert.ok(given.length < LIMITS.startupPacketBytesMax)
          } else if ('byteLength' in request) {
            assert.ok(request.byteLength >= 8 && request.byteLength <= given.length)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test('random bytes never throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void parseStartup(bytes)))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (body) => {
        const bytes = Buffer.concat([words(8 + body.length, 3 << 16), body])
        assert.notEqual(parseStartup(bytes).kind, 'incomplete')
      }),
    )
  })
})

suite('startup settings', () => {
  test('options: backslashes keep blanks, Neon endpoints stand apart', () => {
    assert.deepEqual(splitOptions('-c search_path=a,\\ b endpoint=ep-x -cx=\\\\'), {
      settings: [
        ['search_path', 'a, b'],
        ['x', '\\'],
      ],
      endpoint: 'ep-x',
    })
    const kept = splitOptions('-c x=a\u00a0b\ufeff')
    assert.deepEqual(kept.settings, [['x', 'a\u00a0b\ufeff']])
    assert.equal(splitOptions('project=a endpoint=a').endpoint, 'a')
    assert.throws(() => splitOptions('project=a endpoint=b'), /two databases: "a" and "b"/)
    assert.throws(() => splitOptions('-c novalue'), /^PgnapError: -c novalue requires a value/)
    assert.throws(() => splitOptions('--novalue'), /--novalue requires a value/)
    assert.throws(() => splitOptions('-c'), /invalid command-line argument .*: -c$/)
  })

  test('settings become SQL that says what was meant', () => {
    const sql = (name: string, value: string): string => settingsSql(new Map([[name, value]]))
    assert.equal(sql('datestyle', 'ISO, MDY'), `SET "datestyle" TO 'ISO, MDY';`)
    const path = (text: string): string =>
      `SELECT pg_catalog.set_config('search_path',${text},false);`
    assert.equal(sql('search_path', 'A,"B c" ,\u00a0'), path(`'A,"B c" ,\u00a0'`))
    assert.equal(sql('search_path', ''), path(`''`))
    assert.equal(sql(`x" TO 1; --`, `'; drop`), `SET "x"" TO 1; --" TO '''; drop';`)
    assert.equal(settingsSql(new Map()), '')
  })

  test('quoting keeps any text inside its quotes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const literal = quoteLiteral(text)
        const escaped = literal.startsWith('E')
        const body = literal.slice(escaped ? 2 : 1, -1)
        const read = escaped
          ? body.replaceAll(/\\\\|''/g, (pair) => pair[0] ?? '')
          : body.replaceAll("''", "'")
        assert.equal(read, text)
        assert.equal(quoteIdentifier(text).slice(1, -1).replaceAll('""', '"'), text)
      }),
    )
  })
})

test('a client that leaves before it has begun is told nothing', () => {
  assert.deepEqual(parseStartup(new Uint8Array([0x58, 0, 0, 0, 4])), { kind: 'goodbye' })
})
