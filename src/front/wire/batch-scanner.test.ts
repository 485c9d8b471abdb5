import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { FakeClient, FakeLink } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { Session } from './session.ts'

function open() {
  const link = new FakeLink()
  const client = new FakeClient(true)
  const clock = new ManualClock()
  const session = new Session({ link, client, clock, log: silentLog, onClosed: () => {} })
  const send = (count: number): void =>
    session.receive(Buffer.concat(Array.from({ length: count }, () => say.query('select a'))))
  /** Lets the piece that is there be run, which takes so long. */
  const run = async (ms = 1): Promise<void> => {
    clock.advance(ms)
    await client.release()
  }
  return { link, client, send, run }
}

const queries = (count: number): string => `${'Q'.repeat(count)}|`

describe('the pieces of a pipeline', () => {
  test('the first is one query: it is answered before the second one runs', async () => {
    const { link, client, send, run } = open()
    send(3)
    await run()
    assert.equal(link.summary(), 'D C(select) ZI')
    assert.deepEqual(client.batches, [queries(1)])
    await run()
    assert.deepEqual(client.batches, [queries(1), queries(2)])
  })

  test('they double while they are quick, up to a limit that stays', async () => {
    const { client, send, run } = open()
    send(3 * LIMITS.batchQueriesMax)
    for (let pieces = 0; pieces < 5; pieces++) await run()
    const sizes = [1, 2, 4, LIMITS.batchQueriesMax, LIMITS.batchQueriesMax]
    assert.deepEqual(client.batches, sizes.map(queries))
    await run()
    send(1)
    await run()
    send(LIMITS.batchQueriesMax)
    await run()
    assert.equal(client.batches.at(-1), queries(LIMITS.batchQueriesMax))
  })

  test('behind a slow one they begin with one again', async () => {
    const { client, send, run } = open()
    send(20)
    for (const ms of [1, 1, LIMITS.pieceQuickMs, LIMITS.pieceQuickMs + 1, 1, 1]) await run(ms)
    assert.deepEqual(client.batches, [1, 2, 4, 8, 1, 2].map(queries))
  })

  test('a client that waits for each answer has not begun one', async () => {
    const { client, send, run } = open()
    for (let count = 0; count < 5; count++) {
      send(1)
      await run()
    }
    send(2)
    await run()
    assert.equal(client.batches.at(-1), queries(1))
  })
})
