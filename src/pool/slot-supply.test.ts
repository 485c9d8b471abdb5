import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { TenantEntry } from './pool-model.ts'
import { SlotSupply } from './slot-supply.ts'

const tenant = (name: string): TenantEntry => new TenantEntry(name as TenantName)

test('a swap makes a free slot wanted for a while', () => {
  const supply = new SlotSupply()
  supply.wakes(tenant('a'), 0)
  assert.equal(supply.wantsFreeSlot(1), false, 'a wake alone shows nothing')
  supply.leaves(tenant('a'), { reason: 'pressure', isBusy: false }, 100)
  assert.equal(supply.wantsFreeSlot(100), true)
  assert.equal(supply.wantsFreeSlot(1_100), false)
})

test('who leaves for reasons of its own shows nothing', () => {
  const supply = new SlotSupply()
  for (const reason of ['idle', 'requested', 'warmed', 'drain'] as const) {
    const each = tenant(reason)
    supply.leaves(each, { reason, isBusy: false }, 0)
    supply.wakes(each, 1)
    assert.equal(supply.wantsFreeSlot(1), false, reason)
  }
  assert.equal(supply.returns, 0)
})

test('room made ahead is worth it if another comes, and in vain if the same one does', () => {
  const supply = new SlotSupply()
  const [a, b] = [tenant('a'), tenant('b')]
  supply.leaves(a, { reason: 'pressure', isBusy: false }, 0)
  supply.leaves(b, { reason: 'ahead', isBusy: false }, 10)
  supply.wakes(a, 900)
  assert.equal(supply.wantsFreeSlot(1_800), true, 'it goes on')
  supply.leaves(a, { reason: 'ahead', isBusy: false }, 1_800)
  supply.wakes(a, 1_801)
  assert.equal(supply.wantsFreeSlot(1_801), false)
})

test('who comes back soon after it made room is counted until a slot is made', () => {
  const supply = new SlotSupply()
  const [a, b] = [tenant('a'), tenant('b')]
  supply.leaves(a, { reason: 'pressure', isBusy: false }, 0)
  supply.leaves(b, { reason: 'fairness', isBusy: false }, 0)
  supply.wakes(a, 500)
  supply.wakes(b, 5_000)
  assert.equal(supply.returns, 1)
  supply.making()
  assert.equal(supply.returns, 0)
})

test('who cannot leave ahead can still be asked to by somebody who waits', () => {
  const supply = new SlotSupply()
  const [a, b] = [tenant('a'), tenant('b')]
  supply.leaves(a, { reason: 'ahead', isBusy: false }, 0)
  supply.stays(a, 1, 100)
  assert.ok(a.notAheadUntilMs === 101 && a.pinnedUntilMs < 0)
  supply.leaves(b, { reason: 'pressure', isBusy: false }, 0)
  supply.stays(b, 1, 100)
  assert.ok(b.notAheadUntilMs === 101 && b.pinnedUntilMs === 101)
})
