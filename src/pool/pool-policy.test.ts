/** Who may be asked for his slot, and when. That nobody waits for ever is explored elsewhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { ClientEntry, SlotEntry, TenantEntry } from './pool-model.ts'
import { evictableAtMs, isBusy, nextDeadlineMs, pickVictim } from './pool-policy.ts'
import { type PoolView, somebodyRests } from './pool-policy.ts'
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

test('while a statement has paused nobody is taken for silent because the others are', () => {
  const { view, tenants } = awake(3)
  const [silent, , long] = tenants
  assert.ok(silent && long)
  const client = new ClientEntry(long)
  client.phase = 'running'
  long.holder = client
  assert.equal(evictableAtMs(view, silent), slotThinkMs, 'it runs in one go, and is heard of')
  client.isAway = true
  assert.equal(evictableAtMs(view, silent), slotBusyMs)
  assert.ok(isBusy(view, silent, slotLullMs - 0.5) && !isBusy(view, silent, slotLullMs))
  long.lastUsedMs = LONG_AGO
  assert.equal(pickVictim(view, slotThinkMs), undefined)
  assert.equal(pickVictim(view, slotBusyMs), silent)
})

test('a judgement looks at each slot a few times, however many there are', () => {
  const { view, state } = awake(200)
  state.supply.swappedMs = slotBusyMs
  const waiting = new TenantEntry('waiting' as TenantName)
  state.tenants.set(waiting.name, waiting)
  state.waiting.tenants.add(waiting)
  let scans = 0
  Object.defineProperty(state.slots, Symbol.iterator, {
    value: () => {
      scans++
      return state.slots.values()
    },
  })
  for (const judge of [pickVictim, nextDeadlineMs, somebodyRests]) judge(view, slotBusyMs)
  assert.ok(scans < 12, `${scans} scans`)
})
