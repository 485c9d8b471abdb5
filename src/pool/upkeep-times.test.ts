/** When the upkeep of an awake tenant is tried, and what else has to wait for that. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SMALL } from '../../test/support/pool-limits.ts'
import type { TenantName } from '../base/ids.ts'
import { ClientEntry, type PoolEffect, SlotEntry, type TenantEntry } from './pool-model.ts'
import { dueAtRest, pickVictim } from './pool-policy.ts'
import { PoolState } from './pool-state.ts'

/** An awake tenant without clients, last used at time 0. */
function awake(): { readonly state: PoolState; readonly tenant: TenantEntry } {
  const state = new PoolState(SMALL)
  const tenant = state.tenant('acme' as TenantName)
  const slot = new SlotEntry(0)
  state.handle({ type: 'slotCreated', slot }, 0)
  Object.assign(tenant, { phase: 'awake', slot })
  slot.tenant = tenant
  return { state, tenant }
}

const timerOf = (effects: readonly PoolEffect[]): number | undefined =>
  effects.findLast((effect) => effect.type === 'setTimer')?.atMs

test('what is due without a write is done as after one, of who is awake', () => {
  const { state, tenant } = awake()
  const effects = state.handle({ type: 'upkeepDue', tenant }, 1)
  assert.equal(timerOf(effects), SMALL.maintenanceIdleMs)
  const tick = state.handle({ type: 'tick' }, SMALL.maintenanceIdleMs)
  assert.deepEqual(
    tick.filter(({ type }) => type === 'maintain'),
    [{ type: 'maintain', tenant }],
  )
  const other = state.tenant('other' as TenantName)
  state.handle({ type: 'upkeepDue', tenant: other }, 1)
  assert.equal(other.maintenanceDue, false)
})

test('upkeep that gave way rests, and its tenant stays awake for it, but not for ever', () => {
  const { state, tenant } = awake()
  Object.assign(tenant, { maintenanceDue: true, holder: 'maintenance' })
  const notBeforeMs = SMALL.napAfterMs + 10
  const effects = state.handle({ type: 'maintained', tenant, more: true, notBeforeMs }, 8)
  assert.equal(timerOf(effects), notBeforeMs, 'neither upkeep nor a nap comes before')
  assert.equal(dueAtRest(state, tenant, notBeforeMs - 1), undefined)
  assert.equal(dueAtRest(state, tenant, notBeforeMs), 'upkeep')
  tenant.maintenanceAtMs = 1e6
  const lastMs = SMALL.napAfterMs + SMALL.upkeepAwakeMs
  assert.equal(dueAtRest(state, tenant, lastMs - 1), undefined)
  assert.equal(dueAtRest(state, tenant, lastMs), 'nap')
  assert.equal(pickVictim(state, 9), tenant, 'who wants its slot gets it')
  tenant.maintenanceDue = false
  assert.equal(dueAtRest(state, tenant, SMALL.napAfterMs), 'nap')
})

test('a client does not wait for the end of that rest', () => {
  const { state, tenant } = awake()
  tenant.maintenanceDue = true
  tenant.maintenanceAtMs = 1e6
  const client = new ClientEntry(tenant)
  state.handle({ type: 'clientArrived', client }, 9)
  const effects = state.handle({ type: 'batchRequested', client }, 10)
  assert.deepEqual(
    effects.filter(({ type }) => type === 'grant'),
    [{ type: 'grant', client }],
  )
})
