import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../src/base/clock.ts'
import { PgnapError } from '../../src/base/errors.ts'
import type { Fingerprint, InodeNo, LayerId, PageKey, Version } from '../../src/base/ids.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'
import type { StoreChanges } from '../../src/store/commit.ts'
import { ROOT_INODE } from '../../src/store/file-node.ts'
import { encodeRecord } from '../../src/store/inode-record.ts'
import { FIRST_TENANT_INODE, INODES_MAX, MAIN, chunkKey, recordKey } from '../../src/store/keys.ts'
import type { StoreEngine } from '../../src/store/store.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { newFile } from '../support/new-file.ts'
import { storeOptions } from '../support/store-options.ts'

const template = Template.empty()
const KEY = chunkKey(FIRST_TENANT_INODE, 0)

function open(medium: Medium, clock = new ManualClock(), other: Partial<StoreEngine> = {}): Store {
  const options = storeOptions(template, { clock, fingerprint: 'one' })
  return Store.open(medium, { ...options, engine: { ...options.engine, ...other } })
}

const put = (byte: number, key: PageKey = KEY): StoreChanges => ({
  puts: [{ key, data: new Uint8Array(5000).fill(byte) }],
  deletions: [],
})

/** As `put`, for the first commit of a layer: chunks need a file that they belong to. */
function firstCommit(byte: number): StoreChanges {
  const data = encodeRecord({
    mode: 0o100600,
    sizeBytes: 8192 * 16_000,
    baseBytes: 0,
    chunkBytes: 8192,
    modifiedMs: 0,
    parent: ROOT_INODE,
    name: 'file',
  })
  const record = { key: recordKey(FIRST_TENANT_INODE), data }
  const nextInode = (FIRST_TENANT_INODE + 1) as InodeNo
  return { puts: [record, ...put(byte).puts], deletions: [], nextInode }
}

test('a store of another major, template or format is refused with what to do', () => {
  const medium = NodeSqliteMedium.inMemory()
  open(medium)
  const dump = { code: 'STORE_ENGINE_MISMATCH', hint: /pgnap@VERSION dump .*: pgnap restore / }
  assert.throws(() => open(medium, undefined, { postgresMajor: 19 }), dump)
  const none = { get: (): undefined => undefined }
  const options = { ...storeOptions(template, { fingerprint: 'one' }), templates: none }
  assert.throws(() => Store.open(medium, options), dump)
  open(medium, undefined, { fingerprint: 'two' as Fingerprint })
  medium.run(`UPDATE meta SET v = 99 WHERE k = 'format'`)
  assert.throws(() => open(medium), { code: 'STORE_FORMAT_UNKNOWN' })
})

test('the fingerprint that wrote last is kept', () => {
  const medium = NodeSqliteMedium.inMemory()
  open(medium).commit(MAIN, 0 as Version, firstCommit(1))
  const store = open(medium, undefined, { fingerprint: 'two' as Fingerprint })
  assert.equal(store.inspect().meta.fingerprint, 'one')
  store.commit(MAIN, 1 as Version, put(2))
  assert.equal(store.inspect().meta.fingerprint, 'two')
  assert.equal(store.inspect().meta.epoch, 2)
})

test('of two owners, the one that wrote first after both opened fences the other', () => {
  const medium = NodeSqliteMedium.inMemory()
  const first = open(medium)
  const second = open(medium)
  first.commit(MAIN, 0 as Version, firstCommit(1))
  assert.throws(() => second.commit(MAIN, 0 as Version, put(2)), { code: 'STORE_FENCED' })
  const third = open(medium)
  third.branch(MAIN)
  for (const act of [
    () => first.commit(MAIN, 1 as Version, put(3)),
    () => first.branch(MAIN),
    () => first.restore(MAIN, 0 as Version),
  ]) {
    assert.throws(act, { code: 'STORE_FENCED' })
  }
  assert.deepEqual(third.verify(), [])
  assert.equal(third.head(), 1)
})

test("an owner that wrote between another's opening and first write is noticed", () => {
  const medium = NodeSqliteMedium.inMemory()
  const first = open(medium)
  first.commit(MAIN, 0 as Version, firstCommit(1))
  const second = open(medium)
  first.commit(MAIN, 1 as Version, put(2))
  assert.throws(() => second.branch(MAIN), { code: 'STORE_FENCED' })
  // It has looked again, and may take over now, on what is really there.
  assert.equal(second.commit(MAIN, 2 as Version, put(3)), 3)
  assert.throws(() => first.commit(MAIN, 2 as Version, put(4)), { code: 'STORE_FENCED' })
})

test('layer ids are never given twice and reach their limit with a clear error', () => {
  const medium = NodeSqliteMedium.inMemory()
  let store = open(medium)
  const child = store.branch(MAIN)
  store.drop(child)
  assert.equal(store.branch(MAIN), child + 1)
  medium.run(`UPDATE meta SET v = ?1 WHERE k = 'next_layer'`, 2 ** 19 - 2)
  store = open(medium)
  const last = store.branch(MAIN, { name: 'last' })
  assert.equal(store.commit(last, 0 as Version, firstCommit(7)), 1)
  using view = store.view(last, 1 as Version)
  assert.equal(view.read(KEY)?.[0], 7)
  assert.throws(() => store.branch(MAIN), { code: 'STORE_FULL' })
  assert.throws(() => store.branch(MAIN, { name: 'last' }), { code: 'TENANT_EXISTS' })
  assert.deepEqual(store.verify(), [])
})

test('a dropped layer that others stand on goes with the last of them', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  const middle = store.branch(MAIN, { name: 'middle' })
  store.commit(middle, 0 as Version, put(1))
  const leaf = store.branch(middle)
  store.drop(middle)
  assert.equal(store.findLayer('middle'), undefined)
  assert.deepEqual(
    store.layers().map((layer) => layer.id),
    [MAIN, leaf],
  )
  store.drop(leaf)
  assert.deepEqual(
    store.inspect().layers.map((layer) => layer.id),
    [MAIN],
  )
  assert.equal(medium.get('SELECT count(*) FROM page')?.[0], 0)
})

test('a view of the past keeps its version through a prune, and lets it go', () => {
  const clock = new ManualClock()
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium, clock)
  for (let version = 0; version < 10; version++) {
    clock.advance(1000)
    store.commit(MAIN, version as Version, put(version + 1))
  }
  const view = store.view(MAIN, 5 as Version)
  while (store.prune(2000).more);
  assert.equal(view.read(KEY)?.[0], 5)
  assert.equal(store.layers()[0]?.floor, 8)
  assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 3)
  view[Symbol.dispose]()
  while (store.prune(2000).more);
  assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 2)
  assert.equal(medium.get('SELECT count(*) FROM log')?.[0], 2)
  assert.throws(() => store.view(MAIN, 5 as Version), { code: 'VERSION_NOT_RETAINED' })
  const startMs = new ManualClock().nowMs()
  assert.equal(store.versionAt(MAIN, startMs + 8500), 8)
  const tooEarly = { code: 'VERSION_NOT_RETAINED', detail: /versions 8 to 10/ }
  assert.throws(() => store.versionAt(MAIN, startMs + 7999), tooEarly)
  assert.equal(store.prune(2000).rows, 0)
})

test('what only a branch needed goes after the branch', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  for (let version = 0; version < 4; version++) {
    store.commit(MAIN, version as Version, put(version + 1))
  }
  const child = store.branch(MAIN, { version: 2 as Version })
  while (store.pruneLayer(MAIN, 4 as Version).more);
  assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 1)
  using view = store.view(MAIN, 2 as Version)
  assert.equal(view.read(KEY)?.[0], 2)
  view[Symbol.dispose]()
  store.drop(child)
  while (store.pruneLayer(MAIN, 4 as Version).more);
  assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 0)
  assert.equal(medium.get('SELECT count(*) FROM log')?.[0], 1)
})

test('the log row of a head goes once it is no longer the head', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  for (let version = 0; version < 5; version++) {
    store.commit(MAIN, version as Version, put(version + 1))
    while (store.pruneLayer(MAIN, store.head()).more);
    assert.equal(medium.get('SELECT count(*) FROM log')?.[0], 1)
    assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 0)
  }
  assert.equal(open(medium).head(), 5)
})

test('a file that becomes temporary and comes back brings none of its old rows', () => {
  const store = open(NodeSqliteMedium.inMemory())
  const options = { template, clock: new ManualClock() }
  let files = TenantFiles.open(store.view(), options)
  const node = newFile(files, 'file', 30_000, 1)
  files.commit()
  files.rename(node, files.root, 'file', files.root, 'pgsql_tmp1')
  files.truncate(node, 10)
  files.truncate(node, 30_000)
  files.rename(node, files.root, 'pgsql_tmp1', files.root, 'file')
  files.commit()
  files.close()
  files = TenantFiles.open(store.view(), options)
  const again = files.lookup(files.root, 'file')
  assert.ok(again)
  const read = new Uint8Array(30_000)
  assert.equal(files.read(again, read, 0, 30_000, 0), 30_000)
  assert.deepEqual([read[9], read[10], read[20_000]], [1, 0, 0])
})

test('a commit too large to list is found again by searching', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  const keys = [0, 3, 6].map((chunk) => chunkKey(FIRST_TENANT_INODE, chunk))
  store.commit(MAIN, 0 as Version, firstCommit(1))
  for (let version = 1; version < 4; version++) {
    const puts = keys.map((key) => ({ key, data: Uint8Array.of(10 - version) }))
    store.commit(MAIN, version as Version, { puts, deletions: [] })
  }
  medium.run('UPDATE log SET ids = ?1 WHERE id = 3', Uint8Array.of(0))
  assert.deepEqual([...store.changesSince(MAIN, 2 as Version).keys], keys)
  store.restore(MAIN, 2 as Version)
  using view = store.view()
  for (const key of keys) assert.equal(view.read(key)?.[0], 9)
  assert.deepEqual(store.verify(), [])
  while (store.pruneLayer(MAIN, 5 as Version).more);
  assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 0)
})

test('what was made while the clock was ahead is forgotten in time', () => {
  const clock = new ManualClock()
  const store = open(NodeSqliteMedium.inMemory(), clock)
  store.commit(MAIN, 0 as Version, firstCommit(1))
  const yearMs = 31_536_000_000
  clock.advance(yearMs)
  store.commit(MAIN, 1 as Version, put(2))
  const branch = store.branch(MAIN, { name: 'ahead' })
  clock.advance(-yearMs)
  store.commit(MAIN, 2 as Version, put(3))
  store.commit(branch, 2 as Version, firstCommit(4))
  while (store.prune(2000).more);
  assert.equal(store.layers()[0]?.floor, 0, 'nothing is old yet')
  assert.equal(store.versionAt(MAIN, clock.nowMs()), 3)
  clock.advance(2001)
  while (store.prune(2000).more);
  assert.deepEqual(
    store.layers().map(({ floor }) => floor),
    [3, 3],
  )
  assert.deepEqual(store.verify(), [])
})

test('a huge commit is pruned in slices of bounded size', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  const puts = Array.from({ length: 10_000 }, (_, chunk) => ({
    key: chunkKey(FIRST_TENANT_INODE, chunk),
    data: Uint8Array.of(1),
  }))
  store.commit(MAIN, 0 as Version, { puts, deletions: [] })
  const other = puts.map(({ key }) => ({ key, data: Uint8Array.of(2) }))
  store.commit(MAIN, 1 as Version, { puts: other, deletions: [] })
  let slices = 0
  for (let more = true; more; slices++) {
    const result = store.pruneLayer(MAIN, 2 as Version)
    assert.ok(result.rows <= 4097)
    more = result.more
  }
  assert.ok(slices >= 5, `${slices} slices`)
  assert.equal(medium.get('SELECT count(*) FROM undo')?.[0], 0)
})

test('verify finds what is broken', () => {
  const cases: [string, RegExp][] = [
    ['DELETE FROM log WHERE id = 2', /version 2 is missing|gaps/],
    ['UPDATE log SET at = 1 WHERE id = 3', /time goes back/],
    ['UPDATE undo SET since = ver', /ends before it begins/],
    ['UPDATE page SET since = 0', /two contents of one version/],
    ['UPDATE layer SET floor = 99', /floor is out of range/],
    [`UPDATE page SET hist = x'0500'`, /history is ahead/],
    ['UPDATE page SET data = zeroblob(9000)', /too long/],
    [`UPDATE log SET ids = x'01' WHERE id = 3`, /does not list it/],
    [`INSERT INTO page VALUES (7<<44|99999999, 1, NULL, x'')`, /rows of layer 7/],
    [`UPDATE meta SET v = 0 WHERE k = 'next_layer'`, /could be given again/],
  ]
  for (const [sql, expected] of cases) {
    const medium = NodeSqliteMedium.inMemory()
    const store = open(medium)
    for (let version = 0; version < 3; version++) {
      store.commit(MAIN, version as Version, put(version + 1))
    }
    medium.run(sql)
    assert.match(open(medium).verify().join('\n'), expected, sql)
  }
})

test('a file unlinked while open keeps its content past commits, and a crash sweeps it', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  const options = { template, clock: new ManualClock(), cacheBytesMax: 0 }
  let files = TenantFiles.open(store.view(), options)
  const node = newFile(files, 'held', 20_000, 4)
  files.commit()
  files.retain(node)
  files.unlink(files.root, 'held')
  files.commit()
  const read = new Uint8Array(1)
  assert.equal(files.read(node, read, 0, 1, 15_000), 1)
  assert.equal(read[0], 4)
  assert.ok(Number(medium.get('SELECT count(*) FROM page')?.[0]) > 1)
  files.close()
  files = TenantFiles.open(store.view(), options)
  assert.deepEqual(files.list(files.root), [])
  files.commit()
  assert.equal(medium.get('SELECT count(*) FROM page')?.[0], 0)
})

test('a failed commit breaks the files and not the store', () => {
  const medium = NodeSqliteMedium.inMemory()
  const plan = [{ operation: 'commit', nth: 3, moment: 'before', effect: 'fail' }] as const
  const faulty = new FaultyMedium(medium, plan)
  const store = open(faulty)
  const options = { template, clock: new ManualClock() }
  const files = TenantFiles.open(store.view(), options)
  newFile(files, 'a')
  files.commit()
  newFile(files, 'b')
  assert.throws(() => files.commit(), { code: 'STORE_IO' })
  assert.throws(() => files.lookup(files.root, 'a'), { code: 'STORE_IO' })
  files.close()
  const again = TenantFiles.open(store.view(), options)
  assert.deepEqual(again.list(again.root), ['a'])
  newFile(again, 'c')
  assert.equal(again.commit(), 2)
})

test('inode numbers are not used again after their file is gone', () => {
  const store = open(NodeSqliteMedium.inMemory())
  const options = { template, clock: new ManualClock() }
  const numbers = new Set<InodeNo>()
  for (let round = 0; round < 5; round++) {
    const files = TenantFiles.open(store.view(), options)
    const node = newFile(files, 'file')
    assert.ok(!numbers.has(node.ino))
    numbers.add(node.ino)
    files.commit()
    files.unlink(files.root, 'file')
    files.commit()
    files.close()
  }
  assert.deepEqual(store.verify(), [])
})

test('when all inode numbers have been given out, those that no file has are', () => {
  const medium = NodeSqliteMedium.inMemory()
  const options = { template, clock: new ManualClock() }
  const first = open(medium)
  const before = TenantFiles.open(first.view(), options)
  const kept = newFile(before, 'kept', 9000, 1)
  const dropped = newFile(before, 'dropped', 9000, 2)
  const version = before.commit()
  medium.run('UPDATE layer SET next_inode = ?1', INODES_MAX - 1)
  const store = open(medium)
  using files = TenantFiles.open(store.view(), options)
  assert.equal(newFile(files, 'last', 10, 3).ino, INODES_MAX - 1)
  files.unlink(files.root, 'dropped')
  const next = newFile(files, 'next', 10, 4)
  assert.notEqual(next.ino, dropped.ino, 'of a file that is in the store')
  files.commit()
  files.close()
  using later = TenantFiles.open(store.view(), options)
  const again = newFile(later, 'again', 10, 5)
  assert.deepEqual([kept.ino, dropped.ino, next.ino], [again.ino - 1, again.ino, again.ino + 1])
  later.commit()
  assert.deepEqual(store.verify(), [])
  using past = TenantFiles.open(store.view(MAIN, version), options)
  const bytes = new Uint8Array(9000)
  const old = past.lookup(past.root, 'dropped')
  assert.equal(old && past.read(old, bytes, 0, 9000, 0), 9000)
  assert.ok(bytes.every((byte) => byte === 2))
  assert.equal(past.lookup(past.root, 'again'), undefined)
})

test('views of the head are fenced when the head moves by other hands', () => {
  const store = open(NodeSqliteMedium.inMemory())
  const files = TenantFiles.open(store.view(), { template, clock: new ManualClock() })
  newFile(files, 'a')
  store.commit(MAIN, 0 as Version, firstCommit(1))
  assert.throws(() => files.commit(), { code: 'STORE_FENCED' })
  assert.throws(() => store.view(9 as LayerId), { code: 'TENANT_UNKNOWN' })
})

test('before the first version its maker is called, and keeps it from being written', () => {
  const medium = NodeSqliteMedium.inMemory()
  let calls = 0
  let broken = true
  const beforeFirstVersion = (): void => {
    calls++
    if (broken) throw new PgnapError('STORE_IO', 'the folder cannot be synced')
  }
  const store = Store.open(medium, { ...storeOptions(template), beforeFirstVersion })
  assert.throws(() => store.commit(MAIN, 0 as Version, firstCommit(1)), { code: 'STORE_IO' })
  assert.equal(store.head(), 0)
  broken = false
  assert.equal(store.commit(MAIN, 0 as Version, firstCommit(1)), 1)
  store.commit(MAIN, 1 as Version, put(2))
  assert.equal(calls, 2)
  assert.deepEqual(store.verify(), [])
})
