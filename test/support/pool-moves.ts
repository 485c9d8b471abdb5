/** What may be done to a tenant of the pool's world that none of its clients asked for. */
import type { TenantEntry } from '../../src/pool/pool-model.ts'
import { slotToWarmIn } from '../../src/pool/pool-policy.ts'
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
  if (phase === 'asleep') add('read image', () => world.event({ type: 'imageRead', tenant }))
  if (slot && (phase === 'cold' || phase === 'asleep')) {
    add('warm', () => world.event({ type: 'warmRequested', tenant, slot }))
  }
  return actions
}
