/**
 * Runs the batches of clients that have the backend, and sees to all that follows: what is
 * committed, counted and told, and that the backend is given back.
 *
 * Most are over at once, on the caller's stack. Two things make an answer come later: a statement
 * that takes its time pauses, so that its thread serves others, and while tenants share the thread
 * the disk is waited for elsewhere (`sync-desk.ts`). To the pool's rules both look like a batch
 * that runs for longer.
 */
import { assert } from '../base/assert.ts'
import { keptBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { PgnapError } from '../base/errors.ts'
import type { LockedOut } from '../engine/advisory-locks.ts'
import type { Slot, TransactionStatus } from '../engine/engine.ts'
import type { AdvisoryDesk } from './advisory-desk.ts'
import { ownQuery } from './backend-query.ts'
import { noteAsked } from './database-commands.ts'
import type { LettingGo } from './letting-go.ts'
import { type LimitsHost, noteErrors, noteLimits } from './note-limits.ts'
import { commitIfDue } from './commit-rule.ts'
import { enterSession, noteEnd, noteRun, noteStart } from './pool-client.ts'
import type { LiveClient, LiveTenant } from './pool-client.ts'
import { isFree, release } from './pool-fast-path.ts'
import { NOTHING_RAN } from './pool-model.ts'
import type { BatchResult, ClientEntry, PoolEffect, PoolEvent } from './pool-model.ts'
import { saidIn, sayAgain, unsaid } from './reading-batch.ts'
import type { PoolOptions } from './pool-options.ts'
import { clientGone, mayNotWait, sessionRefused } from './pool-rejection.ts'
import type { PoolState } from './pool-state.ts'
import type { PoolCounters } from './pool-statistics.ts'
import type { ReaderForks } from './reader-forks.ts'
import type { SlowLog } from './slow-log.ts'
import { SyncDesk, type SyncedBatch } from './sync-desk.ts'
import { ThreadTime } from './thread-time.ts'
import { isUrgent } from './upkeep.ts'

type Ended = { -readonly [Key in keyof BatchResult]: BatchResult[Key] }

export interface BatchRunsOptions {
  readonly clock: Clock
  readonly state: PoolState
  readonly counters: PoolCounters
  readonly forks: ReaderForks
  readonly lettingGo: LettingGo
  readonly advisory: AdvisoryDesk
  readonly limitsHost: LimitsHost
  readonly slowLog: SlowLog | undefined
  readonly onWrote: PoolOptions['onWrote']
  readonly event: (event: PoolEvent) => void
  /** What may wait until the caller has used his answer. */
  readonly runLater: (effects: readonly PoolEffect[]) => void
  /** Something threw in the slot of a tenant. */
  readonly lose: (tenant: LiveTenant, error: unknown) => PgnapError
}

/** A batch as it was when it began. */
interface StartedBatch {
  readonly messages: Uint8Array
  readonly complete: boolean
  /** For the log of slow statements. */
  readonly said: readonly string[]
  readonly startMs: number
  readonly errorsRaised: number
  /** Of the slot, so far. */
  readonly awayMs: number
  /** Of the tenant's files, so far. */
  readonly fetchCount: number
  readonly was: TransactionStatus
  /** Why nothing has run. */
  readonly refusal: string | undefined
}

const NO_ANSWER = new Uint8Array(0)
const NOTHING_SAID: readonly string[] = []

export class BatchRuns {
  readonly #options: BatchRunsOptions
  readonly #syncs = new SyncDesk()
  readonly #threadTime: ThreadTime
  /** One object for all batches: the state machine reads it and does not keep it. */
  readonly #result: Ended = { ...NOTHING_RAN }
  readonly #looked = (): void => this.#options.state.turns.looked()
  #pausedCount = 0
  /** What has paused, and how to let it go on. */
  readonly #paused = new WeakMap<ClientEntry, () => void>()

  constructor(options: BatchRunsOptions) {
    this.#options = options
    this.#threadTime = new ThreadTime(options.clock)
  }

  /**
   * Runs one batch of a client that has the backend. A direct answer is a view, see the top.
   * @param isLent its bytes are good for the length of this call, not until it is answered
   */
  run(
    client: LiveClient,
    given: Uint8Array,
    complete: boolean,
    isLent: boolean,
  ): Uint8Array | Promise<Uint8Array> {
    const { tenant } = client
    const { slot, open } = tenant
    assert(slot && open && tenant.progress, 'a batch needs a loaded tenant')
    client.limits?.works()
    const said = this.#options.slowLog?.read(client, given, slot) ?? NOTHING_SAID
    const startMs = noteStart(client, this.#options.clock.monotonicMs())
    this.#threadTime.begin(startMs)
    const { fetchCount } = open.files
    // What gives a session its settings is quick.
    client.mayPause = !client.begins && !client.pace.isTrusted(startMs) && this.#hasRoomToPause
    const { awayMs = 0 } = slot
    client.pause = client.mayPause ? () => this.#pause(client, startMs, awayMs) : undefined
    // In a pause whoever lent them reads the bytes of somebody else into the same place.
    const messages = client.mayPause && isLent ? new Uint8Array(given) : given
    let batch: StartedBatch
    let answer: Uint8Array | Promise<Uint8Array> = NO_ANSWER
    try {
      const refusal = enterSession(client, slot)
      const { errorsRaised, transactionStatus: was } = slot
      batch = { messages, complete, said, startMs, errorsRaised, awayMs, fetchCount, was, refusal }
      open.files.servesClient = true
      if (refusal === undefined) answer = tenant.sessions.channels.run(client, slot, messages)
    } catch (error) {
      throw this.#lose(client, error)
    }
    if (!(answer instanceof Promise)) return this.#ran(client, batch, answer)
    return (tenant.syncing = client.running = this.#answerPaused(client, batch, answer))
  }

  /** What has paused keeps its slot: one is always left for everybody else. */
  get #hasRoomToPause(): boolean {
    return this.#pausedCount < this.#options.state.limits.slotsPerShard - 1
  }

  /** Lets what has paused have its turn. */
  goOn(client: ClientEntry): void {
    this.#paused.get(client)?.()
  }

  /**
   * A batch pauses, in the middle of the call that runs it.
   * @param awayMs of its slot, when it began
   */
  #pause({ entry, tenant }: LiveClient, startMs: number, awayMs: number): Promise<void> {
    const { state, clock, runLater } = this.#options
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#paused.set(entry, resolve)
    const nowMs = clock.monotonicMs()
    const threadMs = nowMs - startMs - ((tenant.slot?.awayMs ?? 0) - awayMs)
    runLater(state.handle({ type: 'batchPaused', client: entry, threadMs }, nowMs))
    return promise
  }

  /** The end of a batch that has paused: until then nobody else has had its backend. */
  async #answerPaused(
    client: LiveClient,
    batch: StartedBatch,
    running: Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    this.#pausedCount++
    // Before its end is told to anybody: the next one may pause within that.
    const ended = (): void => {
      this.#pausedCount--
      client.tenant.syncing = client.running = undefined
    }
    try {
      // At once: a moment later somebody else might have changed what it left.
      return await running.then(
        (answer) => {
          ended()
          return keptBytes(this.#ran(client, batch, answer))
        },
        (error: unknown) => {
          ended()
          throw this.#lose(client, error)
        },
      )
    } finally {
      if (client.closeDue) client.close()
    }
  }

  /** What is to be done when a batch has run. */
  #ran(
    client: LiveClient,
    batch: StartedBatch,
    first: Uint8Array,
  ): Uint8Array | Promise<Uint8Array> {
    const { complete, said, startMs, refusal } = batch
    const { tenant } = client
    const { slot, open, progress } = tenant
    assert(slot && open && progress, 'a batch needs a loaded tenant')
    open.files.servesClient = false
    const { lockedOut } = slot
    if (lockedOut?.canRunAnew) return this.#lockedOut(client, batch, first, lockedOut)
    // Nothing has told it that it has not got the lock.
    if (lockedOut?.isUntold) throw this.#lose(client, lockedOut)
    const { channels } = tenant.sessions
    const result = this.#result
    const ranMs = this.#options.clock.monotonicMs()
    const awayMs = (slot.awayMs ?? 0) - batch.awayMs
    let endMs = ranMs
    let answer = first
    let committed: boolean | Promise<void>
    try {
      result.status = slot.transactionStatus
      result.wrote = open.files.walDirty && !open.files.onlyStarted
      progress.clientWrote ||= result.wrote
      if (result.wrote) this.#options.onWrote?.(tenant.entry.name)
      answer = this.#noted(client, slot, batch, answer)
      const heldMs = ranMs - startMs - awayMs
      const hasWaited = awayMs > 0 || open.files.fetchCount !== batch.fetchCount
      client.pace.note(hasWaited ? heldMs : this.#threadTime.busyMs(heldMs), ranMs)
      committed = this.#syncs.commit(tenant, result.status, awayMs > 0 ? ranMs : startMs)
      if (committed) endMs = this.#options.clock.monotonicMs()
      this.#syncs.ended(endMs)
      result.complete = complete
      if (typeof committed !== 'object') this.#review(client, result)
    } catch (error) {
      throw this.#lose(client, error)
    }
    if (refusal !== undefined) throw this.#turnAway(client, refusal)
    result.threadMs = endMs - startMs - awayMs
    this.#watchLook()
    this.#options.counters.countBatch(tenant, ranMs - startMs, result.threadMs, endMs)
    if (client.timings) noteRun(client.timings, ranMs - startMs)
    result.urgent = complete && result.status === 'idle' && isUrgent(progress, open)
    if (typeof committed === 'object') {
      const done = { answer: new Uint8Array(answer), result: { ...result }, ranMs, said }
      tenant.syncing = this.#answerSynced(client, done, committed)
      return tenant.syncing
    }
    if (committed) this.#options.counters.countCommit(client, endMs - ranMs)
    this.#options.slowLog?.ended(client, said)
    channels.deliver(notify)
    noteEnd(client, result.status, endMs)
    this.#options.advisory.review(tenant)
    if (client.ending) {
      // It has ended itself: its answer is nobody's, and what it has open is rolled back.
      this.#options.event({ type: 'batchFinished', client: client.entry, result })
      throw client.ending
    }
    if (release(this.#options.state, client.entry, result, endMs)) return answer
    const event = { type: 'batchFinished', client: client.entry, result } as const
    const effects = this.#options.state.handle(event, endMs)
    if (effects.length === 0) return answer
    const copy = new Uint8Array(answer)
    this.#options.runLater(effects)
    return copy
  }

  /** It could not have an advisory lock, and waits for it as if it had not been said. */
  #lockedOut(
    client: LiveClient,
    { messages, complete, startMs }: StartedBatch,
    answer: Uint8Array,
    { lock, preparedCount, timeouts }: LockedOut,
  ): Promise<Uint8Array> {
    const { tenant } = client
    const { slot, open } = tenant
    assert(slot && open, 'a batch needs a loaded tenant')
    const batch = { lock, messages: new Uint8Array(messages), complete }
    try {
      const unsay = sayAgain(unsaid(saidIn(messages, answer)))
      if (slot.transactionStatus !== 'idle') slot.run(ownQuery('ROLLBACK'))
      for (const each of unsay) slot.run(each)
      commitIfDue(open.files, 'idle')
    } catch (error) {
      throw this.#lose(client, error)
    }
    const endMs = this.#options.clock.monotonicMs()
    this.#syncs.ended(endMs)
    this.#options.counters.countBatch(tenant, endMs - startMs, endMs - startMs, endMs)
    tenant.sessions.channels.deliver(notify)
    noteEnd(client, 'idle', endMs)
    // Nobody else could have the backend, and so nobody would give the lock back.
    const pinned = tenant.sessions.pinned(slot) === client
    const isUndone = slot.session.preparedCount === preparedCount
    const result = { ...NOTHING_RAN, pinned }
    this.#options.event({ type: 'batchFinished', client: client.entry, result })
    if (client.ending || client.closeDue) throw client.ending ?? clientGone()
    if (pinned || !isUndone) throw mayNotWait()
    const rest = { status: 'idle', startMs, complete } as const
    noteLimits(client, { session: { timeouts } }, rest, this.#options.limitsHost)
    return this.#options.advisory.wait(client, batch)
  }

  /** In the next look at the sockets whoever is in turn has a whole one. */
  #watchLook(): void {
    const { state, clock } = this.#options
    if (state.turns.mustWatchLook()) clock.nextTurn(this.#looked)
  }

  /** Takes in what a batch has left in its session. @returns the answer as its client gets it */
  #noted(
    client: LiveClient,
    slot: Slot,
    { messages, complete, startMs, errorsRaised, was }: StartedBatch,
    first: Uint8Array,
  ): Uint8Array {
    const { counters, forks, lettingGo, limitsHost } = this.#options
    const { tenant } = client
    const { status } = this.#result
    if (slot.errorsRaised !== errorsRaised) noteErrors(client, first, counters)
    forks.review(tenant)
    lettingGo.note(client, slot, { messages, answer: first, complete, was })
    let answer = noteAsked(client, slot, { answer: first, complete })
    if (client.begins) answer = tenant.sessions.begun(client, slot, answer)
    client.begins = false
    noteLimits(client, slot, { status, startMs, complete }, limitsHost)
    return answer
  }

  /** Whether others may have the backend now. */
  #review(client: LiveClient, result: Ended): void {
    const { clients, sessions, slot } = client.tenant
    result.pinned = false
    if (!slot || clients.size < 2 || !isFree(result)) return
    result.pinned = sessions.pinned(slot) === client
  }

  #lose(client: LiveClient, error: unknown): PgnapError {
    client.transactionStatus = 'idle'
    client.mayGoOn = false
    return this.#options.lose(client.tenant, error)
  }

  /** Its session could not be brought back: it must connect again, and nothing has run. */
  #turnAway(client: LiveClient, refusal: string): PgnapError {
    const error = sessionRefused(refusal)
    this.#options.event({ type: 'batchFinished', client: client.entry, result: NOTHING_RAN })
    queueMicrotask(() => client.dismiss(error))
    return error
  }

  /** The end of a batch whose changes the disk has not got yet: until then nobody hears of it. */
  async #answerSynced(
    client: LiveClient,
    { answer, result, ranMs, said }: SyncedBatch,
    synced: Promise<void>,
  ): Promise<Uint8Array> {
    const { tenant, entry } = client
    try {
      await synced
      this.#review(client, result)
    } catch (error) {
      throw this.#lose(client, error)
    } finally {
      tenant.syncing = undefined
    }
    const nowMs = this.#options.clock.monotonicMs()
    this.#options.counters.countCommit(client, nowMs - ranMs)
    this.#options.slowLog?.ended(client, said)
    tenant.sessions.channels.deliver(notify)
    noteEnd(client, result.status, nowMs)
    this.#options.advisory.review(tenant)
    if (!release(this.#options.state, entry, result, nowMs)) {
      this.#options.event({ type: 'batchFinished', client: entry, result })
    }
    if (client.closed) throw client.ending ?? clientGone()
    return answer
  }
}

function notify(client: LiveClient, notification: Uint8Array): void {
  client.hear(notification)
}
