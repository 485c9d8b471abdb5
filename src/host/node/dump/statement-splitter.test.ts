import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { StatementSplitter } from './statement-splitter.ts'

const lines = (script: string): string[] => script.split(/(?<=\n)/)

/** The statements of a script; at its end nothing may be open, unless that is asked for. */
function split(script: string, isOpen = false): string[] {
  const splitter = new StatementSplitter()
  const statements = lines(script).flatMap((line) => splitter.push(line))
  assert.equal(splitter.isBetween, !isOpen, script)
  return statements.map(({ sql }) => sql)
}

suite('statements of a script', () => {
  test('end at semicolons, and begin at their first word', () => {
    assert.deepEqual(split('select 1;select 2 ;\n\n-- a comment; with one\nselect\n3;\n;;'), [
      'select 1;',
      'select 2 ;',
      'select\n3;',
    ])
    assert.deepEqual(split('/* one; /* two; */ three;\n */ select 1; -- four\n'), ['select 1;'])
    assert.deepEqual(split('select 1'.concat('\n'), true), [])
  })

  test('do not end in what is quoted, however that is', () => {
    for (const quoted of [
      "'a;b'",
      "'it''s;'",
      "E'a\\';b'",
      "e'\\\\'",
      "E'a'';\\''",
      "B'1'",
      '"a;""b"',
      '$$;$$',
      '$a$ $$; $b$; $a$',
      '$ü_1$;$ü_1$',
      "'\n;\n'",
      "E'\n;\\\n'';'",
      '/* ; */ 1',
      '-- ;\n1',
      '(1;2)',
      'a$b$',
      '$1',
      "name'x;'",
    ]) {
      const sql = Buffer.from(`select ${quoted} as x;`).toString('latin1')
      assert.deepEqual(split(`${sql} ${sql}\n`), [sql, sql], quoted)
    }
  })

  test('have bodies of SQL with semicolons of their own', () => {
    const body = 'begin atomic select 1; select case when true then 2 end; end;'
    for (const head of ['create function f()', 'CREATE OR REPLACE PROCEDURE "begin"(a int)']) {
      assert.deepEqual(split(`${head}\n${body}\nselect 2;`), [`${head}\n${body}`, 'select 2;'])
    }
    assert.deepEqual(split('begin; create table begin_end (x int); end;'), [
      'begin;',
      'create table begin_end (x int);',
      'end;',
    ])
  })

  test('tell the line that they begin in', () => {
    const splitter = new StatementSplitter()
    const script = '\n-- one\nselect 1; select\n2\n;\n/*\n*/ select 3;\n'
    const begin = lines(script).flatMap((line) => splitter.push(line))
    assert.deepEqual(
      begin.map(({ line }) => line),
      [3, 3, 7],
    )
    assert.equal(splitter.lineCount, 7)
  })

  test('come out as they were put together, wherever lines are cut', () => {
    const text = fc.string({ unit: fc.constantFrom(...Array.from(';\'"$\\-/*()\n aeE1')) })
    const part = fc.oneof(
      text.map((content) => `'${content.replaceAll("'", "''")}'`),
      text.map((content) => `E'${content.replaceAll(/['\\]/g, '\\$&')}'`),
      text.map((content) => `"${content.replaceAll('"', '""')}"`),
      text.map((content) => `$t$${content}$t$`),
      text.map((content) => `--${content.replaceAll('\n', ' ')}\n`),
      text.map((content) => `/*${content.replaceAll(/[*/]/g, ' ')}*/`),
      fc.constantFrom('a', '1', '+', '(a)', '\n', 'end', 'begin', 'case'),
    )
    const statement = fc.array(part).map((parts) => `select ${parts.join(' ')} ;`)
    fc.assert(
      fc.property(fc.array(statement), fc.constantFrom('', '\n', ' -- x;\n'), (all, between) => {
        assert.deepEqual(split(all.join(between)), all)
      }),
    )
  })
})
