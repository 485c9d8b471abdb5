/**
 * What a tenant's database is called: by its tenant's name, in whatever way Postgres is asked and
 * wherever the tenant comes from, and nothing of it is in its files.
 */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

let engine: WasmEngine
before(async () => {
  engine = await verifyingEngine()
})

/** A store whose files can be opened again and again, as after a crash or a restart. */
function newStore(): { open: () => TenantFiles; store: Store } {
  const store = Store.open(NodeSqliteMedium.inMemory(), storeOptions(engine.template))
  const open = (): TenantFiles =>
    TenantFiles.open(store.view(), { template: store.template, clock: systemClock })
  return { open, store }
}

const LONGEST = `z${'-_9'.repeat(30)}`.slice(0, 63)
/** Before, between and after the templates in order, and as long as can be. */
const NAMES = ['a', '0', 'acme', 'my-app_2', 'template', 'template00', 'zoo', LONGEST, 'postgres']

const ASKED: readonly string[] = [
  'select current_database()',
  'select current_catalog',
  'select datname from pg_database where oid = 5',
  'select datname from pg_stat_database where datid = 5',
  `select distinct table_catalog from information_schema.tables`,
  'select catalog_name from information_schema.information_schema_catalog_name',
  'select distinct datname from pg_stat_activity where datid is not null',
]

/** It is called so by whatever names it, through either index and without. */
function assertCalled(slot: WasmSlot, name: string): void {
  for (const sql of ASKED) assert.equal(valueOf(slot, sql), name, sql)
  const names = [name, 'template0', 'template1'].toSorted()
  for (const how of ['enable_seqscan', 'enable_indexscan']) {
    runSql(slot, `set ${how} = off`)
    const { result } = runSql(slot, 'select datname from pg_database order by datname')
    assert.deepEqual(result.rows.flat(), names, `with ${how} off`)
    assert.equal(valueOf(slot, `select oid from pg_database where datname = '${name}'`), '5')
    runSql(slot, `reset ${how}`)
  }
  assert.equal(valueOf(slot, `select has_database_privilege('${name}', 'CONNECT')`), 't')
  const other = name === 'postgres' ? 'acme' : 'postgres'
  assert.equal(runSql(slot, `select pg_database_size('${other}')`).error?.sqlState, '3D000')
  const { error } = runSql(slot, `set role nobody; select 1`)
  assert.equal(error?.sqlState, '22023')
}

/** Postgres's own proof that the index is as it should be. */
function assertSound(slot: WasmSlot): void {
  runSql(slot, 'create extension if not exists amcheck')
  const check = `select bt_index_parent_check(c.oid, true, true, true) from pg_class c
    where relname in ('pg_database_datname_index', 'pg_database_oid_index')`
  assert.equal(runSql(slot, check).error, undefined)
}

describe('a new tenant and a cold one', () => {
  for (const name of NAMES) {
    test(`"${name}"`, async () => {
      const { open } = newStore()
      const slot = await engine.createSlot()
      slot.begin(open(), name)
      assertCalled(slot, name)
      assertSound(slot)
      slot.unload()
      const cold = await engine.createSlot()
      cold.boot(open(), name)
      assertCalled(cold, name)
      assertSound(cold)
    })
  }
})

/** What statements about a database write to its row, and what moves it elsewhere. */
const WRITES: Readonly<Record<string, readonly string[]>> = {
  nothing: [],
  'a table': ['drop table if exists t; create table t (n int)'],
  'its row': [
    `do $$ begin create role reader; exception when duplicate_object then end $$`,
    'grant connect on database NAME to reader',
    'alter database NAME connection limit 7',
    `alter database NAME set work_mem = '1MB'`,
    `comment on database NAME is 'mine'`,
  ],
  'its row, often': Array.from(
    { length: 120 },
    (_, n) => `alter database NAME connection limit ${n}`,
  ),
  'its row, often, in one transaction': [
    `do $$ begin for n in 1..300 loop
       execute format('alter database %I connection limit %s', current_database(), n);
     end loop; end $$`,
  ],
  'its frozen row': ['vacuum freeze pg_database'],
  'another file of rows': ['vacuum full pg_database'],
  'another index': ['reindex table pg_database'],
  'rows that are read from the file again': [
    'drop table if exists t',
    'create table t as select g, repeat($$x$$, 900) from generate_series(1, 9000) g',
    'select count(*) from t',
  ],
}

describe('whatever was written to the catalog', () => {
  for (const [what, statements] of Object.entries(WRITES)) {
    test(what, async () => {
      const { open, store } = newStore()
      const write = (slot: WasmSlot, name: string): void => {
        for (const sql of statements) {
          const { error } = runSql(slot, sql.replaceAll('NAME', `"${name}"`))
          assert.equal(error, undefined, `${sql}: ${error?.message}`)
        }
      }
      const slot = await engine.createSlot()
      const files = open()
      slot.begin(files, 'acme')
      write(slot, 'acme')
      files.commit()
      assertCalled(slot, 'acme')
      const image = slot.nap()
      assert.equal(image.database, 'acme')
      slot.resume(files, image)
      runSql(slot, 'checkpoint')
      assertCalled(slot, 'acme')
      slot.unload()
      for (const [name, end] of [
        ['acme', 'crash'],
        ['beta', 'crash'],
        ['zeta', 'shutdown'],
        [LONGEST, 'crash'],
        ['0', 'shutdown'],
        ['postgres', 'crash'],
        ['acme', 'shutdown'],
      ]) {
        assert.ok(name)
        const again = open()
        const cold = await engine.createSlot()
        cold.boot(again, name)
        assertCalled(cold, name)
        assertSound(cold)
        write(cold, name)
        assertCalled(cold, name)
        assertSound(cold)
        if (end === 'shutdown') cold.shutDown()
        again.commit()
        again.close()
      }
      assert.deepEqual([...store.damage(), ...store.verify()], [])
    })
  }
})

test('where somebody has filled the index, it keeps the name that it had', async () => {
  const { open } = newStore()
  const row = `jsonb_build_object('oid', 20000 + n, 'datname', 'x' || n)`
  const fill = `insert into pg_database select (jsonb_populate_record(d, ${row})).*
    from pg_database d, generate_series(1, 900) n where d.oid = 5`
  const boot = async (asked: string, named: string): Promise<[TenantFiles, WasmSlot]> => {
    const files = open()
    const cold = await engine.createSlot()
    cold.boot(files, asked)
    assert.equal(valueOf(cold, 'select current_database()'), named)
    assert.equal(valueOf(cold, `select oid from pg_database where datname = '${named}'`), '5')
    assertSound(cold)
    return [files, cold]
  }
  const [files, first] = await boot('acme', 'acme')
  assert.equal(runSql(first, fill).error, undefined)
  files.commit()
  const [again, second] = await boot('acme', 'acme')
  second.shutDown()
  again.commit()
  await boot('acme', 'acme')
  await boot('beta', 'acme')
})
