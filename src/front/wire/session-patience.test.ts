import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { FakeClient, FakeLink, strictLog } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { Session } from './session.ts'

function open(later = false) {
  const link = new FakeLink()
  const client = new FakeClient(later)
  const clock = new ManualClock()
  const session = new Session({ link, client, clock, log: strictLog, onClosed: () => {} })
  const send = (...messages: Uint8Array[]): void => session.receive(Buffer.concat(messages))
  return { link, client, clock, session, send }
}

const PIPELINE = [say.parse('', 'select a'), say.bind('', ''), say.describe(), say.execute('')]

test('a pipeline without Sync or Flush is run when nothing else follows', () => {
  const { link, client, clock, send } = open()
  const [parse, bind] = PIPELINE
  assert.ok(parse && bind)
  send(parse)
  clock.advance(LIMITS.pipelineQuietMs - 1)
  send(bind.subarray(0, 7))
  clock.advance(LIMITS.pipelineQuietMs - 1)
  assert.deepEqual(client.batches, [], 'something else has followed')
  clock.advance(1)
  assert.deepEqual(client.batches, ['PS|'], 'only what is whole')
  send(bind.subarray(7))
  clock.advance(LIMITS.pipelineQuietMs)
  assert.deepEqual(client.batches, ['PS|', 'B'])
  send(say.sync())
  clock.advance(1_000)
  assert.deepEqual(client.batches, ['PS|', 'B', 'S|'])
  assert.equal(link.summary(), '1 2 ZI')
})

test('while a batch runs, patience with the next one has not begun', async () => {
  const { client, clock, send } = open(true)
  send(say.query('select a'), ...PIPELINE)
  clock.advance(1_000)
  await client.release()
  assert.equal(client.waiting, false)
  clock.advance(LIMITS.pipelineQuietMs)
  assert.equal(client.waiting, true)
})

test('a client that leaves in a pipeline takes its timer along', () => {
  const { client, clock, session, send } = open()
  send(...PIPELINE)
  session.linkClosed()
  clock.advance(1_000)
  assert.deepEqual(client.batches, [])
})

test('a Flush behind a Sync does not begin another pipeline', () => {
  const { link, client, send } = open()
  send(...PIPELINE, say.sync(), say.flush())
  send(say.flush())
  assert.deepEqual(client.batches, ['PBDESH|'], 'the backend is free for others')
  send(say.flush(), say.query('select b'))
  send(...PIPELINE, say.flush())
  assert.deepEqual(client.batches.slice(1), ['HQ|', 'PBDEH'], 'what is open stays so')
  send(say.flush(), say.sync())
  assert.equal(link.summary().match(/ZI/g)?.length, 3)
})
