/** A copy of a store's file becomes a store of its own. */
import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '../../src/base/clock.ts'
import type { Version } from '../../src/base/ids.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { MAIN } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { storeOptions } from '../support/store-options.ts'
import { testFolder } from '../support/temporary-folder.ts'

const PAGE_BYTES = 8192
const folder = testFolder()
const template = Template.empty()
const clock = new ManualClock()
const open = (path: string): Store =>
  Store.open(new NodeSqliteMedium(path), storeOptions(template, { clock }))

/** Writes the one file of a store, as a commit of its own. */
function write(store: Store, byte: number): void {
  const files = TenantFiles.open(store.view(), { template, clock })
  const known = files.lookup(files.root, 'file')
  const node = known ?? files.create(files.root, 'file', 0o100600)
  files.write(node, new Uint8Array(PAGE_BYTES).fill(byte), 0, PAGE_BYTES, 0)
  files.commit()
  files.close()
}

function read(store: Store): number | undefined {
  const files = TenantFiles.open(store.view(), { template, clock })
  const node = files.lookup(files.root, 'file')
  assert.ok(node)
  const bytes = new Uint8Array(PAGE_BYTES)
  files.read(node, bytes, 0, PAGE_BYTES, 0)
  files.close()
  return bytes[0]
}

test('it has the newest content, another name, no branches and no history', () => {
  const [path, copy] = [join(folder, 'original.db'), join(folder, 'copy.db')]
  let stamp: string
  let id: string | undefined
  {
    using store = open(path)
    for (const byte of [1, 2, 3]) write(store, byte)
    const child = store.branch(MAIN, { name: 'child', version: 2 as Version })
    store.branch(child, { name: 'grandchild' })
    // Kept, without a name, for the grandchild only.
    store.drop(child)
    stamp = store.stamp()
    id = store.id
  }
  copyFileSync(path, copy)
  clock.advance(1000)
  {
    using store = open(copy)
    store.makeOwn()
    while (store.prune(0).more);
  }
  {
    using store = open(copy)
    assert.notEqual(store.id, id)
    assert.notEqual(store.stamp(), stamp)
    assert.deepEqual(store.verify(), [])
    const [main, ...others] = store.layers()
    assert.deepEqual(others, [])
    assert.deepEqual([main?.head, main?.floor], [3 as Version, 3 as Version])
    assert.throws(() => store.view(MAIN, 2 as Version), { code: 'VERSION_NOT_RETAINED' })
    const undo = store.inspect().tables.find(({ table }) => table === 'undo')
    assert.equal(undo?.rows, 0)
    assert.equal(read(store), 3)
    write(store, 4)
  }
  using original = open(path)
  assert.equal(original.stamp(), stamp)
  assert.equal(read(original), 3)
  assert.equal(original.layers().length, 2)
})
