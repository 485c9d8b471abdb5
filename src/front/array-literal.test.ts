import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { readArrayLiteral, writeArrayLiteral } from './array-literal.ts'

const asText = (value: unknown): string | null => (typeof value === 'string' ? value : null)
const read = (text: string): unknown => readArrayLiteral(text, (element) => element)

const element = fc.option(fc.string({ unit: 'binary' }), { nil: null })
const nested = fc.letrec((tie) => ({
  // An inner array is never empty: Postgres has no such thing, `{}` is the empty array as a whole.
  inner: fc.array(fc.oneof(element, tie('inner')), { minLength: 1, maxLength: 4 }),
})).inner

suite('array literals', () => {
  test('what is written is read again', () => {
    fc.assert(
      fc.property(fc.oneof(nested, fc.constant([])), (values) => {
        assert.deepEqual(read(writeArrayLiteral(values as unknown[], asText)), values)
      }),
    )
  })

  test('any text is read or refused, never thrown at', () => {
    const hostile = fc.string({
      unit: fc.constantFrom('{', '}', ',', '"', '\\', 'a', 'NULL', ' ', '='),
    })
    fc.assert(
      fc.property(fc.oneof(fc.string(), hostile), (text) => {
        const values = read(text)
        assert.ok(values === undefined || Array.isArray(values))
      }),
    )
  })

  test('nesting deeper than any stack is followed', () => {
    const depth = 200_000
    let values = read('{'.repeat(depth) + '}'.repeat(depth))
    let seen = 0
    while (Array.isArray(values)) {
      seen++
      values = values[0]
    }
    assert.equal(seen, depth)
  })

  test('bounds without end are refused', () => {
    assert.equal(read(`${'[1:1]'.repeat(5_000_000)}={1}`), undefined)
    assert.deepEqual(read(`${'[1:1]'.repeat(6)}={{{{{{1}}}}}}`), [[[[[['1']]]]]])
  })

  const cases: readonly (readonly [string, unknown])[] = [
    ['{}', []],
    ['{1,NULL,3}', ['1', null, '3']],
    ['{"NULL",null}', ['NULL', 'null']],
    [String.raw`{"a \"b\"","c\\d","",{x}}`, ['a "b"', String.raw`c\d`, '', ['x']]],
    ['[0:1]={a,b}', ['a', 'b']],
    [
      '[-1:0][2:3]={{1,2},{3,4}}',
      [
        ['1', '2'],
        ['3', '4'],
      ],
    ],
    ['{a b,ü}', ['a b', 'ü']],
  ]
  for (const [text, values] of cases) {
    test(`reads ${text}`, () => assert.deepEqual(read(text), values))
  }

  for (const text of [
    '',
    'a',
    '{',
    '{a',
    '{a,}',
    '{,a}',
    '{a}b',
    '{a}}',
    '{"a}',
    '{"a"b}',
    '{a}{b}',
  ]) {
    test(`refuses ${JSON.stringify(text)}`, () => assert.equal(read(text), undefined))
  }
})
