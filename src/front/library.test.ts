import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { FakeControl, resultOf } from '../../test/support/fake-control.ts'
import { createPgnap } from './library.ts'

suite('library', () => {
  test('a query gives parameters as text and rows as values', async () => {
    const control = new FakeControl()
    control.answer = resultOf([['n', 23]], [['42']])
    const nap = createPgnap(control, async () => {})
    const answer = await nap.tenant('acme').query<{ n: number }>('select $1::int + 1 as n', [41])
    assert.deepEqual(answer.rows, [{ n: 42 }])
    assert.deepEqual(answer.fields, [{ name: 'n', tableID: 0, columnID: 0, dataTypeID: 23 }])
    assert.deepEqual([answer.command, answer.rowCount], ['SELECT', 1])
    assert.deepEqual(control.asked[0]?.statement.parameters, ['41'])
    assert.equal(control.asked[0]?.tenant, 'acme')
  })

  test('values of a template are parameters', async () => {
    const control = new FakeControl()
    await createPgnap(control, async () => {}).tenant('acme').sql`select ${1}, ${"'; drop"}`
    const expected = { sql: 'select $1, $2', parameters: ['1', "'; drop"] }
    assert.deepEqual(control.asked[0]?.statement, expected)
  })

  test('rows as arrays, with a reader of the caller, and with its signal', async () => {
    const control = new FakeControl()
    control.answer = resultOf(
      [
        ['a', 20],
        ['a', 20],
      ],
      [['1', '2']],
    )
    const { signal } = new AbortController()
    const options = { rowMode: 'array', readers: { 20: BigInt }, signal } as const
    const { rows } = await createPgnap(control, async () => {})
      .tenant('t')
      .query('s', [], options)
    assert.deepEqual(rows, [[1n, 2n]])
    assert.equal(control.asked[0]?.signal, signal)
  })

  test('what is no text is told to callers without types', async () => {
    const control = new FakeControl()
    const nap = createPgnap(control, async () => {})
    const none = null as unknown as string
    const invalid = { code: 'REQUEST_INVALID', message: 'a statement is a text, not null' }
    await assert.rejects(nap.tenant('acme').query(none), invalid)
    const unnamed = nap.tenant(undefined as unknown as string)
    await assert.rejects(unnamed.query('select 1'), { code: 'TENANT_NAME_INVALID' })
    assert.equal(control.asked.length, 0)
  })

  test('it closes once, and refuses everything afterwards', async () => {
    let closedCount = 0
    const nap = createPgnap(new FakeControl(), async () => void closedCount++)
    {
      await using scoped = nap
      await scoped.tenants.create('acme')
      assert.deepEqual(
        (await scoped.tenants.list()).tenants.map(({ name }) => name),
        ['acme'],
      )
    }
    await nap.close()
    assert.equal(closedCount, 1)
    await assert.rejects(nap.tenant('acme').query('select 1'), { code: 'SHUTTING_DOWN' })
    await assert.rejects(nap.pool(), { code: 'SHUTTING_DOWN' })
  })
})
