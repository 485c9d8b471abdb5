import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { parseCommands } from './command.ts'
import { TABLES } from './tables.ts'

const SETTINGS = new Set(['slots', 'max_client_conn'])
const parse = (text: string) => parseCommands(text, SETTINGS)

/** SQLSTATE and hint of the refusal. */
function refusalOf(text: string): [string, string] {
  try {
    parse(text)
  } catch (error) {
    assert.ok(error instanceof PgnapError, String(error))
    return [error.sqlState, error.hint ?? '']
  }
  throw new Error(`${text} should be refused`)
}

test('SHOW in any case, with or without its end, comments beside', () => {
  for (const text of [
    'SHOW POOLS',
    'show pools;',
    ' Show Pools ;; ',
    '/* x */ show -- y\n pools',
  ]) {
    const [command, ...others] = parse(text)
    assert.ok(command?.kind === 'show', text)
    assert.equal(command.table, TABLES['pools'])
    assert.deepEqual(others, [])
  }
})

test('nothing to do is no error; several commands come in order', () => {
  for (const text of ['', ';', ' ; -- ping', '/* ping */']) assert.deepEqual(parse(text), [])
  const tables = parse('show stats; SHOW VERSION;').map((command) =>
    command.kind === 'show' ? command.table : undefined,
  )
  assert.deepEqual(tables, [TABLES['stats'], TABLES['version']])
  assert.equal(parse('show').length, 1, 'SHOW alone is SHOW HELP')
})

test('SHOW TENANTS takes a page', () => {
  const pageOf = (text: string): unknown => {
    const [command] = parse(text)
    return command?.kind === 'show' ? command.page : undefined
  }
  const all = { after: undefined, limit: LIMITS.tenantsPerPageMax }
  assert.deepEqual(pageOf('show tenants'), all)
  assert.deepEqual(pageOf("show tenants after 'a-1' limit 7"), { after: 'a-1', limit: 7 })
  assert.deepEqual(pageOf('show tenants limit 7 after "acme"'), { after: 'acme', limit: 7 })
  assert.deepEqual(pageOf('show tenants limit 999999999'), all)
  for (const text of ['after', 'limit x', 'limit -1', "like 'a'", 'after ;limit 1', 'pools']) {
    assert.equal(refusalOf(`show tenants ${text}`)[0], '42601', text)
  }
})

test('what drivers send on their own is taken; a setting of the server is not', () => {
  const tags = parse(`SET "application_name" TO 'x';set session y = 1; reset all; DISCARD ALL`)
  assert.deepEqual(
    tags.map((command) => command.kind === 'acknowledge' && command.tag),
    ['SET', 'SET', 'RESET', 'DISCARD ALL'],
  )
  for (const text of ['show server_encoding', 'SHOW TRANSACTION ISOLATION LEVEL']) {
    assert.equal(parse(text)[0]?.kind, 'show', text)
  }
  for (const text of ['set slots = 9', 'SET "MAX_CLIENT_CONN" to 5']) {
    assert.equal(refusalOf(text)[0], '0A000', text)
  }
})

test('everything else is refused with a way on', () => {
  const sql = ['select 1', 'WITH x as (select 1) table x', 'copy t from stdin', 'begin', 'COMMIT']
  const others = ['disable a', 'suspend', 'wait_close a', 'kill_client 1', 'shutdown', 'show fds']
  for (const text of [...sql, ...others]) {
    const [sqlState, hint] = refusalOf(text)
    assert.equal(sqlState, '0A000', text)
    assert.match(hint, /SHOW HELP/, text)
  }
  const acts = ['pause a b', 'resume ,', 'kill', 'reload now', 'reconnect a b']
  const invalid = [...acts, 'gibberish', '\\d', '"show" pools x', 'show pools now', 'show nothing']
  for (const text of [...invalid, 'show __proto__', 'toString', '1', "''"]) {
    assert.deepEqual(refusalOf(text), ['42601', 'SHOW HELP tells the commands'], text)
  }
})

test('any text gives commands or a refusal with a hint', () => {
  const words = fc.constantFrom(
    'show',
    'pause',
    'pools',
    'tenants',
    'after',
    'limit',
    'set',
    ';',
    "'",
    '$$',
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(words).map((all) => all.join(' ')),
  )
  fc.assert(
    fc.property(text, (typed) => {
      try {
        for (const { kind } of parse(typed)) assert.match(kind, /^(show|acknowledge|act)$/)
      } catch (error) {
        assert.ok(error instanceof PgnapError, String(error))
        assert.match(error.sqlState, /^(42601|0A000)$/)
        assert.ok(error.hint !== undefined)
      }
    }),
  )
})
