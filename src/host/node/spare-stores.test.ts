import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log, LogFields } from '../../base/log.ts'
import { SeededRandom } from '../../base/random.ts'
import { Store } from '../../store/store.ts'
import { Template } from '../../store/template.ts'
import { storeOptions } from '../../../test/support/store-options.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { SpareStores } from './spare-stores.ts'
import { NodeSqliteMedium } from './sqlite-medium.ts'
import { StoreBlueprint } from './store-blueprint.ts'
import { tenantOfFile } from './tenant-files-on-disk.ts'

const template = Template.empty()

/** A folder with spare stores of one shard, whose clock the test moves. */
function world(countMax = 4): {
  readonly path: string
  readonly clock: ManualClock
  readonly warnings: (LogFields | undefined)[]
  readonly spares: SpareStores
  readonly take: (name: string) => boolean
  readonly refill: () => Promise<void>
  readonly open: (name: string) => Store
} & AsyncDisposable {
  const folder = temporaryFolder()
  const clock = new ManualClock(1_800_000_000_000)
  const options = storeOptions(template, { clock })
  const warnings: (LogFields | undefined)[] = []
  const warn: Log['warn'] = (_, fields) => void warnings.push(fields)
  const log: Log = { debug: () => {}, info: () => {}, warn, error: () => {} }
  const spares = new SpareStores({ tenantsPath: folder.path, index: 1, clock, log, countMax })
  const make = (path: string): { storeId: string; createdMs: number } => {
    using store = Store.open(new NodeSqliteMedium(path), options)
    return { storeId: store.id ?? '', createdMs: clock.nowMs() }
  }
  const blueprint = new StoreBlueprint({ make, clock, random: new SeededRandom(1) })
  return {
    path: folder.path,
    clock,
    warnings,
    spares,
    take: (name) => spares.take(join(folder.path, name), blueprint),
    refill: async () => {
      clock.advance(100)
      await spares.settled()
    },
    open: (name) => Store.open(new NodeSqliteMedium(join(folder.path, name)), options),
    [Symbol.asyncDispose]: async () => {
      spares[Symbol.dispose]()
      // A spare may be on its way, and would come into a folder that is being removed.
      await spares.settled()
      folder[Symbol.dispose]()
    },
  }
}

test('once one was asked for, there are some, each whole, different, of its own time', async () => {
  await using w = world()
  assert.equal(w.take('a.db'), false)
  assert.equal(w.spares.count, 0)
  await w.refill()
  assert.equal(w.spares.count, 4)
  const ids = ['a.db', 'b.db', 'c.db', 'd.db'].map((name) => {
    w.clock.advance(1_000)
    assert.equal(w.take(name), true)
    using store = w.open(name)
    assert.deepEqual(store.verify(), [])
    assert.deepEqual(store.damage(), [])
    assert.equal(store.layers()[0]?.createdMs, w.clock.nowMs())
    return store.id
  })
  assert.equal(new Set(ids).size, 4)
})

test('they are made again when half of them are gone, and any number can be had', async () => {
  await using w = world(4)
  w.take('first.db')
  for (let round = 0; round < 10; round++) {
    await w.refill()
    assert.ok(w.spares.count >= 3, `${w.spares.count} in round ${round}`)
    for (const part of ['x', 'y']) assert.equal(w.take(`${round}${part}.db`), true)
  }
  const files = readdirSync(w.path)
  assert.equal(files.filter((file) => tenantOfFile(file) !== undefined).length, 20)
  assert.ok(files.filter((file) => file.endsWith('.spare')).length <= 4)
})

test('what a crash has left behind is written over, and a clean end leaves nothing', async () => {
  await using w = world(2)
  writeFileSync(join(w.path, '1-0.spare'), 'half of a store')
  w.take('a.db')
  await w.refill()
  assert.equal(w.take('a.db'), true)
  using store = w.open('a.db')
  assert.deepEqual(store.verify(), [])
  await w.refill()
  w.spares[Symbol.dispose]()
  assert.deepEqual(readdirSync(w.path).toSorted(), ['a.db', 'a.db-wal'])
})

test('whatever is being made at the end is gone, too', async () => {
  await using w = world(2)
  w.take('a.db')
  w.clock.advance(100)
  w.spares[Symbol.dispose]()
  await w.spares.settled()
  assert.deepEqual(readdirSync(w.path), [])
})

test('an old one is made anew, for its file tells how old a tenant is', async () => {
  await using w = world(2)
  w.take('a.db')
  await w.refill()
  w.clock.advance(LIMITS.spareStoreAgeMaxMs + 1)
  assert.equal(w.take('a.db'), false)
  await w.refill()
  assert.equal(w.spares.count, 2)
  assert.equal(w.take('a.db'), true)
})

test('a store is not made over another one', async () => {
  await using w = world(2)
  w.take('a.db')
  await w.refill()
  assert.equal(w.take('a.db'), true)
  assert.throws(() => w.take('a.db'), /made once/)
  await w.refill()
  assert.equal(w.spares.count, 2)
})

test('a folder that is gone: the log is told, and whoever comes asks for himself', async () => {
  await using w = world(2)
  w.take('a.db')
  rmSync(w.path, { recursive: true })
  await w.refill()
  assert.equal(w.spares.count, 0)
  assert.ok(w.warnings[0]?.['error'] instanceof Error)
  mkdirSync(w.path)
  assert.equal(w.take('a.db'), false)
  await w.refill()
  assert.equal(w.take('a.db'), true)
})

test('a spare store that somebody has taken away is not missed', async () => {
  await using w = world(1)
  w.take('a.db')
  await w.refill()
  rmSync(join(w.path, '1-0.spare'))
  assert.equal(w.take('a.db'), false)
  assert.equal(w.warnings.length, 1)
  await w.refill()
  assert.equal(w.take('a.db'), true)
})
