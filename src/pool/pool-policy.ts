/**
 * The pool's judgements that need no change of state: who may be asked to leave, and when the
 * machine must look again. Pure functions over the state, apart from `pool-state.ts` so that a
 * policy can be read, and replaced, on one page. There are few slots in a shard: scans beat lists
 * kept in order, which the path of every query would have to keep.
 */
import type { ForkDesk } from './fork-desk.ts'
import { ClientEntry } from './pool-model.ts'
import type { EvictionReason, PoolLimits, Rejection, SlotEntry, TenantEntry } from './pool-model.ts'
import { REACTIONS } from './pool-reactions.ts'
import type { SlotSupply } from './slot-supply.ts'
import type { ThreadTurns } from './thread-turns.ts'

/** Tenants per slot that had to make room and came back: there are too few slots. */
const RETURNS_PER_SLOT = 16

/** What a judgement may look at. */
export interface PoolView {
  readonly limits: PoolLimits
  readonly slots: ReadonlySet<SlotEntry>
  readonly slotQueue: ReadonlySet<TenantEntry>
  readonly waitingByAge: ReadonlySet<ClientEntry>
  readonly supply: Pick<
    SlotSupply,
    'creating' | 'createAfterMs' | 'returns' | 'wantsFreeSlot' | 'busyLeftMs' | 'swappedMs'
  >
  readonly drainDeadlineMs: number | undefined
  readonly forks: Pick<ForkDesk, 'lackSlot'>
  readonly turns: Pick<ThreadTurns, 'turnMs' | 'spentMs' | 'pauseUntilMs'>
}

/** Awake, and nobody uses or awaits its backend. */
export function isIdle(tenant: TenantEntry): boolean {
  return tenant.phase === 'awake' && tenant.holder === undefined && tenant.waiting.size === 0
}

/** Awake, and whoever has its backend is thinking: the tenant may leave its slot as it is. */
export function canLeave(tenant: TenantEntry): boolean {
  return isIdle(tenant) || (tenant.phase === 'awake' && isThinking(tenant.holder))
}

/** Awake for nobody's sake any more: it leaves as soon as nobody holds its backend. */
export function mustLeave({ paused, renewalDue }: TenantEntry): boolean {
  return paused || renewalDue
}

/** When that may be; not before its time if it could not when it was last asked. */
export function mustLeaveAtMs({ paused, pinnedUntilMs, notRenewedUntilMs }: TenantEntry): number {
  return paused ? pinnedUntilMs : notRenewedUntilMs
}

/** Whether that is now. */
export function leavesNow(tenant: TenantEntry, nowMs: number): boolean {
  const isFree = tenant.phase === 'awake' && tenant.holder === undefined
  return isFree && mustLeave(tenant) && nowMs >= mustLeaveAtMs(tenant)
}

/** What is paused leaves with its image, and is renewed when it wakes. */
export function leavingReason({ paused }: TenantEntry): EvictionReason {
  return paused ? 'requested' : 'renewal'
}

function isThinking(holder: TenantEntry['holder']): boolean {
  return holder instanceof ClientEntry && holder.phase === 'holding'
}

/** Clients in the middle of something that say nothing. */
export function thinkingHolders({ slots }: PoolView): ClientEntry[] {
  const holders = Array.from(slots, ({ tenant }) => tenant?.holder)
  return holders.filter((holder) => holder instanceof ClientEntry).filter(isThinking)
}

/** What a tenant in a slot has rested long enough for. */
export function dueAtRest(
  { limits }: PoolView,
  tenant: TenantEntry,
  nowMs: number,
): 'upkeep' | 'nap' | 'leave' | undefined {
  if (leavesNow(tenant, nowMs)) return 'leave'
  if (!canLeave(tenant)) return undefined
  const restMs = nowMs - tenant.lastUsedMs
  const upkeepDue = tenant.maintenanceDue && isIdle(tenant)
  const mayStart = restMs >= limits.maintenanceIdleMs && nowMs >= tenant.maintenanceAtMs
  if (upkeepDue && mayStart) return 'upkeep'
  return nowMs >= napAtMs(limits, tenant) ? 'nap' : undefined
}

/** Who is to try its upkeep again stays for that, as long as nobody else wants the slot. */
function napAtMs(limits: PoolLimits, tenant: TenantEntry): number {
  const { lastUsedMs, maintenanceDue, maintenanceAtMs, pinnedUntilMs } = tenant
  const restMs = lastUsedMs + limits.napAfterMs
  const untilMs = Math.min(maintenanceAtMs, restMs + limits.upkeepAwakeMs)
  return Math.max(restMs, pinnedUntilMs, maintenanceDue ? untilMs : restMs)
}

/** Whoever has a transaction open in a tenant that is not awake wants to go on with it. */
export function holderWaits({ holder, waiting }: TenantEntry): boolean {
  return holder instanceof ClientEntry && waiting.has(holder)
}

/** Slots that are free, or will be without anybody doing anything more. */
export function slotsExpected(view: PoolView): number {
  let count = 0
  for (const { tenant, forkOf, forkPhase } of view.slots) {
    const leaves = tenant ? tenant.phase === 'draining' : forkPhase === 'leaving'
    if (leaves || (!tenant && !forkOf)) count++
  }
  return count
}

export function isFreeSlot({ tenant, forkOf }: SlotEntry): boolean {
  return !tenant && !forkOf
}

/** Whether one more slot may be made now. */
function mayCreate(view: PoolView, nowMs: number): boolean {
  return view.slots.size < view.limits.slotsPerShard && nowMs >= view.supply.createAfterMs
}

/** Whether some tenant may be asked to leave within a quantum; by default, of all that can. */
export function somebodyRests(
  view: PoolView,
  nowMs: number,
  among: typeof isIdle = canLeave,
): boolean {
  const worked = workedMs(view)
  for (const { tenant } of view.slots) {
    if (!tenant || !among(tenant)) continue
    if (evictableAtMs(view, tenant, worked) <= nowMs + view.limits.slotQuantumMs) return true
  }
  return false
}

/** Whether a slot is to be made: for tenants that wait in vain, or for those who will come. */
export function wantsSlotMade(
  view: PoolView,
  { missing, freeCount }: { readonly missing: number; readonly freeCount: number },
  nowMs: number,
): boolean {
  if (view.supply.creating || !mayCreate(view, nowMs)) return false
  const crowded = missing > 0 && !somebodyRests(view, nowMs)
  return crowded || wantsSpare(view, freeCount, nowMs)
}

/**
 * Whether a slot should be made for those who will come: there are too few spare ones, or tenants
 * put each other out and come back again and again. It holds the thread up for some forty
 * milliseconds, so nobody may be in the middle of something.
 */
function wantsSpare(view: PoolView, freeCount: number, nowMs: number): boolean {
  if (view.slots.size === 0) return view.limits.spareSlots > 0
  if (view.forks.lackSlot(nowMs)) return true
  const spare = freeCount < view.limits.spareSlots && nowMs >= quietAtMs(view)
  return spare || view.supply.returns >= RETURNS_PER_SLOT * view.slots.size
}

/** Whether nobody has been in the middle of anything for a while. */
export function isQuiet(view: PoolView, nowMs: number): boolean {
  return !somebodyWaits(view) && !view.supply.creating && nowMs >= quietAtMs(view)
}

/** Whether anybody waits for what the pool could do; who waits for the end of a pause does not. */
export function somebodyWaits({ waitingByAge }: Pick<PoolView, 'waitingByAge'>): boolean {
  for (const client of waitingByAge) {
    if (!client.tenant.paused || client.tenant.holder === client) return true
  }
  return false
}

/** A slot for a tenant that nobody has asked for yet: only one that nobody wants. */
export function slotToWarmIn(view: PoolView): SlotEntry | undefined {
  if (view.slotQueue.size > 0 || view.drainDeadlineMs !== undefined) return undefined
  return [...view.slots].find(isFreeSlot)
}

/** When everybody will have rested for a while, if nobody does anything until then. */
function quietAtMs(view: PoolView): number {
  let lastMs = Number.NEGATIVE_INFINITY
  for (const { tenant } of view.slots) {
    if (!tenant) continue
    // Somebody waits for it, or is about to come; its times are those of before it slept.
    if (tenant.phase === 'waking') return Number.POSITIVE_INFINITY
    lastMs = Math.max(lastMs, tenant.lastUsedMs, tenant.awakeSinceMs)
  }
  return lastMs + view.limits.slotQuietMs
}

/**
 * The least recently used of the tenants that may be asked to leave now. An open transaction only
 * if there is no other, and before that who is busy: the one that has had its slot the longest.
 */
export function pickVictim(view: PoolView, nowMs: number): TenantEntry | undefined {
  let victim: TenantEntry | undefined
  const worked = workedMs(view)
  const works = (tenant: TenantEntry): boolean => isBusy(view, tenant, nowMs, worked)
  for (const { tenant } of view.slots) {
    if (!tenant || !canLeave(tenant) || nowMs < evictableAtMs(view, tenant, worked)) continue
    if (!victim || isBetterVictim(tenant, victim, works)) victim = tenant
  }
  return victim
}

/** Whether somebody who rests should leave, so that whoever comes next finds a slot empty. */
function wantsRoomAhead(view: PoolView, nowMs: number): boolean {
  const needed = view.supply.wantsFreeSlot(nowMs) && view.drainDeadlineMs === undefined
  return needed && view.slotQueue.size === 0 && slotsExpected(view) === 0
}

/** Who is to nap ahead: the least recently used of those whose next batch is not on its way. */
export function pickToNapAhead(view: PoolView, nowMs: number): TenantEntry | undefined {
  if (!wantsRoomAhead(view, nowMs)) return undefined
  let found: TenantEntry | undefined
  const worked = workedMs(view)
  for (const { tenant } of view.slots) {
    if (!tenant || !isIdle(tenant) || nowMs < restsAtMs(view, tenant, worked)) continue
    if (!found || tenant.lastUsedMs < found.lastUsedMs) found = tenant
  }
  return found
}

function restsAtMs(view: PoolView, tenant: TenantEntry, worked: number): number {
  const thoughtMs = tenant.lastUsedMs + view.limits.slotThinkMs
  return Math.max(thoughtMs, busyUntilMs(view, tenant, worked), tenant.notAheadUntilMs)
}

/**
 * When the thread last had something to do. Whoever asks for many tenants asks once: with hundreds
 * of slots a scan for each of them would take longer than what they run.
 */
export function workedMs({ slots, supply }: SlotsView): number {
  let lastMs = supply.swappedMs
  for (const { tenant } of slots) {
    if (!tenant) continue
    // It goes on in between, whenever the thread has looked at its sockets.
    if (hasPaused(tenant)) return Number.POSITIVE_INFINITY
    lastMs = Math.max(lastMs, tenant.lastUsedMs)
  }
  return lastMs
}

/** Whether a statement of it has paused, and has not come to its end. */
function hasPaused({ holder }: TenantEntry): boolean {
  return holder instanceof ClientEntry && holder.isAway
}

/**
 * Until then a tenant with clients is taken for busy. While the thread has other things to do, it
 * does not look at its sockets: a swap is longer than most clients think, and after one they would
 * all seem to be silent.
 * @param worked of {@link workedMs}
 */
function busyUntilMs({ limits }: SlotsView, tenant: TenantEntry, worked: number): number {
  if (tenant.clientCount === 0) return Number.NEGATIVE_INFINITY
  return Math.min(tenant.lastUsedMs + limits.slotLullMs, worked + limits.slotThinkMs)
}

/** Whether others take its slot from a tenant that would probably have gone on. */
export function isBusy(
  view: SlotsView,
  tenant: TenantEntry,
  nowMs: number,
  worked: number = workedMs(view),
): boolean {
  return nowMs < busyUntilMs(view, tenant, worked)
}

function isBetterVictim(
  tenant: TenantEntry,
  other: TenantEntry,
  works: (tenant: TenantEntry) => boolean,
): boolean {
  const [open, otherOpen] = [tenant.holder !== undefined, other.holder !== undefined]
  if (open !== otherOpen) return !open
  const [busy, otherBusy] = [works(tenant), works(other)]
  if (busy !== otherBusy) return !busy
  // Of those that are busy it is a matter of turns, not of who has paused for longer.
  return busy ? tenant.awakeSinceMs < other.awakeSinceMs : tenant.lastUsedMs < other.lastUsedMs
}

/**
 * When the machine must get a `tick` at the latest, on the clock of `nowMs`; infinity: never. A
 * tick that comes too early does no harm.
 */
export function nextDeadlineMs(view: PoolView, nowMs: number): number {
  const limits = view.limits
  const oldest = first(view.waitingByAge)
  let atMs = oldest ? oldest.waitSinceMs + limits.queryWaitMs : Number.POSITIVE_INFINITY
  const roomAhead = wantsRoomAhead(view, nowMs)
  const worked = workedMs(view)
  if (view.turns.pauseUntilMs > nowMs) atMs = Math.min(atMs, view.turns.pauseUntilMs)
  for (const { tenant } of view.slots) {
    if (!tenant || tenant.phase !== 'awake') continue
    const rests = canLeave(tenant)
    // Who waits for it waits for this.
    if (!tenant.holder && mustLeave(tenant)) atMs = Math.min(atMs, mustLeaveAtMs(tenant))
    const restMs = tenant.maintenanceDue ? limits.maintenanceIdleMs : limits.napAfterMs
    if (rests) atMs = Math.min(atMs, napAtMs(limits, tenant))
    // A busy tenant is looked at again later: the end of its batches does not touch the timer.
    if (!isIdle(tenant)) atMs = Math.min(atMs, nowMs + restMs)
    else if (tenant.maintenanceDue) {
      atMs = Math.min(atMs, Math.max(tenant.lastUsedMs + restMs, tenant.maintenanceAtMs))
    }
    if (roomAhead) {
      const { slotThinkMs } = limits
      atMs = Math.min(atMs, isIdle(tenant) ? restsAtMs(view, tenant, worked) : nowMs + slotThinkMs)
    }
    if (!rests || view.slotQueue.size === 0) continue
    const leavesAtMs = evictableAtMs(view, tenant, worked)
    if (leavesAtMs > nowMs) atMs = Math.min(atMs, leavesAtMs)
  }
  if (view.drainDeadlineMs !== undefined) {
    return view.drainDeadlineMs > nowMs ? Math.min(atMs, view.drainDeadlineMs) : atMs
  }
  if (view.slots.size >= limits.slotsPerShard || view.supply.creating) return atMs
  if (view.supply.createAfterMs > nowMs) return Math.min(atMs, view.supply.createAfterMs)
  const free = [...view.slots].filter(isFreeSlot).length
  return free < limits.spareSlots ? Math.min(atMs, Math.max(quietAtMs(view), nowMs + 1)) : atMs
}

/**
 * A tenant whose clients have all left has nothing to lose; another keeps its slot for a quantum,
 * but not while its clients are thinking; one in the middle of a transaction for a quantum after
 * its last batch. Those that are busy leave one after the other.
 * @param worked of {@link workedMs}
 */
export function evictableAtMs(
  view: SlotsView,
  tenant: TenantEntry,
  worked: number = workedMs(view),
): number {
  const { slotQuantumMs, slotThinkMs } = view.limits
  const { awakeSinceMs, lastUsedMs, pinnedUntilMs } = tenant
  if (tenant.clientCount === 0) return Number.NEGATIVE_INFINITY
  const busyMs = Math.min(nextBusyLeavesMs(view), busyUntilMs(view, tenant, worked))
  if (!isIdle(tenant)) return Math.max(lastUsedMs + slotQuantumMs, pinnedUntilMs, busyMs)
  const atMs = Math.min(awakeSinceMs + slotQuantumMs, lastUsedMs + slotThinkMs)
  return Math.max(atMs, pinnedUntilMs, busyMs)
}

/** When a tenant that works without a pause has had its slot for long enough, if others wait. */
export function quantumEndMs(view: SlotsView, tenant: TenantEntry): number {
  const quantumMs = tenant.awakeSinceMs + view.limits.slotQuantumMs
  return Math.max(quantumMs, nextBusyLeavesMs(view), tenant.pinnedUntilMs)
}

function nextBusyLeavesMs({ limits, supply }: SlotsView): number {
  return supply.busyLeftMs + limits.slotBusyMs
}

type SlotsView = Pick<PoolView, 'limits' | 'slots' | 'supply'>

/** Why a batch may not even wait; `goesOn`: its client has a transaction open. */
export function refusalOf(
  view: PoolView,
  { tenant }: ClientEntry,
  goesOn: boolean,
): Rejection | undefined {
  if (goesOn) return undefined
  if (view.drainDeadlineMs !== undefined) return 'SHUTTING_DOWN'
  const { tenantQueueMax, shardQueueMax } = view.limits
  const reaction = REACTIONS[tenant.phase].batchRequested
  const joins = reaction === 'waitForSlot' && tenant.waiting.size === 0
  const isFull = tenant.waiting.size >= tenantQueueMax
  return isFull || (joins && view.slotQueue.size >= shardQueueMax) ? 'QUEUE_FULL' : undefined
}

/** The one that has been in `set` the longest. */
export function first<Item>(set: ReadonlySet<Item>): Item | undefined {
  for (const item of set) return item
  return undefined
}
