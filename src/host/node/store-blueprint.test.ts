import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { SeededRandom } from '../../base/random.ts'
import { Store } from '../../store/store.ts'
import { Template } from '../../store/template.ts'
import { storeOptions } from '../../../test/support/store-options.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { NodeSqliteMedium } from './sqlite-medium.ts'
import { type MadeStore, StoreBlueprint } from './store-blueprint.ts'

const START_MS = 1_800_000_000_000
const clock = new ManualClock(START_MS)
const template = Template.empty()
const options = storeOptions(template, { clock })
let made = 0

function make(path: string): MadeStore {
  made++
  using store = Store.open(new NodeSqliteMedium(path), options)
  return { storeId: store.id ?? '', createdMs: Math.floor(clock.nowMs()) }
}

const newBlueprint = (): StoreBlueprint =>
  new StoreBlueprint({ make, clock, random: new SeededRandom(1) })

test('stores of one blueprint are whole, different, and of their own time', () => {
  using folder = temporaryFolder()
  const blueprint = newBlueprint()
  made = 0
  const ids = [1, 2, 3].map((index) => {
    clock.advance(1_000)
    const path = join(folder.path, `${index}.db`)
    blueprint.write(path)
    using store = Store.open(new NodeSqliteMedium(path), options)
    assert.deepEqual(store.verify(), [])
    assert.deepEqual(store.damage(), [])
    assert.equal(store.layers()[0]?.createdMs, clock.nowMs())
    assert.equal(store.head(), 0)
    return store.id
  })
  assert.equal(new Set(ids).size, 3)
  assert.ok(ids.every((id) => /^[0-9a-f]{32}$/.test(id ?? '')))
  assert.equal(made, 1, 'SQLite made one of them')
  assert.deepEqual(readdirSync(folder.path).toSorted(), ['1.db', '2.db', '3.db'])
})

test('a store is not made over another one, nor where no folder is', () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'there.db')
  const blueprint = newBlueprint()
  blueprint.write(path)
  assert.throws(() => blueprint.write(path), /made once/)
  const nowhere = join(folder.path, 'no', 'folder.db')
  assert.throws(
    () => blueprint.write(nowhere),
    (error) => error instanceof PgnapError && error.hint !== undefined,
  )
  assert.deepEqual(readdirSync(folder.path), ['there.db'])
})

test('what a crash has left of a creation is written over', () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'a.db')
  writeFileSync(`${path}.new`, 'half of a store')
  writeFileSync(`${path}.blueprint`, 'half of a blueprint')
  newBlueprint().write(path)
  using store = Store.open(new NodeSqliteMedium(path), options)
  assert.deepEqual(store.verify(), [])
  assert.deepEqual(readdirSync(folder.path).toSorted(), ['a.db', 'a.db-wal'])
})
