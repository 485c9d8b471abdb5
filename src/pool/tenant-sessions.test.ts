import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import { FakeSessionSlot, SUPERUSER } from '../../test/support/fake-session-slot.ts'
import { queryMessage } from '../front/wire/result.ts'
import { message, SYNC } from '../base/protocol-message.ts'
import type { SaidStatements } from './reading-batch.ts'
import type { SessionOwner } from './tenant-channels.ts'
import { TenantSessions } from './tenant-sessions.ts'

interface Client extends SessionOwner {
  readonly name: string
}
const one: Client = { number: 1, name: 'one' }
const other: Client = { number: 2, name: 'other' }

let backend: FakeSessionSlot
let sessions: TenantSessions<Client>
beforeEach(() => {
  backend = new FakeSessionSlot()
  backend.roles.add('reader').add('writer').add('mü')
  sessions = new TenantSessions()
})

const enter = (client: Client): string | undefined => sessions.enter(client, backend.slot)

/** Runs statements of a client, as the pool does. */
function run(client: Client, ...statements: string[]): void {
  assert.equal(enter(client), undefined)
  for (const sql of statements) backend.query(sql)
}

/** A nap without an image; false: it had to stay. */
function restart(): boolean {
  if (!sessions.carry(backend.slot)) return false
  sessions.clear()
  backend.restart()
  sessions.bringBack(backend.slot)
  return true
}

function settingsOf(client: Client): Record<string, string> {
  assert.equal(enter(client), undefined)
  return Object.fromEntries(backend.settings)
}

function preparedOf(client: Client): string[] {
  assert.equal(enter(client), undefined)
  return backend.prepared.toSorted()
}

describe('a change of hands', () => {
  test('says nothing between clients that have the same settings', () => {
    run(one, 'SET timezone TO tokyo')
    run(other, 'SET timezone TO tokyo')
    const before = backend.said.length
    for (let turn = 0; turn < 3; turn++) for (const client of [one, other]) enter(client)
    assert.equal(backend.said.length, before)
  })

  test('says only what differs', () => {
    run(one, 'SET timezone TO tokyo', 'SET work_mem TO 9')
    run(other, 'SET timezone TO tokyo')
    backend.said.length = 0
    enter(one)
    assert.deepEqual(backend.said, [`${SUPERUSER}: SELECT pg_catalog.set_config($1, $2, false)`])
    enter(other)
    assert.equal(backend.said.at(-1), `${SUPERUSER}: RESET "work_mem"`)
  })

  test('gives roles and rights up last, and takes them back first', () => {
    run(one, 'SET work_mem TO 9', 'SET SESSION AUTHORIZATION writer', 'SET ROLE reader')
    run(other, 'SET timezone TO tokyo')
    backend.said.length = 0
    enter(one)
    assert.deepEqual(backend.said, [
      `${SUPERUSER}: RESET "timezone"`,
      `${SUPERUSER}: SELECT pg_catalog.set_config($1, $2, false)`,
      `${SUPERUSER}: SET SESSION AUTHORIZATION "writer"`,
      'writer: SET ROLE "reader"',
    ])
    assert.equal(backend.currentUser, 'reader')
    backend.said.length = 0
    enter(other)
    assert.deepEqual(backend.said.slice(0, 2), [
      'reader: RESET ROLE',
      'writer: RESET SESSION AUTHORIZATION',
    ])
  })
})

describe('a session that cannot be restored', () => {
  test('never runs anything again, whoever comes in between', () => {
    run(one, 'SET ROLE reader')
    run(other, 'SET timezone TO tokyo')
    backend.roles.delete('reader')
    assert.match(enter(one) ?? '', /reader does not exist/)
    assert.match(enter(one) ?? '', /reader does not exist/)
    assert.deepEqual(settingsOf(other), { timezone: 'tokyo' })
    assert.match(enter(one) ?? '', /reader does not exist/)
    sessions.leave(one)
    sessions.discard(backend.slot)
    assert.deepEqual(settingsOf(other), { timezone: 'tokyo' })
    assert.deepEqual(settingsOf({ number: 3, name: 'third' }), {})
  })

  test('does not keep the tenant in its slot, and nothing runs in it afterwards', () => {
    run(one, 'SET ROLE reader')
    run(other)
    backend.roles.delete('reader')
    assert.ok(restart())
    assert.match(enter(one) ?? '', /reader does not exist/)
    assert.deepEqual(settingsOf(other), {})
  })

  test('a setting that is refused leaves nothing of the pool’s behind', () => {
    run(one, 'SET my.own TO refused')
    run(other)
    assert.match(enter(one) ?? '', /invalid value/)
    assert.deepEqual(backend.prepared, [])
  })

  test('neither runs anything if the next backend does not take its role', () => {
    run(one, 'SET ROLE reader', 'SET work_mem TO 9')
    assert.ok(sessions.carry(backend.slot))
    sessions.clear()
    backend.restart()
    backend.roles.delete('reader')
    sessions.bringBack(backend.slot)
    assert.match(enter(one) ?? '', /reader does not exist/)
    assert.deepEqual(settingsOf(other), {})
  })
})

describe('who leaves', () => {
  test('takes its session along; the others keep theirs', () => {
    run(one, 'PREPARE x AS', 'SET work_mem TO 9')
    run(other, 'PREPARE y AS', 'SET work_mem TO 8')
    sessions.leave(one)
    sessions.discard(backend.slot)
    assert.equal(sessions.count, 1)
    assert.deepEqual(settingsOf(other), { work_mem: '8' })
    assert.deepEqual(preparedOf(other), ['PREPARE y AS'])
    assert.deepEqual(preparedOf({ number: 3, name: 'third' }), [])
  })

  test('leaves tables that serve those who come, and each only one', () => {
    const first = Array.from({ length: 20 }, (_, index) => ({
      number: index,
      name: `first ${index}`,
    }))
    for (const client of first) run(client, 'PREPARE x AS')
    for (const client of first) sessions.leave(client)
    sessions.discard(backend.slot)
    const next = Array.from({ length: 20 }, (_, index) => ({
      number: index,
      name: `next ${index}`,
    }))
    const tables = next.map((client) => {
      assert.deepEqual(preparedOf(client), [])
      run(client, 'PREPARE x AS')
      return backend.frame.preparedStatements
    })
    assert.equal(new Set(tables).size, next.length)
    assert.ok(tables.filter((table) => table <= 20).length >= 16, 'they are used again')
  })

  test('was it nobody whom we know, its session is forgotten', () => {
    backend.query('PREPARE x AS')
    backend.query('SET work_mem TO 9')
    sessions.discard(backend.slot)
    assert.deepEqual(settingsOf(one), {})
    assert.deepEqual(preparedOf(one), [])
  })

  test('while it was carried, nothing of it comes back', () => {
    run(one, 'SET work_mem TO 9')
    run(other, 'SET work_mem TO 8')
    assert.ok(sessions.carry(backend.slot))
    sessions.clear()
    backend.restart()
    sessions.leave(one)
    sessions.bringBack(backend.slot)
    assert.equal(sessions.count, 1)
    assert.deepEqual(settingsOf(other), { work_mem: '8' })
    assert.deepEqual(settingsOf(one), {})
  })
})

describe('what cannot be put aside', () => {
  test('pins its client, while it has the backend', () => {
    run(one)
    run(other)
    assert.equal(sessions.pinned(backend.slot), undefined)
    backend.holdsOn = true
    assert.equal(sessions.pinned(backend.slot), other)
    assert.equal(restart(), false)
    sessions.leave(other)
    sessions.discard(backend.slot)
    assert.equal(sessions.pinned(backend.slot), undefined)
    assert.ok(restart())
  })

  test('a statement that was prepared in a row with others is not said again', () => {
    run(one, 'NOTIFY a x;PREPARE x AS')
    backend.ran.length = backend.said.length = 0
    assert.equal(restart(), false)
    assert.ok(!backend.said.some((said) => said.includes('NOTIFY')))
    assert.deepEqual(backend.ran, [])
    assert.deepEqual(preparedOf(one), ['NOTIFY a x;PREPARE x AS'])
  })
})

const NOTHING_ELSE = {
  forgotten: { allStatements: false, sequences: false },
  unheard: new Set<string>(),
}

describe('in a fork', () => {
  const parse = (name: string, sql: string): [string, Uint8Array] => [
    name,
    message('P', utf8(`${name}\0${sql}\0\0\0`)),
  ]
  const before = new Map<string, string>()

  /** What a reader does in a fork, which is in its session then. */
  function read(client: Client, settings: Record<string, string>, said: SaidStatements): boolean {
    const slot = { session: { ...backend.session, settings: new Map(Object.entries(settings)) } }
    slot.session.userIds = backend.session.userIds
    return sessions.takeBack(client, { slot, before, ...NOTHING_ELSE, said })
  }

  test('what is set and prepared there is there in the backend, for a new client too', () => {
    run(other, 'SET work_mem TO 9')
    sessions.enter(other, backend.slot)
    assert.ok(read(one, { timezone: 'tokyo' }, new Map([parse('a', 'SELECT 1')])))
    assert.ok(read(one, { timezone: 'berlin' }, new Map([parse('b', 'SELECT 2')])))
    assert.ok(read(one, { timezone: 'berlin' }, new Map([['a', undefined]])))
    assert.deepEqual(settingsOf(one), { timezone: 'berlin' })
    assert.deepEqual(preparedOf(one), ['SELECT 2'])
    assert.deepEqual(settingsOf(other), { work_mem: '9' })
    assert.deepEqual(preparedOf(one), ['SELECT 2'], 'it is said once')
  })

  test('sessions go on there by themselves, with what they are owed', () => {
    run(one, 'SET timezone TO tokyo')
    run(other, 'SET work_mem TO 9')
    assert.ok(read(one, { timezone: 'tokyo' }, new Map([parse('a', 'SELECT 1')])))
    const forked = sessions.forked()
    assert.equal(forked.enter(one, backend.slot), undefined)
    assert.deepEqual(backend.prepared, ['SELECT 1'])
    assert.equal(forked.enter(other, backend.slot), undefined)
    assert.deepEqual([...backend.settings], [['work_mem', '9']])
  })

  test('too much to be said again is not taken in', () => {
    run(one, 'SET timezone TO tokyo')
    run(other, 'SET work_mem TO 9')
    const names = Array.from({ length: LIMITS.owedStatementsMax }, (_, index) => `s${index}`)
    const many = new Map(names.map((name) => parse(name, 'SELECT 1')))
    assert.ok(read(one, {}, many))
    assert.ok(!read(one, { timezone: 'berlin' }, new Map([parse('more', 'SELECT 1')])))
    assert.ok(read(one, {}, new Map([parse('s0', 'SELECT 2')])))
    assert.equal(preparedOf(one).length, LIMITS.owedStatementsMax)
  })
})

test('lost with its backend: nothing comes back, and only who was told goes on', () => {
  run(one, 'SET work_mem TO 9', 'LISTEN news')
  run(other, 'SET ROLE reader')
  assert.ok(sessions.carry(backend.slot))
  assert.deepEqual(sessions.lose(one), [other])
  backend.restart()
  sessions.bringBack(backend.slot)
  assert.deepEqual(backend.channels, [])
  assert.deepEqual(settingsOf(one), {})
  assert.equal(enter(other), 'it ended with its backend')
})

/** What a client must find: its settings, whom it acts as, its statements. */
class Model {
  readonly settings = new Map<string, string>()
  readonly prepared = new Set<string>()
  readonly channels = new Set<string>()
  dead = false

  get user(): string {
    const role = this.settings.get('role') ?? 'none'
    return role === 'none' ? (this.settings.get('session_authorization') ?? SUPERUSER) : role
  }
}

const NAMES = ['a', 'b', 'ü']
const ROLES = ['reader', 'writer', 'mü']
const oneOf = (words: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...words)
const steps = fc.array(
  fc.record({
    client: fc.nat(4),
    what: fc.oneof(
      fc.record({ set: oneOf(['timezone', 'my.own', 'work_mem']), to: oneOf(NAMES) }),
      fc.record({ reset: oneOf(['timezone', 'my.own', 'work_mem']) }),
      fc.record({ role: oneOf([...ROLES, 'none']) }),
      fc.record({ user: oneOf(ROLES) }),
      fc.record({ prepare: oneOf(NAMES), parse: fc.boolean() }),
      fc.record({ listen: oneOf(NAMES) }),
      fc.record({ other: oneOf(['unlisten', 'reset role', 'reset user', 'discard all']) }),
      fc.record({ pool: oneOf(['leave', 'discard', 'restart', 'drop role', 'look']) }),
    ),
  }),
  { maxLength: 60 },
)

/** One client of the game, on both sides. */
class Player {
  client: Client = { number: 4, name: 'player' }
  model = new Model()
}

type Step = typeof steps extends fc.Arbitrary<(infer One)[]> ? One : never

function act({ client, model }: Player, what: Step['what']): void {
  const { settings, prepared, channels } = model
  const query = (sql: string): void => {
    void sessions.channels.run(client, backend.slot, queryMessage(sql))
  }
  if ('set' in what) {
    query(`SET ${what.set} TO "${what.to}"`)
    settings.set(what.set, what.to)
  } else if ('reset' in what) {
    query(`RESET ${what.reset}`)
    settings.delete(what.reset)
  } else if ('role' in what) {
    if (what.role !== 'none' && !backend.roles.has(what.role)) return
    query(`SET ROLE "${what.role}"`)
    settings.set('role', what.role)
  } else if ('user' in what) {
    if (!backend.roles.has(what.user)) return
    query(`SET SESSION AUTHORIZATION "${what.user}"`)
    settings.set('session_authorization', what.user).set('role', 'none')
  } else if ('prepare' in what) {
    const name = what.prepare
    if (prepared.has(name)) return
    if (what.parse) {
      const body = utf8(`${name}\0PREPARE ${name} AS\0\0\0`)
      void sessions.channels.run(client, backend.slot, concatBytes([message('P', body), SYNC]))
    } else query(`PREPARE ${name} AS`)
    prepared.add(name)
  } else if ('listen' in what) {
    const name = what.listen
    query(`LISTEN "${name}"`)
    channels.add(name)
  } else if ('other' in what) {
    if (what.other === 'unlisten') query('UNLISTEN *')
    if (what.other === 'reset role') query('RESET ROLE')
    if (what.other === 'reset user') query('RESET SESSION AUTHORIZATION')
    if (what.other === 'discard all') query('DISCARD ALL')
    if (what.other === 'unlisten' || what.other === 'discard all') channels.clear()
    if (what.other !== 'unlisten') settings.delete('role')
    if (what.other === 'reset user') settings.delete('session_authorization')
    if (what.other === 'discard all') {
      settings.clear()
      prepared.clear()
    }
  }
}

test('each finds what it left and nothing of the others, whatever the order', () => {
  fc.assert(
    fc.property(steps, (drawn) => {
      backend = new FakeSessionSlot()
      sessions = new TenantSessions()
      for (const role of ROLES) backend.roles.add(role)
      const players = Array.from({ length: 5 }, () => new Player())
      for (const { client, what } of drawn) {
        const player = players[client] ?? assert.fail()
        if ('pool' in what) play(player, what.pool)
        else if (check(player)) act(player, what)
        checkChannels(players)
      }
      for (const player of [...players, ...players.toReversed()]) check(player)
    }),
    { numRuns: 500 },
  )
})

function play(player: Player, what: string): void {
  if (what === 'look') check(player)
  if (what === 'drop role') {
    const [role] = backend.roles
    if (role !== undefined) backend.roles.delete(role)
  }
  if (what === 'leave') {
    sessions.leave(player.client)
    player.client = { number: 5, name: 'next' }
    player.model = new Model()
  }
  if (what === 'leave' || what === 'discard') sessions.discard(backend.slot)
  if (what === 'restart') {
    assert.ok(restart())
  }
}

/** Whether the roles of a session are still there. */
function isWithin({ settings }: Model): boolean {
  const names = [settings.get('role') ?? 'none', settings.get('session_authorization') ?? 'none']
  return names.every((name) => name === 'none' || backend.roles.has(name))
}

/** Enters; false if that is impossible, which must be so for who has lost its role. */
function check({ client, model }: Player): boolean {
  const ranBefore = backend.ran.length
  const refusal = enter(client)
  assert.equal(backend.ran.length, ranBefore, 'nothing of a client runs meanwhile')
  if (refusal !== undefined) {
    assert.ok(model.dead || !isWithin(model), refusal)
    model.dead = true
    return false
  }
  assert.ok(!model.dead, 'who was refused stays so')
  assert.deepEqual(said(backend.settings), said(model.settings))
  assert.equal(backend.currentUser, model.user)
  const expected = [...model.prepared].map((name) => `PREPARE ${name} AS`)
  assert.deepEqual(backend.prepared.toSorted(), expected.toSorted())
  return true
}

/** In order, without a role that is as good as none. */
function said(settings: ReadonlyMap<string, string>): string[] {
  const all = Array.from(settings, ([name, value]) => `${name} ${value}`)
  return all.filter((each) => each !== 'role none').toSorted()
}

function checkChannels(players: readonly Player[]): void {
  const wanted = new Set(players.flatMap(({ model }) => [...model.channels]))
  assert.deepEqual([...backend.channels].toSorted(), [...wanted].toSorted())
}
