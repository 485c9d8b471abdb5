import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HomeUnderTest } from '../../test/support/replica-world.ts'
import { LIMITS } from '../base/limits.ts'
import { NodeSqliteMedium } from '../host/node/sqlite-medium.ts'
import { MAIN } from '../store/keys.ts'
import { HomeUpkeep } from './home-upkeep.ts'

const RETENTION_MS = 1_000

function world(): { home: HomeUnderTest; upkeep: HomeUpkeep; failures: unknown[] } {
  const medium = NodeSqliteMedium.inMemory()
  const home = new HomeUnderTest({ open: () => medium })
  const { store, clock } = home
  const failures: unknown[] = []
  const onFailure = (error: unknown): void => void failures.push(error)
  const upkeep = new HomeUpkeep({ store, clock, retentionMs: RETENTION_MS, onFailure })
  return { home, upkeep, failures }
}

function commit({ store, clock }: HomeUnderTest, count: number): void {
  for (let done = 0; done < count; done++) {
    clock.advance(1)
    store.commit(MAIN, store.head(), { puts: [], deletions: [] })
  }
}

const floorOf = ({ store }: HomeUnderTest): number => store.layers()[0]?.floor ?? -1

test('history past its retention is forgotten, some commits later, beside what is asked', () => {
  const { home, upkeep, failures } = world()
  commit(home, 500)
  home.clock.advance(2 * RETENTION_MS)
  upkeep.delivered(LIMITS.homeTidyCommits - 1)
  home.clock.advance(0)
  assert.equal(floorOf(home), 0)
  upkeep.delivered(1)
  assert.equal(floorOf(home), 0, 'not while somebody waits')
  for (let turn = 0; turn < 50; turn++) home.clock.advance(0)
  assert.ok(floorOf(home) >= 499)
  assert.deepEqual(home.store.verify(), [])
  assert.deepEqual(failures, [])
})

test('what fails is told, and tried again after the next commits', () => {
  const { home, upkeep, failures } = world()
  commit(home, 10)
  home.clock.advance(2 * RETENTION_MS)
  home.failCommit('before')
  upkeep.delivered(LIMITS.homeTidyCommits)
  home.clock.advance(0)
  assert.equal(failures.length, 1)
  upkeep.delivered(LIMITS.homeTidyCommits)
  for (let turn = 0; turn < 10; turn++) home.clock.advance(0)
  assert.ok(floorOf(home) >= 9)
})

test('a store that is closed is left alone', () => {
  const { home, upkeep, failures } = world()
  upkeep.delivered(LIMITS.homeTidyCommits)
  home.store.close()
  home.clock.advance(0)
  assert.deepEqual(failures, [])
})
