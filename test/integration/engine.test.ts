/**
 * The engine with the real module: boots, isolation, equality with stock PGlite, limits,
 * extensions.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { PgnapError } from '../../src/base/errors.ts'
import { concatBytes } from '../../src/base/bytes.ts'
import { START_PARAMETERS } from '../../src/engine/recipe.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { BACKEND, frameEnd } from '../../src/front/wire/frame.ts'
import { queryMessage, queryMessages, readAnswer } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import {
  createEngine,
  type EngineParts,
  loadEngineParts,
} from '../../src/host/node/engine/load-engine.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { Store } from '../../src/store/store.ts'
import { FileError, TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, say, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

let parts: EngineParts
let engine: WasmEngine

before(async () => {
  parts = await loadEngineParts()
  engine = await createEngine(parts, { clock: systemClock, random: systemRandom })
})

const newTenant = (): TenantFiles =>
  TenantFiles.inMemory({ template: engine.template, clock: systemClock })

/** Byte positions of `needle` in memory, at most one. */
const find = (memory: WebAssembly.Memory, needle: string): number =>
  Buffer.from(memory.buffer).indexOf(needle)

/** Without ParameterStatus, which stock PGlite never says. */
function withoutReports(answer: Uint8Array): Buffer {
  const parts: Uint8Array[] = []
  for (let at = 0; at < answer.length;) {
    const end = frameEnd(answer, at, answer.length)
    if (answer[at] !== BACKEND.parameterStatus) parts.push(answer.subarray(at, end))
    at = end
  }
  return Buffer.concat(parts)
}

test('answers are byte for byte those of stock PGlite', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  const stock = await PGlite.create({
    initDbStartParams: ['--wal-segsize=1'],
    startParams: [...START_PARAMETERS],
  })
  const copyData = say.copyData('1\ta\n2\tb\n')
  const cases: Record<string, Uint8Array> = {
    'a row': queryMessage('select 1 as one, null as nothing'),
    'several statements': queryMessage('select 1; select 2; select 3'),
    nothing: queryMessage(''),
    DDL: queryMessage('create table t(a int primary key, b text)'),
    'an insert': queryMessage("insert into t values (10, 'x') returning 1 as one"),
    'a notice': queryMessage('drop table if exists no_such_table'),
    'a notice from plpgsql': queryMessage("do $$ begin raise notice 'hi %', 1; end $$"),
    'a syntax error': queryMessage('selec 1'),
    'a constraint': queryMessage('insert into t values (10)'),
    'an error in a transaction': queryMessage('begin; select 1/0; select 2'),
    'a failed transaction': queryMessage('select 1'),
    'its end': queryMessage('rollback'),
    extended: queryMessages('select $1::int + 1, $2::text', ['41', 'x']),
    'an error in a pipeline': concatBytes([
      queryMessages('select 1/$1::int', ['0']),
      queryMessages('select $1::int', ['5']),
    ]),
    'COPY in': concatBytes([queryMessage('copy t from stdin'), copyData, say.copyDone()]),
    'COPY failed': concatBytes([queryMessage('copy t from stdin'), say.copyFail('no')]),
    'COPY out': queryMessage('copy t to stdout'),
    'three megabytes': queryMessage("select repeat('x', 1000000) from generate_series(1, 3)"),
  }
  for (const [name, request] of Object.entries(cases)) {
    const expected = Buffer.from(stock.execProtocolRawSync(request)).toString('latin1')
    const actual = withoutReports(slot.run(request)).toString('latin1')
    assert.equal(actual, expected, name)
  }
  await stock.close()
})

test('nothing of a tenant stays in a slot that boots another', async () => {
  const slot = await engine.createSlot()
  const secret = `secret-${Math.random().toString(36).slice(2)}`
  const first = newTenant()
  slot.boot(first)
  runSql(slot, `create table diary(t text); insert into diary values ('${secret}')`)
  runSql(slot, `set application_name = '${secret}'; prepare p as select '${secret}'`)
  assert.notEqual(find(slot.interruptFlags.memory, secret), -1)
  slot.unload()
  slot.boot(newTenant())
  assert.equal(find(slot.interruptFlags.memory, secret), -1)
  assert.equal(runSql(slot, 'select * from diary').error?.sqlState, '42P01')
  assert.equal(valueOf(slot, 'show application_name'), '')
  slot.unload()
  slot.boot(first)
  assert.equal(valueOf(slot, 'select t from diary'), secret)
})

test('a slot boots many times and stays reusable', async () => {
  const slot = await engine.createSlot()
  const files = newTenant()
  const memoryBytes = slot.memoryBytes
  for (let round = 1; round <= 20; round++) {
    slot.boot(files)
    if (round === 1) runSql(slot, 'create table t(a int)')
    runSql(slot, `insert into t values (${round})`)
    assert.equal(valueOf(slot, 'select count(*) from t'), String(round))
    slot.unload()
  }
  assert.equal(slot.reusable, true)
  assert.equal(slot.memoryBytes, memoryBytes)
})

test('a shutdown leaves nothing to recover: unlogged rows and sequences stay', async () => {
  const slot = await engine.createSlot()
  const files = newTenant()
  slot.boot(files)
  runSql(slot, 'create table t(id serial); create unlogged table u(a int)')
  runSql(slot, 'insert into u values (1)')
  for (const id of ['1', '2', '3']) {
    assert.equal(valueOf(slot, 'insert into t default values returning id'), id)
    runSql(slot, 'begin')
    runSql(slot, 'insert into u values (2)')
    slot.shutDown()
    slot.boot(files)
    assert.equal(valueOf(slot, 'select string_agg(a::text, $$,$$) from u'), '1')
    assert.equal(valueOf(slot, 'select count(*) from pg_ls_dir($$pg_stat$$)'), '0')
  }
  slot.unload()
  slot.boot(files)
  assert.equal(valueOf(slot, 'select count(*) from u'), '0', 'as after a crash')
  assert.equal(slot.reusable, true)
})

test('transaction status follows the backend', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  runSql(slot, 'begin')
  assert.equal(slot.transactionStatus, 'transaction')
  runSql(slot, 'select 1/0')
  assert.equal(slot.transactionStatus, 'failed')
  runSql(slot, 'rollback')
  assert.equal(slot.transactionStatus, 'idle')
})

test('beyond the memory ceiling: 53200, the backend lives, the slot retires', async () => {
  const small = await createEngine(parts, {
    clock: systemClock,
    random: systemRandom,
    slotMemoryBytesMax: 64 * 2 ** 20,
    slotRetireBytes: 48 * 2 ** 20,
  })
  const slot = await small.createSlot()
  slot.boot(newTenant())
  assert.equal(slot.reusable, true)
  const { error } = runSql(slot, "select length(repeat('x', 200000000))")
  assert.equal(error?.sqlState, '53200')
  assert.equal(valueOf(slot, 'select 1'), '1')
  runSql(slot, "select length(repeat('x', 25000000))")
  assert.ok(slot.memoryBytes <= 64 * 2 ** 20)
  assert.equal(slot.reusable, false)
})

test('an answer beyond its limit is an error, not a crash of the process', async () => {
  const small = await createEngine(parts, {
    clock: systemClock,
    random: systemRandom,
    answerBytesMax: 100_000,
  })
  const slot = await small.createSlot()
  slot.boot(newTenant())
  assert.throws(
    () => runSql(slot, 'select generate_series(1, 1000000)'),
    (error) => error instanceof PgnapError && error.code === 'ANSWER_TOO_LARGE',
  )
})

test('a backend that exits loses its slot and says why', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  // A message of no type that there is: FATAL, wherever it comes from.
  assert.throws(
    () => slot.run(Uint8Array.of(0x21, 0, 0, 0, 4)),
    (error) =>
      error instanceof PgnapError &&
      error.code === 'SLOT_LOST' &&
      error.sqlState === '57P01' &&
      /invalid frontend message type 33/.test(error.message),
  )
  assert.equal(slot.reusable, false)
  assert.throws(() => runSql(slot, 'select 1'), /not broken/)
})

test('a store that fails under a page fault fails the run with its own error', async () => {
  const slot = await engine.createSlot()
  const files = newTenant()
  slot.boot(files)
  runSql(slot, 'create table t(a int); insert into t select generate_series(1, 100); checkpoint')
  slot.unload()
  slot.boot(files)
  const failure = new PgnapError('STORE_IO', 'the disk said no')
  const read = files.read.bind(files)
  files.read = () => {
    throw failure
  }
  assert.throws(() => runSql(slot, 'select count(*) from t'), failure)
  files.read = read
  assert.equal(slot.reusable, false)
})

test('a file error of the tree is an errno for Postgres, not a fault of the slot', async () => {
  const slot = await engine.createSlot()
  const files = newTenant()
  slot.boot(files)
  assert.throws(() => files.unlink(files.root, 'no such file'), FileError)
  const { error } = runSql(slot, "select pg_read_file('no such file')")
  assert.equal(error?.sqlState, '58P01')
  assert.equal(valueOf(slot, 'select 1'), '1')
})

/** Raises the cancel flag from another thread after a while, as the main thread does. */
const cancelSoon = (slot: WasmSlot, afterMs: number): Worker => {
  const url = new URL('../../src/engine/interrupts.ts', import.meta.url).href
  const code = `
    const { workerData } = require('node:worker_threads')
    import(workerData.url).then(({ requestCancel }) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, workerData.afterMs)
      requestCancel(workerData.flags)
    })`
  return new Worker(code, { eval: true, workerData: { url, afterMs, flags: slot.interruptFlags } })
}

for (const [what, sql] of Object.entries({
  'a sleep': 'select pg_sleep(60)',
  'a computing loop': 'select count(*) from generate_series(1, 2000000000)',
  'a plpgsql loop': 'do $$ begin loop null; end loop; end $$',
})) {
  test(`another thread cancels ${what}`, async () => {
    const slot = await engine.createSlot()
    slot.boot(newTenant())
    const worker = cancelSoon(slot, 50)
    const { error } = runSql(slot, sql)
    assert.equal(error?.sqlState, '57014')
    assert.equal(valueOf(slot, 'select 1'), '1')
    await worker.terminate()
  })
}

test('nothing outside PGDATA can be made, changed or removed', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  runSql(slot, "select lo_from_bytea(4711, 'secret')")
  const targets = [
    '/tmp/x.csv',
    '/x',
    '/home/postgres/x',
    '/pglite/share/postgresql/extension/hstore--1.4.sql',
    '/pglite/lib/postgresql/hstore.so',
    '/pglite/bin/postgres',
    '/dev/shm/x',
    '/dev/x',
  ]
  for (const path of targets) {
    const { error } = runSql(slot, `copy (select 'secret') to '${path}'`)
    assert.ok(error, path)
    const exported = runSql(slot, `select lo_export(4711, '${path}')`)
    assert.ok(exported.error, path)
  }
  // Inside PGDATA it may: there it is the tenant's own, and goes with it.
  assert.equal(runSql(slot, "copy (select 'mine') to '/pglite/data/mine.csv'").error, undefined)
  assert.equal(valueOf(slot, "select pg_read_file('mine.csv')"), 'mine\n')
  slot.unload()
  slot.boot(newTenant())
  assert.equal(runSql(slot, "select pg_read_file('mine.csv')").error?.sqlState, '58P01')
})

test('shared memory files are few, small, and gone with the tenant', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  const path = '/dev/shm/PostgreSQL.4711'
  runSql(slot, "select lo_from_bytea(4711, 'secret')")
  assert.equal(runSql(slot, `select lo_export(4711, '${path}')`).error, undefined)
  const big = `copy (select repeat('x', 1000000) from generate_series(1, 20)) to '${path}'`
  assert.ok(runSql(slot, big).error)
  for (let no = 1; no < 20; no++) runSql(slot, `copy (select 1) to '/dev/shm/PostgreSQL.${no}'`)
  assert.ok(runSql(slot, "copy (select 1) to '/dev/shm/PostgreSQL.99'").error)
  slot.unload()
  slot.boot(newTenant())
  assert.equal(runSql(slot, `select pg_read_file('${path}')`).error?.sqlState, '58P01')
})

test('code that a tenant brought along is never loaded', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  // A real side module, so that nothing but the wall can be what refuses it.
  const library = '/pglite/lib/postgresql/citext.so'
  runSql(slot, `select lo_from_bytea(4711, pg_read_binary_file('${library}'))`)
  const exported = runSql(slot, "select lo_export(4711, '/pglite/data/mine.so')")
  assert.equal(exported.error, undefined)
  for (const path of ['/pglite/data/mine.so', './mine.so', '$libdir/../../data/mine.so']) {
    const { error } = runSql(slot, `load '${path}'`)
    assert.match(String(error?.message), /could not (load library|access file)/, path)
  }
  assert.equal(runSql(slot, "load 'citext'").error, undefined)
  assert.equal(runSql(slot, "copy (select 1) to program 'cat'").result.command, '')
})

test('beyond the dirty limit a statement is committed in pieces, undone by recovery', async () => {
  const small = await createEngine(parts, {
    clock: systemClock,
    random: systemRandom,
    dirtyBytesMax: 2 ** 20,
  })
  const slot = await small.createSlot()
  using medium = NodeSqliteMedium.inMemory()
  const { fingerprint, template } = small
  const store = Store.open(medium, storeOptions(template, { clock: systemClock, fingerprint }))
  const open = (): TenantFiles => TenantFiles.open(store.view(), { template, clock: systemClock })
  let files = open()
  slot.boot(files)
  runSql(slot, 'create table t(a int, b text); insert into t values (0, 0)')
  files.commit()
  const before = store.head()
  runSql(slot, 'begin')
  runSql(slot, "insert into t select i, repeat('x', 500) from generate_series(1, 30000) i")
  assert.ok(store.head() > before + 5, 'committed in several pieces')
  assert.ok(files.dirtyBytes <= 2 ** 20)
  // The process dies here: the transaction never committed.
  slot.unload()
  files.close()
  files = open()
  slot.boot(files)
  assert.equal(valueOf(slot, 'select count(*) from t'), '1')
})

test('what settings go back to is read where Postgres has it, of all of them', async () => {
  const slot = await engine.createSlot()
  slot.boot(newTenant())
  const compare = (): number => {
    const answer = slot.run(queryMessage(`select name, reset_val, vartype from pg_settings`))
    const { rows } = readAnswer(answer).result
    for (const [name = '', value, type] of rows) {
      assert.equal(slot.session.defaultOf(name ?? ''), value ?? '', `${name}, a ${type}`)
    }
    return rows.length
  }
  assert.ok(compare() > 300)
  // Those of whoever has the backend, of each type.
  const given = {
    application_name: 'me',
    work_mem: '9MB',
    random_page_cost: '1.00000125e-05',
    seq_page_cost: '12345678',
    cpu_tuple_cost: '0.000123456789',
    jit: 'off',
    bytea_output: 'escape',
    datestyle: 'German',
  }
  slot.session.setDefaults(new Map(Object.entries(given)))
  slot.run(say.sync())
  compare()
  assert.equal(slot.session.defaultOf('random_page_cost'), '1e-05')
  assert.equal(slot.session.defaultOf('DateStyle'), 'German, DMY')
  for (const unlisted of ['no_such_setting', 'my.own', 'is_superuser']) {
    assert.equal(slot.session.defaultOf(unlisted), undefined, unlisted)
  }
})
