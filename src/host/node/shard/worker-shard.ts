/**
 * One shard in a worker thread, as the main thread sees it: starts it, watches that it lives,
 * interrupts it when it hangs, replaces it when it dies.
 *
 *   waiting --begin()--> starting --ready--> running --exit--> dead --after a pause--> starting
 *                                              |
 *   a batch that has had its time, or whose client asks: cancel it (`thread-watch.ts`)
 *   silent for shardHangMs: cancel what runs (57014) --+
 *   silent for shardGraceMs more: terminate the thread (57P01)
 *   the same from any other cancel that is not heeded, if its client asked or somebody waits
 *
 * A thread that dies takes nothing acknowledged with it: its tenants come back from their stores
 * when they are asked for again. Nobody's statement is repeated: whether it ran is the client's to
 * find out.
 */
import type { EventLoopUtilization } from 'node:perf_hooks'
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Log } from '../../../base/log.ts'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import type { ShardFacts } from '../../../front/control.ts'
import { errorResponse } from '../../../base/error-message.ts'
import { HARMLESS_REPORT } from '../../../front/wire/server-messages.ts'
import type { DatabaseService } from '../../../pool/database-service.ts'
import type { MovedTenant } from '../../../router/ownership.ts'
import type { PauseList } from '../../../router/pause-book.ts'
import type { Handover } from '../handover/handover.ts'
import { ApiCaller, type Remote, serveApi } from './rpc.ts'
import type { ShardApi, TenantWatcher } from './shard-api.ts'
import type { ShardSettings } from './shard.ts'
import { startThread } from './shard-thread.ts'
import { allocateSign } from './thread-sign.ts'
import { ThreadWatch } from './thread-watch.ts'
import type { FromWorker, ToWorker } from './worker-messages.ts'

export interface WorkerShardOptions {
  readonly index: number
  readonly handover: Handover
  /** Known a little later than the thread is started. */
  readonly settings: Promise<Omit<ShardSettings, 'cancelSecret'>>
  /** Stores may be made in the data folder: clients are served from then on. */
  readonly folderReady: Promise<void>
  /** Of the server's `CancelKeys`. */
  readonly cancelSecret: Uint8Array
  /**
   * Tenants that have moved. Asked when a thread is started, and never before the calls to its
   * predecessor have failed and whoever made them has been told. Default: none.
   */
  readonly moved?: () => readonly MovedTenant[]
  /** What an administrator has paused; asked as `moved` is. Default: nothing. */
  readonly paused?: () => PauseList
  /** Told about the tenants that are made and removed. Default: nobody. */
  readonly tenantWatcher?: TenantWatcher
  /** Who makes and removes databases for sessions of any shard. */
  readonly databases: DatabaseService
  readonly clock: Clock
  readonly log: Log
  /** Silence after which a running query is cancelled. Default: `LIMITS.shardHangMs`. */
  readonly hangMs?: number
  /** Further silence after which the thread is replaced. Default: `LIMITS.shardGraceMs`. */
  readonly graceMs?: number
}

type MovesOfShard = Pick<ShardFacts, 'movedOut' | 'moveRefusals' | 'guests'>

const PING_EVERY_MS = 1_000
/** Silence of which the log tells. */
const SILENCE_TOLD_MS = 5_000
/** Calls that come by themselves, and that no client waits for. */
const BACKGROUND_CALLS: ReadonlySet<string> = new Set<keyof ShardApi>([
  'ping',
  'load',
  'statistics',
  'busiest',
])
/** Pause before a dead thread is started again; doubled for each death that follows at once. */
const RESTART_MS_MIN = 100
const RESTART_MS_MAX = 10_000

const LOST: PgnapError = new PgnapError(
  'SHARD_LOST',
  'the thread that served this tenant has ended',
  {
    hint: 'connect again; nothing that was acknowledged is lost',
  },
)

export class WorkerShard {
  readonly #options: WorkerShardOptions
  readonly #slots = new Map<number, InterruptFlags>()
  /** Undefined until the shard has been begun and its settings are known. */
  #worker: Worker | undefined
  #caller: ApiCaller<ShardApi>
  #callerEnd: MessagePort
  #ready = Promise.withResolvers<void>()
  #state: 'waiting' | 'starting' | 'running' | 'dead' | 'closed' = 'waiting'
  /** Since when the thread owes an answer; undefined while it owes none. */
  #unansweredSinceMs: number | undefined
  #cancelledAtMs: number | undefined
  #silenceIsTold = false
  #watch: Timer | undefined
  #threadWatch: ThreadWatch | undefined
  #restartMs = RESTART_MS_MIN
  #lastUtilization: EventLoopUtilization | undefined
  #lagMs = 0

  constructor(options: WorkerShardOptions) {
    this.#options = options
    const { caller, end } = openCaller()
    this.#caller = caller
    this.#callerEnd = end
    // Whether somebody waits for `started` or not: a failure is logged where it happens.
    this.#ready.promise.catch(() => {})
  }

  /** Lets clients come, and starts the thread when the settings are known. Once. */
  begin(takeThread: () => Worker | undefined): void {
    if (this.#state !== 'waiting') return
    this.#state = 'starting'
    this.#start(takeThread)
  }

  get begun(): boolean {
    return this.#state !== 'waiting'
  }

  /** Settles when the shard first takes requests; rejects if its first start fails. */
  get started(): Promise<void> {
    return this.#ready.promise
  }

  get running(): boolean {
    return this.#state === 'running'
  }

  /**
   * Whether it would hear of something soon. Who asks it to take a tenant waits until what holds
   * its thread is over.
   */
  get hears(): boolean {
    const isHeld = this.#threadWatch?.isHeld ?? false
    return this.running && !isHeld && this.#silentMs < PING_EVERY_MS
  }

  /** For how long it has owed a sign of life. */
  get #silentMs(): number {
    const sinceMs = this.#unansweredSinceMs
    return sinceMs === undefined ? 0 : this.#options.clock.monotonicMs() - sinceMs
  }

  /** What can be known of it without asking it. */
  facts(): Omit<ShardFacts, keyof MovesOfShard> {
    const { index } = this.#options
    const silentMs = this.#silentMs
    const state = this.#state === 'waiting' ? 'starting' : this.#state
    const loop = this.#worker?.performance.eventLoopUtilization()
    const { active: activeMs = 0, idle: idleMs = 0 } = loop ?? {}
    return { shard: index, state, silentMs, lagMs: this.#lagMs, activeMs, idleMs }
  }

  /** Share of its time that the thread was busy since this was last asked; 0 to 1. */
  utilization(): number | undefined {
    if (this.#state !== 'running' || !this.#worker) return undefined
    const { eventLoopUtilization } = this.#worker.performance
    const now = eventLoopUtilization()
    const last = this.#lastUtilization
    this.#lastUtilization = now
    // Of a new thread: what it did before it ran tells nothing.
    return last ? eventLoopUtilization(now, last).utilization : undefined
  }

  /** Cancels what a client of this shard runs, or waits for, or has sent. */
  cancel(client: number): void {
    const watch = this.#threadWatch
    if (this.#state !== 'running' || !watch) return
    const wish = watch.cancel(client)
    if (!wish) return
    const over = (): void => watch.forget(wish)
    // A call that fails belongs to a thread that has died, and its clients with it.
    this.#caller.remote.cancel(wish).then(over, over)
  }

  get api(): Remote<ShardApi> {
    return this.#caller.remote
  }

  /** Ends the thread for good. Drain it before. */
  async close(): Promise<void> {
    this.#state = 'closed'
    this.#watch?.cancel()
    this.#threadWatch?.stop()
    this.#caller.fail(LOST)
    // Without a thread nobody else closes the other end.
    if (!this.#worker) this.#callerEnd.close()
    await this.#worker?.terminate()
  }

  /** Connections may come from now on; they wait in their channel for the thread. */
  #start(takeThread: () => Worker | undefined): void {
    const { index, handover, settings, folderReady, cancelSecret, moved = () => [] } = this.#options
    const { paused } = this.#options
    const ends = handover.attachShard(index)
    const api = this.#callerEnd
    const begin = (known: Omit<ShardSettings, 'cancelSecret'>): void => {
      if (this.#state === 'closed') return
      const worker = (this.#worker = takeThread() ?? startThread())
      worker.on('message', (message: FromWorker) => this.#hear(message))
      worker.on('error', (error) => this.#failed(error))
      worker.on('exit', () => this.#died())
      const sign = allocateSign()
      this.#watchThread(sign, known.config.neighbourWaitMs)
      const held = paused ? { paused: paused() } : {}
      const own = { ...known, index, cancelSecret, moved: moved(), ...held }
      const databases = this.#serveDatabases()
      const message: ToWorker = { kind: 'begin', settings: own, ends, api, databases, sign }
      worker.postMessage(message, [ends.port, api, databases])
      folderReady.then(() => worker.postMessage({ kind: 'serve' } satisfies ToWorker), failed)
    }
    const failed = (error: unknown): void => this.#ready.reject(error)
    settings.then(begin, failed)
    this.#unansweredSinceMs = undefined
    this.#cancelledAtMs = undefined
  }

  /** The end for the thread. */
  #serveDatabases(): MessagePort {
    const { port1, port2 } = new MessageChannel()
    serveApi(port1, this.#options.databases)
    port1.unref()
    return port2
  }

  #watchThread(memory: SharedArrayBuffer, neighbourWaitMs: number): void {
    const { index, clock, log, handover } = this.#options
    const onKeptOthers = (): void =>
      log.warn('a statement held its thread for too long and is cancelled', {
        shard: index,
        limitMs: neighbourWaitMs,
      })
    const slots = this.#slots
    const caller = this.#caller
    this.#threadWatch = new ThreadWatch({
      memory,
      slots,
      neighbourWaitMs,
      clock,
      isAwaited: () => caller.isAwaited(BACKGROUND_CALLS) || handover.isAwaited(index),
      sentBytes: (client) => handover.sentBytes(index, client),
      hasGone: (client) => handover.hasGone(index, client, HARMLESS_REPORT),
      onKeptOthers,
    })
  }

  #hear(message: FromWorker): void {
    switch (message.kind) {
      case 'loaded':
        return
      case 'ready':
        this.#state = 'running'
        this.#ready.resolve()
        this.#listen()
        return
      case 'slotCreated':
        this.#slots.set(message.slotNo, message.flags)
        return
      case 'slotDiscarded':
        this.#slots.delete(message.slotNo)
        return
      case 'tenantMade':
        this.#options.tenantWatcher?.made(message.tenant)
        return
      case 'tenantRemoved':
        this.#options.tenantWatcher?.removed(message.tenant)
    }
  }

  /**
   * Asks the thread for a sign of life, again and again. Silence is counted from a question that
   * has no answer yet, so that a thread nobody has asked is never taken for one that hangs.
   */
  #listen(): void {
    const { clock, hangMs = LIMITS.shardHangMs } = this.#options
    const caller = this.#caller
    const heard = (): void => {
      if (caller !== this.#caller || this.#unansweredSinceMs === undefined) return
      this.#lagMs = clock.monotonicMs() - this.#unansweredSinceMs
      this.#unansweredSinceMs = undefined
      this.#cancelledAtMs = undefined
      this.#tellSilenceIsOver()
      this.#restartMs = RESTART_MS_MIN
    }
    const check = (): void => {
      if (this.#state !== 'running' || caller !== this.#caller) return
      if (this.#unansweredSinceMs === undefined) {
        this.#unansweredSinceMs = clock.monotonicMs()
        // A call that fails belongs to a thread that has died: `#died` deals with it.
        caller.remote.ping().then(heard, () => {})
      } else {
        this.#checkSilence(this.#unansweredSinceMs)
      }
      this.#watch = clock.setTimer(Math.min(PING_EVERY_MS, hangMs), check)
    }
    check()
  }

  #checkSilence(sinceMs: number): void {
    const { clock, index, log } = this.#options
    const { hangMs = LIMITS.shardHangMs, graceMs = LIMITS.shardGraceMs } = this.#options
    const nowMs = clock.monotonicMs()
    this.#tellSilence(nowMs - sinceMs)
    const unheededMs = this.#unheededMs(nowMs)
    if (unheededMs > graceMs) {
      log.error('a statement does not heed its cancel: its thread is replaced', {
        shard: index,
        unheededMs,
      })
      void this.#worker?.terminate()
    } else if (this.#cancelledAtMs === undefined) {
      if (nowMs - sinceMs <= hangMs) return
      log.warn('a shard hangs: its running query is cancelled', { shard: index })
      this.#cancelledAtMs = nowMs
      this.#threadWatch?.cancelAny()
    } else if (nowMs - this.#cancelledAtMs > graceMs) {
      log.error('a shard hangs and cannot be interrupted: its thread is replaced', { shard: index })
      this.#cancelledAtMs = undefined
      void this.#worker?.terminate()
    }
  }

  /** How long a cancel has not been heeded that somebody waits for. */
  #unheededMs(nowMs: number): number {
    const watch = this.#threadWatch
    const unheeded = watch?.unheeded
    return unheeded && (unheeded.isOwn || watch?.isAwaited) ? nowMs - unheeded.sinceMs : 0
  }

  /** Once, when it begins to last. */
  #tellSilence(silentMs: number): void {
    if (this.#silenceIsTold || silentMs < SILENCE_TOLD_MS) return
    this.#silenceIsTold = true
    const { index, log } = this.#options
    log.warn('a shard has been silent for some seconds', { shard: index, silentMs })
  }

  #tellSilenceIsOver(): void {
    if (!this.#silenceIsTold) return
    this.#silenceIsTold = false
    const { index, log } = this.#options
    log.info('a shard is heard of again', { shard: index, silentMs: this.#lagMs })
  }

  #failed(error: unknown): void {
    this.#options.log.error('a shard failed', { shard: this.#options.index, error })
    this.#ready.reject(error)
  }

  #died(): void {
    this.#watch?.cancel()
    this.#threadWatch?.stop()
    this.#slots.clear()
    this.#options.tenantWatcher?.missed()
    this.#lastUtilization = undefined
    this.#lagMs = 0
    this.#silenceIsTold = false
    this.#caller.fail(LOST)
    if (this.#state === 'closed') return
    const neverRan = this.#state === 'starting'
    this.#state = 'dead'
    const { index, handover, clock, log } = this.#options
    handover.shardDied(index, errorResponse(LOST, 'FATAL'))
    this.#ready.reject(LOST)
    const pauseMs = this.#restartMs
    this.#restartMs = Math.min(this.#restartMs * (neverRan ? 4 : 2), RESTART_MS_MAX)
    log.warn('a shard has ended and is started again', { shard: index, pauseMs })
    clock.setTimer(pauseMs, () => this.#restart())
  }

  #restart(): void {
    if (this.#state === 'closed') return
    this.#state = 'starting'
    this.#ready = Promise.withResolvers()
    // Whoever waits for `started` asked before; a restart that fails is logged and tried again.
    this.#ready.promise.catch(() => {})
    const { caller, end } = openCaller()
    this.#caller = caller
    this.#callerEnd = end
    this.#start(() => undefined)
  }
}

/** A caller, and the end for the thread that answers; calls wait until a thread has it. */
function openCaller(): { caller: ApiCaller<ShardApi>; end: MessagePort } {
  const { port1, port2 } = new MessageChannel()
  port1.unref()
  return { caller: new ApiCaller<ShardApi>(port1), end: port2 }
}
