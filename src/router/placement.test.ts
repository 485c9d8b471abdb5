import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ShardIndex, TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { shardOf } from './assignment.ts'
import { Placement } from './placement.ts'

const nameOf = (index: number): TenantName => `tenant-${index}` as TenantName
const at = 0 as ShardIndex

test('who comes where more are connected goes where the fewest are, if that shard runs', () => {
  const choose = (connected: readonly (number | undefined)[]): ShardIndex | undefined =>
    new Placement().choose(nameOf(1), at, connected, 0)
  assert.equal(choose([0, 0]), undefined)
  assert.equal(choose([1, 0]), 1)
  assert.equal(choose([3, 2, 0, 1]), 2)
  assert.equal(choose([3, undefined, 2]), 2)
  assert.equal(choose([3, undefined]), undefined)
  assert.equal(choose([undefined, 0]), undefined, 'where it belongs nothing runs: it waits there')
  assert.equal(choose([1, 5]), undefined)
  assert.equal(choose([100, 90]), undefined, 'among many a tenth more is not worth it')
  assert.equal(choose([100, 80]), 1)
})

test('who has been here goes only for a larger difference, and not twice in a minute', () => {
  const placement = new Placement()
  const tenant = nameOf(1)
  assert.equal(placement.choose(tenant, at, [0, 0], 0), undefined)
  assert.equal(placement.choose(tenant, at, [1, 0], 0), undefined)
  assert.equal(placement.choose(tenant, at, [2, 0], 0), 1)
  assert.equal(placement.choose(tenant, at, [2, 0], LIMITS.moveAgainMs - 1), undefined)
  assert.equal(placement.choose(tenant, at, [2, 0], LIMITS.moveAgainMs), 1)
})

test('who was used otherwise has been here, too', () => {
  const placement = new Placement()
  placement.saw(nameOf(1))
  assert.equal(placement.choose(nameOf(1), at, [1, 0], 0), undefined)
  assert.equal(placement.choose(nameOf(2), at, [1, 0], 0), 1)
})

test('of those who have been here a few go in a row', () => {
  const placement = new Placement()
  const all = Array.from({ length: 100 }, (_, index) => nameOf(index))
  for (const tenant of all) placement.choose(tenant, at, [0, 0], 0)
  const goAt = (nowMs: number): number =>
    all.filter((tenant) => placement.choose(tenant, at, [50, 0], nowMs) !== undefined).length
  assert.equal(goAt(1_000), LIMITS.movesPerRoundMax)
  assert.equal(goAt(1_001), 0)
  assert.equal(goAt(1_000 + 3 * LIMITS.rebalanceEveryMs), LIMITS.movesPerRoundMax)
})

test('whatever the names, newcomers leave no shard much fuller than another', () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(names, fc.integer({ min: 2, max: 5 }), (tenants, shardCount) => {
      const placement = new Placement()
      const connected = Array.from({ length: shardCount }, () => 0)
      for (const tenant of tenants as TenantName[]) {
        const home = shardOf(tenant, shardCount)
        const shard = placement.choose(tenant, home, connected, 0) ?? home
        connected[shard] = (connected[shard] ?? 0) + 1
        const [most, fewest] = [Math.max(...connected), Math.min(...connected)]
        assert.ok(most - fewest <= Math.max(1, most / 8 + 1), connected.join())
      }
    }),
  )
})
