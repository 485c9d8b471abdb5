import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newFile } from '../support/new-file.ts'
import { storeOptions } from '../support/store-options.ts'
import { ManualClock } from '../../src/base/clock.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import type { Version } from '../../src/base/ids.ts'
import type { Medium } from '../../src/medium/medium.ts'
import { MAIN, chunkKey } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'

const template = Template.empty()
const open = (medium: Medium): Store =>
  Store.open(medium, storeOptions(template, { clock: new ManualClock(), fingerprint: 'one' }))

test('a full database refuses to grow, can be read, and can shrink', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  const options = { template, clock: new ManualClock(), databaseBytesMax: 500_000 }
  let files = TenantFiles.open(store.view(), options)
  const node = newFile(files, 'heap', 498_000, 1)
  files.commit()
  const grow = (): number => files.write(node, new Uint8Array(8192).fill(2), 0, 8192, 498_000)
  assert.throws(grow, { errno: 'ENOSPC', met: 'database' })
  assert.equal(node.size, 498_000)
  // What it takes to shrink has room: small files and the maps of a vacuum, up to a bound.
  newFile(files, 'emptied', 200_000, 1)
  const map = newFile(files, 'heap_fsm', 300_000, 1)
  assert.throws(() => newFile(files, 'large', 300_000, 1), { errno: 'ENOSPC' })
  files.truncate(map, 16_400_000)
  assert.throws(() => newFile(files, 'small', 200_000, 1), { errno: 'ENOSPC' })
  for (const name of ['emptied', 'heap_fsm', 'large', 'small']) files.unlink(files.root, name)
  files.truncate(node, 10_000)
  assert.equal(files.commit(), 2)
  files.close()
  // A limit that was lowered below what is there.
  files = TenantFiles.open(store.view(), { ...options, databaseBytesMax: 5000 })
  const temporary = newFile(files, 'pgsql_tmp1', 17_000_000, 3)
  files.rename(temporary, files.root, 'pgsql_tmp1', files.root, 'kept')
  assert.throws(() => files.commit(), { code: 'DATABASE_TOO_LARGE', sqlState: '53100' })
  assert.equal(files.broken, true)
  assert.throws(() => files.list(files.root), { code: 'DATABASE_TOO_LARGE' })
  files.close()
  files = TenantFiles.open(store.view(), { ...options, databaseBytesMax: 5000 })
  assert.deepEqual(files.list(files.root), ['heap'])
  files.unlink(files.root, 'heap')
  assert.equal(files.commit(), 3)
  assert.deepEqual(store.verify(), [])
})

test('with a ceiling lowered far below what is there, a checkpoint can be noted', () => {
  const medium = NodeSqliteMedium.inMemory()
  const store = open(medium)
  const options = { template, clock: new ManualClock() }
  let files = TenantFiles.open(store.view(), options)
  newFile(files, 'heap', 20_000_000, 1)
  files.commit()
  files.close()
  for (let opened = 0; opened < 2; opened++) {
    files = TenantFiles.open(store.view(), { ...options, databaseBytesMax: 5000 })
    const heap = files.lookup(files.root, 'heap')
    assert.ok(heap)
    assert.throws(() => files.write(heap, new Uint8Array(1), 0, 1, heap.size), { errno: 'ENOSPC' })
    const noted = newFile(files, 'checkpoint.tmp', 100, 1)
    const { root } = files
    files.rename(noted, root, 'checkpoint.tmp', root, 'checkpoint')
    for (const name of ['a', 'b', 'c']) newFile(files, name, 250_000, 1)
    // That is no way to grow: it is the same room each time.
    assert.throws(() => newFile(files, 'd', 262_144 + 100_000, 1), { errno: 'ENOSPC' })
    for (const name of ['a', 'b', 'c', 'd']) files.unlink(files.root, name)
    files.commit()
    files.close()
  }
})

/** Bytes of which Postgres may still have the content, and that count as if they were dirty. */
const BUFFERED_BYTES = 4_194_304
/** What the disk of these tests keeps free. */
const RESERVE_BYTES = 1_000_000

/** A store on a disk of which the rest of the test says how much is free beside its reserve. */
function onDisk() {
  const clock = new ManualClock()
  const disk = {
    freeBytes: Number.POSITIVE_INFINITY,
    dirtyBytes: 0,
    addDirty: (bytes: number) => void (disk.dirtyBytes += bytes),
    hasRoom: (bytes: number, keptPart = 1) =>
      2.25 * (disk.dirtyBytes + bytes) <= disk.freeBytes + (1 - keptPart) * RESERVE_BYTES,
  }
  const medium = NodeSqliteMedium.inMemory()
  const store = Store.open(medium, {
    ...storeOptions(template, { clock }),
    diskHasRoom: disk.hasRoom,
  })
  const files = TenantFiles.open(store.view(), { template, clock, disk })
  const pages = (): number => Number(medium.get('PRAGMA page_count')?.[0])
  return { disk, store, files, pages }
}

test('a disk that is almost full: large files do not grow, recovery and small ones do', () => {
  const { disk, store, files } = onDisk()
  disk.freeBytes = 2.25 * (BUFFERED_BYTES + 800_000)
  // What is not committed yet needs room twice: in a log, and where it comes to lie.
  const heap = newFile(files, 'heap', 600_000, 1)
  const grow = (): number => files.write(heap, new Uint8Array(500_000), 0, 500_000, heap.size)
  assert.throws(grow, { errno: 'ENOSPC', met: 'disk' })
  files.commit()
  assert.equal(grow(), 500_000)
  files.commit()
  disk.freeBytes = -1
  assert.throws(grow, { errno: 'ENOSPC', met: 'disk' })
  newFile(files, 'small', 200_000, 1)
  newFile(files, 'heap_fsm', 300_000, 1)
  files.starting = true
  assert.equal(grow(), 500_000, 'a recovery has to end')
  files.noteStart()
  assert.throws(grow, { errno: 'ENOSPC', met: 'disk' })
  assert.equal(heap.size, 1_600_000)
  files.commit()
  assert.deepEqual(store.verify(), [])
})

test('statements change pages as long as a quarter of what the disk keeps free is there', () => {
  const { disk, files } = onDisk()
  const heap = newFile(files, 'heap', 600_000, 1)
  const small = newFile(files, 'small', 8192, 1)
  files.commit()
  files.servesClient = true
  const update = (node = heap): number =>
    files.write(node, new Uint8Array(8192).fill(2), 0, 8192, 0)
  disk.freeBytes = -0.74 * RESERVE_BYTES
  assert.equal(update(), 8192)
  files.commit()
  disk.freeBytes = -0.76 * RESERVE_BYTES
  assert.throws(update, { errno: 'ENOSPC', met: 'disk' })
  assert.equal(update(small), 8192, 'what transactions are noted in')
  files.servesClient = false
  assert.equal(update(), 8192, 'upkeep gives room back')
})

test('where there is little room, much is committed soon', () => {
  const { disk, store, files } = onDisk()
  const heap = newFile(files, 'heap', 12_000_000, 1)
  files.commit()
  const update = (byte: number, bytes: number): number =>
    files.write(heap, new Uint8Array(bytes).fill(byte), 0, bytes, 0)
  update(2, 8_000_000)
  assert.equal(store.head(), 1)
  files.commit()
  disk.freeBytes = 0
  update(3, 2_000_000)
  assert.equal(store.head(), 2)
  update(3, 5_000_000)
  assert.deepEqual([store.head(), files.dirty], [3, false])
})

test('where there is no room for history none is kept, and what is older goes', () => {
  const { disk, store, files, pages } = onDisk()
  const heap = newFile(files, 'heap', 2_000_000, 1)
  const update = (byte: number, bytes = 2_000_000): number =>
    files.write(heap, new Uint8Array(bytes).fill(byte), 0, bytes, 0)
  for (let version = 1; version <= 3; version++) {
    update(version)
    files.commit()
  }
  assert.equal(store.keepsMoreThan(400), true)
  disk.freeBytes = 100_000
  const pagesBefore = pages()
  update(4)
  assert.equal(files.commit(), 4)
  assert.equal(store.keepsMoreThan(0), false)
  assert.throws(() => store.view(MAIN, 3 as Version), { code: 'VERSION_NOT_RETAINED' })
  for (let version = 5; version <= 20; version++) {
    update(version)
    files.commit()
  }
  assert.ok(pages() <= pagesBefore, 'and the file does not grow')
  // Small ones leave the reserve as it is.
  update(21, 8192)
  files.commit()
  assert.equal(store.keepsMoreThan(0), true)
  {
    using reader = store.view(MAIN, 20 as Version)
    update(22)
    files.commit()
    assert.equal(reader.read(chunkKey(heap.ino, 0))?.[0], 20, 'what somebody reads is kept')
  }
  // As much is deleted, by a commit that puts next to nothing.
  files.truncate(heap, 0)
  files.commit()
  update(1, 8192)
  files.commit()
  assert.ok(!store.keepsMoreThan(300))
  assert.deepEqual(store.verify(), [])
})

test('temporary files have a limit of their own', () => {
  const options = { template, clock: new ManualClock(), ephemeralBytesMax: 20_000 }
  const files = TenantFiles.inMemory(options)
  const node = newFile(files, 'pgsql_tmp1')
  const write = (): number => files.write(node, new Uint8Array(30_000).fill(1), 0, 30_000, 0)
  assert.throws(write, { errno: 'ENOSPC', met: 'temporary' })
  files.unlink(files.root, 'pgsql_tmp1')
  const other = newFile(files, 'pgsql_tmp2')
  assert.equal(files.write(other, new Uint8Array(16_000), 0, 16_000, 0), 16_000)
})
