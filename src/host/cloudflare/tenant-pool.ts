/** A pool for one tenant, as every object has it: one slot, and nothing that works by itself. */
import type { Clock } from '../../base/clock.ts'
import type { Slot } from '../../engine/engine.ts'
import type { PoolOptions } from '../../pool/pool-options.ts'
import { Pool } from '../../pool/pool.ts'
import type { TenantSource } from '../../pool/tenant-source.ts'
import { consoleLog } from './console-log.ts'
import { theIsolate } from './isolate.ts'

export interface TenantPoolOptions {
  readonly source: TenantSource
  readonly clock: Clock
  readonly createSlot: () => Promise<Slot>
  /** See `PoolOptions`. Default: nobody is told. */
  readonly onWrote?: PoolOptions['onWrote']
  /** See `PoolOptions`. Default: nobody has waited. */
  readonly slotWaitMs?: PoolOptions['slotWaitMs']
}

export function tenantPool(options: TenantPoolOptions): Pool {
  const { source, clock, createSlot, onWrote, slotWaitMs } = options
  const { fingerprint, postgresMajor } = theIsolate().engine
  return new Pool({
    engine: { fingerprint, postgresMajor, createSlot },
    source,
    clock,
    log: consoleLog,
    keepWarm: false,
    ...(onWrote && { onWrote }),
    ...(slotWaitMs && { slotWaitMs }),
    // Images are the share's, if there is one: what leaves by itself leaves for its store.
    imageCacheBytes: 0,
    limits: {
      slotsPerShard: 1,
      spareSlots: 0,
      // A timer would keep the platform from putting the object away.
      napAfterMs: Number.POSITIVE_INFINITY,
      // There is nobody to wait for: between two batches the platform itself looks who comes.
      turnAloneMs: Number.POSITIVE_INFINITY,
    },
  })
}
