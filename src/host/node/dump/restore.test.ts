import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { PgnapError } from '../../../base/errors.ts'
import { StatementFailure } from '../../../base/statement-failure.ts'
import { PostgresError, type ResultSet } from '../../../front/wire/result.ts'
import { type RestoreOptions, restoreScript } from './restore.ts'
import type { Finished, SqlConnection } from './sql-connection.ts'

/** A tenant that writes down what it is told, with the data of each COPY behind it. */
class Listener implements Pick<SqlConnection, 'run'> {
  readonly told: string[] = []
  tables = '0'
  readonly #isInCopy = /^copy /i

  async run(...[statement, options]: Parameters<SqlConnection['run']>): Promise<Finished> {
    const sql = typeof statement === 'string' ? statement : statement.latin1
    const rows = sql.startsWith('SELECT count') ? [[this.tables, 'public.here']] : []
    const result: ResultSet = { fields: [], rows, command: '', rowCount: null }
    if (sql.startsWith('SELECT count')) return { result, status: 'idle' }
    if (sql === 'fail;') throw new PostgresError({ C: '22012', M: 'no', W: 'somewhere' })
    let data = ''
    let rowCount = 0
    if (this.#isInCopy.test(sql)) {
      for (let more = await options?.copyData?.(); more; more = await options?.copyData?.()) {
        data += String(more)
      }
      rowCount = data.split('\n').length - 1
    }
    this.told.push(sql + data)
    const status = /^(?:commit|escape)/i.test(sql) ? 'idle' : 'transaction'
    return { result: { ...result, rowCount }, status }
  }
}

async function told(
  script: string | Uint8Array,
  options: Partial<RestoreOptions> = {},
): Promise<string[]> {
  const tenant = new Listener()
  const input = (async function* () {
    yield Buffer.from(script)
  })()
  await restoreScript(tenant, input, { intoExisting: false, ...options })
  return tenant.told
}

const refused = (script: string | Uint8Array, message: RegExp): Promise<void> =>
  assert.rejects(told(script), (error) => {
    assert.ok(error instanceof PgnapError, String(error))
    assert.equal(error.code, 'DUMP_INVALID')
    assert.match(error.message, message)
    assert.notEqual(error.hint, undefined)
    return true
  })

suite('a restore', () => {
  test('is one transaction of what stands in the dump, with the data of its COPYs', async () => {
    const script = [
      '-- a dump\n\\restrict key\n',
      'create table t (a text);\n',
      'COPY t (a) FROM stdin;\n1;\n\\\\.\n\\.\n',
      'BEGIN;\nselect 1;\nCOMMIT;\n',
      'copy e from stdin with (format csv);\r\n\\.\r\n',
      '\\unrestrict key\n',
    ]
    assert.deepEqual(await told(script.join('')), [
      'BEGIN',
      'create table t (a text);',
      'COPY t (a) FROM stdin;1;\n\\\\.\n',
      'select 1;',
      'copy e from stdin with (format csv);',
      'COMMIT',
    ])
  })

  test('has the data of a large table in parts, of which none splits a line', async () => {
    const rows = ['aaaa\n', 'bbbb\n', 'cccc\n', 'dddd\n']
    const parts = await told(`copy t from stdin;\n${rows.join('')}\\.\n`, { copyBytes: 6 })
    const expected = ['aaaa\nbbbb\n', 'cccc\ndddd\n', ''].map((data) => `copy t from stdin;${data}`)
    assert.deepEqual(parts.slice(1, -1), expected)
    // Of other formats a line need not be a row.
    const csv = 'copy t from stdin with csv;'
    const whole = await told(`${csv}\n${rows.join('')}\\.\n`, { copyBytes: 6 })
    assert.deepEqual(whole.slice(1, -1), [csv + rows.join('')])
  })

  test('of what is cut off, or no dump, is refused', async () => {
    await refused('', /nothing in it/)
    await refused('-- nothing;\n', /nothing in it/)
    await refused('select 1', /cut off after line 1/)
    await refused("select 1;\nselect '\n", /cut off after line 2/)
    await refused('\\restrict key\nselect 1;\n', /cut off after line 2/)
    await refused('copy t from stdin;\n1\n2\n', /cut off after line 3/)
    await refused('PGDMP\u0001\0', /an archive of pg_dump/)
    await refused(new Uint8Array([0x1f, 0x8b, 0x08]), /compressed/)
    await refused('select 1;\nselect \0;\n', /line 2 is no text/)
  })

  test('takes no command of psql, and nothing that ends the transaction', async () => {
    await refused('select 1;\n\\connect other\n', /line 2 is a command of psql: \\connect other/)
    for (const sql of ['rollback', 'commit and chain', 'Begin isolation level serializable']) {
      await refused(`select 1;\n\n${sql};\n`, /line 3 begins or ends a transaction/)
    }
    await refused("prepare transaction 'x';\n", /line 1 begins or ends/)
    await refused('escape;\n', /line 1 has ended the transaction/)
    assert.equal((await told("prepare x as select '\n\\q';\n")).length, 3)
  })

  test('that fails reads no further, and says so to who writes the dump', async () => {
    let isOver = false
    const endless = (async function* () {
      try {
        for (;;) yield Buffer.from('fail;\n')
      } finally {
        isOver = true
      }
    })()
    await assert.rejects(restoreScript(new Listener(), endless, { intoExisting: true }))
    assert.ok(isOver)
  })

  test('says which statement failed, and where it stands', async () => {
    await assert.rejects(told('copy t from stdin;\n1\n\\.\n\nfail;\n'), (error) => {
      assert.ok(error instanceof StatementFailure && error.cause instanceof PostgresError)
      assert.equal(error.sql, 'fail;')
      assert.equal(error.cause.fields['W'], 'somewhere\nstatement at line 5 of the dump')
      return true
    })
  })

  test('wants a tenant without tables, unless it is told otherwise', async () => {
    const tenant = new Listener()
    tenant.tables = '3'
    const input = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('select 1;\n')
    }
    await assert.rejects(restoreScript(tenant, input(), { intoExisting: false }), {
      code: 'TENANT_NOT_EMPTY',
      detail: 'public.here and 2 others',
      hint: /--into-existing/,
    })
    assert.deepEqual(tenant.told, [])
    await restoreScript(tenant, input(), { intoExisting: true })
    assert.equal(tenant.told.length, 3)
  })
})
