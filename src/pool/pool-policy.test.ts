/** Who may be asked for his slot, and when. That nobody waits for ever is explored elsewhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { SlotEntry, TenantEntry } from './pool-model.ts'
import { evictableAtMs, isBusy, pickVictim, type PoolView } from './pool-policy.ts'
import { PoolState } from './pool-state.ts'

const LONG_AGO = -1_000
const { slotBusyMs, slotLullMs, slotThinkMs } = LIMITS

/** Awake tenants of one client each, all of them used when the test begins. */
function awake(count: number): { view: PoolView; state: PoolState; tenants: TenantEntry[] } {
  const state = new PoolState(LIMITS)
  const tenants = Array.from({ length: count }, (_, index) => {
    const tenant = new TenantEntry(`t${index}` as TenantName)
    const slot = new SlotEntry(index)
    slot.tenant = tenant
    tenant.slot = slot
    tenant.phase = 'awake'
    tenant.clientCount = 1
    tenant.awakeSinceMs = LONG_AGO + index
    tenant.lastUsedMs = 0
    state.slots.add(slot)
    return tenant
  })
  state.supply.busyLeftMs = 0
  return { view: state, state, tenants }
}

test('who says nothing while the thread has nothing to do makes room at once', () => {
  const { view, tenants } = awake(2)
  for (const tenant of tenants) {
    assert.equal(evictableAtMs(view, tenant), slotThinkMs)
    assert.ok(isBusy(view, tenant, 0) && !isBusy(view, tenant, slotThinkMs))
  }
})

test('while others work, who is silent makes room in its turn, or after a lull', () => {
  const { view, state, tenants } = awake(2)
  const [silent, other] = tenants
  assert.ok(silent && other)
  other.lastUsedMs = slotLullMs - 0.5
  assert.equal(evictableAtMs(view, silent), slotBusyMs)
  state.supply.busyLeftMs = slotBusyMs
  assert.equal(evictableAtMs(view, silent), slotLullMs)
  silent.clientCount = 0
  assert.ok(evictableAtMs(view, silent) < 0, 'who has no clients has nothing to lose')
})

test('after a swap nobody has been heard, and nobody is silent', () => {
  const { view, state } = awake(8)
  state.supply.swappedMs = 4
  assert.equal(pickVictim(view, 4), undefined)
  assert.equal(pickVictim(view, 4 + slotThinkMs)?.name, 't0')
})

test('of those that are busy the one leaves that has had its slot the longest', () => {
  const { view, state, tenants } = awake(3)
  const [first, second, third] = tenants
  assert.ok(first && second && third)
  const nowMs = slotBusyMs
  state.supply.swappedMs = nowMs
  for (const [index, tenant] of tenants.entries()) tenant.lastUsedMs = nowMs - index * 0.1
  assert.equal(pickVictim(view, nowMs), first)
  third.lastUsedMs = nowMs - slotLullMs
  assert.equal(pickVictim(view, nowMs), third, 'who is silent goes before')
  first.holder = 'cleaning'
  third.clientCount = 0
  second.lastUsedMs = nowMs
  assert.equal(pickVictim(view, nowMs), third)
})
