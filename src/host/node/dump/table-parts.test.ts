import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { concatBytes, utf8 } from '../../../base/bytes.ts'
import { message } from '../../../base/protocol-message.ts'
import { queryMessage } from '../../../front/wire/result.ts'
import type { Finished, SqlConnection } from './sql-connection.ts'
import { tableInParts, tableOf } from './table-parts.ts'

/** A tenant with a table of so many pages, which answers with what it was asked for. */
class Pages implements Pick<SqlConnection, 'run' | 'answersTo'> {
  readonly asked: string[] = []
  readonly #pages: number
  readonly #failing: string

  constructor(pages: number, failing = 'never') {
    this.#pages = pages
    this.#failing = failing
  }

  async run(): Promise<Finished> {
    const rows = [[String(this.#pages), String(this.#pages * 1000)]]
    return { result: { fields: [], rows, command: '', rowCount: 1 }, status: 'transaction' }
  }

  async *answersTo(sql: string): AsyncGenerator<Uint8Array> {
    this.asked.push(sql)
    const texts = sql.includes(this.#failing) ? 'Hd,E,Z' : 'Hd,dd,cCZ'
    for (const kinds of texts.split(',')) {
      yield concatBytes(Array.from(kinds, (kind) => message(kind, utf8('x'))))
    }
  }
}

async function kindsOf(tenant: Pages, partBytes: number): Promise<string> {
  let kinds = ''
  const table = { name: 's.t', columns: 'a, b' }
  for await (const bytes of tableInParts(tenant, table, partBytes)) {
    for (let at = 0; at < bytes.length; at += 6) kinds += String.fromCharCode(bytes[at] ?? 0)
  }
  return kinds
}

suite('a table in parts', () => {
  test('is what pg_dump asks for, by whatever name', () => {
    const asked = (sql: string): unknown => tableOf(queryMessage(sql))
    assert.deepEqual(asked('COPY public.t (a, "b)") TO stdout;'), {
      name: 'public.t',
      columns: 'a, "b)"',
    })
    const name = '"a.b (c) TO"."d""(e"'
    assert.deepEqual(asked(`COPY ${name} (x) TO stdout;`), { name, columns: 'x' })
    for (const other of ['COPY (SELECT 1) TO stdout;', 'COPY t  TO stdout;', 'SELECT 1', '']) {
      assert.equal(asked(other), undefined, other)
    }
    assert.equal(tableOf(queryMessage('COPY t (a) TO stdout;').subarray(0, 12)), undefined)
    assert.equal(tableOf(new Uint8Array(0)), undefined)
  })

  test('is one answer, in which every page is asked for once', async () => {
    const tenant = new Pages(5)
    assert.equal(await kindsOf(tenant, 2000), 'Hddddddddd' + 'cCZ')
    const rows = 'SELECT a, b FROM ONLY s.t WHERE'
    assert.deepEqual(tenant.asked, [
      `COPY (${rows} ctid >= '(0,0)' AND ctid < '(2,0)') TO stdout`,
      `COPY (${rows} ctid >= '(2,0)' AND ctid < '(4,0)') TO stdout`,
      `COPY (${rows} ctid >= '(4,0)') TO stdout`,
    ])
  })

  test('is asked for as a whole if it is small, or by its pages if they are large', async () => {
    for (const pages of [0, 1, 2]) {
      const small = new Pages(pages)
      assert.equal(await kindsOf(small, 2000), 'HdddcCZ')
      assert.deepEqual(small.asked, ['COPY s.t (a, b) TO stdout'])
    }
    const large = new Pages(3)
    await kindsOf(large, 10)
    assert.equal(large.asked.length, 3)
  })

  test('ends with the first error', async () => {
    const tenant = new Pages(5, '(2,0)')
    assert.equal(await kindsOf(tenant, 1000), 'HddddEZ')
    assert.equal(tenant.asked.length, 2)
  })
})
