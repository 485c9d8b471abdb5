import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { LIMITS } from '../../base/limits.ts'
import { resultOf } from '../../../test/support/fake-control.ts'
import { codeOf, neon, open, post } from '../../../test/support/http-app.ts'

suite('http: limits', () => {
  const tooLong = 'x'.repeat(LIMITS.httpRequestBytesMax + 1)

  test('a body beyond the limit is 413, with and without Content-Length', async () => {
    const { control, app } = open()
    const length = { 'Content-Length': String(tooLong.length) }
    assert.equal((await app.request('/sql', neon(tooLong, length))).status, 413)
    const body = new Blob([tooLong]).stream()
    const streamed = new Request('http://localhost/v1/tenants/a/query', {
      method: 'POST',
      body,
      duplex: 'half',
    } as RequestInit)
    assert.deepEqual(await codeOf(await app.request(streamed)), [413, 'MESSAGE_TOO_LARGE'])
    assert.equal(control.asked.length, 0)
  })

  test('an answer beyond the limit is 507', async () => {
    const { control, app } = open()
    control.answer = resultOf([['t', 25]], [['x'.repeat(LIMITS.httpAnswerBytesMax)]])
    const answer = await app.request('/v1/tenants/a/query', post({ sql: 'q' }))
    assert.deepEqual(await codeOf(answer), [507, 'ANSWER_TOO_LARGE'])
  })

  test('rows that would become too much JSON are not read for it', async () => {
    const { control, app } = open()
    const columns = Array.from({ length: 100 }, (_, at) => [`${at}`.padEnd(60, 'n'), 25] as const)
    const unread = {
      map: (): never => assert.fail('a row was read'),
    } as unknown as readonly (string | null)[]
    const rows = Array.from({ length: 10_000 }, () => unread)
    control.answer = resultOf(columns, rows)
    for (const [path, init] of [
      ['/v1/tenants/a/query', post({ sql: 'q' })],
      ['/sql', neon({ query: 'q' })],
      ['/sql', neon({ queries: [{ query: 'q' }] })],
    ] as const) {
      assert.equal((await app.request(path, init)).status, 507)
    }
    // As arrays they are a twentieth of it, and so are rows whose columns have one name.
    control.answer = resultOf(
      columns,
      Array.from({ length: 10_000 }, () => columns.map(() => null)),
    )
    const arrays = await app.request('/sql', neon({ query: 'q', arrayMode: true }))
    assert.equal(arrays.status, 200)
    const same = columns.map(() => ['n'.repeat(60), 25] as const)
    control.answer = resultOf(
      same,
      Array.from({ length: 10_000 }, () => same.map(() => null)),
    )
    assert.equal((await app.request('/sql', neon({ query: 'q' }))).status, 200)
  })

  test('nesting beyond every stack is refused', async () => {
    const { app } = open()
    const deep = `{"query": "q", "params": [${'['.repeat(100_000)}${']'.repeat(100_000)}]}`
    assert.equal((await app.request('/sql', neon(deep))).status, 400)
  })
})
