/**
 * Explores the pool's rules. Some tests walk every interleaving of small worlds breadth first, one
 * plays random games with larger ones. After each step the invariants of `pool-world.ts` are
 * checked, and from the states reached the world runs out: it must come to rest.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SeededRandom } from '../base/random.ts'
import type { Action } from '../../test/support/pool-action.ts'
import { actionsOf } from '../../test/support/pool-actions.ts'
import { fingerprintOf } from '../../test/support/pool-fingerprint.ts'
import { FORK_MS } from '../../test/support/pool-forks.ts'
import { SMALL } from '../../test/support/pool-limits.ts'
import { World } from '../../test/support/pool-world.ts'
import type { Config } from '../../test/support/pool-world.ts'

/** Goes a path of which all but the last step has been gone, and checked, before. */
function replay(config: Config, path: readonly Action[]): World {
  const world = new World(config, path.length > 1)
  for (const [at, action] of path.entries()) {
    if (at === path.length - 1) {
      world.goesKnownPath = false
      assert.ok(actionsOf(world).includes(action), `${action.name} is possible`)
    }
    action.run(world)
  }
  return world
}

/** Goes a path by names for the first time. */
function pathOf(config: Config, names: readonly string[]): Action[] {
  const world = new World(config)
  return names.map((name) => {
    const action = actionsOf(world).find((each) => each.name === name)
    assert.ok(action, `${name} is possible`)
    action.run(world)
    return action
  })
}

/**
 * All states reachable in `depth` steps from the end of `start`; throws with the shortest path to a
 * violation.
 */
function explore(config: Config, depth: number, start: readonly string[] = []): number {
  const seen = new Set<string>()
  let frontier: Action[][] = [pathOf(config, start)]
  for (let step = 0; step <= depth; step++) {
    const next: Action[][] = []
    for (const path of frontier) {
      try {
        const world = replay(config, path)
        const print = fingerprintOf(world)
        if (seen.has(print)) continue
        seen.add(print)
        if (step < depth) for (const action of actionsOf(world)) next.push([...path, action])
        world.settle()
      } catch (error) {
        throw new Error(`after: ${path.map(({ name }) => name).join(', ')}`, { cause: error })
      }
    }
    frontier = next
  }
  return seen.size
}

test('every interleaving of three clients of three tenants on two slots', () => {
  const config = { limits: {}, clients: ['a', 'b', 'c'], requestsPerClient: 2, rough: false }
  assert.ok(explore(config, 8) > 1_000)
})

test('every interleaving of three tenants on one slot, with failures', () => {
  const limits = { slotsPerShard: 1, slotQuantumMs: 0, slotBusyMs: 0 }
  const config = { limits, clients: ['a', 'b', 'c'], requestsPerClient: 1, rough: true }
  assert.ok(explore(config, 8) > 1_000)
})

test('every interleaving of three clients of two tenants, with failures', () => {
  const limits = { slotsPerShard: 1, tenantQueueMax: 1 }
  const config = { limits, clients: ['a', 'a', 'b'], requestsPerClient: 2, rough: true }
  assert.ok(explore(config, 8) > 1_000)
})

test('every interleaving of tenants that use up their turn with each batch', () => {
  const limits = { turnMs: 1, turnAloneMs: 1 }
  const config = { limits, clients: ['a', 'a', 'b'], requestsPerClient: 2, rough: true }
  assert.ok(explore({ ...config, batchMs: 1 }, 7) > 1_000)
})

test('every interleaving of tenants with long batches, for which others are waited', () => {
  const limits = { slotQuantumMs: 100, napAfterMs: 1000 }
  const config = { limits, clients: ['a', 'a', 'b'], requestsPerClient: 2, rough: false }
  assert.ok(explore({ ...config, batchMs: 20 }, 9) > 500)
})

/** A transaction is open, a client waits to read, and a second slot is there. */
const OPEN = ['request 0', 'slot created', 'boot a', 'begin 0', 'request 1', 'tick', 'slot created']

test('every interleaving of clients that read beside a transaction, with failures', () => {
  const config = { limits: {}, clients: ['a', 'a', 'b'], requestsPerClient: 2, rough: true }
  assert.ok(explore({ ...config, reads: true }, 6, OPEN) > 1_000)
})

test('every interleaving of readers, and tenants that want the slots of their forks', () => {
  const config = { limits: {}, clients: ['a', 'a', 'b', 'c'], requestsPerClient: 2, rough: false }
  assert.ok(explore({ ...config, reads: true }, 7, OPEN) > 500)
})

test('every interleaving of readers whose tenant has its turn with each batch', () => {
  const limits = { turnMs: 1, turnAloneMs: 1 }
  const config = { limits, clients: ['a', 'a', 'a', 'b'], requestsPerClient: 2, rough: false }
  assert.ok(explore({ ...config, batchMs: 1, reads: true }, 6, OPEN) > 500)
})

test('forks in vain have a share of the time, however many ask for them', () => {
  const clients = Array.from({ length: 300 }, () => 'a')
  const limits = { tenantQueueMax: clients.length, shardQueueMax: clients.length }
  const world = new World({ limits, clients, requestsPerClient: 1, rough: true, reads: true })
  const does = (name: string): boolean => {
    const action = actionsOf(world).find((each) => each.name === name)
    action?.run(world)
    return action !== undefined
  }
  for (const name of [...OPEN, 'cancel 1']) assert.ok(does(name), name)
  const startMs = world.nowMs
  let forks = 0
  // Every third one neither begins a transaction nor surely reads.
  for (let asks = 3; asks < clients.length; asks += 3) {
    assert.ok(does(`request ${asks}`))
    if (does('fork a')) forks++
    for (let index = 3; index <= asks; index += 3) {
      if (does(`writes ${index}`)) assert.ok(does(`cancel ${index}`))
    }
    while (world.forks.step());
    world.nowMs++
    if (world.timerAtMs <= world.nowMs) world.tick()
  }
  // Forks take no time here.
  const spentMs = forks * FORK_MS
  const share = spentMs / (spentMs + world.nowMs - startMs)
  const most = SMALL.vainForkShare
  assert.ok(share > most / 2 && share <= most, `${forks} forks, ${share} of the time`)
})

/** A client whose statement has paused, another one that waits to read, two slots. */
const LONG = ['request 0', 'slot created', 'boot a', 'pause 0', 'request 1', 'tick', 'slot created']

test('every interleaving of readers beside a statement that has paused, with failures', () => {
  const config = { limits: {}, clients: ['a', 'a', 'b'], requestsPerClient: 2, rough: true }
  assert.ok(explore({ ...config, reads: true, long: true }, 5, LONG) > 1_000)
})

/** Statements of two tenants that have paused. */
const PAUSED = [
  'request 0',
  'slot created',
  'boot a',
  'pause 0',
  'request 2',
  'slot created',
].concat(['boot b', 'pause 2'])

test('every interleaving of statements that pause again and again, with failures', () => {
  const limits = { turnMs: 1, turnAloneMs: 1 }
  const config = { limits, clients: ['a', 'a', 'b', 'c'], requestsPerClient: 2, rough: true }
  assert.ok(explore({ ...config, batchMs: 1, long: true }, 4, PAUSED) > 1_000)
})

/** An administrator who pauses, resumes and renews, one tenant and all. */
const PAUSES = { rough: false, pauses: true, requestsPerClient: 2 }

test('every interleaving of pauses and renewals of two tenants', () => {
  const config = { ...PAUSES, limits: {}, clients: ['a', 'a', 'b'] }
  assert.ok(explore(config, 6) > 1_000)
})

test('every interleaving of pauses and renewals beside an open transaction, with failures', () => {
  const config = { ...PAUSES, limits: {}, clients: ['a', 'a'], rough: true, reads: true }
  assert.ok(explore(config, 4, OPEN) > 500)
})

test('every interleaving of pauses of tenants that share one slot, with failures', () => {
  const limits = { slotsPerShard: 1, slotQuantumMs: 0, slotBusyMs: 0 }
  const config = { ...PAUSES, limits, clients: ['a', 'b'], rough: true }
  assert.ok(explore(config, 5, ['request 0', 'slot created']) > 500)
})

test('long random games with many clients', () => {
  const tenant = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
  const game = fc.record({
    seed: fc.integer(),
    slotsPerShard: fc.integer({ min: 1, max: 4 }),
    spareSlots: fc.integer({ min: 0, max: 2 }),
    slotQuantumMs: fc.constantFrom(0, 5),
    slotBusyMs: fc.constantFrom(0, 4),
    slotLullMs: fc.constantFrom(0, 6),
    clients: fc.array(tenant, { minLength: 1, maxLength: 14 }),
    steps: fc.integer({ min: 1, max: 200 }),
    batchMs: fc.constantFrom(0, 0.5, 1, 20),
    reads: fc.boolean(),
    pauses: fc.boolean(),
    long: fc.boolean(),
  })
  fc.assert(
    fc.property(game, ({ seed, clients, steps, batchMs, reads, pauses, long, ...drawn }) => {
      const random = new SeededRandom(seed)
      const limits = { ...drawn, tenantQueueMax: 4, shardQueueMax: 4 }
      const world = new World({
        limits,
        clients,
        requestsPerClient: 12,
        rough: true,
        batchMs,
        reads,
        pauses,
        long,
      })
      for (let step = 0; step < steps; step++) {
        // Clients that leave at the first chance make dull games.
        const patient = random.below(20) > 0
        const all = actionsOf(world)
        const actions = all.filter(({ name }) => !(patient && name.startsWith('leave')))
        actions[random.below(actions.length)]?.run(world)
      }
      world.settle()
    }),
    { numRuns: 1000 },
  )
})
