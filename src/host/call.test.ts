import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { message } from '../base/protocol-message.ts'
import type { PoolClient } from '../pool/pool-client.ts'
import { Call } from './call.ts'

/** Answers on the spot, with bytes that the next one to run something overwrites. */
function clientOf(answer: Uint8Array): PoolClient {
  const client: Partial<PoolClient> = {
    measure: () => {},
    timings: undefined,
    run: () => {
      queueMicrotask(() => answer.fill(0))
      return answer
    },
  }
  return client as PoolClient
}

test('an answer on the spot is read before anybody else runs something', async () => {
  const answer = concatBytes([message('C', utf8('SELECT 5\0')), message('Z', utf8('I'))])
  const { result } = await new Call(clientOf(answer), 0).statement({ sql: '', parameters: [] })
  assert.deepEqual([result.command, result.rowCount], ['SELECT', 5])
  assert.ok(answer.every((byte) => byte === 0))
})
