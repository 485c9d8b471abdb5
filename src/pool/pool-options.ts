/** What a pool is made of. */
import type { Clock } from '../base/clock.ts'
import type { TenantName } from '../base/ids.ts'
import type { Log } from '../base/log.ts'
import type { Engine } from '../engine/engine.ts'
import type { DatabaseService } from './database-service.ts'
import type { SlowLogOptions } from './slow-log.ts'
import type { PoolLimits } from './pool-model.ts'
import type { TenantSource } from './tenant-source.ts'
import type { UpkeepSign } from './upkeep-patience.ts'

export interface PoolOptions {
  readonly engine: Engine
  readonly source: TenantSource
  readonly clock: Clock
  readonly log: Log
  /** Without it CREATE DATABASE and DROP DATABASE are refused. */
  readonly databases?: DatabaseService | undefined
  /** Bytes of images in memory. Default: `LIMITS.imageCacheBytes`, which is meant for a server. */
  readonly imageCacheBytes?: number
  /** Whether tenants with a rhythm are warmed before they are asked for. Default: true. */
  readonly keepWarm?: boolean
  /** Which batches are named in the log because they took long. Default: none. */
  readonly slowLog?: Omit<SlowLogOptions, 'log'>
  /**
   * Whether stores of tenants that are not awake are tidied. Only where they open at once. Default:
   * false.
   */
  readonly tidiesAtRest?: boolean
  /** Called when the thread begins to be shared by clients of several tenants, and when it ends. */
  readonly onShared?: (shared: boolean) => void
  /** Told when a client begins to wait for its turn, and when none waits any more. */
  readonly onWaited?: (isWaited: boolean) => void
  /** By which another thread sees what is upkeep, and may end it. Default: nobody does. */
  readonly upkeepSign?: UpkeepSign | undefined
  /** Called while a batch runs that has written something. It must not touch the pool. */
  readonly onWrote?: (tenant: TenantName) => void
  /**
   * How long whoever is loaded now has waited for a slot that was made elsewhere, in ms; asked once
   * for each load. Default: not at all.
   */
  readonly slotWaitMs?: () => number
  /** Instead of the defaults in `LIMITS`. */
  readonly limits?: Partial<PoolLimits>
}
