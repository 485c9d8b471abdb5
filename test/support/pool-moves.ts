/** What may happen to a tenant of the pool's world that none of its clients asked for. */
import assert from 'node:assert/strict'
import type { RestingPhase, TenantEntry } from '../../src/pool/pool-model.ts'
import {
  canLeave,
  evictableAtMs,
  pickVictim,
  slotsExpected,
  slotToWarmIn,
} from '../../src/pool/pool-policy.ts'
import type { Action, World } from './pool-world.ts'

/** A nap by hand, and being brought back before it is asked for. */
export function movesByOthers(world: World, tenant: TenantEntry): Action[] {
  const { name, phase } = tenant
  const slot = slotToWarmIn(world.state)
  const actions: Action[] = []
  const add = (verb: string, run: () => void): void => {
    actions.push({ name: `${verb} ${name}`, run })
  }
  if (phase === 'awake') add('nap', () => world.event({ type: 'napRequested', tenant }))
  add('upkeep due', () => world.event({ type: 'upkeepDue', tenant }))
  if (phase === 'asleep') add('read image', () => world.event({ type: 'imageRead', tenant }))
  if (slot && (phase === 'cold' || phase === 'asleep')) {
    add('warm', () => world.event({ type: 'warmRequested', tenant, slot }))
  }
  if (phase !== 'napping' && phase !== 'asleep') return actions
  add('drop image', () => {
    world.endLife(tenant)
    world.event({ type: 'imageMoved', tenant, to: 'cold' })
  })
  if (phase === 'asleep' || tenant.holder) return actions
  add('image to disk', () => world.event({ type: 'imageMoved', tenant, to: 'asleep' }))
  return actions
}

/** What may come of loading a tenant. */
export function bootEnds(
  world: World,
  tenant: TenantEntry,
  { from, rough }: { readonly from: RestingPhase; readonly rough: boolean },
): Action[] {
  const { name } = tenant
  const fails = (to: RestingPhase, slotUsable: boolean): void => {
    world.boots.delete(tenant)
    if (to !== from) world.endLife(tenant)
    world.event({ type: 'bootFailed', tenant, to, error: 'boot', slotUsable })
  }
  const booted = { name: `boot ${name}`, run: () => world.booted(tenant) }
  if (!rough) return [booted]
  return [
    booted,
    { name: `boot failed ${name}`, run: () => fails('cold', false) },
    { name: `not opened ${name}`, run: () => fails(from, true) },
    // While a store is being opened, room may be wanted: the image goes to disk, or goes.
    ...(from === 'napping'
      ? [{ name: `not opened, moved ${name}`, run: () => fails('asleep', true) }]
      : []),
  ]
}

/** Whoever could make room for those who wait does so now, or there is a timer for it. */
export function checkRoom(world: World): void {
  const { state, nowMs, timerAtMs } = world
  const drains = state.drainDeadlineMs !== undefined
  if (drains || state.slotQueue.size <= slotsExpected(state)) return
  assert.equal(pickVictim(state, nowMs), undefined, 'nobody idles while others wait')
  for (const { tenant } of state.slots) {
    if (!tenant || !canLeave(tenant)) continue
    assert.ok(
      timerAtMs <= evictableAtMs(state, tenant),
      'the time when it may be asked to leave is waited for',
    )
  }
}

/** There are as many slots as the pool knows of, and each agrees with its tenant. */
export function checkSlots(world: World): void {
  const { state } = world
  assert.ok(
    state.slots.size + (state.supply.creating ? 1 : 0) <= state.limits.slotsPerShard,
    'slot limit',
  )
  assert.equal(state.supply.creating, world.creating)
  const known = [...state.slots]
  const agree =
    known.length === world.slots.length && known.every((slot, at) => slot === world.slots[at])
  assert.ok(world.drained || agree, 'slots are accounted for')
  for (const slot of state.slots) {
    if (slot.tenant) assert.equal(slot.tenant.slot, slot, 'slot and tenant agree')
  }
}
