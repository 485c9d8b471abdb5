/** What goes wrong in the middle of a session is its own, not that of all who share its thread. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import type { LogFields } from '../../base/log.ts'
import { silentLog } from '../../base/log.ts'
import { FakeClient, FakeLink } from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'
import { Session } from './session.ts'

/** A link that has no memory left for what is written first. */
class PoorLink extends FakeLink {
  #isFirst = true

  override write(bytes: Uint8Array): void {
    if (!this.#isFirst) return super.write(bytes)
    this.#isFirst = false
    throw new RangeError('Array buffer allocation failed')
  }
}

for (const later of [false, true]) {
  test(`an answer that ${later ? 'comes later' : 'comes at once'} breaks one session`, async () => {
    const link = new PoorLink()
    const client = new FakeClient(later)
    const logged: (LogFields | undefined)[] = []
    let closedCount = 0
    const session = new Session({
      link,
      client,
      clock: new ManualClock(),
      log: { ...silentLog, error: (_, fields) => void logged.push(fields) },
      onClosed: () => void closedCount++,
    })
    session.receive(say.query('select a'))
    if (later) await client.release()
    assert.equal(link.summary(), 'FATAL:XX000')
    assert.ok(link.ended && client.closed)
    assert.equal(closedCount, 1)
    assert.ok(logged[0]?.['error'] instanceof RangeError)
    session.receive(say.query('select b'))
    assert.equal(client.batches.length, 1, 'nothing of it runs any more')
  })
}

test('a message that has no place in a COPY is named as Postgres names it', () => {
  const link = new FakeLink()
  const client = new FakeClient(false)
  const clock = new ManualClock()
  const session = new Session({ link, client, clock, log: silentLog, onClosed: () => {} })
  session.receive(say.query('copy t from stdin'))
  session.receive(say.query('select a'))
  const heard = String(link.bytes())
  assert.match(heard, /08P01.*unexpected message type 0x51 during COPY from stdin/)
})
