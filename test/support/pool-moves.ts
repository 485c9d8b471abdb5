/** What may happen to a tenant of the pool's world that none of its clients asked for. */
import assert from 'node:assert/strict'
import type { TenantName } from '../../src/base/ids.ts'
import type { RestingPhase, TenantEntry } from '../../src/pool/pool-model.ts'
import {
  canLeave,
  evictableAtMs,
  pickVictim,
  slotsExpected,
  slotToWarmIn,
} from '../../src/pool/pool-policy.ts'
import { type Action, toTenant } from './pool-action.ts'
import type { World } from './pool-world.ts'

const nap = toTenant('nap', (world, tenant) => world.event({ type: 'napRequested', tenant }))
const upkeepDue = toTenant('upkeep due', (world, tenant) =>
  world.event({ type: 'upkeepDue', tenant }),
)
const imageRead = toTenant('read image', (world, tenant) =>
  world.event({ type: 'imageRead', tenant }),
)
const warmed = toTenant('warm', (world, tenant) => {
  const slot = slotToWarmIn(world.state)
  assert.ok(slot)
  world.event({ type: 'warmRequested', tenant, slot })
})
const imageDropped = toTenant('drop image', (world, tenant) => {
  world.endLife(tenant)
  world.event({ type: 'imageMoved', tenant, to: 'cold' })
})
const imageToDisk = toTenant('image to disk', (world, tenant) =>
  world.event({ type: 'imageMoved', tenant, to: 'asleep' }),
)

/** A nap by hand, and being brought back before it is asked for. */
export function movesByOthers(world: World, tenant: TenantEntry): Action[] {
  const { name, phase } = tenant
  const actions: Action[] = []
  if (phase === 'awake') actions.push(nap(name))
  actions.push(upkeepDue(name))
  if (phase === 'asleep') actions.push(imageRead(name))
  if ((phase === 'cold' || phase === 'asleep') && slotToWarmIn(world.state)) {
    actions.push(warmed(name))
  }
  if (phase !== 'napping' && phase !== 'asleep') return actions
  actions.push(imageDropped(name))
  if (phase === 'napping' && !tenant.holder) actions.push(imageToDisk(name))
  return actions
}

/** @param to where it is then; without, where it was */
function bootFails(
  verb: string,
  { to, slotUsable }: { readonly to?: RestingPhase; readonly slotUsable: boolean },
): (name: TenantName) => Action {
  return toTenant(verb, (world, tenant) => {
    const from = world.boots.get(tenant)
    assert.ok(from)
    const rests = to ?? from
    world.boots.delete(tenant)
    if (rests !== from) world.endLife(tenant)
    world.event({ type: 'bootFailed', tenant, to: rests, error: 'boot', slotUsable })
  })
}

const booted = toTenant('boot', (world, tenant) => world.booted(tenant))
const bootFailed = bootFails('boot failed', { to: 'cold', slotUsable: false })
const notOpened = bootFails('not opened', { slotUsable: true })
const notOpenedMoved = bootFails('not opened, moved', { to: 'asleep', slotUsable: true })

/** What may come of loading a tenant. */
export function bootEnds(
  name: TenantName,
  { from, rough }: { readonly from: RestingPhase; readonly rough: boolean },
): Action[] {
  if (!rough) return [booted(name)]
  const ends = [booted(name), bootFailed(name), notOpened(name)]
  // While a store is being opened, room may be wanted: the image goes to disk, or goes.
  return from === 'napping' ? [...ends, notOpenedMoved(name)] : ends
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
