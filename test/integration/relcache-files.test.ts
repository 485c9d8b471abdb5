/**
 * The relcache files of the template: a cold tenant starts with them as long as they describe its
 * catalogs, and never a moment longer.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Version } from '../../src/base/ids.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import {
  createEngine,
  type EngineParts,
  loadEngineParts,
} from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { RELCACHE_FILE } from '../../src/store/file-tree.ts'
import { MAIN } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import type { StoreView } from '../../src/store/view.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

let parts: EngineParts
let engine: WasmEngine
let slot: WasmSlot
before(async () => {
  parts = await loadEngineParts()
  engine = await createEngine(parts, { clock: systemClock, random: systemRandom })
  slot = await engine.createSlot()
})

function newStore(): Store {
  const { fingerprint, template } = engine
  const medium = NodeSqliteMedium.inMemory()
  return Store.open(medium, storeOptions(template, { clock: systemClock, fingerprint }))
}

const openFiles = (view: StoreView): TenantFiles =>
  TenantFiles.open(view, { template: engine.template, clock: systemClock })

/** Whose each relcache file is: the template's, this process's own, or nobody's. */
function relcacheFiles(files: TenantFiles): readonly string[] {
  const base = files.lookup(files.root, 'base')
  assert.ok(base)
  return [files.lookup(files.root, 'global'), files.lookup(base, '5')].map((folder) => {
    const file = folder && files.lookup(folder, RELCACHE_FILE)
    return file ? (file.ephemeral ? 'own' : 'template') : 'none'
  })
}

/** Boots what a store holds, runs, and ends cleanly; the tenant's relcache files in between. */
function visit(store: Store, use: () => void): readonly string[] {
  const files = openFiles(store.view())
  slot.boot(files)
  const found = relcacheFiles(files)
  use()
  slot.shutDown()
  files.commit()
  files.close()
  return found
}

/** Fails where a backend takes its own catalogs for something else. */
function useCatalogs(on: WasmSlot): void {
  runSql(on, 'create table if not exists probe(n int primary key)')
  const { error } = runSql(on, 'insert into probe select coalesce(max(n), 0) + 1 from probe')
  assert.equal(error, undefined)
  const different = `select count(*) from pg_class where relkind in ('r', 'i')
    and oid < 16384 and relfilenode <> 0 and relfilenode <> pg_relation_filenode(oid)`
  assert.equal(valueOf(on, different), '0')
  const sizes = 'select count(pg_relation_size(oid)) > 300 from pg_class where oid < 16384'
  assert.equal(valueOf(on, sizes), 't')
  assert.equal(valueOf(on, `select count(*) from pg_namespace where nspname = 'public'`), '1')
  assert.equal(valueOf(on, `select 1 = 1 and 'a' < 'b'`), 't')
}

const MANY_SCHEMAS = `select reltuples > 1e5 from pg_class where relname = 'pg_namespace'`

/** The planner takes it from the relcache, which a backend reads at its start. */
function expectsManySchemas(on: WasmSlot): boolean {
  const plan = valueOf(on, 'explain select * from pg_namespace') ?? ''
  return Number(/rows=(\d+)/.exec(plan)?.[1]) > 1e5
}

test('a cold tenant starts with those of the template, which cost it nothing', () => {
  const store = newStore()
  visit(store, () => useCatalogs(slot))
  for (let round = 0; round < 2; round++) {
    const found = visit(store, () => useCatalogs(slot))
    assert.deepEqual(found, ['template', 'template'])
  }
})

test('what changes the catalogs themselves removes them for good', () => {
  const changes = ['vacuum full pg_namespace', 'reindex table pg_opclass', 'vacuum pg_class']
  for (const change of changes) {
    const store = newStore()
    visit(store, () => {
      runSql(slot, 'create table t(n int); create index on t(n)')
      assert.equal(runSql(slot, change).error, undefined)
    })
    assert.equal(visit(store, () => useCatalogs(slot))[1], 'own', change)
    assert.equal(visit(store, () => useCatalogs(slot))[1], 'own', change)
  }
})

test('what somebody has written there is not kept', () => {
  const store = newStore()
  visit(store, () => useCatalogs(slot))
  visit(store, () => {
    for (const folder of ['global', 'base/5']) {
      const copy = `copy (select 'no relcache') to '/pglite/data/${folder}/${RELCACHE_FILE}'`
      assert.equal(runSql(slot, copy).error, undefined)
    }
  })
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(
      visit(store, () => useCatalogs(slot)),
      ['own', 'own'],
    )
  }
})

test('after a crash they are as true as all other files', () => {
  const store = newStore()
  visit(store, () => runSql(slot, 'create table t(n int)'))
  const files = openFiles(store.view())
  slot.boot(files)
  runSql(slot, 'insert into t values (1)')
  files.commit()
  // The process dies here.
  slot.unload()
  files.close()
  const found = visit(store, () => {
    assert.equal(valueOf(slot, 'select n from t'), '1')
    useCatalogs(slot)
  })
  assert.deepEqual(found, ['template', 'template'])
})

test('a crash in the middle of what changes the catalogs leaves none that lies', async () => {
  const options = { clock: systemClock, random: systemRandom, dirtyBytesMax: 0 }
  const piecemeal = await (await createEngine(parts, options)).createSlot()
  const changes = [
    'vacuum full pg_namespace',
    'reindex table pg_opclass',
    // It removes them when it is committed, and not before.
    `update pg_class set reltuples = 1e6 where relname = 'pg_namespace'`,
  ]
  for (const change of changes) {
    const store = newStore()
    visit(store, () => useCatalogs(slot))
    const files = openFiles(store.view())
    piecemeal.boot(files)
    const first = store.head()
    assert.equal(runSql(piecemeal, change).error, undefined)
    files.commit()
    piecemeal.unload()
    files.close()
    const last = store.head()
    assert.ok(last > first + 1, `${last - first} moments to crash at`)
    for (let version = first; version <= last; version++) {
      const past = openFiles(store.view(MAIN, version as Version))
      slot.boot(past)
      useCatalogs(slot)
      const moment = `${change}, ${version - first} of ${last - first}`
      assert.equal(expectsManySchemas(slot), valueOf(slot, MANY_SCHEMAS) === 't', moment)
      slot.unload()
      past.close()
    }
  }
})

test('a statement that is committed in pieces leaves them where they were', async () => {
  const options = { clock: systemClock, random: systemRandom, dirtyBytesMax: 2 ** 18 }
  const small = await (await createEngine(parts, options)).createSlot()
  const store = newStore()
  visit(store, () => runSql(slot, 'create table t(n int, b text)'))
  const files = openFiles(store.view())
  small.boot(files)
  const before = store.head()
  runSql(small, `insert into t select i, repeat('x', 500) from generate_series(1, 9000) i`)
  assert.ok(store.head() > before + 5, 'committed in several pieces')
  const midway = openFiles(store.view(MAIN, store.head()))
  assert.deepEqual(relcacheFiles(midway), ['none', 'none'])
  midway.close()
  files.commit()
  small.unload()
  files.close()
  const found = visit(store, () => assert.equal(valueOf(slot, 'select count(*) from t'), '9000'))
  assert.deepEqual(found, ['template', 'template'])
})
