import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { HeldBytes } from '../../base/held-bytes.ts'
import { codeOf, neon, open, post } from '../../../test/support/http-app.ts'

const LARGE = 'x'.repeat(300_000)

/** A body of which the first part is there. */
function begun(held: HeldBytes, tenant = 'slow') {
  const { app } = open({ held })
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
  })
  const init = { method: 'POST', body, duplex: 'half' } as RequestInit
  const url = `http://localhost/v1/tenants/${tenant}/query`
  const answer = Promise.resolve(app.request(new Request(url, init)))
  return { answer, send: (text: string) => controller?.enqueue(Buffer.from(text)) }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

suite('http: what bodies make a server hold', () => {
  test('counts while it is read, and not after its answer', async () => {
    const held = new HeldBytes(1_000_000)
    const { answer, send } = begun(held)
    await turn()
    send(`{"sql": "select '`)
    await turn()
    assert.equal(held.bytes, 0, 'a little is not counted')
    send(LARGE)
    await turn()
    assert.ok(held.bytes > LARGE.length)
    send(`'"`)
    send('no json')
    await turn()
    const { app } = open({ held })
    const other = await app.request('/sql', neon({ query: LARGE }))
    assert.equal(other.status, 200)
    assert.equal(held.givenUpCount, 0)
    void answer
  })

  test('what is read is given up when others need the room', async () => {
    const held = new HeldBytes(500_000)
    const slow = begun(held)
    await turn()
    slow.send(LARGE)
    await turn()
    const { app } = open({ held })
    const small = await app.request('/sql', neon({ query: LARGE.slice(0, 250_000) }))
    assert.equal(small.status, 200)
    assert.deepEqual(await codeOf(await slow.answer), [503, 'CLIENT_MEMORY_EXHAUSTED'])
    assert.equal(held.bytes, 0)
  })

  test('a body that is too much from its first piece on is not waited for', async () => {
    for (const gives of ['most', 'who comes'] as const) {
      const slow = begun(new HeldBytes(LARGE.length - 1, gives))
      await turn()
      slow.send(LARGE)
      assert.deepEqual(await codeOf(await slow.answer), [503, 'CLIENT_MEMORY_EXHAUSTED'])
    }
  })

  test('what waits for its turn is cancelled, and told why', async () => {
    const held = new HeldBytes(500_000)
    const { app, control } = open({ held })
    const signals: (AbortSignal | undefined)[] = []
    control.query = (_tenant, _statement, signal) =>
      new Promise((_, reject) => {
        signals.push(signal)
        signal?.addEventListener('abort', () => reject(new Error('canceled')))
      })
    const waiting = app.request('/v1/tenants/one/query', post({ sql: LARGE }))
    while (signals.length === 0) await turn()
    assert.ok(held.bytes > LARGE.length)
    const other = open({ held })
    const answer = await other.app.request('/sql', neon({ query: LARGE.slice(0, 250_000) }))
    assert.equal(answer.status, 200)
    assert.deepEqual(await codeOf(await waiting), [503, 'CLIENT_MEMORY_EXHAUSTED'])
  })
})
