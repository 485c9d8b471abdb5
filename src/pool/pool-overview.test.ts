import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { ClientEntry, SlotEntry } from './pool-model.ts'
import { poolOverview } from './pool-overview.ts'
import { PoolState } from './pool-state.ts'

test('tenants and slots one by one: who is in, who waits and how long', () => {
  const state = new PoolState(LIMITS)
  const busy = state.tenant('busy' as TenantName)
  const resting = state.tenant('resting' as TenantName)
  const slots = [new SlotEntry(3), new SlotEntry(4), new SlotEntry(5)] as const
  for (const slot of slots) state.slots.add(slot)
  const [holder, waiter, later] = [busy, busy, busy].map((tenant) => new ClientEntry(tenant))
  assert.ok(holder && waiter && later)
  Object.assign(busy, { phase: 'awake', holder, clientCount: 3, awakeSinceMs: 50, lastUsedMs: 90 })
  Object.assign(slots[0], { tenant: busy })
  waiter.waitSinceMs = 70
  later.waitSinceMs = 80
  busy.waiting.add(waiter).add(later)
  Object.assign(resting, { phase: 'awake', holder: 'maintenance', lastUsedMs: 100 })
  Object.assign(slots[1], { tenant: resting })
  const bytes = new Map([[slots[0], { memoryBytes: 7 }] as const])
  const { tenants, slots: pictures } = poolOverview(state, bytes, 100)
  assert.deepEqual(tenants, [
    { name: 'busy', phase: 'awake', use: 'client', clients: 3, waiting: 2, longestWaitMs: 30 },
    { name: 'resting', phase: 'awake', use: 'upkeep', clients: 0, waiting: 0, longestWaitMs: 0 },
  ])
  const [first, second, free] = pictures
  assert.deepEqual(first, {
    id: 3,
    memoryBytes: 7,
    tenant: 'busy',
    phase: 'awake',
    use: 'client',
    isFork: false,
    awakeMs: 50,
    restMs: 10,
  })
  assert.equal(second?.use, 'upkeep')
  assert.deepEqual([free?.tenant, free?.phase, free?.use], [undefined, undefined, 'nobody'])
})
