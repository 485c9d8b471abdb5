import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../base/errors.ts'
import { resultOf } from '../../test/support/fake-control.ts'
import {
  encodeParameter,
  encodeParameters,
  jsonReaders,
  libraryReaders,
  readRowArrays,
  readRowObjects,
  textReaders,
  withOwnReaders,
} from './values.ts'

const MICROS = '2026-01-01 00:00:00.123456+00'

suite('values: reading', () => {
  const cases: readonly (readonly [string, number, string, unknown, unknown])[] = [
    ['bool', 16, 't', true, true],
    ['int4', 23, '-7', -7, -7],
    ['int8', 20, '9007199254740993', '9007199254740993', '9007199254740993'],
    ['numeric', 1700, '1.10', '1.10', '1.10'],
    ['float8', 701, '1.5', 1.5, 1.5],
    ['float8', 701, 'NaN', 'NaN', Number.NaN],
    ['float4', 700, '-Infinity', '-Infinity', Number.NEGATIVE_INFINITY],
    ['jsonb', 3802, '{"a": [1]}', { a: [1] }, { a: [1] }],
    ['bytea', 17, String.raw`\x00ff`, String.raw`\x00ff`, Uint8Array.of(0, 255)],
    ['bytea (escape)', 17, String.raw`a\000`, String.raw`a\000`, String.raw`a\000`],
    [
      'int4[]',
      1007,
      '{{1,2},{3,NULL}}',
      [
        [1, 2],
        [3, null],
      ],
      [
        [1, 2],
        [3, null],
      ],
    ],
    ['bool[]', 1000, '{t,f}', [true, false], [true, false]],
    ['json[]', 199, String.raw`{"{\"a\":1}"}`, [{ a: 1 }], [{ a: 1 }]],
    ['text[]', 1009, '{a,"b c"}', ['a', 'b c'], ['a', 'b c']],
    ['timestamptz', 1184, MICROS, MICROS, MICROS],
    ['unknown type', 99_999, '{1}', '{1}', '{1}'],
  ]
  for (const [name, oid, text, overHttp, inLibrary] of cases) {
    test(`${name} ${text}`, () => {
      assert.deepEqual(jsonReaders(oid)(text), overHttp)
      assert.deepEqual(libraryReaders(oid)(text), inLibrary)
      assert.equal(textReaders(oid)(text), text)
    })
  }

  test('rows keep NULL and the order of columns; of equal names the last one wins', () => {
    const result = resultOf(
      [
        ['a', 23],
        ['a', 25],
        ['__proto__', 16],
      ],
      [['1', null, 't']],
    )
    assert.deepEqual(readRowArrays(result, jsonReaders), [[1, null, true]])
    const [row] = readRowObjects(result, jsonReaders)
    assert.deepEqual(Object.entries(row ?? {}), [
      ['a', null],
      ['__proto__', true],
    ])
  })

  test('an own reader serves its type and arrays of it', () => {
    const readers = withOwnReaders(libraryReaders, { 20: BigInt })
    assert.equal(readers(20)('5'), 5n)
    assert.deepEqual(readers(1016)('{1,NULL}'), [1n, null])
    assert.equal(readers(23)('5'), 5)
  })
})

suite('values: parameters', () => {
  const cases: readonly (readonly [unknown, string | null])[] = [
    [null, null],
    ['', ''],
    [0.1, '0.1'],
    [-0, '-0'],
    [Number.NaN, 'NaN'],
    [12n, '12'],
    [false, 'false'],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    [new Date(Date.UTC(12_026, 0, 2)), '12026-01-02T00:00:00.000Z'],
    [new Date('-000001-03-04T00:00:00Z'), '0002-03-04T00:00:00.000Z BC'],
    [new Date('0000-03-04T00:00:00Z'), '0001-03-04T00:00:00.000Z BC'],
    [Uint8Array.of(0, 171, 255), String.raw`\x00abff`],
    [{ a: 1 }, '{"a":1}'],
    [[1, null, ['x"y']], String.raw`{"1",NULL,{"x\"y"}}`],
    [[{ a: 'b' }], String.raw`{"{\"a\":\"b\"}"}`],
  ]
  for (const [value, text] of cases) {
    test(`${String(text)}`, () => assert.equal(encodeParameter(value, '$1'), text))
  }

  test('what has no text is refused by name', () => {
    const cyclic: { self?: unknown } = {}
    cyclic.self = cyclic
    const endless: unknown[] = []
    endless.push(endless)
    const invalid = new Date(Number.NaN)
    const unfit = [undefined, () => 1, Symbol('s'), cyclic, endless, invalid, [undefined]]
    for (const value of unfit) {
      assert.throws(
        () => encodeParameters([1, value]),
        (error) =>
          error instanceof PgnapError &&
          error.code === 'REQUEST_INVALID' &&
          /\$2/.test(error.message),
      )
    }
  })

  test('bytes come back as they went', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        assert.deepEqual(libraryReaders(17)(encodeParameter(bytes, '$1') ?? ''), bytes)
      }),
    )
  })
})
