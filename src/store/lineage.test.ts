import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FaultyMedium } from '../medium/faulty-medium.ts'
import type { Version } from '../base/ids.ts'
import { NodeSqliteMedium } from '../host/node/sqlite-medium.ts'
import { storeOptions } from '../../test/support/store-options.ts'
import type { StoreChanges } from './commit.ts'
import { hasHad, ownerOf } from './lineage.ts'
import { MAIN } from './keys.ts'
import { Store } from './store.ts'
import { Template } from './template.ts'

/** Closing would forget; what is opened again is the store, on a medium that stays. */
class KeptMedium extends FaultyMedium {
  override [Symbol.dispose](): void {}
}

const template = Template.empty()
const NOTHING: StoreChanges = { puts: [], deletions: [] }

function newStore(): { medium: KeptMedium; open: () => Store } {
  const medium = new KeptMedium(NodeSqliteMedium.inMemory())
  return { medium, open: () => Store.open(medium, storeOptions(template)) }
}

function commit(store: Store, count: number): string[] {
  return Array.from({ length: count }, () => {
    store.commit(MAIN, store.head(), NOTHING)
    return store.stamp()
  })
}

test('a stamp of the past is known by its version, whoever has opened the store since', () => {
  const { open } = newStore()
  const stamps: string[] = [open().stamp()]
  for (const count of [3, 1, 0, 4]) {
    const store = open()
    stamps.push(...commit(store, count))
    for (const [version, stamp] of stamps.entries()) assert.equal(store.versionOf(stamp), version)
    store.close()
  }
  // Whoever writes nothing, or nothing to main, is nobody's owner of a version.
  const store = open()
  store.branch(MAIN)
  for (const [version, stamp] of stamps.entries()) assert.equal(store.versionOf(stamp), version)
  assert.equal(store.versionOf(store.stamp()), stamps.length - 1)
})

test('a stamp of a past that was taken back is not, though its number is there again', () => {
  const { medium, open } = newStore()
  const before = open()
  commit(before, 2)
  before.close()
  const backup = medium.all('SELECT k, v FROM meta')
  const lost = open()
  const stamps = commit(lost, 3)
  lost.close()
  // As a backup: what was written since is not there.
  medium.transaction(() => {
    medium.run('DELETE FROM log WHERE id > 2')
    medium.run('DELETE FROM meta')
    for (const [k = '', v = ''] of backup) medium.run('INSERT INTO meta VALUES (?1, ?2)', k, v)
  })
  const restored = open()
  for (const stamp of stamps) assert.equal(restored.versionOf(stamp), undefined)
  const again = commit(restored, 4)
  assert.equal(restored.head(), 6)
  for (const stamp of stamps) assert.equal(restored.versionOf(stamp), undefined)
  assert.deepEqual(
    again.map((stamp) => restored.versionOf(stamp)),
    [3, 4, 5, 6],
  )
})

test('what is no stamp, or of another store, is not known', () => {
  const [one, other] = [newStore().open(), newStore().open()]
  const [stamp = ''] = commit(one, 1)
  commit(other, 1)
  for (const strange of [other.stamp(), '', 'x', stamp.slice(0, -1), `${stamp}9`]) {
    assert.equal(one.versionOf(strange), undefined, strange)
  }
})

test('what a writer has brought is known with the stamp that it had then', () => {
  const { open } = newStore()
  const store = open()
  const bring = (writer: string, sequence: number): void => {
    store.commit(MAIN, store.head(), { ...NOTHING, origin: { writer, sequence } })
  }
  assert.equal(store.broughtBy('a'), undefined)
  bring('a', 1)
  bring('a', 5)
  const stamp = store.stamp()
  assert.deepEqual(store.broughtBy('a'), { sequence: 5, stamp })
  bring('b', 1)
  store.close()
  const later = open()
  assert.deepEqual(later.broughtBy('a'), { sequence: 5, stamp })
  commit(later, 1)
  assert.deepEqual(later.broughtBy('a'), { sequence: 5, stamp })
  assert.equal(later.broughtBy('b')?.sequence, 1)
})

test('so many writers are remembered, and the oldest is forgotten', () => {
  const store = newStore().open()
  for (let writer = 0; writer <= 64; writer++) {
    assert.equal(store.forgetsWriters, writer >= 64)
    const origin = { writer: `w${writer}`, sequence: 1 }
    store.commit(MAIN, store.head(), { ...NOTHING, origin })
  }
  assert.equal(store.broughtBy('w0'), undefined)
  assert.equal(store.broughtBy('w1')?.sequence, 1)
})

test('two owners may have had one version, and none what another made', () => {
  const version = (number: number): Version => number as Version
  const owners = [
    { epoch: 1, owner: 'a', first: version(1) },
    { epoch: 2, owner: 'b', first: version(4) },
  ]
  const [a, b] = owners
  assert.ok(a && b)
  assert.deepEqual(
    [0, 3, 4].map((number) => hasHad(owners, a, version(number))),
    [true, true, false],
  )
  assert.deepEqual(
    [2, 3, 9].map((number) => hasHad(owners, b, version(number))),
    [false, true, true],
  )
  assert.equal(hasHad(owners, { epoch: 2, owner: 'a' }, version(2)), false)
  assert.equal(ownerOf(owners, version(3)), a)
  assert.equal(ownerOf(owners, version(4)), b)
})
