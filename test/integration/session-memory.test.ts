/** One backend given to several sessions by turns, by its memory alone. */
import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { concatBytes, fromUtf8 } from '../../src/base/bytes.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { EMPTY_FRAME, type SessionFrame } from '../../src/engine/session-memory.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { watched } from '../../src/engine/command-read.ts'
import { isReadingCommand } from '../../src/engine/interrupts.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, say, valueOf } from '../support/messages.ts'

let engine: WasmEngine
let slot: WasmSlot
before(async () => {
  engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  })
})
const newFiles = (): TenantFiles =>
  TenantFiles.inMemory({ template: engine.template, clock: systemClock })

beforeEach(async () => {
  slot = await engine.createSlot()
})

/** Puts the session that the backend is in aside and brings another one. */
function change(to: SessionFrame): SessionFrame {
  const aside = slot.session.frame
  slot.session.frame = to
  return aside
}

/** SQLSTATE of the refusal of a statement. */
const errorOf = (sql: string): string | undefined => runSql(slot, sql).error?.sqlState

function parse(name: string, sql: string): void {
  slot.run(concatBytes([say.parse(name, sql), say.sync()]))
}

/** The answer to a prepared statement, as text. */
function execute(name: string): string {
  return fromUtf8(slot.run(concatBytes([say.bind('', name), say.execute(''), say.sync()])).slice())
}

for (const how of ['begun', 'booted'] as const) {
  test(`prepared statements are each session's own, in a backend that was ${how}`, () => {
    if (how === 'begun') slot.begin(newFiles())
    else slot.boot(newFiles())
    runSql(slot, `prepare x as select 'first'`)
    parse('named', `select 'first named'`)
    parse('', `select 'first unnamed'`)
    const first = change(EMPTY_FRAME)
    assert.equal(valueOf(slot, 'select count(*) from pg_prepared_statements'), '0')
    assert.equal(errorOf('execute x'), '26000')
    runSql(slot, `prepare x as select 'second'`)
    parse('', `select 'second unnamed'`)
    const second = change(first)
    assert.match(execute(''), /first unnamed/)
    assert.match(execute('named'), /first named/)
    assert.equal(valueOf(slot, 'execute x'), 'first')
    runSql(slot, 'deallocate all')
    change(second)
    assert.match(execute(''), /second unnamed/)
    assert.equal(valueOf(slot, 'execute x'), 'second')
  })
}

test('what sequences last gave is each session’s own', () => {
  slot.begin(newFiles())
  runSql(slot, 'create sequence a start 100; create sequence b start 7')
  assert.equal(valueOf(slot, `select nextval('a')`), '100')
  const first = change(EMPTY_FRAME)
  assert.equal(errorOf('select lastval()'), '55000')
  assert.equal(errorOf(`select currval('a')`), '55000')
  assert.equal(valueOf(slot, `select nextval('b')`), '7')
  const second = change(first)
  assert.equal(valueOf(slot, 'select lastval()'), '100')
  assert.equal(errorOf(`select currval('b')`), '55000')
  change(second)
  assert.equal(valueOf(slot, 'select lastval()'), '7')
})

test('plans of a session that is aside learn of changes to what they use', () => {
  slot.begin(newFiles())
  runSql(slot, 'create table t (n int); insert into t values (1)')
  runSql(slot, 'prepare sum as select sum(n) from t; prepare all_of as select * from t')
  assert.equal(valueOf(slot, 'execute sum'), '1')
  runSql(slot, 'execute all_of')
  const first = change(EMPTY_FRAME)
  runSql(slot, 'alter table t add m int; create index on t (n); insert into t values (2), (3)')
  runSql(slot, 'vacuum analyze t')
  change(first)
  assert.equal(valueOf(slot, 'execute sum'), '6')
  assert.equal(errorOf('execute all_of'), '0A000', 'its columns are others now')
})

test('sessions that are aside go along in an image', async () => {
  const files = newFiles()
  slot.begin(files)
  runSql(slot, `prepare x as select 'first'`)
  const first = change(EMPTY_FRAME)
  runSql(slot, `prepare x as select 'second'`)
  files.commit()
  const image = slot.nap()
  slot = await engine.createSlot()
  slot.resume(files, image)
  const second = change(first)
  assert.equal(valueOf(slot, 'execute x'), 'first')
  change(second)
  assert.equal(valueOf(slot, 'execute x'), 'second')
})

test('settings are read as they were set, and not what is local or default', () => {
  slot.begin(newFiles())
  assert.deepEqual([...slot.session.settings], [])
  runSql(slot, `set work_mem = '9MB'; set search_path = "$user", public, "Odd, name"`)
  runSql(slot, `set my.own = 'ä b'; set timezone = 'Europe/Berlin'; set datestyle = 'german'`)
  runSql(slot, 'set enable_seqscan = off; set cursor_tuple_fraction = 0.25; select setseed(0.5)')
  runSql(slot, 'begin; set local statement_timeout = 5; commit; begin; set geqo = off; rollback')
  runSql(slot, 'create role reader; set role reader')
  assert.deepEqual(Object.fromEntries(slot.session.settings), {
    work_mem: '9216',
    search_path: '"$user", public, "Odd, name"',
    'my.own': 'ä b',
    TimeZone: 'Europe/Berlin',
    DateStyle: 'German, DMY',
    enable_seqscan: 'off',
    cursor_tuple_fraction: '0.25',
    role: 'reader',
  })
  runSql(slot, 'reset role')
  runSql(slot, 'discard all')
  assert.deepEqual([...slot.session.settings], [])
})

test('what cannot be put aside is seen', () => {
  slot.begin(newFiles())
  const { session } = slot
  assert.equal(session.holdsOn, false)
  runSql(slot, 'select pg_advisory_lock(1)')
  assert.deepEqual([session.holdsOn, session.holdsLocks], [false, true])
  runSql(slot, 'select pg_advisory_unlock(1)')
  assert.equal(session.holdsLocks, false)
  runSql(slot, 'begin; select pg_advisory_xact_lock(1); commit')
  assert.equal(session.holdsLocks, false)
  runSql(
    slot,
    'begin; declare c cursor with hold for select 1; declare d cursor for select 2; commit',
  )
  assert.equal(session.holdsOn, true)
  runSql(slot, 'close c')
  assert.equal(session.holdsOn, false)
  assert.equal(session.mayHaveTemporaryTables, false)
  runSql(slot, 'create temporary table t (n int)')
  assert.equal(session.mayHaveTemporaryTables, true)
})

test('channels are read', () => {
  slot.begin(newFiles())
  assert.deepEqual(slot.session.channels, [])
  runSql(slot, 'listen one; listen "Two b"; listen one; listen three; unlisten three')
  assert.deepEqual(slot.session.channels, ['one', 'Two b'])
  runSql(slot, 'unlisten *')
  assert.deepEqual(slot.session.channels, [])
})

for (const how of ['begun', 'booted'] as const) {
  test(`who acts as another user can go back, in a backend that was ${how}`, () => {
    const files = newFiles()
    if (how === 'begun') slot.begin(files)
    else slot.boot(files)
    const who = (): unknown =>
      valueOf(slot, `select session_user || ' ' || current_user || ' ' || current_setting('role')`)
    runSql(slot, 'create role writer')
    for (const back of ['reset session authorization', 'discard all']) {
      runSql(slot, 'set session authorization writer')
      assert.equal(who(), 'writer writer none')
      runSql(slot, back)
      assert.equal(who(), 'postgres postgres none')
    }
    assert.equal(errorOf('set role writer'), undefined, 'a superuser again')
  })
}

test('the first answer has only what was asked for, whatever the owner is called', () => {
  const files = newFiles()
  slot.boot(files)
  runSql(slot, 'create role other superuser')
  runSql(slot, 'set session authorization other')
  runSql(slot, 'alter role postgres rename to "My Name"')
  slot.shutDown()
  slot.boot(files)
  const answer = fromUtf8(slot.run(say.query('select session_user')).slice())
  assert.equal(answer[0], 'T', 'no news of settings before the rows')
  assert.match(answer, /My Name/)
})

test('signals reach the clients of the tenant, from a copy of its backend too', async () => {
  const files = newFiles()
  slot.begin(files)
  const sent: unknown[] = []
  slot.signalReceiver = {
    sessions: () => [],
    has: (id) => id === 4711,
    send: (id, signal) => sent.push([id, signal]),
  }
  const other = await engine.createSlot()
  other.resume(newFiles(), slot.copy())
  for (const each of [slot, other]) {
    assert.equal(valueOf(each, 'select pg_terminate_backend(4711)'), 't')
    assert.equal(valueOf(each, 'select pg_cancel_backend(4711)'), 't')
    assert.equal(valueOf(each, 'select pg_cancel_backend(4712)'), 'f')
  }
  const both = [
    [4711, 'terminate'],
    [4711, 'cancel'],
  ]
  assert.deepEqual(sent, [...both, ...both])
  slot.unload()
  slot.begin(newFiles())
  assert.equal(valueOf(slot, 'select pg_cancel_backend(4711)'), 'f', 'another tenant is in it')
})

test('a backend that goes by another number says so in its last words, and ends well', () => {
  slot.begin(newFiles())
  runSql(slot, 'listen c')
  slot.session.processId = 4711
  assert.equal(valueOf(slot, 'select pg_backend_pid()'), '4711')
  runSql(slot, 'create table t (n int)')
  slot.shutDown()
  slot.boot(newFiles())
  assert.notEqual(slot.session.processId, 4711)
  slot.session.processId = 4711
  const unknown = new Uint8Array([0x7a, 0, 0, 0, 4])
  assert.throws(() => slot.run(unknown), {
    code: 'SLOT_LOST',
    message: 'invalid frontend message type 122',
  })
})

test('that a command is being read shows until it runs, and not at rest', () => {
  slot.begin(newFiles())
  const seen: boolean[] = []
  const query = say.query(`select '${'x'.repeat(100)}'`)
  const look = (): void => void seen.push(isReadingCommand(slot.interruptFlags))
  slot.run(watched(query, look))
  assert.deepEqual(seen, [true])
  assert.equal(isReadingCommand(slot.interruptFlags), false)
  slot.expectCommand()
  assert.equal(isReadingCommand(slot.interruptFlags), true, 'before it has begun')
  slot.run(say.query('select 1'))
  assert.equal(isReadingCommand(slot.interruptFlags), false)
})
