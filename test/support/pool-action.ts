/**
 * Something that can happen in the pool's world, by name. It belongs to no world: who explores goes
 * thousands of paths, each in a world of its own, and makes each action once for all of them.
 */
import assert from 'node:assert/strict'
import type { TenantName } from '../../src/base/ids.ts'
import type { ClientEntry, TenantEntry } from '../../src/pool/pool-model.ts'
import type { World } from './pool-world.ts'

export interface Action {
  readonly name: string
  readonly run: (world: World) => void
}

/** To one of many: made for each when it is first asked for. */
export function toEach<Key extends string | number>(
  verb: string,
  run: (world: World, key: Key) => void,
): (key: Key) => Action {
  const made = new Map<Key, Action>()
  return (key) => {
    let action = made.get(key)
    if (!action) {
      action = { name: `${verb} ${key}`, run: (world) => run(world, key) }
      made.set(key, action)
    }
    return action
  }
}

/** To the client at a place among all clients. */
export function toClient(
  verb: string,
  run: (world: World, client: ClientEntry) => void,
): (index: number) => Action {
  return toEach<number>(verb, (world, index) => {
    const client = world.clients[index]
    assert.ok(client)
    run(world, client)
  })
}

export function toTenant(
  verb: string,
  run: (world: World, tenant: TenantEntry) => void,
): (name: TenantName) => Action {
  return toEach<TenantName>(verb, (world, name) => {
    const tenant = world.state.tenants.get(name)
    assert.ok(tenant)
    run(world, tenant)
  })
}
