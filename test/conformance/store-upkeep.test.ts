/** What upkeep asks of a store: to forget without owning it, and to commit on the way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../src/base/clock.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { storeOptions } from '../support/store-options.ts'

const PAGE_BYTES = 8192
const template = Template.empty()

function open(medium: Medium, clock: ManualClock): Store {
  return Store.open(medium, storeOptions(template, { clock, fingerprint: 'one' }))
}

/** One file in a store, which is written page by page. */
function fileIn(store: Store, clock: ManualClock, name = 'file') {
  const files = TenantFiles.open(store.view(), { template, clock })
  const file = files.create(files.root, name, 0o100600)
  const write = (page: number, byte: number): number =>
    files.write(file, new Uint8Array(PAGE_BYTES).fill(byte), 0, PAGE_BYTES, page * PAGE_BYTES)
  return { files, write }
}

test('who only forgets becomes no owner: stamps stay as they are', () => {
  const clock = new ManualClock()
  const medium = NodeSqliteMedium.inMemory()
  const writer = open(medium, clock)
  const { files, write } = fileIn(writer, clock)
  for (let version = 1; version <= 6; version++) {
    for (let page = 0; page < 10; page++) write(page, version)
    files.commit()
  }
  const stamp = writer.stamp()
  assert.equal(writer.historyEndsMs(2_000), clock.nowMs() + 2_000)
  assert.deepEqual([writer.keepsMoreThan(49), writer.keepsMoreThan(10_000)], [true, false])
  const stale = fileIn(open(medium, clock), clock, 'other')
  const tidier = open(medium, clock)
  clock.advance(2_000)
  while (tidier.prune(2_000).more);
  assert.equal(tidier.stamp(), stamp)
  assert.equal(open(medium, clock).stamp(), stamp)
  assert.equal(tidier.historyEndsMs(2_000), undefined, 'nothing is left to be forgotten')
  assert.equal(tidier.keepsMoreThan(0), false)
  assert.deepEqual(tidier.verify(), [])
  // It has opened the store before that was forgotten.
  assert.throws(() => stale.files.commit(), { code: 'STORE_FENCED' })
  fileIn(tidier, clock, 'third').files.commit()
  assert.notEqual(tidier.stamp(), stamp)
})

test('what is written beyond the bytes that may be dirty midway is committed at once', () => {
  const clock = new ManualClock()
  const store = open(NodeSqliteMedium.inMemory(), clock)
  const { files, write } = fileIn(store, clock)
  files.midwayBytesMax = 20_000
  for (let page = 0; page < 2; page++) write(page, 1)
  assert.equal(store.head(), 0)
  write(2, 1)
  assert.deepEqual([store.head(), files.dirty], [1, false])
  files.midwayBytesMax = Number.POSITIVE_INFINITY
  for (let page = 3; page < 30; page++) write(page, 1)
  assert.equal(store.head(), 1)
  files.close()
})
