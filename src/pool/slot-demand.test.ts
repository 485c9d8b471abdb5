import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { TenantEntry } from './pool-model.ts'
import { SlotDemand } from './slot-demand.ts'

const tenant = (name: string): TenantEntry => new TenantEntry(name as TenantName)

test('a swap makes a free slot wanted for a while', () => {
  const demand = new SlotDemand()
  demand.wakes(tenant('a'), 0)
  assert.equal(demand.wantsFreeSlot(1), false, 'a wake alone shows nothing')
  demand.leaves(tenant('a'), 'pressure', 100)
  assert.equal(demand.wantsFreeSlot(100), true)
  assert.equal(demand.wantsFreeSlot(1_100), false)
})

test('who leaves for reasons of its own shows nothing', () => {
  const demand = new SlotDemand()
  for (const reason of ['idle', 'requested', 'warmed', 'drain'] as const) {
    const each = tenant(reason)
    demand.leaves(each, reason, 0)
    demand.wakes(each, 1)
    assert.equal(demand.wantsFreeSlot(1), false, reason)
  }
  assert.equal(demand.returns, 0)
})

test('room made ahead is worth it if another comes, and in vain if the same one does', () => {
  const demand = new SlotDemand()
  const [a, b] = [tenant('a'), tenant('b')]
  demand.leaves(a, 'pressure', 0)
  demand.leaves(b, 'ahead', 10)
  demand.wakes(a, 900)
  assert.equal(demand.wantsFreeSlot(1_800), true, 'it goes on')
  demand.leaves(a, 'ahead', 1_800)
  demand.wakes(a, 1_801)
  assert.equal(demand.wantsFreeSlot(1_801), false)
})

test('who comes back soon after it made room is counted until a slot is made', () => {
  const demand = new SlotDemand()
  const [a, b] = [tenant('a'), tenant('b')]
  demand.leaves(a, 'pressure', 0)
  demand.leaves(b, 'fairness', 0)
  demand.wakes(a, 500)
  demand.wakes(b, 5_000)
  assert.equal(demand.returns, 1)
  demand.slotMade()
  assert.equal(demand.returns, 0)
})

test('who cannot leave ahead can still be asked to by somebody who waits', () => {
  const demand = new SlotDemand()
  const [a, b] = [tenant('a'), tenant('b')]
  demand.leaves(a, 'ahead', 0)
  demand.stays(a, 1, 100)
  assert.ok(a.notAheadUntilMs === 101 && a.pinnedUntilMs < 0)
  demand.leaves(b, 'pressure', 0)
  demand.stays(b, 1, 100)
  assert.ok(b.notAheadUntilMs === 101 && b.pinnedUntilMs === 101)
})
