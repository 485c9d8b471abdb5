/** Limits of the small worlds in which the pool's rules are explored. */
import type { PoolLimits } from '../../src/pool/pool-model.ts'

export const SMALL: PoolLimits = {
  slotsPerShard: 2,
  spareSlots: 0,
  tenantQueueMax: 2,
  shardQueueMax: 2,
  queryWaitMs: 50,
  napAfterMs: 20,
  slotQuantumMs: 5,
  slotThinkMs: 1,
  slotBusyMs: 0,
  slotLullMs: 0,
  beginPatienceMs: 2,
  vainForkShare: 1 / 4,
  vainForkPauseMs: 10,
  slotQuietMs: 10,
  slotRetryMs: 30,
  maintenanceIdleMs: 8,
  upkeepAwakeMs: 40,
  turnMs: 1,
  turnAloneMs: 3,
  turnPauseMs: 2,
  turnMemoryMs: 10,
}
