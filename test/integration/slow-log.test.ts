/** The log of slow statements of the shipped program: off unless asked for, and discreet. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectPg } from '../support/clients.ts'
import { startServer } from '../support/server.ts'

interface Line {
  readonly msg: string
  readonly tenant: string
  readonly client?: number
  readonly execMs: number
  readonly persistMs: number
  readonly statement?: string
}

/** A busy machine may take a second for a statement that is not slow at all. */
const SLOW = '1900ms'

/** What a server logs of two slow statements with a secret each. */
async function slowLines(...flags: string[]): Promise<{ log: string; lines: Line[]; pid: number }> {
  await using server = await startServer({ flags: ['--shards', '1', ...flags] })
  let pid = 0
  {
    await using one = await connectPg(server, 'slowly')
    pid = (one.client as unknown as { processID: number }).processID
    await one.client.query('create table note(text text)')
    await one.client.query('insert into note select $1 from pg_sleep(2)', ['open sesame'])
    await one.client.query({ name: 'later', text: 'select pg_sleep($1)', values: [2] })
  }
  await server.request('/v1/tenants/slowly/query', {
    method: 'POST',
    body: JSON.stringify({ sql: 'select pg_sleep(2)' }),
  })
  await server.stop()
  const log = server.log()
  const lines = log
    .split('\n')
    .filter((line) => line.includes('"slow statement"'))
    .map((line) => JSON.parse(line) as Line)
  return { log, lines, pid }
}

test('nothing is logged unless it is asked for', async () => {
  assert.deepEqual((await slowLines()).lines, [])
})

test('who and how long, without statements', async () => {
  const { log, lines, pid } = await slowLines('--log-slow', SLOW)
  assert.equal(lines.length, 3)
  assert.deepEqual(
    lines.map(({ tenant, client }) => [tenant, client]),
    [
      ['slowly', pid],
      ['slowly', pid],
      ['slowly', undefined],
    ],
  )
  assert.ok(lines.every(({ execMs }) => execMs >= 1_900))
  assert.ok((lines[0]?.persistMs ?? 0) > 0, 'an insert is made durable')
  assert.doesNotMatch(log, /pg_sleep|sesame|note/)
})

test('with statements, never with parameters', async () => {
  const { log, lines } = await slowLines('--log-slow', SLOW, '--log-slow-statements')
  assert.deepEqual(
    lines.map(({ statement }) => statement),
    ['insert into note select $1 from pg_sleep(2)', 'select pg_sleep($1)', 'select pg_sleep(2)'],
  )
  assert.doesNotMatch(log, /sesame/)
})
