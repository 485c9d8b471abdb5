import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { ApiCaller, serveApi } from './rpc.ts'

test('each turn of the event loop answers one call, in order', async () => {
  const { port1, port2 } = new MessageChannel()
  let turn = 0
  const answered: { readonly id: number; readonly turn: number }[] = []
  const count = (): void => {
    turn++
    if (answered.length < 20) setImmediate(count)
  }
  const api = {
    work: async (id: number): Promise<void> => void answered.push({ id, turn }),
  }
  serveApi(port2, api)
  const caller = new ApiCaller<typeof api>(port1)
  setImmediate(count)
  await Promise.all(Array.from({ length: 20 }, (_, id) => caller.remote.work(id)))
  port1.close()
  assert.deepEqual(
    answered.map(({ id }) => id),
    Array.from({ length: 20 }, (_, id) => id),
  )
  const turns = new Set(answered.map((each) => each.turn))
  assert.ok(turns.size >= 19, `${turns.size} turns`)
})
