/** All that could happen next in the pool's world. */
import type { ClientEntry } from '../../src/pool/pool-model.ts'
import { type Action, toClient, toTenant } from './pool-action.ts'
import { bootEnds, movesByOthers } from './pool-moves.ts'
import { pausesAndRenewals } from './pool-pauses.ts'
import type { World } from './pool-world.ts'

export function actionsOf(world: World): Action[] {
  const actions: Action[] = []
  for (const [index, client] of world.clients.entries()) {
    addOfClient(actions, world, client, index)
  }
  addWork(actions, world)
  addTime(actions, world)
  return actions
}

// Clients

const request = toClient('request', (world, client) => world.request(client))
const leave = toClient('leave', (world, client) => world.leave(client))
const leaveRunning = toClient('leave running', (world, client) => world.leave(client))
const crash = toClient('crash', (world, { tenant }) => world.crash(tenant))
const pin = toClient('pin', (world, client) => world.pin(client))
const float = toClient('float', (world, client) => world.forks.float(client))
const cancel = toClient('cancel', (world, client) => world.event({ type: 'waitCanceled', client }))
const finish = toClient('finish', (world, client) => world.finish(client, true))
const begin = toClient('begin', (world, client) => world.finish(client, false))
const pause = toClient('pause', (world, client) => world.pause(client))
const chain = toClient('chain', (world, client) => world.forks.chain(client))

function addOfClient(actions: Action[], world: World, client: ClientEntry, index: number): void {
  const { rough, reads } = world
  switch (client.phase) {
    case 'idle':
    case 'holding':
    case 'lost': {
      const isAskable = (world.left[index] ?? 0) > 0 || client.phase === 'holding'
      if (isAskable) actions.push(request(index))
      actions.push(leave(index))
      if (rough && client.tenant.phase === 'awake') actions.push(crash(index))
      if (mayPin(world, client)) actions.push(pin(index))
      if (reads && world.forks.mayFloat(client)) actions.push(float(index))
      return
    }
    case 'waiting':
      actions.push(leave(index))
      if (rough) actions.push(cancel(index))
      if (mayPin(world, client)) actions.push(pin(index))
      return
    case 'running':
      actions.push(finish(index), begin(index))
      if (reads) actions.push(chain(index))
      if (world.long && !client.awaitsTurn) actions.push(pause(index))
      actions.push(leaveRunning(index))
      if (rough) actions.push(crash(index))
      return
    case 'gone':
  }
}

/** Its session may turn out to hold what cannot be put aside, whenever its memory is there. */
function mayPin({ rough }: World, { tenant, phase }: ClientEntry): boolean {
  if (!rough || tenant.holder) return false
  const comes = phase === 'waiting' && (tenant.phase !== 'awake' || tenant.outOfTurn)
  const isThere = ['waking', 'awake', 'napping'].includes(tenant.phase)
  return isThere && (phase === 'idle' || comes)
}

// Work that is under way

const slotCreated: Action = { name: 'slot created', run: (world) => world.slotCreated() }
const slotFailed: Action = { name: 'slot failed', run: (world) => world.slotFailed() }
const evicted = toTenant('evicted', (world, tenant) => world.evicted(tenant))
const stays = toTenant('stays', (world, tenant) => {
  world.evictions.delete(tenant)
  world.event({ type: 'evictionRefused', tenant })
})
const evictedToNapping = toTenant('evicted to napping', (world, tenant) => {
  world.evictions.delete(tenant)
  world.event({ type: 'evicted', tenant, to: 'napping', slotReusable: true })
})
const cleaned = toTenant('cleaned', (world, tenant) => world.cleaned(tenant))
const crashCleaning = toTenant('crash cleaning', (world, tenant) => world.crash(tenant))
const maintained = toTenant('maintained', (world, tenant) => world.maintained(tenant))
const crashMaintaining = toTenant('crash maintaining', (world, tenant) => world.crash(tenant))

function addWork(actions: Action[], world: World): void {
  const { rough, state } = world
  actions.push(...world.forks.actions(rough))
  if (world.creating) actions.push(...(rough ? [slotCreated, slotFailed] : [slotCreated]))
  for (const [{ name }, from] of world.boots) actions.push(...bootEnds(name, { from, rough }))
  for (const { name, clientCount } of world.evictions) {
    actions.push(evicted(name))
    if (!rough) continue
    // Only who has clients has a session to lose, and nobody is asked at the end.
    if (clientCount > 0 && state.drainDeadlineMs === undefined) actions.push(stays(name))
    actions.push(evictedToNapping(name))
  }
  for (const { name } of world.cleaning) {
    actions.push(cleaned(name))
    if (rough) actions.push(crashCleaning(name))
  }
  for (const { name } of world.maintaining) {
    actions.push(maintained(name))
    if (rough) actions.push(crashMaintaining(name))
  }
}

// Time, and what nobody here has asked for

const tick: Action = { name: 'tick', run: (world) => world.tick() }
const turn: Action = { name: 'turn', run: (world) => world.turn() }

function addTime(actions: Action[], world: World): void {
  if (world.timerAtMs < Number.POSITIVE_INFINITY) actions.push(tick)
  if (world.turnAwaited) actions.push(turn)
  if (world.pauses) actions.push(...pausesAndRenewals(world))
  if (!world.rough) return
  for (const tenant of world.state.tenants.values()) actions.push(...movesByOthers(world, tenant))
}
