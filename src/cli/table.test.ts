import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { displayWidth, visible } from './display-width.ts'
import { formatFacts, formatFactsTable } from './facts.ts'
import { formatResult } from './sql.ts'
import { formatTable } from './table.ts'

const left = (name: string): { name: string; alignRight: boolean } => ({ name, alignRight: false })
const field = (name: string, dataTypeID = 25): { name: string; dataTypeID: number } => ({
  name,
  dataTypeID,
})

/** The expected text, one array element per line. */
const lines = (...each: string[]): string => `${each.join('\n')}\n`

suite('table', () => {
  test('looks as psql has it: centred heads, numbers at the right, NULL as nothing', () => {
    const text = formatResult({
      fields: [field('id', 23), field('a long name')],
      rows: [
        ['1', 'x'],
        ['100', null],
      ],
      command: 'SELECT',
      rowCount: 2,
    })
    assert.equal(
      text,
      lines(' id  | a long name', '-----+-------------', '   1 | x', ' 100 |', '(2 rows)'),
    )
  })

  test('lines of one value are continued below', () => {
    const text = formatTable(
      [left('m'), left('n')],
      [
        ['a\nbb', 'x'],
        ['c', 'y\n'],
      ],
    )
    assert.equal(text, lines(' m  | n', '----+---', ' a +| x', ' bb |', ' c  | y+', '    |'))
  })

  test('many rows, and many lines in one value', () => {
    const count = 200_000
    const rows = Array.from({ length: count }, () => ['x'])
    assert.equal(formatTable([left('n')], rows), lines(' n', '---') + ' x\n'.repeat(count))
    const text = formatTable([left('n')], [[`${'\n'.repeat(count)}xyz`]])
    assert.equal(text.split('\n').length, count + 4)
    assert.ok(text.startsWith('  n\n-----\n'))
  })

  test('wide characters keep the columns straight', () => {
    const text = formatTable(
      [left('t'), left('u')],
      [
        ['世界', '1'],
        ['ab', '2'],
        ['e\u0301', '3'],
      ],
    )
    assert.equal(
      text,
      lines('  t   | u', '------+---', ' 世界 | 1', ' ab   | 2', ' e\u0301    | 3'),
    )
  })

  test('no rows, no columns, no table', () => {
    const empty = { rows: [], command: 'SELECT', rowCount: 0 }
    assert.equal(formatResult({ ...empty, fields: [field('n')] }), lines(' n', '---', '(0 rows)'))
    assert.equal(formatResult({ ...empty, fields: [], rows: [[]] }), lines('--', '(1 row)'))
    assert.equal(
      formatResult({ ...empty, fields: [], command: 'INSERT', rowCount: 3 }),
      'INSERT 0 3\n',
    )
    assert.equal(formatResult({ ...empty, fields: [], command: 'UPDATE' }), 'UPDATE 0\n')
    assert.equal(formatResult({ ...empty, fields: [], command: 'SET', rowCount: null }), 'SET\n')
    assert.equal(formatResult({ ...empty, fields: [], command: '', rowCount: null }), '')
  })
})

suite('display width', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['', 0],
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['한글', 4],
    ['ＡＢ', 4],
    ['👩‍👩‍👧', 2],
    ['🇩🇪', 2],
    ['❤️', 2],
    ['❤', 1],
    ['𠀀', 2],
    ['a\u200bb', 2],
  ]
  for (const [text, width] of cases) {
    test(`${JSON.stringify(text)} is ${width} wide`, () => assert.equal(displayWidth(text), width))
  }

  test('what would move the cursor is made visible', () => {
    assert.equal(visible('a\x1b[2Jb\x07\x9b\u202e\n'), String.raw`a\x1b[2Jb\x07\x9b\u202e\n`)
    assert.equal(visible('a\n\tb\r', { newlines: true }), 'a\n\tb\\x0d')
    assert.equal(visible('世界'), '世界')
  })
})

suite('facts', () => {
  const facts = {
    name: 'acme',
    storeBytes: 31_744,
    idleMs: 5,
    createdMs: 1_800_000_000_000,
    sub: { n: 1 },
  }

  test('one thing is a list of its facts, with units', () => {
    assert.equal(
      formatFacts(facts),
      lines(
        'name     acme',
        'store    31 kB',
        'idle     5 ms',
        'created  2027-01-15T08:00:00.000Z',
        'sub.n    1',
      ),
    )
  })

  test('many things are a table', () => {
    assert.equal(
      formatFactsTable([
        { name: 'a', rows: 5 },
        { name: 'b', rows: 10 },
      ]),
      lines(' name | rows', '------+------', ' a    |    5', ' b    |   10'),
    )
  })

  test('a list of things within a thing is a table below it', () => {
    assert.equal(
      formatFacts({ size: 1, layers: [{ id: 0 }], none: [] }),
      lines('size  1', 'none  []', '', 'layers', ' id', '----', '  0'),
    )
  })
})
