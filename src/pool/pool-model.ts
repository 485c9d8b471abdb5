/**
 * The nouns of one shard's pool: tenants, clients, slots, and the events and effects that pass
 * between the state machine (`pool-state.ts`) and the shell that does the work (`pool.ts`).
 *
 * They are plain mutable objects with a fixed shape, because the path of every query reads and
 * writes them: a map look-up or a fresh object per query would cost more than the decision it
 * carries. Only the state machine may change their fields; everybody else reads.
 */
import type { ErrorCode } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import type { TransactionStatus } from '../engine/engine.ts'
import type { Reading } from './reading-batch.ts'

/**
 * Where a tenant is. `draining` is the moment of leaving a slot; `napping`: its image is in RAM,
 * `asleep`: on disk. Who is asleep and has no clients is not known to the pool at all.
 */
export type TenantPhase = 'cold' | 'waking' | 'awake' | 'draining' | 'napping' | 'asleep'

/** Where a tenant may be after it left its slot. */
export type RestingPhase = 'cold' | 'napping' | 'asleep'

export function isResting(phase: TenantPhase): phase is RestingPhase {
  return phase === 'cold' || phase === 'napping' || phase === 'asleep'
}

/**
 * Where a request found its tenant: in a slot, as an image in memory or on disk, as a store, or as
 * a store that holds nothing yet.
 */
export type Tier = 'awake' | WakeTier
export type WakeTier = 'napping' | 'asleep' | 'cold' | 'new'

/**
 * What a client is doing. `running`: its batch is in the backend. `holding`: between batches, with
 * a transaction or a pipeline open. `lost`: its transaction died with its slot and it has not been
 * told.
 */
export type ClientPhase = 'idle' | 'waiting' | 'running' | 'holding' | 'lost' | 'gone'

/** Why a tenant left its slot. */
export type EvictionReason =
  | 'pressure'
  | 'ahead'
  | 'fairness'
  | 'idle'
  | 'requested'
  | 'warmed'
  | 'renewal'
  | 'drain'

/** Who may use a tenant's backend now. The pool itself takes it for upkeep and for cleaning up. */
export type Holder = ClientEntry | 'maintenance' | 'cleaning'

/** One client connection's place in the pool. */
export class ClientEntry {
  readonly tenant: TenantEntry
  phase: ClientPhase = 'idle'
  /** Monotonic time at which it came. */
  arrivedMs = 0
  /** Monotonic time at which it began to wait; meaningful only while `waiting`. */
  waitSinceMs = 0
  /** Its batch has paused at least once: whenever anything else happens, it is paused. */
  isAway = false
  /** That batch has not been told to go on since. */
  awaitsTurn = false
  /** What of that batch's thread time is on its tenant's account already. */
  chargedMs = 0
  /** It went away while its batch was running: clean up when that batch has ended. */
  leaving = false
  /** It has had the backend: there may be a session to forget when it leaves. */
  used = false
  /** The batch that it waits with may be one that only reads; see `fork-desk.ts`. */
  reads = false
  /** Monotonic time from which it is worth a fork that does; meaningful only while `reads`. */
  readsAtMs = 0
  /** It only reads, whatever others have turned out to do; meaningful only while `reads`. */
  readsSurely = false

  constructor(tenant: TenantEntry) {
    this.tenant = tenant
  }

  /** Its batch has ended, one way or the other. */
  isBack(): void {
    this.isAway = this.awaitsTurn = false
    this.chargedMs = 0
  }
}

/** One tenant that has clients, or a slot, or an image. Others are not known to the pool at all. */
export class TenantEntry {
  readonly name: TenantName
  phase: TenantPhase = 'cold'
  slot: SlotEntry | undefined = undefined
  holder: Holder | undefined = undefined
  /** Clients waiting for this tenant's backend, first come first served. */
  readonly waiting: Set<ClientEntry> = new Set()
  clientCount = 0
  awakeSinceMs = 0
  lastUsedMs = 0
  /** Its slot cannot be had without a price that only a tenant that waits is worth. */
  notAheadUntilMs: number = Number.NEGATIVE_INFINITY
  /** When it last had to make room. */
  putOutMs: number = Number.NEGATIVE_INFINITY
  /** It could not leave: its clients' session would be lost. Not asked again before this time. */
  pinnedUntilMs: number = Number.NEGATIVE_INFINITY
  /** Something was written since the upkeep of this tenant last said that nothing is due. */
  maintenanceDue = false
  /** It has given way to somebody: until then there is none. */
  maintenanceAtMs: number = Number.NEGATIVE_INFINITY
  /** Upkeep that may not wait until the tenant is idle. */
  maintenanceUrgent = false
  /** A client has used the backend since the session state was last discarded. */
  sessionUsed = false
  /** A client left with a transaction open, and the backend has not rolled it back yet. */
  abortDue = false
  /** A client left, and the backend has not forgotten its session yet. */
  discardDue = false
  /** Thread time used in this turn, and whether that was all it may have; see `thread-turns.ts`. */
  turnSpentMs = 0
  outOfTurn = false
  /** The look at the sockets in which that was. */
  turnLook = 0
  /** Thread time of the turns before, fading, as it was at `usageAtMs`. */
  usageMs = 0
  usageAtMs = 0
  /** Thread time of the batch that ended its last turn. */
  lastBatchMs = 0
  /** It is kept at rest: whoever holds the backend goes on, nobody else gets it. */
  paused = false
  /** Its memory is to be made anew from its store as soon as nobody holds the backend. */
  renewalDue = false
  /** Why it last had to leave its slot, and when it may be asked again to do so for its renewal. */
  leavesFor: EvictionReason | undefined = undefined
  notRenewedUntilMs: number = Number.NEGATIVE_INFINITY
  /** A client has had the backend in this wake. A wake that serves nobody would be for nothing. */
  served = false
  /** Where its clients read while one of them has a transaction open. */
  fork: SlotEntry | undefined = undefined
  /** There can be none, or it would come too late, until the backend has changed hands. */
  forkRefused = false
  /** Thread time that it took to make the last one. */
  forkMs = 0
  /** One was in vain: until then none is made for anybody of whom that might be so as well. */
  forkNotBeforeMs: number = Number.NEGATIVE_INFINITY

  constructor(name: TenantName) {
    this.name = name
  }

  /** Its memory is gone: what was to be done in it needs not be done any more. */
  forgetMemory(): void {
    this.maintenanceDue = this.sessionUsed = false
    this.abortDue = this.discardDue = this.renewalDue = false
  }
}

/** Where a fork is: being made, in use, or being taken out. */
export type ForkPhase = 'making' | 'ready' | 'leaving'

/** One slot. It is free when it has no tenant, and no fork of one. */
export class SlotEntry {
  /** Counts up from 0; never reused, so that a late message about a dead slot finds nobody. */
  readonly id: number
  tenant: TenantEntry | undefined = undefined
  /** Whose fork is in here, which `tenant` never is at the same time. */
  forkOf: TenantEntry | undefined = undefined
  forkPhase: ForkPhase = 'leaving'

  constructor(id: number) {
    this.id = id
  }
}

/** What happened. Times are the caller's: the machine has no clock. */
export type PoolEvent =
  | ForkEvent
  | PauseEvent
  | { readonly type: 'clientArrived'; readonly client: ClientEntry }
  | {
      readonly type: 'batchRequested'
      readonly client: ClientEntry
      /** Default: it is one that writes. */
      readonly reading?: Reading
    }
  | { readonly type: 'batchFinished'; readonly client: ClientEntry; readonly result: BatchResult }
  /** Its transaction is not in the backend any more (`letting-go.ts`). */
  | { readonly type: 'floated'; readonly client: ClientEntry }
  | {
      readonly type: 'waitCanceled'
      readonly client: ClientEntry
      /** Default: `QUERY_CANCELED`. */
      readonly code?: Rejection
    }
  | { readonly type: 'clientLeft'; readonly client: ClientEntry }
  /** It is not alone any more, and its session cannot be put aside; see `BatchResult.pinned`. */
  | { readonly type: 'clientPinned'; readonly client: ClientEntry }
  | { readonly type: 'cleanedUp'; readonly tenant: TenantEntry }
  | Maintained
  | { readonly type: 'bootFinished'; readonly tenant: TenantEntry }
  | {
      readonly type: 'bootFailed'
      readonly tenant: TenantEntry
      /** Where it is now. Not `cold`: nothing was touched, and its image is as good as before. */
      readonly to: RestingPhase
      readonly error: unknown
      /** True when the failure came before the slot was touched. */
      readonly slotUsable: boolean
    }
  | {
      readonly type: 'evicted'
      readonly tenant: TenantEntry
      readonly to: RestingPhase
      readonly slotReusable: boolean
    }
  | { readonly type: 'evictionRefused'; readonly tenant: TenantEntry }
  | { readonly type: 'imageMoved'; readonly tenant: TenantEntry; readonly to: RestingPhase }
  /** An image of a resting tenant is in memory now. */
  | { readonly type: 'imageRead'; readonly tenant: TenantEntry }
  /** Load a tenant that nobody has asked for, into a slot that nobody wants (`slotToWarmIn`). */
  | { readonly type: 'warmRequested'; readonly tenant: TenantEntry; readonly slot: SlotEntry }
  | {
      readonly type: 'napRequested'
      readonly tenant: TenantEntry
      /** Default: `requested`. */
      readonly reason?: EvictionReason
    }
  /** There is something for upkeep to do that no client has written just now. */
  | { readonly type: 'upkeepDue'; readonly tenant: TenantEntry }
  /** Its memory is not to be used for longer than somebody holds it. */
  | { readonly type: 'renewalRequested'; readonly tenant: TenantEntry }
  | { readonly type: 'slotCreated'; readonly slot: SlotEntry }
  | { readonly type: 'slotFailed'; readonly error: unknown }
  | { readonly type: 'slotLost'; readonly slot: SlotEntry; readonly error: unknown }
  /** `upkeepOf`: a tenant whose upkeep is not to wait for its rest. Default: none. */
  | { readonly type: 'tick'; readonly upkeepOf?: TenantEntry }
  /** The event loop has looked at everything that came in since `awaitTurn`. */
  | { readonly type: 'turn' }
  /** It is to be told when to go on. `threadMs`: how long it has held the thread so far. */
  | { readonly type: 'batchPaused'; readonly client: ClientEntry; readonly threadMs: number }
  | { readonly type: 'drainRequested'; readonly deadlineMs: number }

/** A step of upkeep has ended. */
export interface Maintained {
  readonly type: 'maintained'
  readonly tenant: TenantEntry
  readonly more: boolean
  /** Others have to be left alone until then. Default: the next step may follow. */
  readonly notBeforeMs?: number
}

/** What keeps tenants at rest, known or not: see `pause-desk.ts`. */
export type PauseEvent =
  /** An administrator; one tenant, or all. */
  | { readonly type: 'paused' | 'resumed'; readonly name: TenantName | undefined }
  /** Somebody who needs its store for a moment; each for himself. */
  | { readonly type: 'held' | 'letGo'; readonly name: TenantName }

const PAUSE_EVENTS: ReadonlySet<PoolEvent['type']> = new Set(['paused', 'resumed', 'held', 'letGo'])

export function isPauseEvent(event: PoolEvent): event is PauseEvent {
  return PAUSE_EVENTS.has(event.type)
}

/** What comes of forks: see `fork-desk.ts`. */
export type ForkEvent =
  | { readonly type: 'forkMade'; readonly slot: SlotEntry; readonly threadMs: number }
  /** A fork is not there, or not any more: its slot is empty. */
  | {
      readonly type: 'forkLeft'
      readonly slot: SlotEntry
      readonly slotReusable: boolean
      /** There can be none while things are as they are. */
      readonly refused: boolean
    }
  | {
      /** It must not answer any more. */
      readonly type: 'forkStale'
      readonly tenant: TenantEntry
      /** Because of who should only have read: thread time that this has taken in it. */
      readonly vainMs?: number
    }
  | {
      readonly type: 'readEnded'
      readonly client: ClientEntry
      /** `refused`: it is no reader. `missed`: there was no fork any more. */
      readonly outcome: 'served' | 'refused' | 'missed'
      /** How long it held the thread. */
      readonly threadMs: number
    }

const FORK_EVENTS: ReadonlySet<string> = new Set<ForkEvent['type']>([
  'forkMade',
  'forkLeft',
  'forkStale',
  'readEnded',
])

export function isForkEvent(event: PoolEvent): event is ForkEvent {
  return FORK_EVENTS.has(event.type)
}

/** The events that move a tenant in or out of a slot, or of memory. */
export type TenantMove = Exclude<
  Extract<PoolEvent, { tenant: TenantEntry }>,
  { type: 'cleanedUp' | 'maintained' | 'forkStale' }
>

export function isTenantMove(event: PoolEvent): event is TenantMove {
  if (event.type === 'cleanedUp' || event.type === 'maintained') return false
  return 'tenant' in event && event.type !== 'forkStale'
}

/** How a batch left the backend. */
export interface BatchResult {
  readonly status: TransactionStatus
  /** The batch ended with a Sync or a simple query: ReadyForQuery has been sent. */
  readonly complete: boolean
  /** Something was committed to the store. */
  readonly wrote: boolean
  /** Upkeep is needed before the next client, see `maintenanceUrgent`. */
  readonly urgent: boolean
  /**
   * The session has what cannot be put aside, and other clients would be given the backend: it
   * stays with its client as in a transaction.
   */
  readonly pinned: boolean
  /** How long it held the thread, its commit included. */
  readonly threadMs: number
}

/** The end of a batch that never began. */
export const NOTHING_RAN: BatchResult = {
  status: 'idle',
  complete: true,
  wrote: false,
  urgent: false,
  pinned: false,
  threadMs: 0,
}

/** What the shell must do, in this order. */
export type PoolEffect =
  | { readonly type: 'createSlot' }
  | { readonly type: 'discardSlot'; readonly slot: SlotEntry }
  | {
      readonly type: 'boot'
      readonly tenant: TenantEntry
      readonly slot: SlotEntry
      readonly from: RestingPhase
    }
  | { readonly type: 'evict'; readonly tenant: TenantEntry; readonly reason: EvictionReason }
  | { readonly type: 'grant'; readonly client: ClientEntry }
  /** Let the batch of a client go on, which has paused. */
  | { readonly type: 'goOn'; readonly client: ClientEntry }
  | {
      readonly type: 'reject'
      readonly client: ClientEntry
      readonly code: Rejection
      /** The error behind it, for SLOT_LOST: it is what the client is told if it is one of ours. */
      readonly cause: unknown
    }
  | {
      readonly type: 'cleanUp'
      readonly tenant: TenantEntry
      /** End whatever transaction or pipeline is open. */
      readonly abort: boolean
      /** Somebody has left: forget settings, prepared statements, temporary tables. */
      readonly discardAll: boolean
    }
  | { readonly type: 'maintain'; readonly tenant: TenantEntry }
  /** Make a fork of an awake tenant whose backend does nothing. */
  | { readonly type: 'fork'; readonly tenant: TenantEntry; readonly slot: SlotEntry }
  /** Take what is in a slot that was a fork's out of it. */
  | { readonly type: 'endFork'; readonly slot: SlotEntry }
  /** Run the batch of a client that waits in the fork of its tenant. */
  | { readonly type: 'read'; readonly client: ClientEntry }
  /** The image of a resting tenant is of no use to anybody. */
  | { readonly type: 'dropImage'; readonly tenant: TenantEntry }
  /** A tenant that is paused has come to rest. */
  | { readonly type: 'rested'; readonly tenant: TenantEntry }
  /** In place of the one before; infinity: nothing is due any more. */
  | { readonly type: 'setTimer'; readonly atMs: number }
  /** Report `turn` once. */
  | { readonly type: 'awaitTurn' }
  | { readonly type: 'forget'; readonly tenant: TenantEntry }
  | { readonly type: 'drained' }

/** The errors with which the pool turns a request away. */
export type Rejection = Extract<
  ErrorCode,
  | 'QUEUE_FULL'
  | 'QUERY_WAIT_TIMEOUT'
  | 'QUERY_CANCELED'
  | 'LOCK_TIMEOUT'
  | 'STATEMENT_TIMEOUT'
  | 'SLOT_LOST'
  | 'SHUTTING_DOWN'
>

/** The numbers that govern one shard's pool; defaults are in `LIMITS`. */
export interface PoolLimits {
  readonly slotsPerShard: number
  readonly spareSlots: number
  readonly tenantQueueMax: number
  readonly shardQueueMax: number
  readonly queryWaitMs: number
  readonly napAfterMs: number
  readonly slotQuantumMs: number
  readonly slotThinkMs: number
  readonly slotBusyMs: number
  readonly slotLullMs: number
  readonly beginPatienceMs: number
  readonly vainForkShare: number
  readonly vainForkPauseMs: number
  readonly slotQuietMs: number
  readonly slotRetryMs: number
  readonly maintenanceIdleMs: number
  readonly upkeepAwakeMs: number
  readonly turnMs: number
  readonly turnAloneMs: number
  readonly turnPauseMs: number
  readonly turnMemoryMs: number
}
