/**
 * Forks, carried out: made, read in, ended. Who may read in one and when is `fork-desk.ts`.
 *
 * A fork is a copy of its tenant's slot over the files as they are committed, in which whatever was
 * open is rolled back. It has the sessions of all clients in it as they were, and they go on in it
 * as they would in the backend (`tenant-sessions.ts`); what a reader changes of its own session
 * (settings, prepared statements) is noted for the backend as well, so that it is there when the
 * fork is gone.
 *
 * It must never let an answer out of a fork in which something was done but reading
 * (`write-watch.ts`), nor out of one that is stale: the transaction beside which it was made has
 * ended, by whatever was run.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { concatBytes } from '../base/bytes.ts'
import { ERRORS, PgnapError, toPgnapError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Slot } from '../engine/engine.ts'
import { withStandIns } from '../engine/stand-ins.ts'
import { A_LIBRARY } from '../engine/write-watch.ts'
import { SYNC } from '../base/protocol-message.ts'
import type { AdvisoryDesk } from './advisory-desk.ts'
import { ABORT, fatalError, firstError, ownQuery, readAnswer } from './backend-query.ts'
import type { FloatingTransaction } from './floating-transaction.ts'
import { float, goOn, leavesPortal, rollBack } from './floating-transaction.ts'
import { type EndedTransaction, endOfFailed } from './failed-transaction.ts'
import { keepsBackend, mayRead, noteRead } from './fork-desk.ts'
import { noteErrors, type Rest, transactionTimeout } from './note-limits.ts'
import { numberOf } from './pausing-run.ts'
import type { PendingBatches } from './pending-batches.ts'
import {
  failFloating,
  type LiveClient,
  noteRun,
  noteStart,
  noteWait,
  resetTimings,
  setFloating,
} from './pool-client.ts'
import type { LiveTenant, PendingBatch } from './pool-client.ts'
import { ClientEntry } from './pool-model.ts'
import type { PoolEvent, SlotEntry, TenantEntry } from './pool-model.ts'
import type { PoolState } from './pool-state.ts'
import type { PoolCounters } from './pool-statistics.ts'
import { eachMessage } from '../base/message-frames.ts'
import { forkAnswers } from './thread-turns.ts'
import { hearAgain, isNothingLeft, leftInFork } from './left-in-fork.ts'
import { ReadTrials } from './read-trials.ts'
import type { Reading } from './reading-batch.ts'
import type { SlotRack } from './slot-rack.ts'
import type { SlowLog } from './slow-log.ts'
import { isSame } from './session-defaults.ts'
import type { TenantSessions } from './tenant-sessions.ts'
import type { TenantFiles } from './tenant-source.ts'

/** Object id of a language. */
const LANGUAGE_INTERNAL = '12::pg_catalog.oid'
const ERROR_RESPONSE = 0x45
/** ReadyForQuery, which ends every answer to a Sync. */
const READY_BYTES = 6

/** A copy of a tenant's backend, to read in. */
export interface Fork {
  readonly tenant: LiveTenant
  readonly slot: Slot
  readonly files: TenantFiles
  readonly watch: ReturnType<Slot['fork']>
  readonly sessions: TenantSessions<LiveClient>
  /** The transaction of the backend beside which it was made; 0: one that has failed. */
  readonly transaction: number
  /** Functions of clients that are none of Postgres's own under another name. */
  readonly vetted: Set<number>
}

export interface ReaderForksOptions {
  readonly state: PoolState
  readonly slots: SlotRack
  readonly pending: PendingBatches
  readonly counters: PoolCounters
  readonly clock: Clock
  readonly log: Log
  readonly slowLog: SlowLog | undefined
  readonly advisory: AdvisoryDesk
  readonly event: (event: PoolEvent) => void
  /** The same, but what comes of it is carried out when the caller has done. */
  readonly later: (event: PoolEvent) => void
  /** A batch of a client was answered in a fork. */
  readonly onRead: (client: LiveClient, fork: Slot, rest: Omit<Rest, 'status'>) => void
  /** The slot of a tenant threw. */
  readonly onLost: (tenant: LiveTenant, error: unknown) => void
}

export class ReaderForks {
  readonly #options: ReaderForksOptions
  readonly #forks = new Map<SlotEntry, Fork>()
  readonly #trials = new ReadTrials()
  /** Whose batch was tried in vain just now, and is about to wait. */
  #refused: LiveClient | undefined

  constructor(options: ReaderForksOptions) {
    this.#options = options
  }

  /** Whether a batch that cannot have the backend may be one for a fork. */
  readingOf(client: LiveClient, messages: Uint8Array, complete: boolean): Reading {
    const { mayFork, clients } = client.tenant
    if (client === this.#refused || !mayFork || clients.size < 2) return 'no'
    // Nothing can be written in it any more. An error in a pipeline that goes on is the backend's.
    if (client.floating?.isFailed) return complete ? 'reads' : 'no'
    return this.#trials.readingOf(client, messages, complete, this.#options.clock.monotonicMs())
  }

  make(tenant: LiveTenant, entry: SlotEntry): void {
    const { state, slots, clock, counters, event } = this.#options
    const into = slots.get(entry)
    assert(into, 'a slot is there before a fork is put into it')
    const startMs = clock.monotonicMs()
    const fork = this.#load(tenant, into)
    const nowMs = clock.monotonicMs()
    state.turns.charge(tenant.entry, nowMs - startMs, nowMs)
    if (typeof fork === 'string') {
      counters.forks.refused++
      const slotReusable = fork !== 'broken'
      return event({ type: 'forkLeft', slot: entry, slotReusable, refused: fork !== 'not now' })
    }
    counters.forks.made++
    this.#forks.set(entry, fork)
    tenant.fork = fork
    event({ type: 'forkMade', slot: entry, threadMs: nowMs - startMs })
  }

  /**
   * Answers a batch that cannot have the backend, if there is a fork for it. Undefined: nothing has
   * happened, and it has to wait. Throws why its client is being sent away, if it has ended itself,
   * and QUERY_CANCELED if that is what became of a batch that is not for forks.
   */
  readNow(client: LiveClient, messages: Uint8Array, complete: boolean): Uint8Array | undefined {
    const { state, clock } = this.#options
    this.#refused = undefined
    const ended = client.floating?.isFailed && complete ? endOfFailed(messages) : undefined
    if (ended) return this.#endFailed(client, ended)
    this.review(client.tenant)
    if (!client.tenant.fork || !mayRead(state, client.entry)) return undefined
    if (this.readingOf(client, messages, complete) === 'no') return undefined
    if (client.timings) resetTimings(client.timings)
    const startMs = clock.monotonicMs()
    let answer: Uint8Array | undefined
    try {
      answer = this.#answer(client, { messages, complete, startMs })
    } finally {
      const nowMs = clock.monotonicMs()
      noteRead(state, client.entry, nowMs - startMs, nowMs)
    }
    if (answer) this.#options.counters.found.awake++
    else this.#refused = client
    return answer
  }

  /** The same for a batch that waits. */
  read(entry: ClientEntry): void {
    const { pending, clock, counters, event } = this.#options
    const client = pending.clientOf(entry)
    if (!client?.pending) return
    const { sinceMs, resolve, reject } = client.pending
    const startMs = clock.monotonicMs()
    this.review(client.tenant)
    if (!client.tenant.fork || !forkAnswers(entry.tenant)) {
      return event({ type: 'readEnded', client: entry, outcome: 'missed', threadMs: 0 })
    }
    if (client.timings) noteWait(client.timings, client.tenant, sinceMs, startMs)
    let isServed = true
    try {
      const answer = this.#answer(client, { ...client.pending, startMs })
      isServed = answer !== undefined
      if (answer) resolve(new Uint8Array(answer))
    } catch (error) {
      reject(error)
    }
    if (isServed) {
      pending.settle(entry)
      counters.wait.record(startMs - sinceMs)
      counters.countFound(client.tenant, sinceMs)
    }
    const threadMs = clock.monotonicMs() - startMs
    event({ type: 'readEnded', client: entry, outcome: isServed ? 'served' : 'refused', threadMs })
  }

  /**
   * The backend of `tenant` has run something, or what has paused there has gone on. If the
   * transaction has ended beside which its fork was made, that shows no longer all that is
   * committed, and does not answer again.
   */
  review(tenant: LiveTenant): void {
    const { fork, slot, open } = tenant
    if (!fork) return
    const isSame = slot?.transaction === fork.transaction
    // One that has failed has no number. What is committed between two such was written to the WAL.
    const mayBeOther = fork.transaction === 0 && (!isFailed(slot) || open?.files.walDirty)
    if (!isSame || mayBeOther) this.#retire(tenant)
  }

  /** Nothing of it is anywhere but here. */
  #endFailed(client: LiveClient, { answer, said }: EndedTransaction): Uint8Array | undefined {
    if (!client.tenant.sessions.say(client, said)) return undefined
    const { clock, counters } = this.#options
    noteStart(client, clock.monotonicMs())
    client.endedMs = clock.monotonicMs()
    if (client.timings) resetTimings(client.timings)
    setFloating(client, undefined)
    client.limits?.ends(client.endedMs)
    counters.countBatch(client.tenant, 0, 0, client.endedMs)
    return answer
  }

  /** Empties the slot of a fork, if there is one in it. */
  end(entry: SlotEntry): void {
    const fork = this.#forks.get(entry)
    if (!fork) return
    this.#forks.delete(entry)
    const { slot, files, tenant } = fork
    if (tenant.fork === fork) tenant.fork = undefined
    const slotReusable = this.#empty(slot, files)
    this.#options.event({ type: 'forkLeft', slot: entry, slotReusable, refused: false })
  }

  /**
   * Throws as {@link readNow}.
   * @returns undefined: it is not for forks; if anything of it was left there, the fork is gone
   */
  #answer(
    client: LiveClient,
    { messages, complete, startMs }: Pick<PendingBatch, 'messages' | 'complete'> & Started,
  ): Uint8Array | undefined {
    const { tenant } = client
    const { fork } = tenant
    assert(fork, 'who reads has a fork')
    const { counters, clock, log, slowLog, onRead, advisory } = this.#options
    const said = slowLog?.read(client, messages, fork.slot)
    const { errorsRaised } = fork.slot
    let answer: Uint8Array | PgnapError | string | undefined
    try {
      answer = runIn(fork, client, { messages, complete })
    } catch (error) {
      log.warn('a fork was lost', { tenant: tenant.entry.name, error })
      counters.slotsLost++
      answer = 'a crash'
    }
    if (!(answer instanceof Uint8Array)) {
      counters.forks.withheld++
      if (answer !== undefined) this.#giveUp(client, messages, fork, startMs)
      // Nothing of it is left. To run it again would be to forget that it was to end.
      if (answer instanceof PgnapError) {
        failFloating(client)
        throw answer
      }
      return undefined
    }
    const endMs = clock.monotonicMs()
    this.#trials.noteRead(client, messages, endMs)
    noteStart(client, startMs)
    client.endedMs = endMs
    client.begins = false
    if (fork.slot.errorsRaised !== errorsRaised) noteErrors(client, answer, counters)
    onRead(client, fork.slot, { startMs, complete })
    counters.forks.reads++
    advisory.review(tenant)
    counters.countBatch(tenant, endMs - startMs, endMs - startMs, endMs)
    if (client.timings) noteRun(client.timings, endMs - startMs)
    slowLog?.ended(client, said ?? [])
    // It has ended itself: its answer is nobody's.
    if (client.ending) throw client.ending
    return answer
  }

  #load(tenant: LiveTenant, into: Slot): Fork | NoFork {
    const { log } = this.#options
    const { slot, open, sessions, entry } = tenant
    if (!slot || !open?.asCommitted || !leavesThread(entry)) return 'not now'
    const { transaction } = slot
    // A client that only keeps the backend has no transaction: it may commit with every batch.
    if (transaction === 0 && !isFailed(slot)) return 'never'
    if (!canFork(slot, open.files)) return 'never'
    try {
      // Postgres believes to be written what it has written.
      open.files.commit()
    } catch (error) {
      this.#options.onLost(tenant, error)
      return 'never'
    }
    let files: TenantFiles | undefined
    try {
      files = open.asCommitted()
      const image = withStandIns(slot.copy(), open.files, files)
      const watch = into.fork(files, image)
      slot.recycle(image)
      const forked = sessions.forked()
      into.run(ABORT)
      const session = { sessions: forked, transaction, vetted: new Set<number>() }
      const fork = { tenant, slot: into, files, watch, ...session }
      // What the session has beside its transaction is nobody else's to see.
      const isOwn = into.transactionStatus === 'idle' && !forked.pinned(into)
      if (isOwn) return fork
      return this.#empty(into, files) ? 'never' : 'broken'
    } catch (error) {
      const { code } = toPgnapError(error)
      files?.close()
      const isUnfit = code === 'IMAGE_INVALID'
      // Nothing has gone wrong: it has open what is nowhere else.
      if (isUnfit)
        log.info('there is no fork beside this transaction', { tenant: entry.name, code })
      else log.warn('a fork could not be made', { tenant: entry.name, code, error })
      return !files || isUnfit ? 'never' : 'broken'
    }
  }

  /** Something was done that must not be seen: the fork is of no use any more. */
  #giveUp(client: LiveClient, messages: Uint8Array, fork: Fork, startMs: number): void {
    const { tenant } = client
    const nowMs = this.#options.clock.monotonicMs()
    this.#trials.noteVain(client, messages, isOfText(fork), nowMs)
    this.#retire(tenant, nowMs - startMs)
  }

  /** It does not answer from now on; that its slot is to be emptied is heard of later. */
  #retire(tenant: LiveTenant, vainMs?: number): void {
    tenant.fork = undefined
    const how = vainMs === undefined ? {} : { vainMs }
    this.#options.later({ type: 'forkStale', tenant: tenant.entry, ...how })
  }

  /** @returns whether the slot can be used again */
  #empty(slot: Slot, files: TenantFiles): boolean {
    const { log } = this.#options
    try {
      const { reusable } = slot
      if (reusable) slot.unload()
      return reusable
    } catch (error) {
      log.warn('a fork did not leave its slot', { error })
      return false
    } finally {
      files.close()
    }
  }
}

/** Why there is no fork: as things are at this moment, or in this transaction; the slot is lost. */
type NoFork = 'not now' | 'never' | 'broken'

interface Started {
  readonly startMs: number
}

/**
 * Runs a batch in a fork, and takes in what that did to its client's session. Throws what the slot
 * throws.
 * @returns its answer; a text: what else was done than reading; an error: it was cancelled in the
 *   middle of that; undefined: nothing was done, but it cannot be answered here
 */
function runIn(
  fork: Fork,
  client: LiveClient,
  { messages, complete }: Pick<PendingBatch, 'messages' | 'complete'>,
): Uint8Array | PgnapError | string | undefined {
  const { slot, sessions, watch, tenant, vetted } = fork
  const { floating } = client
  if (sessions.enter(client, slot) !== undefined) return undefined
  if (floating) goOn(slot, floating)
  const { settings: before, channels: listened, holdsLocks } = slot.session
  const { errorsRaised } = slot
  watch.begin()
  const whole = complete ? messages : concatBytes([messages, SYNC])
  let answer = slot.run(whole, numberOf(client), client.otherDatabases)
  const canceled = slot.errorsRaised === errorsRaised ? undefined : cancelIn(answer)
  const isOpen = slot.transactionStatus !== 'idle'
  let goesOn: FloatingTransaction | undefined
  if (isOpen) {
    const mayFloat = !watch.lasting && isSame(before, slot.session.settings)
    answer = new Uint8Array(answer)
    goesOn = float(slot)
    rollBack(slot)
    // Whether it might float does not matter to one that has failed: nothing goes on in it.
    if (canceled && goesOn?.isFailed) setFloating(client, goesOn)
    if (!mayFloat || leavesPortal(whole, answer)) goesOn = undefined
  }
  const done = watch.seen ?? whatIsLeft(slot)
  if (done !== undefined) return canceled ?? done
  // Whoever has not said all of it would have to be left in the middle of an error.
  if (!complete && hasFailed(answer)) return canceled ?? 'a pipeline that failed'
  let kept = callsUnknown(watch, vetted) ? new Uint8Array(answer) : answer
  if (kept !== answer && !vet(fork)) return canceled ?? 'a function by another name'
  const left = leftInFork(slot, { messages: whole, answer: kept }, watch.forgotten, listened)
  if (!left) return canceled ?? 'statements out of sight'
  if (isOpen && !goesOn) {
    // With it all is gone, but for what is prepared, and what was committed before it began.
    const isGone = isNothingLeft(left) && !holdsLocks
    const isAsBefore = isGone && isSame(before, slot.session.settings)
    return canceled ?? (isAsBefore ? undefined : 'a session')
  }
  if (client.begins) kept = sessions.begun(client, slot, kept)
  const isBack = tenant.sessions.takeBack(client, { slot, before, ...left })
  if (!isBack) return canceled ?? 'too many statements'
  if (left.unheard.size > 0) {
    kept = new Uint8Array(kept)
    hearAgain(slot, left)
  }
  setFloating(client, goesOn)
  return complete ? kept : kept.subarray(0, kept.length - READY_BYTES)
}

/**
 * Whether a copy of a backend can be had in another slot, over the files as they are committed, and
 * be as good. UNLOGGED sequences change without a trace. To copy a large memory holds up the whole
 * shard, for seconds, again and again, and costs a second slot.
 */
function canFork(slot: Slot, files: TenantFiles): boolean {
  return slot.canCopy && !files.hasUnlogged
}

function isFailed(slot: Slot | undefined): boolean {
  return slot?.transactionStatus === 'failed'
}

function callsUnknown({ calledFunctions }: Fork['watch'], vetted: Fork['vetted']): boolean {
  return calledFunctions.size > 0 && !calledFunctions.isSubsetOf(vetted)
}

/**
 * Looks at the functions of clients that were called. False: one of them may be a function of
 * Postgres that is not for forks, since it is `LANGUAGE internal`. Overwrites the slot's last
 * answer, and throws what the slot throws.
 */
function vet({ slot, watch, vetted }: Fork): boolean {
  const ids = [...watch.calledFunctions]
  const { rows, refusal } = readAnswer(slot.run(ownQuery(internalAmongSql(ids))))
  if (refusal !== undefined || rows.length > 0) return false
  for (const id of ids) vetted.add(id)
  return true
}

/** The client's own search_path may put anything before Postgres's names. */
export function internalAmongSql(ids: readonly number[]): string {
  return `SELECT 1 FROM pg_catalog.pg_proc WHERE prolang OPERATOR(pg_catalog.=) ${LANGUAGE_INTERNAL}
    AND oid OPERATOR(pg_catalog.=) ANY ('{${ids.join()}}'::pg_catalog.oid[])`
}

/**
 * Whether what was more than reading is the doing of what was said, whoever says it. Each end of a
 * transaction empties temporary tables that are ON COMMIT DELETE ROWS; a library is loaded once.
 */
function isOfText({ slot, watch }: Fork): boolean {
  if (slot.lost === true || slot.session.mayHaveTemporaryTables) return false
  return watch.seen !== undefined && watch.seen !== A_LIBRARY
}

/** Whether a client has the backend, and its thread is free for others. */
function leavesThread({ phase, holder }: TenantEntry): boolean {
  return phase === 'awake' && holder instanceof ClientEntry && keepsBackend(holder)
}

/** What a batch has left open in the fork. */
function whatIsLeft({ transactionStatus, session, canNap }: Slot): string | undefined {
  if (!canNap) return 'something outside of its memory'
  if (transactionStatus !== 'idle') return 'a transaction'
  return session.holdsOn ? 'locks or cursors' : undefined
}

/** What a batch was told that was cancelled, in Postgres's words or ours. */
function cancelIn(answer: Uint8Array): PgnapError | undefined {
  const fatal = fatalError(answer)
  if (fatal) return transactionTimeout(fatal.message)
  const error = firstError(answer)
  if (error?.sqlState !== ERRORS.QUERY_CANCELED.sqlState) return undefined
  return new PgnapError('QUERY_CANCELED', error.message)
}

function hasFailed(answer: Uint8Array): boolean {
  let failed = false
  eachMessage(answer, (type) => (failed ||= type === ERROR_RESPONSE))
  return failed
}
