import { ClientEntry } from '../../src/pool/pool-model.ts'
import type { TenantEntry } from '../../src/pool/pool-model.ts'
import type { World } from './pool-world.ts'

/** Equal fingerprints: nothing that could still happen differs. */
export function fingerprintOf(world: World): string {
  const { state, nowMs } = world
  const ago = (atMs: number): number => Math.max(-60, atMs - nowMs)
  const id = (client: ClientEntry): number => world.clients.indexOf(client)
  const ids = (clients: Iterable<ClientEntry>): number[] => [...clients].map(id)
  const names = (tenants: Iterable<TenantEntry>): string[] => [...tenants].map((each) => each.name)
  const tenants = [
    ...new Set([...world.clients.map((each) => each.tenant), ...state.tenants.values()]),
  ]
  return JSON.stringify([
    tenants.map((each) => [
      each.phase,
      each.holder instanceof ClientEntry ? id(each.holder) : each.holder,
      ids(each.waiting),
      each.phase === 'awake' ? [ago(each.awakeSinceMs), ago(each.lastUsedMs)] : 0,
      each.maintenanceDue,
      [each.paused, each.renewalDue, state.pauses.isPausedByName(each.name)],
      [each.leavesFor === 'renewal', Math.max(0, each.notRenewedUntilMs - nowMs)],
      each.paused ? Math.max(0, each.pinnedUntilMs - nowMs) : 0,
      [each.fork && [each.fork.forkPhase, world.forks.shows.has(each.fork)], each.forkRefused],
      [each.forkMs, Math.max(0, each.forkNotBeforeMs - nowMs)],
      [each.sessionUsed, each.served, each.abortDue, each.discardDue],
      [
        each.outOfTurn,
        each.turnSpentMs,
        each.lastBatchMs,
        state.turns.usedMs(each, nowMs).toFixed(1),
      ],
    ]),
    world.clients.map((each) => [
      each.phase,
      each.leaving,
      [each.isAway, each.awaitsTurn, each.chargedMs],
      each.used,
      [each.reads, each.reads && each.readsSurely],
      each.phase === 'waiting' ? ago(each.waitSinceMs) : 0,
    ]),
    world.left,
    ids(state.waitingByAge),
    names(state.slotQueue),
    [...state.slots].map((slot) => [slot.tenant?.name, slot.forkOf?.name, slot.forkPhase]),
    world.forks.todo.map((effect) => [
      effect.type,
      effect.type === 'read' ? id(effect.client) : [...state.slots].indexOf(effect.slot),
    ]),
    [
      world.creating,
      world.turnAwaited,
      Math.max(0, state.turns.pauseUntilMs - nowMs),
      state.supply.returns,
      // Without a lull it makes no difference when anybody was heard.
      state.limits.slotLullMs > 0 ? Math.max(-60, state.supply.swappedMs - nowMs) : 0,
      Math.max(-state.limits.slotBusyMs, state.supply.busyLeftMs - nowMs),
      state.supply.wantsFreeSlot(world.nowMs),
      Math.max(0, state.supply.createAfterMs - nowMs),
      Math.min(100, world.timerAtMs - nowMs),
    ],
    [...world.boots].map(([tenant, from]) => [tenant.name, from]),
    [world.evictions, world.cleaning, world.maintaining].map(names),
  ])
}
