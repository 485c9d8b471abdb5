/** Whoever keeps tenants at rest in the pool's world, or renews them, and what he is promised. */
import assert from 'node:assert/strict'
import type { TenantName } from '../../src/base/ids.ts'
import { ClientEntry, isResting } from '../../src/pool/pool-model.ts'
import type { PauseEvent, TenantEntry } from '../../src/pool/pool-model.ts'
import { mustLeaveAtMs, mustLeave } from '../../src/pool/pool-policy.ts'
import { type Action, toEach, toTenant } from './pool-action.ts'
import type { World } from './pool-world.ts'

const ALL = 'all'
/** One of a type and a name, or of all. */
const act = (type: PauseEvent['type']): ((name: TenantName | typeof ALL) => Action) =>
  toEach(type, (world, name) =>
    world.event({ type, name: name === ALL ? undefined : name } as PauseEvent),
  )
const paused = act('paused')
const resumed = act('resumed')
const held = act('held')
const letGo = act('letGo')
const renew = toTenant('renew', (world, tenant) =>
  world.event({ type: 'renewalRequested', tenant }),
)

/** What an administrator may do next. */
export function pausesAndRenewals({ state }: World): Action[] {
  const actions = [state.pauses.isPausedAll ? resumed(ALL) : paused(ALL)]
  for (const { name, renewalDue } of state.tenants.values()) {
    actions.push(state.pauses.isPausedByName(name) ? resumed(name) : paused(name))
    actions.push(state.pauses.isHeld(name) ? letGo(name) : held(name))
    if (!renewalDue) actions.push(renew(name))
  }
  return actions
}

/** Who may have the backend of a tenant that is paused: only who has it already. */
export function checkGoesOn(world: World, client: ClientEntry): void {
  const goesOn = world.transactions.has(client)
  assert.ok(!client.tenant.paused || goesOn, 'a paused tenant serves nobody who has it not yet')
}

/** What is told to be at rest is. */
export function checkRested(tenant: TenantEntry): void {
  assert.ok(tenant.paused && isResting(tenant.phase) && !tenant.slot, 'it is out of its slot')
  assert.ok(!(tenant.holder instanceof ClientEntry), 'nobody is in the middle of anything')
}

/** After every step. */
export function checkPauses(world: World): void {
  const { state, timerAtMs } = world
  for (const tenant of state.tenants.values()) {
    const { name, phase, holder, paused } = tenant
    assert.equal(paused, state.pauses.isPaused(name), 'tenant and list agree')
    const stays = phase === 'awake' && holder === undefined && mustLeave(tenant)
    if (stays) assert.ok(timerAtMs <= mustLeaveAtMs(tenant), 'it is asked to leave again')
    const rests = isResting(phase) && !(holder instanceof ClientEntry)
    if (paused && rests) assert.ok(state.pauses.isAtRest(name), 'its rest has been told')
    const goesOn = holder instanceof ClientEntry && tenant.waiting.has(holder)
    if (paused && state.slotQueue.has(tenant)) assert.ok(goesOn, 'it wakes only for its holder')
  }
}
