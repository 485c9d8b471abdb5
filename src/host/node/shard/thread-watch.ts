/**
 * Watches a shard's thread from the main thread, and interrupts what runs there when it has had its
 * time: because a client asked (a cancel request), because a timeout of its session has passed
 * (Postgres's own books are read, `timeout-memory.ts`), because it keeps other tenants waiting,
 * because it is upkeep and somebody waits, or because the shard has to go on.
 *
 * Before all that, what takes longer than a look pauses now and then, so that its thread hears and
 * serves others (`pausing.ts`). What cannot pause keeps them waiting, for a while.
 *
 * A client's wish may come while it waits for its turn, or before what it is about has been read.
 * So it is kept until the shard knows of nothing that it could still be about; whatever begins
 * meanwhile was sent before it or not, which shows from its place (`cancel-wish.ts`).
 */
import type { Clock, Timer } from '../../../base/clock.ts'
import {
  type InterruptFlags,
  isReadingCommand,
  isCancelPending,
  requestCancel,
  requestLook,
} from '../../../engine/interrupts.ts'
import { noteStatementTimeout, overdueIn } from '../../../engine/timeout-memory.ts'
import { isSpent } from '../../../front/wire/cancel-wish.ts'
import { isCountedBefore } from '../../../base/serial-number.ts'
import { isRunning, REASON, SIGN } from './thread-sign.ts'

/** How often it looks; by so much a statement may exceed its time. */
const LOOK_EVERY_MS = 50
/**
 * The same while tenants share the thread: by so much a long one may make others wait at first. And
 * after a look that has seen something run, so that it is soon known to be long: only then it is
 * asked, in two looks more, whether its client is still there.
 */
const LOOK_AT_SHARED_EVERY_MS = 20
/** The same while upkeep runs: by so much somebody may wait for it. */
const LOOK_AT_UPKEEP_EVERY_MS = 10
/** How long a statement runs in one go while others are connected: by so much they may wait. */
const SHARED_SLICE_MS = 2
/** The same for one that is alone: so long a newcomer may wait. */
const SLICE_MS = 10
/** A thread is held by what runs for longer than a boot, or a first statement, may take. */
const HELD_MS = 100
/** Looks within `neighbourWaitMs`, if that is short. */
const LOOKS_MIN = 4

/** A client's wish that what it runs should end. */
export interface ClientWish {
  readonly client: number
  /** As of a `Wish`. */
  readonly number: number
  /** So many bytes had come from the client. Undefined: not known, it is about all it runs. */
  readonly beforeByte: number | undefined
}

/** A cancel that Postgres has not taken note of: it looks now and then, most code does. */
export interface UnheededInterrupt {
  /** For which. */
  readonly batch: number
  /** Since the first one. */
  readonly sinceMs: number
  /** Its client has asked for that itself, by a request or a limit of time. */
  readonly isOwn: boolean
}

export interface ThreadWatchOptions {
  /** Cells of a `ThreadSign`. */
  readonly memory: SharedArrayBuffer
  /** Slots of the shard, by their numbers. */
  readonly slots: ReadonlyMap<number, InterruptFlags>
  /** How long a statement may hold the thread while others are connected; 0: for ever. */
  readonly neighbourWaitMs: number
  readonly clock: Clock
  /**
   * Whether the client that a statement runs for is not there any more. Asked while it certainly
   * runs.
   */
  readonly hasGone: (client: number) => boolean
  /** Bytes that a client has sent so far. Undefined: not known. */
  readonly sentBytes: (client: number) => number | undefined
  /** Whether anybody waits for what the shard would do next. Asked while upkeep runs. */
  readonly isAwaited: () => boolean
  /** A statement has kept others waiting and is cancelled: told once for each. */
  readonly onKeptOthers: () => void
}

export class ThreadWatch {
  readonly #options: ThreadWatchOptions
  readonly #cells: Int32Array
  /** By clients. */
  readonly #wishes = new Map<number, ClientWish>()
  #seen = 0
  #sinceMs = 0
  #keptOthers = 0
  #unheeded: UnheededInterrupt | undefined
  /** Of the last look. */
  #looked = 0
  /** Since when that has been seen to run. */
  #lookedSinceMs = 0
  #overdueMs = 0
  /** The upkeep that somebody was seen to wait for, and since when. */
  #awaited = 0
  #awaitedSinceMs = 0
  #timer: Timer | undefined
  #lastWish = 0

  constructor(options: ThreadWatchOptions) {
    this.#options = options
    this.#cells = new Int32Array(options.memory)
    this.#look()
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /**
   * Cancels what runs for a client now, or what it had sent by now and begins to run before
   * {@link forget}.
   * @returns what is to be forgotten; undefined if it ran now
   */
  cancel(client: number): ClientWish | undefined {
    // Before the bytes are counted: what the shard takes from now on, it takes one by one.
    Atomics.store(this.#cells, SIGN.wishes, 1)
    this.#lastWish = (this.#lastWish + 1) | 0 || 1
    const wish = { client, number: this.#lastWish, beforeByte: this.#options.sentBytes(client) }
    this.#wishes.set(client, wish)
    this.#fulfil()
    return this.#wishes.get(client)
  }

  /** There is nothing left in the shard that the wish could be about. */
  forget(wish: ClientWish): void {
    if (this.#wishes.get(wish.client) !== wish) return
    this.#wishes.delete(wish.client)
    if (this.#wishes.size === 0) Atomics.store(this.#cells, SIGN.wishes, 0)
  }

  /** Cancels whatever runs. */
  cancelAny(): void {
    this.#interrupt(Atomics.load(this.#cells, SIGN.batches), REASON.known)
  }

  /** What runs was to end, and has not taken note of that. Undefined: nothing of the kind. */
  get unheeded(): UnheededInterrupt | undefined {
    const unheeded = this.#unheeded
    if (!unheeded || unheeded.batch !== Atomics.load(this.#cells, SIGN.batches)) return undefined
    return this.#flags && isCancelPending(this.#flags) ? unheeded : undefined
  }

  /** Whether anybody waits for what the shard would do next. Meant for a thread that is held. */
  get isAwaited(): boolean {
    return Atomics.load(this.#cells, SIGN.waited) === 1 || this.#options.isAwaited()
  }

  /** Whether something has run for a while and has neither ended nor paused. */
  get isHeld(): boolean {
    const batch = Atomics.load(this.#cells, SIGN.batches)
    if (!isRunning(batch) || batch !== this.#looked) return false
    return this.#options.clock.monotonicMs() - this.#lookedSinceMs >= HELD_MS
  }

  #look(): void {
    this.#fulfil()
    const batch = Atomics.load(this.#cells, SIGN.batches)
    const cells = this.#cells
    const runs = isRunning(batch)
    const patience = runs ? Atomics.load(cells, SIGN.patience) : 0
    // Of what takes no longer than a look nobody has to ask.
    const isLong = runs && (batch === this.#looked || Atomics.load(cells, SIGN.pauses) > 0)
    this.#lookAgain(patience > 0, isLong || Atomics.load(cells, SIGN.away) > 0, runs)
    if (!runs) return
    this.#checkTimeouts(batch)
    if (patience > 0) this.#checkUpkeep(batch, patience - 1)
    else this.#checkNeighbours(batch)
    if (isLong) this.#checkClient(batch)
    if (isLong && patience === 0) this.#pause(batch)
    if (batch !== this.#looked) this.#lookedSinceMs = this.#options.clock.monotonicMs()
    this.#looked = batch
  }

  /**
   * @param isLong something runs or has paused that takes longer than a look
   * @param runs something runs
   */
  #lookAgain(atUpkeep: boolean, isLong: boolean, runs: boolean): void {
    const { clock, neighbourWaitMs } = this.#options
    const lookMs = neighbourWaitMs > 0 ? neighbourWaitMs / LOOKS_MIN : LOOK_EVERY_MS
    const sliceMs = this.#isShared ? SHARED_SLICE_MS : SLICE_MS
    const restMs = this.#isShared || runs ? LOOK_AT_SHARED_EVERY_MS : LOOK_EVERY_MS
    const everyMs = atUpkeep ? LOOK_AT_UPKEEP_EVERY_MS : isLong ? sliceMs : restMs
    this.#timer = clock.setTimer(Math.min(everyMs, lookMs), () => this.#look())
  }

  get #isShared(): boolean {
    return Atomics.load(this.#cells, SIGN.shared) === 1
  }

  /** What runs pauses when Postgres next looks for interrupts, if it can. */
  #pause(batch: number): void {
    this.#during(batch, () => {
      const flags = this.#flags
      if (!flags) return
      Atomics.store(this.#cells, SIGN.pauseWanted, batch)
      requestLook(flags)
    })
  }

  #fulfil(): void {
    if (this.#wishes.size === 0) return
    const batch = Atomics.load(this.#cells, SIGN.batches)
    const wish = this.#wishes.get(this.#cells[SIGN.client] ?? 0)
    if (!wish || !this.#isAbout(wish)) return
    const how = { wish: wish.number, isOwn: true }
    if (this.#interrupt(batch, REASON.known, how)) this.forget(wish)
  }

  /** Whether a wish of the client that something runs for is about that. */
  #isAbout({ number, beforeByte }: ClientWish): boolean {
    if (isSpent(number, this.#cells[SIGN.spentWish] ?? 0)) return false
    return beforeByte === undefined || isCountedBefore(this.#cells[SIGN.begunByte] ?? 0, beforeByte)
  }

  #checkTimeouts(batch: number): void {
    const flags = this.#flags
    const overdue = flags && overdueIn(flags, this.#options.clock.nowMs())
    if (!overdue) return
    const isStatement = overdue.limit === 'statement'
    // Once: what catches the cancel and goes on is let go on, as in a server. The end of a session
    // cannot be caught.
    if (isStatement && overdue.sinceMs === this.#overdueMs) return
    const reason = isStatement ? REASON.known : REASON.transaction
    if (!this.#interrupt(batch, reason, { isTimeout: isStatement, isOwn: true })) return
    this.#overdueMs = overdue.sinceMs
  }

  #checkNeighbours(batch: number): void {
    const { clock, neighbourWaitMs, onKeptOthers } = this.#options
    const nowMs = clock.monotonicMs()
    if (batch !== this.#seen || !this.#isShared) {
      this.#seen = batch
      this.#sinceMs = nowMs
    } else if (neighbourWaitMs > 0 && nowMs - this.#sinceMs >= neighbourWaitMs) {
      // Again at every look: a function may catch a cancel and go on.
      if (!this.#interrupt(batch, REASON.neighbours) || this.#keptOthers === batch) return
      this.#keptOthers = batch
      onKeptOthers()
    }
  }

  /** Nobody has asked for upkeep: it ends for whoever has waited as long as it may make them. */
  #checkUpkeep(batch: number, patienceMs: number): void {
    const { clock, isAwaited } = this.#options
    if (!isAwaited()) return void (this.#awaited = 0)
    const nowMs = clock.monotonicMs()
    if (this.#awaited !== batch) {
      this.#awaited = batch
      this.#awaitedSinceMs = nowMs
    }
    if (nowMs - this.#awaitedSinceMs >= patienceMs) this.#interrupt(batch, REASON.upkeep)
  }

  /** Whose client has gone ends: it would hold the thread, and its tenant, for nobody. */
  #checkClient(batch: number): void {
    const client = this.#cells[SIGN.client] ?? 0
    // Calls over HTTP have numbers below 0, and are given up by whoever made them.
    if (client <= 0) return
    let hasGone = false
    this.#during(batch, () => (hasGone = this.#options.hasGone(client)))
    // Again at every look: a function may catch a cancel and go on.
    if (hasGone) this.#interrupt(batch, REASON.known)
  }

  get #flags(): InterruptFlags | undefined {
    return this.#options.slots.get(this.#cells[SIGN.slot] ?? 0)
  }

  /**
   * Cancels `batch` if it still runs.
   * @param isOwn its client has asked for that. Default: it has not
   * @returns whether it did run
   */
  #interrupt(
    batch: number,
    reason: number,
    { isTimeout = false, wish = 0, isOwn = false } = {},
  ): boolean {
    const cells = this.#cells
    let wasInterrupted = false
    this.#during(batch, () => {
      const flags = this.#flags
      // What it has not read yet it would not end, but at the next look.
      if (!flags || isReadingCommand(flags)) return
      Atomics.store(cells, SIGN.reason, reason)
      if (wish !== 0) Atomics.store(cells, SIGN.wish, wish)
      Atomics.store(cells, SIGN.canceled, batch)
      if (isTimeout) noteStatementTimeout(flags, true)
      // Upkeep is given up by whoever runs it, between two of its steps.
      if (reason !== REASON.upkeep) this.#noteUnheeded(batch, isOwn, isCancelPending(flags))
      requestCancel(flags)
      wasInterrupted = true
    })
    return wasInterrupted
  }

  #noteUnheeded(batch: number, isOwn: boolean, isPending: boolean): void {
    const before = isPending && this.#unheeded?.batch === batch ? this.#unheeded : undefined
    const sinceMs = before?.sinceMs ?? this.#options.clock.monotonicMs()
    this.#unheeded = { batch, sinceMs, isOwn: isOwn || before?.isOwn === true }
  }

  /** Does something if `batch` still runs, and before it can have ended; see `thread-sign.ts`. */
  #during(batch: number, act: () => void): void {
    const cells = this.#cells
    Atomics.store(cells, SIGN.interrupting, 1)
    if (isRunning(batch) && Atomics.load(cells, SIGN.batches) === batch) act()
    Atomics.store(cells, SIGN.interrupting, 0)
    Atomics.notify(cells, SIGN.interrupting)
  }
}
