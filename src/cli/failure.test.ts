import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { PgnapError } from '../base/errors.ts'
import { PostgresError } from '../front/wire/result.ts'
import { reportFailure } from './failure.ts'
import { formatPostgresError } from './postgres-message.ts'

const text = { debug: false, json: false }

suite('failures', () => {
  test('have three parts and no stack', () => {
    const error = new PgnapError('STORE_FULL', 'the disk is full', {
      detail: '0 B',
      hint: 'free some',
    })
    assert.deepEqual(reportFailure(error, text), {
      text: 'pgnap: the disk is full\ndetail: 0 B\nhint: free some\n',
      exitCode: 1,
    })
    assert.match(reportFailure(error, { ...text, debug: true }).text, /failure\.test\.ts/)
  })

  test('are one JSON line for programs', () => {
    const report = reportFailure(new PgnapError('TENANT_UNKNOWN', 'no'), {
      debug: false,
      json: true,
    })
    assert.deepEqual(JSON.parse(report.text), {
      error: { code: 'TENANT_UNKNOWN', sqlState: '3D000', message: 'no' },
    })
    const postgres = new PostgresError({ C: '42601', M: 'bad', P: '3' })
    assert.deepEqual(JSON.parse(reportFailure(postgres, { debug: false, json: true }).text), {
      error: { code: 'POSTGRES', sqlState: '42601', message: 'bad', position: '3' },
    })
  })

  test('exit by what may help', () => {
    const exitCode = (error: unknown): number => reportFailure(error, text).exitCode
    assert.equal(exitCode(new PgnapError('CONFIG_INVALID', '')), 2)
    assert.equal(exitCode(new PgnapError('SERVER_UNREACHABLE', '')), 69)
    assert.equal(exitCode(new PgnapError('SHUTTING_DOWN', '')), 69)
    assert.equal(exitCode(new PgnapError('TENANT_UNKNOWN', '')), 1)
    assert.equal(exitCode(new PostgresError({})), 1)
    assert.equal(exitCode('whatever'), 1)
  })
})

suite('errors of Postgres', () => {
  const at = (sql: string, position: number): string[] =>
    formatPostgresError({ M: 'no', P: String(position) }, { sql })
      .split('\n')
      .slice(1, -1)

  test('are printed as psql prints them', () => {
    const fields = { V: 'ERROR', M: 'no table', D: 'really', H: 'make it', P: '15' }
    assert.equal(
      formatPostgresError(fields, { sql: 'select * from nope' }),
      'ERROR:  no table\n' +
        'LINE 1: select * from nope\n' +
        '                      ^\n' +
        'DETAIL:  really\n' +
        'HINT:  make it\n',
    )
    assert.equal(formatPostgresError({ M: 'a\x1bb' }), 'ERROR:  a\\x1bb\n')
  })

  test('point into the right line, counted in characters and drawn in columns', () => {
    assert.deepEqual(at('select\n  x', 10), ['LINE 2:   x', '          ^'])
    assert.deepEqual(at("select '😀世', x", 14), [
      "LINE 1: select '😀世', x",
      '                       ^',
    ])
    assert.deepEqual(at('x', 1), ['LINE 1: x', '        ^'])
    assert.deepEqual(at('\nx', 2), ['LINE 2: x', '        ^'])
    assert.deepEqual(at('select (', 9), ['LINE 1: select (', '                ^'])
    assert.deepEqual(at('a\n', 99), ['LINE 2: ', '        ^'])
  })

  test('keep the place in sight in a long line', () => {
    const [line = '', caret = ''] = at(`${'a'.repeat(200)}X${'b'.repeat(200)}`, 201)
    assert.ok(line.length < 80)
    assert.ok(line.startsWith('LINE 1: ...') && line.endsWith('...'))
    assert.equal(line[caret.indexOf('^')], 'X')
  })
})
