import { strict as assert } from 'node:assert'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { ManualClock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Link, LinkReceiver } from '../../../front/wire/link.ts'
import { ByteRing } from './byte-ring.ts'
import { CELL, NO_BYTES, RECORD } from './protocol.ts'
import type { HandoverEnds } from './protocol.ts'
import { receiveConnections } from './receive-connections.ts'
import type { ReceivedConnections } from './receive-connections.ts'
import { RingChannel } from './ring-channel.ts'

interface Shard {
  readonly main: MessageChannel['port1']
  readonly ends: HandoverEnds
  readonly received: ReceivedConnections
  readonly events: string[]
  readonly links: Link[]
  readonly clock: ManualClock
}

/** A shard in this thread, whose main thread is the test. */
function startShard(first: (link: Link) => void = () => {}): Shard {
  const { port1, port2 } = new MessageChannel()
  const ends: HandoverEnds = {
    port: port2,
    cells: new SharedArrayBuffer(16),
    toShard: ByteRing.allocate(),
    toMain: ByteRing.allocate(),
  }
  const events: string[] = []
  const links: Link[] = []
  const receiver: LinkReceiver = {
    receive: (bytes) => events.push(`receive ${Buffer.from(bytes).toString()}`),
    linkDrained: () => events.push('drained'),
    linkClosed: () => events.push('closed'),
  }
  const clock = new ManualClock()
  const received = receiveConnections({ ends, clock }, (link) => {
    links.push(link)
    first(link)
    return receiver
  })
  return { main: port1, ends, received, events, links, clock }
}

/** What the shard has sent by ring so far, as kind and text. */
function sent({ ends }: Shard): [number, string][] {
  const records: [number, string][] = []
  new ByteRing(ends.toMain).drain((_connection, kind, bytes) => {
    records.push([kind, Buffer.from(bytes).toString()])
  }, Number.POSITIVE_INFINITY)
  return records
}

/** Comes back after the shard has taken everything from its port and its ring. */
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

async function openOverRing(shard: Shard): Promise<ByteRing> {
  const initialBytes = Buffer.from('hello')
  shard.main.postMessage({ kind: 'open', connection: 9, route: {}, initialBytes })
  while (shard.links.length === 0) await turn()
  return new ByteRing(shard.ends.toShard)
}

test('a descriptor that cannot be opened is refused, and the thread lives on', async () => {
  const shard = startShard()
  const file = openSync(import.meta.filename, 'r')
  for (const descriptor of [1_000_000, file]) {
    const offer = { connection: 5, cell: 2, route: {}, initialBytes: NO_BYTES }
    shard.main.postMessage({ kind: 'adopt', descriptor, ...offer })
    assert.deepEqual((await once(shard.main, 'message'))[0], { kind: 'refused', connection: 5 })
    assert.equal(Atomics.load(new Int32Array(shard.ends.cells), 2), CELL.claimed)
  }
  assert.equal(shard.links.length, 0)
  closeSync(file)
  shard.received.close()
})

test('by ring: initial bytes come first, then those on their way, the end comes last', async () => {
  const shard = startShard((link) => link.pauseReading())
  const toShard = await openOverRing(shard)
  assert.deepEqual(shard.events, ['receive hello'])
  toShard.push(9, RECORD.data, Buffer.from('a'))
  toShard.push(9, RECORD.data, Buffer.from('b'))
  toShard.push(9, RECORD.end, NO_BYTES)
  toShard.push(77, RECORD.data, Buffer.from('of nobody'))
  while (!toShard.isEmpty) await turn()
  assert.deepEqual(shard.events, ['receive hello', 'receive a', 'receive b'])
  shard.links[0]?.resumeReading()
  const kinds = sent(shard).map(([kind]) => kind)
  // Nobody here tells half-closes apart, so the client's end is answered with ours.
  assert.deepEqual(kinds, [RECORD.pause, RECORD.pause, RECORD.resume, RECORD.end])
  toShard.push(9, RECORD.closed, NO_BYTES)
  while (shard.received.openCount > 0) await turn()
  assert.equal(shard.events.at(-1), 'closed')
  shard.received.close()
})

test('by ring: without credit no more than a window is sent', async () => {
  const shard = startShard()
  const toShard = await openOverRing(shard)
  const [link] = shard.links
  assert.ok(link)
  sent(shard)
  const total = 3 * 1024 * 1024
  link.write(new Uint8Array(total))
  link.end(Buffer.from('bye'))
  let arrived = 0
  let last: [number, string] = [-1, '']
  let hasEnded = false
  const credit = Buffer.alloc(4)
  while (!hasEnded) {
    let now = 0
    for (const record of sent(shard)) {
      if (record[0] === RECORD.end) hasEnded = true
      else last = record
      now += record[1].length
    }
    assert.ok(now <= 1024 * 1024, 'a window')
    arrived += now
    assert.equal(link.bufferedBytes, total + 3 - arrived)
    credit.writeUInt32LE(now)
    if (now > 0) toShard.push(9, RECORD.credit, credit)
    await turn()
  }
  assert.equal(arrived, total + 3)
  assert.deepEqual(last, [RECORD.data, 'bye'])
  shard.received.close()
  assert.deepEqual(shard.events, ['receive hello', 'closed'])
})

test('by ring: last bytes may flow for long; who takes none of them is cut off', async () => {
  const shard = startShard()
  const { clock } = shard
  const toShard = await openOverRing(shard)
  const [link] = shard.links
  assert.ok(link)
  link.write(new Uint8Array(3 * LIMITS.ringWindowBytes))
  link.end()
  const credit = Buffer.alloc(4)
  credit.writeUInt32LE(LIMITS.ringWindowBytes / 2)
  for (let round = 0; round < 3; round++) {
    toShard.push(9, RECORD.credit, credit)
    while (!toShard.isEmpty) await turn()
    clock.advance(LIMITS.lingerMs)
  }
  assert.ok(sent(shard).every(([kind]) => kind !== RECORD.destroy))
  clock.advance(LIMITS.lingerMs)
  assert.deepEqual(
    sent(shard).map(([kind]) => kind),
    [RECORD.destroy],
  )
  assert.equal(link.bufferedBytes, 0)
  shard.received.close()
})

test('a channel sends in order what the ring had no room for', async () => {
  const outgoing = ByteRing.allocate(256)
  let roomCount = 0
  const channel = new RingChannel({
    outgoing: new ByteRing(outgoing),
    incoming: new ByteRing(ByteRing.allocate(256)),
    visit: () => {},
    onRoom: () => roomCount++,
  })
  const text = 'x'.repeat(40)
  for (let index = 0; index < 50; index++) channel.sendData(index, Buffer.from(text), false)
  assert.ok(channel.isCongested)
  const consumer = new ByteRing(outgoing)
  const seen: number[] = []
  while (seen.length < 50) {
    consumer.drain((connection, _kind, bytes) => {
      assert.equal(Buffer.from(bytes).toString(), text)
      seen.push(connection)
    }, 64)
    await turn()
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 50 }, (_, index) => index),
  )
  assert.equal(channel.isCongested, false)
  assert.equal(roomCount, 1)
  channel.stop()
})
