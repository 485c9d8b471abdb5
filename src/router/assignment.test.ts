import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { shardOf } from './assignment.ts'

const names = Array.from({ length: 20_000 }, (_, index) => `tenant-${index}` as TenantName)

/** Computed once, when this was written. */
const GOLDEN = [7, 2, 4, 0]

test('tenants are spread evenly', () => {
  for (const shardCount of [1, 2, 3, 8, 16]) {
    const counts = Array.from({ length: shardCount }, () => 0)
    for (const name of names) {
      const shard = shardOf(name, shardCount)
      counts[shard] = (counts[shard] ?? 0) + 1
    }
    const mean = names.length / shardCount
    for (const count of counts) assert.ok(Math.abs(count - mean) < mean * 0.1, counts.join(' '))
  }
})

test('one more shard takes its share, and nobody else moves', () => {
  for (const shardCount of [1, 2, 7]) {
    const moved = names.filter((name) => {
      const before = shardOf(name, shardCount)
      const after = shardOf(name, shardCount + 1)
      assert.ok(after === before || after === shardCount, 'moves only to the new shard')
      return after !== before
    })
    const share = names.length / (shardCount + 1)
    assert.ok(Math.abs(moved.length - share) < share * 0.1, `${moved.length} of ${share}`)
  }
})

test('the assignment is the same after every restart', () => {
  const shards = ['acme', 'postgres', 'a', 'zeta-9'].map((name) => shardOf(name as TenantName, 8))
  assert.deepEqual(shards, GOLDEN)
})
