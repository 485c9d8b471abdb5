/** Which part of a pool carries out what its state machine has decided. */
import { unreachable } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { TenantName } from '../base/ids.ts'
import type { ImageShelf } from './image-shelf.ts'
import type { LiveTenants } from './live-tenants.ts'
import type { LiveTenant } from './pool-client.ts'
import type { ClientEntry, PoolEffect, PoolEvent } from './pool-model.ts'
import type { PoolCounters } from './pool-statistics.ts'
import type { Pauses } from './pauses.ts'
import type { ReaderForks } from './reader-forks.ts'
import type { SlotRack } from './slot-rack.ts'
import type { SlotWork } from './slot-work.ts'

export interface EffectTargets {
  readonly clock: Clock
  readonly counters: PoolCounters
  readonly slots: SlotRack
  readonly work: SlotWork
  readonly forks: ReaderForks
  readonly shelf: ImageShelf
  readonly pauses: Pauses
  readonly tenants: LiveTenants
  readonly live: (name: TenantName) => LiveTenant
  readonly grant: (entry: ClientEntry) => void
  readonly goOn: (entry: ClientEntry) => void
  readonly reject: (effect: Extract<PoolEffect, { type: 'reject' }>) => void
  readonly setTimer: (atMs: number) => void
  readonly drained: () => void
  readonly event: (event: PoolEvent) => void
}

/** What carries an effect out. It returns at once; what comes of it is told by `event`. */
export function effectsOn(targets: EffectTargets): (effect: PoolEffect) => void {
  const { clock, slots, work, forks, shelf, tenants, live, event } = targets
  return (effect) => {
    switch (effect.type) {
      case 'createSlot':
        return void slots.make(targets.counters, event)
      case 'discardSlot':
        return slots.discard(effect.slot)
      case 'boot':
        return void work.boot(live(effect.tenant.name), effect.slot, effect.from)
      case 'evict':
        return work.evict(live(effect.tenant.name), effect.reason)
      case 'grant':
        return targets.grant(effect.client)
      case 'goOn':
        return targets.goOn(effect.client)
      case 'reject':
        return targets.reject(effect)
      case 'cleanUp':
        return work.cleanUp(live(effect.tenant.name), effect)
      case 'maintain':
        return work.maintain(live(effect.tenant.name))
      case 'fork':
        return forks.make(live(effect.tenant.name), effect.slot)
      case 'endFork':
        return forks.end(effect.slot)
      case 'read':
        return forks.read(effect.client)
      case 'dropImage':
        return tenants.ifKnown(effect.tenant, (tenant) => shelf.drop(tenant))
      case 'rested':
        return targets.pauses.rested(live(effect.tenant.name))
      case 'setTimer':
        return targets.setTimer(effect.atMs)
      case 'awaitTurn':
        return clock.nextTurn(() => event({ type: 'turn' }))
      case 'forget':
        return tenants.forget(effect.tenant)
      case 'drained':
        return targets.drained()
      default:
        return unreachable(effect)
    }
  }
}
