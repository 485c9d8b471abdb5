/** Forks: a copy of a running slot in another slot, which changes nothing for the tenant. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { MAIN } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, say, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

let engine: WasmEngine
before(async () => {
  const random = systemRandom
  const parts = await loadEngineParts()
  engine = await createEngine(parts, { clock: systemClock, random, verifySwaps: true })
})

test('a fork sees what is committed, and nobody sees what it does', async () => {
  using medium = NodeSqliteMedium.inMemory()
  const { fingerprint, template } = engine
  const store = Store.open(medium, storeOptions(template, { clock: systemClock, fingerprint }))
  const files = TenantFiles.open(store.view(), { template, clock: systemClock })
  const [slot, other] = [await engine.createSlot(), await engine.createSlot()]
  slot.begin(files)
  runSql(slot, 'create table t(n int primary key); insert into t values (1), (2)')
  files.commit()
  runSql(slot, 'begin; insert into t values (3); delete from t where n = 1; create table u(n int)')
  runSql(slot, 'savepoint s; declare c cursor for select n from t order by n')
  assert.equal(valueOf(slot, 'fetch c'), '2')
  files.commit()
  for (let round = 0; round < 3; round++) {
    const past = store.view(MAIN, store.head())
    using forked = TenantFiles.open(past, { template, clock: systemClock })
    other.resume(forked, slot.copy())
    assert.equal(other.transactionStatus, 'transaction')
    assert.equal(valueOf(other, 'select string_agg(n::text, $$,$$ order by n) from t'), '2,3')
    runSql(other, 'rollback')
    assert.equal(valueOf(other, 'select string_agg(n::text, $$,$$ order by n) from t'), '1,2')
    assert.equal(valueOf(other, "select to_regclass('u')"), null)
    runSql(other, 'insert into t values (100); checkpoint')
    assert.ok(forked.dirty, 'whoever uses a fork sees that it has written')
    assert.equal(forked.commit(), undefined)
    other.unload()
  }
  assert.equal(valueOf(slot, 'fetch c'), '3')
  runSql(slot, 'rollback to s; insert into t values (4); commit')
  files.commit()
  assert.equal(valueOf(slot, 'select string_agg(n::text, $$,$$ order by n) from t'), '2,3,4')
  slot.shutDown()
  files.commit()
  files.close()
  const again = TenantFiles.open(store.view(), { template, clock: systemClock })
  other.boot(again)
  assert.equal(valueOf(other, 'select string_agg(n::text, $$,$$ order by n) from t'), '2,3,4')
})

test('who reads dirties files and writes WAL; who writes need not', async () => {
  using medium = NodeSqliteMedium.inMemory()
  const { fingerprint, template } = engine
  const store = Store.open(medium, storeOptions(template, { clock: systemClock, fingerprint }))
  const files = TenantFiles.open(store.view(), { template, clock: systemClock })
  const [slot, other] = [await engine.createSlot(), await engine.createSlot()]
  slot.begin(files)
  runSql(slot, `create table t(n int, filler text); create sequence s; select nextval('s')`)
  runSql(slot, `insert into t select n, repeat('x', 1000) from generate_series(1, 20000) n`)
  runSql(slot, 'delete from t where n <= 10000')
  runSql(slot, 'begin; insert into t values (0)')
  files.commit()
  const asCommitted = store.view(MAIN, store.head())
  using forked = TenantFiles.open(asCommitted, { template, clock: systemClock })
  const watch = other.fork(forked, slot.copy())
  runSql(other, 'rollback')
  for (const [sql, seen] of [
    [`select nextval('s')`, 'nextval'],
    ['select pg_try_advisory_xact_lock(1)', 'pg_try_advisory_xact_lock'],
    ['begin; lock table t; commit', 'LOCK TABLE'],
    ['listen c', 'LISTEN'],
  ] as const) {
    // What it needs to read it has read then, and made room for.
    runSql(other, sql)
    const before = forked.dirtyBytes
    watch.begin()
    runSql(other, sql)
    assert.equal(watch.seen, seen)
    assert.equal(forked.dirtyBytes, before, `${sql} dirties nothing`)
  }
  runSql(other, 'prepare one as select 1')
  watch.begin()
  runSql(other, 'deallocate one')
  runSql(other, 'discard sequences')
  assert.equal(watch.seen, undefined)
  assert.deepEqual(watch.forgotten, { names: ['one'], allStatements: false, sequences: true })
  const dirtyBytes = forked.dirtyBytes
  watch.begin()
  assert.equal(valueOf(other, 'select count(*) from t'), '10000')
  assert.equal(watch.seen, undefined)
  assert.ok(forked.dirtyBytes - dirtyBytes > 1_000_000, 'hint bits and pruned pages')
  assert.ok(forked.walDirty)
  watch.begin()
  runSql(other, 'select n from t where n = 20000 for share')
  assert.equal(watch.seen, 'a transaction id')
  watch.begin()
  runSql(other, 'select pg_export_snapshot()')
  assert.equal(watch.seen, 'a file')
})

test('two forks of one session do not draw the same random numbers', async () => {
  const slots = await Promise.all([1, 2, 3].map(() => engine.createSlot()))
  const [slot, ...others] = slots
  assert.ok(slot)
  const newFiles = (): TenantFiles =>
    TenantFiles.inMemory({ template: engine.template, clock: systemClock })
  slot.begin(newFiles())
  runSql(slot, 'select setseed(0.5)')
  const draw = 'select random()'
  const drawn = others.map((other) => {
    other.resume(newFiles(), slot.copy())
    return valueOf(other, draw)
  })
  drawn.push(valueOf(slot, draw))
  assert.equal(new Set(drawn).size, 3)
  assert.equal(drawn.at(-1), '0.9851677175347999', 'its own goes on as setseed said')
})

test('a fork in the middle of a pipeline does not end it', async () => {
  const [slot, other] = [await engine.createSlot(), await engine.createSlot()]
  const files = TenantFiles.inMemory({ template: engine.template, clock: systemClock })
  slot.begin(files)
  slot.run(
    Buffer.concat([say.parse('', 'create table p(n int)'), say.bind('', ''), say.execute('')]),
  )
  other.resume(files, slot.copy())
  other.unload()
  slot.run(say.sync())
  assert.equal(slot.transactionStatus, 'idle')
  assert.equal(valueOf(slot, 'select count(*) from p'), '0')
})
