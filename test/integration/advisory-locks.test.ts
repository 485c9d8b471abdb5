/** Advisory locks of several sessions in one backend, by its memory alone. */
import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { isConflict, type LockedOut } from '../../src/engine/advisory-locks.ts'
import { EMPTY_FRAME, type SessionFrame } from '../../src/engine/session-memory.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, valueOf } from '../support/messages.ts'

let engine: WasmEngine
let slot: WasmSlot
before(async () => {
  engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  })
})

/** Sessions that are aside, by name. */
let aside: Map<string, SessionFrame>
let current: string
let files: TenantFiles
beforeEach(async () => {
  slot = await engine.createSlot()
  files = TenantFiles.inMemory({ template: engine.template, clock: systemClock })
  slot.begin(files)
  aside = new Map()
  current = 'a'
})

function enter(name: string): void {
  if (name === current) return
  aside.set(current, slot.session.frame)
  slot.session.frame = aside.get(name) ?? EMPTY_FRAME
  aside.delete(name)
  current = name
  slot.session.isTaken = (lock) =>
    [...aside.values()].some(({ locks }) => locks.some((each) => isConflict(each, lock)))
}

function ask(name: string, sql: string): unknown {
  enter(name)
  return valueOf(slot, sql)
}

/** SQLSTATE of the refusal of a statement. */
function errorOf(name: string, sql: string): string | undefined {
  enter(name)
  return runSql(slot, sql).error?.sqlState
}

/** Of the run that was last. */
const lockedOut = (): LockedOut | undefined => slot.lockedOut

const KEYS = [
  '1',
  '-1',
  '9223372036854775807',
  '-9223372036854775808',
  '4294967297',
  '1, 1',
  '-1, 2',
]

for (const key of KEYS) {
  test(`(${key}) is one session’s, or shared by several`, () => {
    ask('a', `select pg_advisory_lock(${key})`)
    const tries = ['', '_xact'].flatMap((level) =>
      ['', '_shared'].map((how) => `select pg_try_advisory${level}_lock${how}(${key})`),
    )
    for (const sql of tries) assert.equal(ask('b', sql), 'f', sql)
    assert.equal(lockedOut(), undefined)
    for (const sql of tries) {
      assert.equal(errorOf('b', sql.replace('try_', '')), '57014')
      const { kind, isShared } = lockedOut()?.lock ?? {}
      assert.deepEqual(
        [kind, isShared],
        [key.includes(',') ? 'two' : 'one', sql.includes('shared')],
      )
      assert.equal(lockedOut()?.canRunAnew, true)
    }
    assert.equal(ask('b', 'select 7'), '7')
    assert.equal(ask('b', `select pg_advisory_unlock(${key})`), 'f', 'what it does not have')
    for (const sql of tries) assert.equal(ask('a', sql), 't', 'its own')
    assert.equal(ask('a', `select pg_advisory_unlock_shared(${key})`), 't')
    assert.equal(ask('a', `select pg_advisory_unlock(${key})`), 't')
    assert.equal(ask('b', tries[0] ?? ''), 'f', 'it was taken twice')
    assert.equal(ask('a', `select pg_advisory_unlock(${key})`), 't')
    assert.equal(ask('b', `select pg_try_advisory_lock_shared(${key})`), 't')
    assert.equal(ask('a', `select pg_try_advisory_lock_shared(${key})`), 't')
    for (const name of ['a', 'b']) {
      assert.equal(ask(name, `select pg_try_advisory_lock(${key})`), 'f', 'the other one shares it')
    }
  })
}

test('keys that look alike are not', () => {
  ask('a', 'select pg_advisory_lock(1)')
  for (const key of ['0, 1', '1, 0', '4294967296', '2', '-1']) {
    assert.equal(ask('b', `select pg_try_advisory_lock(${key})`), 't', key)
  }
})

test('each gives back its own, by unlock_all and DISCARD ALL too', () => {
  for (const [name, key] of [
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ] as const) {
    ask(name, `select pg_advisory_lock(${key}), pg_advisory_lock(${key})`)
  }
  const has = `select string_agg(objid || ' ' || mode, ',' order by objid) from pg_locks
    where locktype = 'advisory'`
  ask('a', 'select pg_advisory_unlock_all()')
  assert.equal(runSql(slot, 'discard all').error, undefined)
  assert.equal(ask('a', has), null)
  assert.equal(ask('b', has), '2 ExclusiveLock')
  assert.equal(errorOf('c', 'discard all'), undefined)
  assert.equal(ask('c', 'select pg_try_advisory_lock(2)'), 'f')
  assert.equal(ask('c', 'select pg_try_advisory_lock(1)'), 't')
  assert.equal(ask('a', 'select pg_try_advisory_lock(3)'), 't')
})

test('what can be done anew is told from what cannot', () => {
  ask('a', 'create table t (n int); select pg_advisory_lock(1)')
  assert.equal(errorOf('b', 'select pg_advisory_lock(5); select pg_advisory_lock(1)'), '57014')
  assert.equal(lockedOut()?.canRunAnew, true)
  assert.equal(errorOf('b', 'begin; select pg_advisory_lock(1)'), '57014')
  assert.equal(lockedOut()?.canRunAnew, true)
  assert.equal(slot.transactionStatus, 'failed')
  ask('b', 'rollback; begin')
  assert.equal(errorOf('b', 'select pg_advisory_xact_lock(1)'), '55P03', 'it has begun before')
  assert.equal(lockedOut()?.canRunAnew, false)
  ask('b', 'rollback')
  assert.equal(errorOf('b', 'insert into t values (1); select pg_advisory_lock(1)'), '55P03')
  assert.equal(lockedOut()?.canRunAnew, false)
  assert.equal(ask('b', 'select count(*) from t'), '0')
  assert.equal(lockedOut(), undefined)
})

test('a block that catches everything does not go on without the lock', () => {
  ask('a', 'create table t (n int); select pg_advisory_lock(1)')
  const caught = `do $$ begin perform pg_advisory_lock(1); insert into t values (2);
    exception when others then insert into t values (3); end $$`
  assert.equal(errorOf('b', caught), '57014')
  assert.equal(ask('b', 'select count(*) from t'), '0')
})

test('go along in an image', async () => {
  ask('a', 'select pg_advisory_lock(1)')
  ask('b', 'select pg_advisory_lock(2)')
  files.commit()
  const image = slot.nap()
  const isTaken = slot.session.isTaken
  slot = await engine.createSlot()
  slot.resume(files, image)
  slot.session.isTaken = isTaken
  assert.equal(ask('b', 'select pg_try_advisory_lock(1)'), 'f')
  assert.equal(ask('a', 'select pg_try_advisory_lock(2)'), 'f')
  assert.equal(ask('a', 'select pg_advisory_unlock(1)'), 't')
  assert.equal(ask('b', 'select pg_try_advisory_lock(1)'), 't')
})
