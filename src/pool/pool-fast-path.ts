/**
 * The path of almost every query: a client takes the free backend of an awake tenant and gives it
 * back, and nobody else is concerned. Allocates nothing and has no effects; whatever is not so
 * simple is an event for `pool-state.ts`.
 */
import { assert } from '../base/assert.ts'
import type { BatchResult, ClientEntry } from './pool-model.ts'
import { mustLeave, type PoolView } from './pool-policy.ts'

type Circumstances = Pick<PoolView, 'slotQueue' | 'drainDeadlineMs' | 'turns'>

/** Takes the backend for `client` if nobody has to wait. False: send `batchRequested`. */
export function acquire(pool: Circumstances, client: ClientEntry): boolean {
  const tenant = client.tenant
  if (tenant.phase !== 'awake' || tenant.outOfTurn) return false
  if (tenant.holder === client) {
    assert(client.phase === 'holding', 'one batch at a time per client')
    client.phase = 'running'
    return true
  }
  if (tenant.holder !== undefined || tenant.waiting.size > 0 || tenant.paused) return false
  if (client.phase !== 'idle' || pool.drainDeadlineMs !== undefined) return false
  tenant.holder = client
  tenant.forkRefused = false
  tenant.sessionUsed = tenant.served = client.used = true
  client.phase = 'running'
  return true
}

/** Whether a batch leaves the backend to whoever comes next. */
export function isFree({ complete, status, pinned }: BatchResult): boolean {
  return complete && status === 'idle' && !pinned
}

/** Ends a batch if nobody else is concerned by its end. False: send `batchFinished`. */
export function release(
  pool: Circumstances,
  client: ClientEntry,
  result: BatchResult,
  nowMs: number,
): boolean {
  const tenant = client.tenant
  assert(tenant.holder === client && client.phase === 'running', 'only a running batch ends')
  if (client.leaving || client.isAway || result.urgent || pool.slotQueue.size > 0) return false
  if (pool.drainDeadlineMs !== undefined) return false
  const spentMs = pool.turns.spentMs(tenant, nowMs) + result.threadMs
  if (spentMs >= pool.turns.turnMs) return false
  const free = isFree(result)
  if (free && (tenant.waiting.size > 0 || tenant.fork || mustLeave(tenant))) return false
  // The first write after a rest has to arm the timer of upkeep, so it takes the long way.
  if (result.wrote && !tenant.maintenanceDue) return false
  tenant.turnSpentMs = spentMs
  tenant.lastUsedMs = nowMs
  giveBack(client, result)
  return true
}

/** The batch of a client has ended. @returns whether the backend is for whoever comes next */
export function giveBack(client: ClientEntry, result: BatchResult): boolean {
  const free = isFree(result)
  client.phase = free ? 'idle' : 'holding'
  client.isBack()
  if (free) client.tenant.holder = undefined
  return free
}
