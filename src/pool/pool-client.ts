/**
 * One client of a tenant, as the pool hands it out. It is only the handle: whether a batch may run
 * is decided by `pool-state.ts`, and running it is the work of `pool.ts`.
 */
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { ClientPace, TenantPace } from './batch-pace.ts'
import { BusyMeter } from './busy-meter.ts'
import type { ClientLimits } from './client-limits.ts'
import type { AskedDatabases } from './database-commands.ts'
import type { OtherDatabases } from './database-service.ts'
import { type FloatingTransaction, goOn } from './floating-transaction.ts'
import { sessionLost, waitCanceled } from './pool-rejection.ts'
import type { Slot, TransactionStatus } from '../engine/engine.ts'
import { mayHaveStoredSettings } from '../engine/stored-settings.ts'
import type { MaintenanceProgress } from './upkeep.ts'
import type { Fork } from './reader-forks.ts'
import { TenantSessions } from './tenant-sessions.ts'
import type { ClientEntry, TenantEntry, Tier, WakeTier } from './pool-model.ts'
import type { OpenTenant, TenantFiles, TenantImage } from './tenant-source.ts'

/** Where the time of a client's last batch went, in milliseconds. */
export interface BatchTimings {
  /** Waiting for another client, or for a slot. */
  queueMs: number
  /** Loading the tenant; 0 if it was awake. */
  wakeMs: number
  /** Where the tenant was when the batch came. */
  wokenFrom: Tier
  execMs: number
  /** Committing to the store until it is durable; 0 if nothing was to be committed. */
  persistMs: number
}

/** A batch of a client that began to wait at `waitSinceMs`, if it did, begins to run. */
export function noteStart(client: LiveClient, startMs: number): number {
  const { begins, endedMs, entry } = client
  client.used = true
  client.ranMs = startMs
  const hasWaited = entry.waitSinceMs > (endedMs ?? entry.arrivedMs)
  // What gives a session its settings no client has sent.
  if (!begins) client.askedMs = hasWaited ? entry.waitSinceMs : startMs
  return startMs
}

/** It has ended. */
export function noteEnd(client: LiveClient, status: TransactionStatus, endMs: number): void {
  client.transactionStatus = status
  client.endedMs = endMs
}

/** For a batch that has just run; committing comes on top (`PoolCounters.countCommit`). */
export function noteRun(timings: BatchTimings, execMs: number): void {
  timings.execMs = execMs
  timings.persistMs = 0
}

/** For a batch that found its tenant awake and its backend free. */
export function resetTimings(timings: BatchTimings): void {
  timings.queueMs = 0
  timings.wakeMs = 0
  timings.wokenFrom = 'awake'
}

/** For a batch that waited from `sinceMs` until now. */
export function noteWait(
  timings: BatchTimings,
  tenant: LiveTenant,
  sinceMs: number,
  nowMs: number,
): void {
  const woken = wasWokenSince(tenant, sinceMs)
  timings.wokenFrom = woken ? tenant.wokenFrom : 'awake'
  timings.wakeMs = woken ? Math.min(tenant.wakeMs, nowMs - sinceMs) : 0
  timings.queueMs = nowMs - sinceMs - timings.wakeMs
}

/** Whether a request that waited since then found the tenant at rest. */
export function wasWokenSince({ awakeSinceMs }: LiveTenant, sinceMs: number): boolean {
  return awakeSinceMs >= sinceMs
}

/**
 * One client's access to its tenant. It takes part in the contract of the router's
 * `BackendClient`.
 */
export interface PoolClient {
  /**
   * Runs complete frontend messages as this client; at most one call at a time. What the batch
   * changed is durable when the answer is there.
   *
   * A direct answer is a view, good until anybody calls the pool again; it comes when the tenant is
   * awake, nobody waits and the disk need not be waited for. An answer by promise is a copy.
   * `messages` is read only during the call.
   *
   * @param complete whether the batch ends in Query, Sync or FunctionCall
   * @throws PgnapError (thrown or rejected) QUEUE_FULL, QUERY_WAIT_TIMEOUT, QUERY_CANCELED:
   *   nothing has run and the client may go on. SLOT_LOST, STORE_*: the batch and the open
   *   transaction are gone, unless {@link mayGoOn}. SHUTTING_DOWN: no more batches.
   */
  run(messages: Uint8Array, complete: boolean): Uint8Array | Promise<Uint8Array>
  /** As {@link run}, once and first: what the batch sets is what RESET goes back to. */
  begin(messages: Uint8Array): Uint8Array | Promise<Uint8Array>
  /**
   * After a run that failed with STORE_*: the tenant could not be woken, nothing has run, and the
   * client's session is in the image as before.
   */
  readonly mayGoOn: boolean
  /**
   * Settings may be stored in its tenant that it is to be greeted with. False while that is not
   * known: whoever says nothing wakes nobody.
   */
  readonly mayHaveStoredSettings?: boolean
  /** As the last answer said; idle after an error, unless its transaction floats: then failed. */
  readonly transactionStatus: TransactionStatus
  /** Its transaction is open nowhere: a run that waits may be refused, and only fails it. */
  readonly isFloating?: boolean
  /** Monotonic time since which its batch waits for its turn; undefined if it does not wait. */
  readonly waitingSinceMs: number | undefined
  /** Monotonic time at which its last batch began; undefined before the first. */
  readonly ranMs: number | undefined
  /** Timings of the last batch, once {@link measure} has been called. */
  readonly timings: BatchTimings | undefined
  /** Begins to keep timings for this client. */
  measure(): void
  /**
   * Ends a wait with QUERY_CANCELED, or a batch that has paused in the backend, as a cancel request
   * does. Another one that is there is not reached from this thread.
   */
  cancel(): void
  /**
   * Rolls back what is open and leaves. Idempotent. A run in flight is rejected with
   * QUERY_CANCELED.
   */
  close(): void
}

/** What is known of a client that comes. */
export interface Rights {
  /** By which others may ask for its batches to be cancelled. Default: they cannot. */
  readonly number?: number
  /** Whether its CREATE DATABASE and DROP DATABASE reach beyond its tenant. Default: false. */
  readonly mayMakeDatabases?: boolean
  /** What it sees in `pg_database` beside the database of its tenant. Default: nothing. */
  readonly otherDatabases?: OtherDatabases
}

/** How the pool reaches a client that did not ask. */
export interface PoolClientListener {
  /** The client has to go (its tenant is being deleted). The pool closes it after this call. */
  lost(error: PgnapError): void
  /** Whole backend messages that belong to no batch: what another client has notified. */
  messages?(bytes: Uint8Array): void
  /** Another client cancels what this one waits for. Default: its wait ends. */
  cancel?(): void
  /** So many bytes are kept for it from now on, to be told later. In the middle of a batch. */
  keeps?(bytes: number): void
}

/** A tenant as the shell sees it: the machine's entry, and what is loaded for it. */
export interface LiveTenant {
  readonly entry: TenantEntry
  readonly clients: Set<LiveClient>
  slot: Slot | undefined
  open: OpenTenant | undefined
  progress: MaintenanceProgress | undefined
  /** A copy in another slot, in which others read beside an open transaction. */
  fork: Fork | undefined
  /** Whether there is a way to read its files beside it. */
  mayFork: boolean
  /** The answer of a batch that has run and waits for the disk, see `sync-desk.ts`. */
  syncing: Promise<Uint8Array> | undefined
  /** While it naps. */
  image: TenantImage | undefined
  /** What its clients have set up in its backend. */
  readonly sessions: TenantSessions<LiveClient>
  /** What its store held before it woke. As long as that is so, there is nothing to shut down. */
  wokenAt: TenantFiles['version']
  /** Of the last wake. */
  wakeMs: number
  awakeSinceMs: number
  wokenFrom: WakeTier
  /** What it has kept the shard's thread busy with. */
  readonly busy: BusyMeter
  readonly pace: TenantPace
}

/** A tenant of which nothing is loaded yet. */
export function newLiveTenant(entry: TenantEntry): LiveTenant {
  return {
    entry,
    clients: new Set(),
    slot: undefined,
    open: undefined,
    progress: undefined,
    fork: undefined,
    mayFork: false,
    syncing: undefined,
    image: undefined,
    sessions: new TenantSessions(),
    wokenAt: undefined,
    wakeMs: 0,
    awakeSinceMs: 0,
    wokenFrom: 'cold',
    busy: new BusyMeter(),
    pace: new TenantPace(),
  }
}

/** A batch that waits. */
export interface PendingBatch {
  readonly messages: Uint8Array
  readonly complete: boolean
  readonly sinceMs: number
  readonly resolve: (answer: Uint8Array | Promise<Uint8Array>) => void
  readonly reject: (error: unknown) => void
}

/** What a client needs of its pool. */
export interface ClientHost {
  runBatch(
    client: LiveClient,
    messages: Uint8Array,
    complete: boolean,
  ): Uint8Array | Promise<Uint8Array>
  cancelWait(client: LiveClient): void
  closeClient(client: LiveClient): void
}

/** The pool's own view of a client; callers get it as {@link PoolClient}. */
export class LiveClient implements PoolClient {
  readonly entry: ClientEntry
  readonly tenant: LiveTenant
  /** Undefined if nobody listens, or not any more. */
  listener: PoolClientListener | undefined
  readonly number: number
  readonly mayMakeDatabases: boolean
  readonly otherDatabases: OtherDatabases | undefined
  #status: TransactionStatus = 'idle'
  /** What others have notified while it was in a transaction. */
  #unheard: Uint8Array[] = []
  #unheardBytes = 0
  /** Its transaction, if that is open nowhere; see `floating-transaction.ts`. */
  floating: FloatingTransaction | undefined = undefined
  /** Its transaction, if that is in the backend and might float; see `letting-go.ts`. */
  watched: WatchedTransaction | undefined = undefined
  ranMs: number | undefined = undefined
  /** Monotonic times at which its last batch came and ended, for who looks at the sessions. */
  askedMs: number | undefined = undefined
  endedMs: number | undefined = undefined
  timings: BatchTimings | undefined = undefined
  pending: PendingBatch | undefined = undefined
  /** Undefined until its session has set itself a limit. */
  limits: ClientLimits | undefined = undefined
  closed = false
  readonly pace: ClientPace
  /** Whether the batch that runs next is to be able to pause. */
  mayPause = true
  /** Asked at each of its pauses when to go on. */
  pause: (() => Promise<void>) | undefined = undefined
  /** Its batch, if that has paused. */
  running: Promise<Uint8Array> | undefined = undefined
  /** It is to be closed when that has ended. */
  closeDue = false
  /** The batch that runs next gives it its settings. */
  begins = false
  /** Ends its wait for an advisory lock of another client; undefined: it waits for none. */
  giveUpLock: ((error: PgnapError) => void) | undefined = undefined
  /** What its last batch has asked for, and is still to be done. */
  asked: AskedDatabases | undefined = undefined
  /** It is being sent away: why. */
  ending: PgnapError | undefined = undefined
  mayGoOn = false
  /** It has run something: there may be a session that is missed. */
  used = false
  readonly #host: ClientHost

  constructor(
    host: ClientHost,
    parts: {
      readonly entry: ClientEntry
      readonly tenant: LiveTenant
      readonly listener: PoolClientListener | undefined
      readonly rights: Rights
    },
  ) {
    this.#host = host
    this.entry = parts.entry
    this.tenant = parts.tenant
    this.pace = new ClientPace(parts.tenant.pace)
    this.listener = parts.listener
    this.number = parts.rights.number ?? 0
    this.otherDatabases = parts.rights.otherDatabases
    this.mayMakeDatabases = parts.rights.mayMakeDatabases ?? false
  }

  run(messages: Uint8Array, complete: boolean): Uint8Array | Promise<Uint8Array> {
    return this.#host.runBatch(this, messages, complete)
  }

  begin(messages: Uint8Array): Uint8Array | Promise<Uint8Array> {
    this.begins = true
    return this.run(messages, true)
  }

  get transactionStatus(): TransactionStatus {
    return this.#status
  }

  set transactionStatus(status: TransactionStatus) {
    this.#status = status
    if (status !== 'idle' || this.#unheardBytes === 0) return
    this.#keep(0)
    for (const notification of this.#unheard.splice(0)) this.listener?.messages?.(notification)
  }

  /** Another client has notified it. In a transaction it hears of that when it has ended. */
  hear(notification: Uint8Array): void {
    if (this.#status === 'idle') return this.listener?.messages?.(notification)
    this.#unheard.push(notification)
    this.#keep(this.#unheardBytes + notification.length)
    if (this.#unheardBytes <= LIMITS.answerBytesMax) return
    const text = `${this.#unheardBytes} bytes of notifications wait for the end of a transaction`
    const hint = 'end transactions soon where you LISTEN'
    const error = new PgnapError('ANSWER_TOO_LARGE', text, { hint })
    queueMicrotask(() => this.dismiss(error))
  }

  #keep(bytes: number): void {
    this.#unheardBytes = bytes
    this.listener?.keeps?.(bytes)
  }

  told(messages: Uint8Array): void {
    if (messages.length > 0) this.listener?.messages?.(messages)
  }

  get mayHaveStoredSettings(): boolean {
    const { open } = this.tenant
    return open !== undefined && mayHaveStoredSettings(open.files)
  }

  get isFloating(): boolean {
    return this.floating !== undefined
  }

  get waitingSinceMs(): number | undefined {
    if (this.giveUpLock) return this.ranMs
    return this.entry.phase === 'waiting' ? this.entry.waitSinceMs : undefined
  }

  measure(): void {
    this.timings ??= { queueMs: 0, wakeMs: 0, wokenFrom: 'awake', execMs: 0, persistMs: 0 }
  }

  cancel(): void {
    if (this.giveUpLock) this.giveUpLock(waitCanceled())
    else if (this.running) this.tenant.slot?.cancel?.()
    else this.#host.cancelWait(this)
  }

  close(): void {
    this.#host.closeClient(this)
  }

  /** Sends it away; a batch of its that waits is told why. */
  dismiss(error: PgnapError): void {
    this.ending ??= error
    this.listener?.lost(error)
    this.close()
  }
}

/**
 * Puts the backend into the session of a client, and into its transaction, if that floats: it is
 * open there from now on. Throws what the slot throws.
 * @returns why that is not possible: then nothing may run for this client any more
 */
export function enterSession(client: LiveClient, slot: Slot): string | undefined {
  const { floating } = client
  // Whatever happens now, it is open nowhere else.
  client.floating = undefined
  const refusal = client.tenant.sessions.enter(client, slot)
  if (refusal !== undefined || !floating) return refusal
  goOn(slot, floating)
  client.watched = watchTransaction(slot)
  return undefined
}

/** A transaction that is open in a backend, and is watched there since it began. */
export interface WatchedTransaction {
  readonly slot: Slot
  readonly watch: number
  /** When it began. */
  readonly settings: ReadonlyMap<string, string>
}

/** A transaction that has just begun, and has not done anything; undefined: not in this slot. */
export function watchTransaction(slot: Slot): WatchedTransaction | undefined {
  const watch = slot.watch?.beginWatch()
  return watch === undefined ? undefined : { slot, watch, settings: slot.session.settings }
}

/** What a batch in a fork has left of its client's transaction; undefined: nothing is open. */
export function setFloating(client: LiveClient, floating: FloatingTransaction | undefined): void {
  client.floating = floating
  if (!floating) client.transactionStatus = 'idle'
  else client.transactionStatus = floating.isFailed ? 'failed' : 'transaction'
}

/** A batch of it is not run. In a server that would be an error in its transaction. */
export function failFloating(client: LiveClient): void {
  if (client.floating) setFloating(client, { ...client.floating, isFailed: true })
}

/** Sends away whoever has had a session in a tenant that lost it; false if there was nobody. */
export function dismissUsers({ clients }: LiveTenant): boolean {
  const users = [...clients].filter(({ used }) => used)
  for (const client of users) client.dismiss(sessionLost())
  return users.length > 0
}
