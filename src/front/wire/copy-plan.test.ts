import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { LIMITS } from '../../base/limits.ts'
import { mayHoldCopy, planCopies } from './copy-plan.ts'
import { SqlLexer } from '../../base/sql-lexer.ts'

function tokens(sql: string): string[] {
  const lexer = new SqlLexer(sql)
  const found: string[] = []
  while (lexer.next() !== 'end') found.push(lexer.text)
  return found
}

suite('the lexer', () => {
  test('knows where texts, names and comments end', () => {
    assert.deepEqual(tokens(`a'b''c'"d""e"`), ['a', `'b''c'`, `"d""e"`])
    assert.deepEqual(tokens(`E'it\\'s' x`), [`E'it\\'s'`, 'x'])
    assert.deepEqual(tokens(`'back\\' x`), [`'back\\'`, 'x'])
    assert.deepEqual(tokens('a /* b /* c */ d */ e -- f\n g'), ['a', 'e', 'g'])
    assert.deepEqual(tokens('$$ ; $x$ $$ $x$ a $$ $x$ $1'), ['$$ ; $x$ $$', '$x$ a $$ $x$', '$1'])
    assert.deepEqual(tokens('a$b$c 1e5 .5'), ['a$b$c', '1e5', '.5'])
    assert.deepEqual(tokens(`U&'x' U&"y" b'1' n'z'`), [`U&'x'`, `U&"y"`, `b'1'`, `n'z'`])
  })

  test('takes for blank what Postgres does, and nothing else', () => {
    assert.deepEqual(tokens('a \t\n\r\f\vb'), ['a', 'b'])
    assert.deepEqual(tokens('\u00a0copy \ufeffcopy'), ['\u00a0copy', '\ufeffcopy'])
    assert.equal(planCopies('\ufeffcopy t from stdin'), undefined)
  })

  test('what is not closed reaches to the end', () => {
    for (const open of [`'a`, `"a`, '$$a', '$x$a$$', `E'a\\`]) {
      assert.deepEqual(tokens(`x ${open}`), ['x', open])
    }
    assert.deepEqual(tokens('x /* a /* b */'), ['x'])
  })

  test('a text of millions of lines, or of one long token', () => {
    const count = 5_000_000
    for (const blank of ['--\n', '\n', '-- x\n\t', '/**/', '--']) {
      const sql = `${blank.repeat(count)}\nselect`
      assert.deepEqual(tokens(sql), ['select'], JSON.stringify(blank))
    }
    for (const token of ['a', '1']) assert.equal(tokens(token.repeat(count)).length, 1)
  })

  test('tokens of any text follow each other to its end', () => {
    const piece = fc.constantFrom(
      ...`'"$\\;/*-aE1(.\n `.split(''),
      '$$',
      '/*',
      '*/',
      '--',
      "E'",
      'U&"',
      '$a$',
    )
    const sql = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((list) => list.join('')),
    )
    fc.assert(
      fc.property(sql, (text) => {
        const lexer = new SqlLexer(text)
        let before = 0
        for (;;) {
          const kind = lexer.next()
          assert.ok(lexer.start >= before)
          if (kind === 'end') break
          assert.ok(lexer.end > lexer.start && lexer.end <= text.length)
          before = lexer.end
        }
        assert.equal(lexer.next(), 'end')
      }),
    )
  })
})

suite('finding COPY FROM STDIN', () => {
  const alone = (columnCount: number, binary = false, freeze = false): unknown => ({
    shapes: [{ columnCount, binary, freeze }],
    alone: true,
  })

  test('in the forms that Postgres takes', () => {
    assert.deepEqual(planCopies('copy t from stdin'), alone(0))
    assert.deepEqual(planCopies('COPY public."T x" (a, "b,c") FROM STDIN;'), alone(2))
    assert.deepEqual(planCopies('/* x */ Copy a.b.c from -- y\n STDIN csv header'), alone(0))
    assert.deepEqual(planCopies('copy t from stdout'), alone(0))
    assert.deepEqual(planCopies('copy binary t from stdin'), alone(0, true))
    assert.deepEqual(planCopies('copy t from stdin with binary'), alone(0, true))
    assert.deepEqual(planCopies('copy t (a) from stdin (format binary)'), alone(1, true))
    assert.deepEqual(
      planCopies(`copy t from stdin with (format 'binary', freeze)`),
      alone(0, true, true),
    )
    assert.deepEqual(planCopies('copy t from stdin (freeze on)'), alone(0, false, true))
    assert.deepEqual(planCopies(`copy t from stdin (null 'binary') where a = 'freeze'`), alone(0))
  })

  test('not where it only looks like one', () => {
    for (const sql of [
      'copy t to stdout',
      'copy (select 1) to stdout',
      `copy t from 'stdin'`,
      `copy t from program 'x'`,
      `select 'copy t from stdin'`,
      'select $$; copy t from stdin$$',
      '-- copy t from stdin\nselect 1',
      'select 1 /*; copy t from stdin */',
      'select copy from stdin',
      'create rule r as on insert to t do also (select 1; copy t from stdin)',
      'copy t',
      'copy',
      '',
      ';;',
    ]) {
      assert.equal(planCopies(sql), undefined, sql)
    }
  })

  test('among other statements, in order', () => {
    const plan = planCopies('begin; copy a (x) from stdin; select (1); copy b from stdin binary;')
    assert.equal(plan?.alone, false)
    assert.deepEqual(
      plan?.shapes.map((shape) => [shape.columnCount, shape.binary]),
      [
        [1, false],
        [0, true],
      ],
    )
  })

  test('any text has a plan or none, and none without the letters', () => {
    const word = fc.constantFrom(
      'copy',
      't',
      'from',
      'stdin',
      '(',
      ')',
      ',',
      ';',
      "'",
      '"',
      '$$',
      '.',
    )
    fc.assert(
      fc.property(fc.array(word), (list) => {
        const sql = list.join(' ')
        const bytes = Buffer.from(sql)
        assert.equal(mayHoldCopy(bytes, 0, bytes.length), sql.includes('copy'))
        if (planCopies(sql)) assert.ok(sql.includes('copy'))
      }),
    )
  })
})

test('a message may have so many COPYs: each is kept until its data is there', () => {
  const many = (count: number): string => 'copy t from stdin;'.repeat(count)
  assert.equal(planCopies(many(LIMITS.preparedCopiesMax))?.shapes.length, LIMITS.preparedCopiesMax)
  const tooMany = many(LIMITS.preparedCopiesMax + 1)
  assert.throws(() => planCopies(tooMany), { code: 'MESSAGE_TOO_LARGE' })
})
