import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { FakeSessionSlot, notification } from '../../test/support/fake-session-slot.ts'
import { say } from '../../test/support/messages.ts'
import { message } from '../base/protocol-message.ts'
import { DISCARD_ALL } from './backend-query.ts'
import { eachMessage } from '../base/message-frames.ts'
import { type SessionOwner, TenantChannels } from './tenant-channels.ts'

interface Client extends SessionOwner {
  readonly heard: string[]
}

let backend: FakeSessionSlot
let channels: TenantChannels<Client>
let one: Client
let other: Client
beforeEach(() => {
  backend = new FakeSessionSlot()
  channels = new TenantChannels()
  one = { number: 1, heard: [] }
  other = { number: 2, heard: [] }
})

/** Runs messages of a client, as the pool does; what it hears itself is in its answer. */
function run(client: Client, ...messages: Uint8Array[]): void {
  const answer = channels.run(client, backend.slot, concatBytes(messages))
  assert.ok(answer instanceof Uint8Array, 'this slot never pauses')
  client.heard.push(...notificationsIn(answer))
  channels.deliver((to, bytes) => to.heard.push(...notificationsIn(bytes)))
}

const query = (client: Client, ...statements: string[]): void => {
  run(client, ...statements.map(say.query))
}

function notificationsIn(answer: Uint8Array): string[] {
  const found: string[] = []
  eachMessage(answer, (type, at, end) => {
    if (type !== 0x41) return
    const [channel, payload] = fromUtf8(answer.slice(at + 9, end)).split('\0')
    found.push(`${channel} ${payload}`)
  })
  return found
}

describe('who listens to what another one listens to already', () => {
  beforeEach(() => query(other, 'LISTEN a'))
  const hears = (channel = 'a'): void => {
    query(other, `NOTIFY ${channel} x`)
    assert.deepEqual(one.heard, [`${channel} x`])
  }
  const isDeaf = (): void => {
    query(other, 'NOTIFY a x')
    assert.deepEqual(one.heard, [])
  }

  test('hears it', () => {
    query(one, 'LISTEN a')
    hears()
  })
  test('hears it after a transaction of several batches', () => {
    query(one, 'BEGIN')
    query(one, 'LISTEN a')
    query(one, 'SELECT 1')
    query(one, 'COMMIT')
    hears()
  })
  test('does not hear it after a rollback, or an error', () => {
    query(one, 'BEGIN')
    query(one, 'LISTEN a')
    query(one, 'ROLLBACK')
    query(one, 'LISTEN a;FAIL')
    isDeaf()
  })
  test('hears it by a statement that was prepared before', () => {
    run(one, say.parse('s', 'listen a'), say.sync())
    isDeaf()
    run(one, say.bind('', 's'), say.execute(''), say.sync())
    hears()
  })
  test('hears it by a statement that was prepared when nobody listened', () => {
    query(other, 'UNLISTEN a')
    run(one, say.parse('s', 'listen a'), say.sync())
    query(other, 'LISTEN a')
    run(one, say.bind('', 's'), say.execute(''), say.sync())
    hears()
  })
  test('hears it by a statement that became another one unseen', () => {
    run(one, say.parse('s', 'listen a'), say.bind('', 's'), say.execute(''), say.sync())
    run(one, say.close('s'), say.parse('s', 'listen b'), say.sync())
    query(other, 'LISTEN b')
    run(one, say.bind('', 's'), say.execute(''), say.sync())
    hears('b')
  })
  test('hears it by a pipeline that waits in between', () => {
    run(one, say.parse('', 'listen a'), say.flush())
    run(one, say.bind('p', ''), say.flush())
    run(one, say.execute('p'), say.flush())
    run(one, say.sync())
    hears()
  })
  test('hears it in a pipeline, from then on', () => {
    query(one, 'NOTIFY a before', 'LISTEN a', 'NOTIFY a after')
    assert.deepEqual(one.heard, ['a after'])
    assert.deepEqual(other.heard, ['a before', 'a after'])
  })
  test('hears it when that one leaves before the commit', () => {
    query(one, 'BEGIN')
    query(one, 'LISTEN a')
    channels.forget(other)
    query(one, 'COMMIT')
    backend.run(DISCARD_ALL)
    channels.listenAgain(backend.slot)
    hears()
  })
  test('by a name that escapes hide: then it hears all that is listened to', () => {
    query(other, 'LISTEN b')
    query(one, 'LISTEN U&"\\0061"')
    hears()
    query(other, 'NOTIFY b y')
    assert.deepEqual(one.heard, ['a x', 'b y'])
  })
  test('by a block of code: the same', () => {
    query(one, 'DO listen a')
    hears()
  })
  test('out of reach: by a function', () => {
    query(one, 'SELECT listen_in_function(b)')
    query(other, 'NOTIFY b x')
    assert.deepEqual(one.heard, ['b x'], 'but nobody else listened to this one')
    one.heard.length = 0
    query(one, 'SELECT listen_in_function(a)')
    isDeaf()
  })
})

describe('what one takes from the list', () => {
  beforeEach(() => {
    query(one, 'LISTEN a')
    query(other, 'LISTEN a;LISTEN b')
  })
  const expect = (
    what: string,
    heard: { readonly one: string[]; readonly other: string[] },
  ): void => {
    assert.deepEqual({ one: one.heard, other: other.heard }, heard, what)
  }

  test('it does not hear any more; the others go on', () => {
    query(other, 'UNLISTEN a')
    query(one, 'NOTIFY a x')
    query(one, 'NOTIFY b x')
    expect('UNLISTEN', { one: ['a x'], other: ['b x'] })
    query(one, 'UNLISTEN *')
    query(one, 'NOTIFY a y', 'NOTIFY b y')
    expect('UNLISTEN *', { one: ['a x'], other: ['b x', 'b y'] })
  })
  test('others hear also in the rest of the same batch', () => {
    query(one, 'DISCARD ALL', 'NOTIFY a x', 'NOTIFY b x')
    expect('DISCARD ALL', { one: [], other: ['a x', 'b x'] })
  })
  test('nothing is said in between while a pipeline is open', () => {
    const before = backend.said.length
    run(one, say.query('UNLISTEN *'), say.parse('', 'SELECT 1'), say.flush())
    assert.deepEqual(backend.channels.toSorted(), ['a', 'b'])
    const after = backend.said.length
    assert.ok(after > before)
    run(one, say.bind('', ''), say.execute(''), say.sync())
    assert.equal(backend.said.length, after)
  })
  test('nor in a transaction; the others hear again when it has ended', () => {
    query(one, 'UNLISTEN *;COMMIT;BEGIN')
    assert.deepEqual(backend.channels, [])
    query(one, 'COMMIT')
    query(one, 'NOTIFY a x')
    expect('transaction', { one: [], other: ['a x'] })
  })
  test('of one that has left, nobody inherits its channels', () => {
    query(one, 'BEGIN')
    channels.forget(other)
    query(one, 'LISTEN c')
    query(one, 'COMMIT')
    query(one, 'NOTIFY a x', 'NOTIFY b x', 'NOTIFY c x')
    expect('forgotten', { one: ['a x', 'c x'], other: [] })
    query(one, 'UNLISTEN *')
    query(one, 'LISTEN b')
    query(one, 'NOTIFY b y')
    expect('and asked for', { one: ['a x', 'c x', 'b y'], other: [] })
  })
})

test('nothing is handed out before it is durable, and nothing to who has left', () => {
  query(one, 'LISTEN a')
  query(other, 'LISTEN a')
  void channels.run(one, backend.slot, say.query('NOTIFY a x'))
  assert.deepEqual(other.heard, [])
  channels.forget(other)
  channels.deliver(() => assert.fail('it has left'))
  void channels.run(one, backend.slot, say.query('NOTIFY a x'))
  channels.lose(new Map())
  channels.deliver(() => assert.fail('the backend was lost'))
})

test('a list that went with its backend is said again', () => {
  query(one, 'LISTEN a;LISTEN "Ü \\ ""x""";LISTEN 🐘')
  backend.restart()
  channels.clear()
  channels.listenAgain(backend.slot)
  assert.deepEqual([...backend.channels], ['a', 'Ü \\ "x"', '🐘'])
})

test('where nobody listens, the answer is that of the slot', () => {
  const answer = utf8('not even messages')
  const session = { channels: [] as string[] }
  const slot = Object.assign(Object.create(backend.slot), { run: () => answer, session })
  assert.equal(channels.run(one, slot, say.query('SELECT 1')), answer)
})

const CHANNELS = ['a', 'B', 'ü', 'a "b', 'x'.repeat(63)]
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

test('answers of any messages stay as they are but for what was not asked for', () => {
  const part = fc.oneof(
    fc.constantFrom(...CHANNELS).map((channel) => ({ channel })),
    fc
      .tuple(
        fc.constantFrom('C', 'D', 'T', 'N', 'S', '1', '2', 'Z'),
        fc.uint8Array({ maxLength: 9 }),
      )
      .map(([type, body]) => ({ channel: undefined, bytes: message(type, body) })),
  )
  const lists = fc.subarray(CHANNELS)
  fc.assert(
    fc.property(fc.array(part), lists, lists, fc.nat(5), (parts, mine, theirs, offset) => {
      const tenant = new TenantChannels<Client>()
      const listed: string[] = []
      let answer = new Uint8Array(0)
      const session = { channels: listed }
      const slot = Object.assign(Object.create(backend.slot), { run: () => answer, session })
      const ready = message('Z', utf8('I'))
      for (const [client, names] of [
        [one, mine],
        [other, theirs],
      ] as const) {
        for (const name of names) {
          if (!listed.includes(name)) listed.push(name)
          answer = concatBytes([message('C', utf8('LISTEN\0')), ready])
          void tenant.run(client, slot, say.query(`LISTEN ${quoted(name)}`))
        }
      }
      // A backend tells only what is in its list.
      const told = parts.filter(({ channel }) => channel === undefined || listed.includes(channel))
      const all = told.map((each, index) => ({
        channel: each.channel,
        bytes: 'bytes' in each ? each.bytes : notification(each.channel, `${index}`),
      }))
      // A view of a larger memory, as that of a slot.
      const whole = concatBytes([new Uint8Array(offset), ...all.map(({ bytes }) => bytes)])
      answer = whole.subarray(offset)
      const kept = all.filter(({ channel }) => channel === undefined || mine.includes(channel))
      const copy = answer.slice()
      const given = tenant.run(one, slot, say.query('SELECT 1'))
      assert.ok(given instanceof Uint8Array, 'this slot never pauses')
      assert.deepEqual(new Uint8Array(given), concatBytes(kept.map(({ bytes }) => bytes)))
      const delivered: Uint8Array[] = []
      tenant.deliver((to, bytes) => {
        assert.equal(to, other)
        delivered.push(bytes)
      })
      const expected = all.filter(
        ({ channel }) => channel !== undefined && theirs.includes(channel),
      )
      assert.equal(delivered.length, Math.min(1, expected.length), 'all of them in one piece')
      assert.deepEqual(concatBytes(delivered), concatBytes(expected.map(({ bytes }) => bytes)))
      assert.deepEqual(answer, copy, 'the slot’s memory is only read')
    }),
    { numRuns: 500 },
  )
})

const NAMES = ['a', 'b', 'ü', '"B"', '"a b"']
const statement = fc.oneof(
  { weight: 3, arbitrary: fc.record({ notify: fc.constantFrom(...NAMES) }) },
  { weight: 2, arbitrary: fc.record({ listen: fc.constantFrom(...NAMES) }) },
  fc.record({ unlisten: fc.constantFrom(...NAMES, '*') }),
)
const game = fc.array(
  fc.record({
    client: fc.nat(3),
    how: fc.constantFrom('rows', 'block', 'rollback', 'query', 'error', 'pipeline', 'prepared'),
    statements: fc.array(statement, { minLength: 1, maxLength: 4 }),
    leaves: fc.integer({ max: 9, min: 0 }),
  }),
  { maxLength: 25 },
)
type Statement = typeof statement extends fc.Arbitrary<infer One> ? One : never

const folded = (name: string): string => (name.startsWith('"') ? name.slice(1, -1) : name)

/** A client and what it must hear. */
class Player implements Client {
  readonly number = 3
  readonly heard: string[] = []
  readonly expected: string[] = []
  channels = new Set<string>()
}

/** What one transaction does that ends well. */
function commit(player: Player, statements: readonly Statement[], all: readonly Player[]): void {
  for (const each of statements) {
    if ('listen' in each) player.channels.add(folded(each.listen))
    if ('unlisten' in each && each.unlisten === '*') player.channels.clear()
    if ('unlisten' in each) player.channels.delete(folded(each.unlisten))
  }
  for (const each of statements) {
    if (!('notify' in each)) continue
    const channel = folded(each.notify)
    for (const to of all) {
      if (to.channels.has(channel)) to.expected.push(`${channel} ${payloadOf(each)}`)
    }
  }
}

const payloads = new WeakMap<Statement, number>()
let payloadCount = 0
function payloadOf(each: Statement): number {
  const payload = payloads.get(each) ?? ++payloadCount
  payloads.set(each, payload)
  return payload
}

function sqlOf(each: Statement): string {
  if ('listen' in each) return `LISTEN ${each.listen}`
  if ('unlisten' in each) return `UNLISTEN ${each.unlisten}`
  return `NOTIFY ${each.notify} ${payloadOf(each)}`
}

test('each hears what it listens to, in order, and nothing else', () => {
  fc.assert(
    fc.property(game, (turns) => {
      backend = new FakeSessionSlot()
      channels = new TenantChannels()
      const players = Array.from({ length: 4 }, () => new Player())
      for (const { client, how, statements, leaves } of turns) {
        const player = players[client] ?? assert.fail()
        const single = how === 'rows' || how === 'pipeline' || how === 'prepared'
        // What is notified in the very transaction of an UNLISTEN is lost to others.
        const takes = !single && statements.some((each) => 'unlisten' in each)
        const told = statements.filter((each) => !(takes && 'notify' in each))
        play(player, how, told)
        if (single) for (const each of told) commit(player, [each], players)
        else if (how === 'block' || how === 'query') commit(player, told, players)
        for (const each of players) assert.deepEqual(each.heard, each.expected)
        if (leaves === 0) {
          channels.forget(player)
          backend.run(DISCARD_ALL)
          channels.listenAgain(backend.slot)
          players[client] = new Player()
        }
        if (leaves === 1) channels.forget(player)
        if (leaves === 1) players[client] = new Player()
      }
    }),
    { numRuns: 500 },
  )
})

function play(player: Player, how: string, statements: readonly Statement[]): void {
  const all = statements.map(sqlOf)
  if (how === 'rows') for (const sql of all) query(player, sql)
  if (how === 'pipeline') query(player, ...all)
  if (how === 'query') query(player, all.join(';'))
  if (how === 'error') query(player, [...all, 'FAIL'].join(';'))
  if (how === 'block' || how === 'rollback') {
    for (const sql of ['BEGIN', ...all, how === 'block' ? 'COMMIT' : 'ROLLBACK']) query(player, sql)
  }
  if (how !== 'prepared') return
  for (const sql of all) {
    run(player, say.parse('', sql), say.describe(), say.sync())
    run(player, say.bind('', ''), say.execute(''), say.sync())
  }
}
