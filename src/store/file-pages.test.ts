import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storeOptions } from '../../test/support/store-options.ts'
import { ManualClock } from '../base/clock.ts'
import { NodeSqliteMedium } from '../host/node/sqlite-medium.ts'
import { MAIN } from './keys.ts'
import { Store } from './store.ts'
import { Template } from './template.ts'
import { TenantFiles } from './tenant-files.ts'
import type { StoreView } from './view.ts'

const CHUNK_BYTES = 4096
const CHUNKS = 200

/** A segment of WAL in a store, and how many of its chunks were read in which ranges. */
function walInStore(): { readonly read: (chunk: number) => number; readonly ranges: number[] } {
  const clock = new ManualClock()
  const empty = TenantFiles.inMemory({ template: Template.empty(), clock })
  empty.create(empty.root, 'pg_wal', 0o040700)
  const template = Template.fromFiles(empty)
  const store = Store.open(NodeSqliteMedium.inMemory(), storeOptions(template))
  const writer = TenantFiles.open(store.view(MAIN), { template, clock })
  const folder = writer.lookup(writer.root, 'pg_wal')
  assert.ok(folder)
  const segment = writer.create(folder, '000000010000000000000001', 0o100600)
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    const bytes = new Uint8Array(CHUNK_BYTES).fill(chunk + 1)
    writer.write(segment, bytes, 0, CHUNK_BYTES, chunk * CHUNK_BYTES)
  }
  writer.commit()
  writer.close()
  const ranges: number[] = []
  const view = store.view(MAIN)
  const counting = new Proxy(view, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      if (name !== 'readRange') return member.bind(target) as unknown
      return (...range: Parameters<StoreView['readRange']>) => {
        const rows = [...target.readRange(...range)]
        ranges.push(rows.length)
        return rows
      }
    },
  })
  const reader = TenantFiles.open(counting, { template, clock })
  ranges.length = 0
  const again = reader.lookup(reader.root, 'pg_wal')
  const node = again && reader.lookup(again, '000000010000000000000001')
  assert.ok(node)
  const byte = new Uint8Array(1)
  const read = (chunk: number): number => {
    reader.read(node, byte, 0, 1, chunk * CHUNK_BYTES)
    return byte[0] ?? 0
  }
  return { read, ranges }
}

test('who looks for one page of WAL fetches little of it', () => {
  const { read, ranges } = walInStore()
  assert.equal(read(150), 151)
  assert.equal(read(151), 152)
  assert.deepEqual(ranges, [2])
})

test('who reads on fetches more and more at once', () => {
  const { read, ranges } = walInStore()
  for (let chunk = 0; chunk < CHUNKS; chunk++) assert.equal(read(chunk), (chunk + 1) % 256)
  assert.deepEqual(ranges, [2, 4, 8, 16, 32, 64, 64, 10])
})
