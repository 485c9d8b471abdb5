/**
 * Rows of other databases in a scan of `pg_database`, with the real engine: who sees them, in which
 * direction, and what they must never do to the memory and the files that they are not in.
 */
import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { PgnapError } from '../../src/base/errors.ts'
import type { OtherDatabases } from '../../src/engine/database-sight.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { queryMessage, readAnswer } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql } from '../support/messages.ts'

let engine: WasmEngine
let slot: WasmSlot
let files: TenantFiles
before(async () => {
  engine = await verifyingEngine()
})
beforeEach(async () => {
  slot = await engine.createSlot()
  files = TenantFiles.inMemory({ template: engine.template, clock: systemClock })
  slot.begin(files, 'acme')
})

const OTHERS: OtherDatabases = { names: () => ['beta', 'gamma'], bytesOf: () => undefined }
const OWN = ['acme', 'template1', 'template0']
const ALL = [...OWN, 'beta', 'gamma']

/** First column, for a session that sees others. */
function seen(sql: string, others: OtherDatabases = OTHERS): (string | null | undefined)[] {
  const { error, result } = readAnswer(slot.run(queryMessage(sql), 0, others))
  assert.equal(error, undefined, `${sql}: ${error?.message}`)
  return result.rows.map(([first]) => first)
}

test('one session sees them, the next one does not, in the same backend', () => {
  const sql = 'select datname from pg_database'
  runSql(slot, `prepare listed as ${sql}`)
  for (let round = 0; round < 8; round++) {
    assert.deepEqual(seen('execute listed'), ALL)
    assert.deepEqual(runSql(slot, 'execute listed').result.rows.flat(), OWN)
  }
  assert.deepEqual(seen(sql, { ...OTHERS, names: () => [] }), OWN)
})

test('a cursor goes through them both ways, and keeps its tenant in the slot', () => {
  seen('begin; declare c scroll cursor for select datname from pg_database')
  const walk: [string, readonly string[]][] = [
    ['fetch 4 from c', ALL.slice(0, 4)],
    ['fetch backward 2 from c', ['template0', 'template1']],
    ['fetch all from c', ALL.slice(2)],
    ['fetch next from c', []],
    ['fetch backward all from c', ALL.toReversed()],
    ['fetch absolute 4 from c', ['beta']],
    ['fetch prior from c', ['template0']],
    ['fetch last from c', ['gamma']],
  ]
  for (const [sql, expected] of walk) assert.deepEqual(seen(sql), expected, sql)
  assert.equal(slot.canNap, false)
  seen('commit')
  assert.equal(slot.canNap, true)
})

test('an error in the middle of a scan leaves nothing of it', () => {
  const failing = `select 1 / (case datname when 'beta' then 0 else 1 end) from pg_database`
  seen('begin; savepoint a')
  assert.equal(readAnswer(slot.run(queryMessage(failing), 0, OTHERS)).error?.sqlState, '22012')
  seen('rollback to a')
  assert.deepEqual(seen('select datname from pg_database'), ALL)
  seen('commit')
  assert.equal(slot.canNap, true)
  slot.resume(files, slot.nap())
  assert.deepEqual(seen('select datname from pg_database'), ALL)
})

test('scans inside of scans, again and again', () => {
  assert.deepEqual(
    seen(`select count(*) from pg_database a, lateral
      (select from pg_database b where b.datname >= a.datname offset 0) c`),
    ['15'],
  )
  seen('create table kept as select datname from pg_database')
  assert.equal(runSql(slot, 'select count(*) from kept').result.rows[0]?.[0], '5')
})

test('nothing of them is in the table: not after it was rewritten, nor in another backend', () => {
  for (const sql of ['vacuum full pg_database', 'reindex table pg_database', 'checkpoint'])
    seen(sql)
  assert.deepEqual(seen('select datname from pg_database'), ALL)
  slot.shutDown()
  slot.boot(files, 'acme')
  const { result } = runSql(
    slot,
    'select datname, pg_relation_size(1262) from pg_database order by 1',
  )
  const names = result.rows.map(([name]) => name)
  assert.deepEqual(names, ['acme', 'template0', 'template1'])
  assert.equal(result.rows[0]?.[1], '8192')
})

test('amcheck finds every row of the table in its indexes, and no other', () => {
  for (const sql of ['create extension amcheck', 'vacuum pg_database', 'reindex table pg_database'])
    seen(sql)
  const indexes = `(values ('pg_database_datname_index'), ('pg_database_oid_index')) i(name)`
  seen(`begin; select bt_index_parent_check(name::regclass, true, true, true) from ${indexes}`)
  assert.equal(seen('select count(*) from verify_heapam(1262)')[0], '0')
  assert.deepEqual(new Set(seen('select datname from pg_database')), new Set(ALL))
  seen('commit')
})

test('a host that cannot tell who is there fails the statement, and costs the slot', () => {
  const error = new PgnapError('STORE_IO', 'the folder cannot be read')
  const broken: OtherDatabases = {
    ...OTHERS,
    names: () => {
      throw error
    },
  }
  assert.throws(() => seen('select datname from pg_database', broken), error)
  assert.equal(slot.reusable, false)
})
