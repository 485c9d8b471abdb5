import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { storeOptions } from '../../test/support/store-options.ts'
import { ManualClock } from '../base/clock.ts'
import type { PageKey } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { NodeSqliteMedium } from '../host/node/sqlite-medium.ts'
import type { Medium } from '../medium/medium.ts'
import { MAIN } from './keys.ts'
import { PageCache } from './page-cache.ts'
import { Store } from './store.ts'
import { Template } from './template.ts'
import { type FileNode, TenantFiles } from './tenant-files.ts'

const PAGE_BYTES = 8192
const clock = new ManualClock()
const template = Template.empty()

suite('a page cache', () => {
  const key = (number: number): PageKey => number as PageKey
  const page = new Uint8Array(1_000)

  test('never holds more than it may, whatever is put into it', () => {
    const cache = new PageCache(10_000)
    for (let number = 0; number < 100; number++) {
      cache.put(key(number), page)
      assert.ok(cache.bytes <= 10_000, `${cache.bytes} bytes`)
    }
    const held = Array.from({ length: 100 }, (_, at) => key(at)).filter((each) => cache.has(each))
    assert.equal(held.length, 8)
    // One that is larger than all of the room leaves nothing behind.
    cache.put(key(1_000), new Uint8Array(20_000))
    assert.deepEqual([cache.has(key(1_000)), cache.bytes], [false, 0])
  })

  test('counts entries without content', () => {
    const cache = new PageCache(10_000)
    for (let number = 0; number < 1_000; number++) cache.put(key(number), new Uint8Array(0))
    assert.ok(cache.bytes > 0 && cache.bytes <= 10_000)
    assert.equal(cache.has(key(0)), false)
  })

  test('lets go what was not asked for longest', () => {
    const cache = new PageCache(10_000)
    for (let number = 0; number < 8; number++) cache.put(key(number), page)
    assert.ok(cache.get(key(0)))
    cache.put(key(8), page)
    assert.deepEqual([cache.has(key(0)), cache.has(key(1))], [true, false])
  })
})

interface Counted {
  readonly medium: Medium
  /** Statements that read, and rows that they brought. */
  readonly reads: { statements: number; rows: number }
}

/** A medium whose reads are counted. */
function counted(inner: Medium): Counted {
  const reads = { statements: 0, rows: 0 }
  const medium = new Proxy(inner, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      if (name !== 'get' && name !== 'all') return member.bind(target) as unknown
      return (...words: unknown[]): unknown => {
        const found: unknown = Reflect.apply(member, target, words)
        reads.statements++
        reads.rows += Array.isArray(found) && name === 'all' ? found.length : 1
        return found
      }
    },
  })
  return { medium, reads }
}

/** A store with one file of so many full pages, and its files as the next one finds them. */
function tenantOf(pageCount: number): Counted & { open: () => [TenantFiles, FileNode] } {
  const { medium, reads } = counted(NodeSqliteMedium.inMemory())
  {
    const store = Store.open(medium, storeOptions(template))
    const files = TenantFiles.open(store.view(MAIN), { template, clock })
    const table = files.create(files.root, 'table', 0o100600)
    const page = new Uint8Array(PAGE_BYTES).fill(1)
    for (let at = 0; at < pageCount; at++) files.write(table, page, 0, PAGE_BYTES, at * PAGE_BYTES)
    files.commit()
    files.close()
  }
  const open = (): [TenantFiles, FileNode] => {
    const store = Store.open(medium, storeOptions(template))
    const files = TenantFiles.open(store.view(MAIN), { template, clock })
    const table = files.lookup(files.root, 'table')
    assert.ok(table)
    return [files, table]
  }
  return { medium, reads, open }
}

function read(files: TenantFiles, table: FileNode, page: number): number {
  const bytes = new Uint8Array(PAGE_BYTES)
  files.read(table, bytes, 0, PAGE_BYTES, page * PAGE_BYTES)
  return bytes[PAGE_BYTES - 1] ?? 0
}

suite('the pages of a tenant', () => {
  test('stay in memory up to pageCacheBytesMax, and whoever reads more reads it again', () => {
    const room = Math.floor(LIMITS.pageCacheBytesMax / PAGE_BYTES)
    const tenant = tenantOf(2 * room)
    const [files, table] = tenant.open()
    const scan = (pageCount: number): number => {
      const before = tenant.reads.statements
      for (let page = 0; page < pageCount; page++) assert.equal(read(files, table, page), 1)
      return tenant.reads.statements - before
    }
    assert.ok(scan(room / 2) >= room / 2)
    assert.equal(scan(room / 2), 0)
    assert.ok(scan(2 * room) >= room)
    assert.ok(scan(2 * room) >= 2 * room)
    assert.ok(files.held.cacheBytes <= LIMITS.pageCacheBytesMax)
    files.close()
  })

  test('are not read by opening: a large one costs what a small one does', () => {
    const costOf = (pageCount: number): unknown => {
      const tenant = tenantOf(pageCount)
      tenant.reads.statements = 0
      tenant.reads.rows = 0
      const [files, table] = tenant.open()
      const opened = { ...tenant.reads }
      assert.equal(read(files, table, pageCount - 1), 1)
      const first = { ...tenant.reads }
      files.close()
      return { opened, first }
    }
    const small = costOf(1)
    assert.deepEqual(costOf(3_000), small)
    assert.match(JSON.stringify(small), /"statements":[1-9]/)
  })
})
