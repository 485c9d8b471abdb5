/**
 * The pool of one shard: its slots, the tenants in them, and their clients.
 *
 * The decisions are made by `PoolState`, which is pure; this shell carries them out against an
 * engine and a source of tenants, and reports what came of it. A query of an awake tenant whose
 * backend is free never leaves the caller's stack and allocates nothing: acquire, run, commit,
 * release. Only an answer that waits for the disk while others run (`sync-desk.ts`) comes later.
 *
 * Effects that would touch a slot wait for a microtask, so that the caller can use his answer
 * before; if there are any, it is copied (by no `slice`: of a Node Buffer that is only a view).
 *
 * What this file must never do: return an answer whose changes are not committed (promise 1), run
 * anything in a slot that has thrown, or let one tenant's failure reach another's clients.
 */
import { keptBytes } from '../base/bytes.ts'
import { assert } from '../base/assert.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { SYNC } from '../base/protocol-message.ts'
import { BatchRuns } from './batch-runs.ts'
import { busiestTenants, type TenantTime } from './busiest-tenants.ts'
import { AdvisoryDesk } from './advisory-desk.ts'
import { carriedOut } from './database-commands.ts'
import type { DatabaseService } from './database-service.ts'
import { EffectQueue } from './effect-queue.ts'
import { ImageShelf } from './image-shelf.ts'
import { KeepWarm } from './keep-warm.ts'
import { LettingGo } from './letting-go.ts'
import { LiveTenants } from './live-tenants.ts'
import { type LimitsHost, noteLimits } from './note-limits.ts'
import { LiveClient } from './pool-client.ts'
import { noteWait, type PoolClientListener, resetTimings, type Rights } from './pool-client.ts'
import type { ClientHost, LiveTenant, PoolClient } from './pool-client.ts'
import { Pauses } from './pauses.ts'
import { PendingBatches } from './pending-batches.ts'
import { runPiecewise, severalIn } from './piecewise.ts'
import { type EffectTargets, effectsOn } from './pool-effects.ts'
import { acquire } from './pool-fast-path.ts'
import { ClientEntry, NOTHING_RAN } from './pool-model.ts'
import type { PoolEffect, PoolEvent, TenantPhase } from './pool-model.ts'
import type { PoolOptions } from './pool-options.ts'
import { clientGone, rejectionError, shuttingDown } from './pool-rejection.ts'
import { PoolState } from './pool-state.ts'
import { type PoolOverview, poolOverview } from './pool-overview.ts'
import { PoolCounters, type PoolStatistics, poolStatistics } from './pool-statistics.ts'
import { ReaderForks } from './reader-forks.ts'
import { RestingTenants } from './resting-tenants.ts'
import { RestingUpkeep } from './resting-upkeep.ts'
import { SlotRack } from './slot-rack.ts'
import { type LostSlot, SlotWork } from './slot-work.ts'
import { SlowLog } from './slow-log.ts'
import { TenantMover } from './tenant-mover.ts'
import type { TenantSource } from './tenant-source.ts'
import { Upkeep } from './upkeep.ts'

/** Of a client that has the backend. */
interface GrantedBatch {
  readonly messages: Uint8Array
  readonly complete: boolean
  /** Its bytes are good for the length of the call, not until it is answered. */
  readonly isLent: boolean
}

/**
 * One shard's pool.
 * @example
 * const client = new Pool({ engine, source, clock, log }).connect(tenant)
 * const answer = await keptBytes(client.run(messages, true))
 * client.close()
 */
export class Pool implements ClientHost {
  readonly #clock: Clock
  readonly #source: TenantSource
  readonly #state: PoolState
  readonly #upkeep: Upkeep
  readonly #atRest: RestingUpkeep
  readonly #shelf: ImageShelf
  readonly #mover: TenantMover
  readonly #work: SlotWork
  readonly #forks: ReaderForks
  readonly #lettingGo: LettingGo
  readonly #advisory = new AdvisoryDesk()
  readonly keepWarm: KeepWarm
  readonly #counters: PoolCounters
  readonly resting: RestingTenants
  readonly pauses: Pauses
  readonly #tenants = new LiveTenants()
  readonly #slots: SlotRack
  readonly #pending = new PendingBatches()
  readonly #runs: BatchRuns
  readonly #effects: EffectQueue<PoolEffect>
  readonly #drained = Promise.withResolvers<void>()
  /** Whether the times of all batches are taken. */
  readonly #measures: boolean
  readonly #databases: DatabaseService | undefined
  #clientCount = 0
  #timer: Timer | undefined

  constructor(options: PoolOptions) {
    this.#slots = new SlotRack(options.engine, options.log)
    const { source, log, clock } = options
    this.#clock = clock
    this.#source = source
    this.#counters = new PoolCounters(options)
    this.#databases = options.databases
    const limitsHost: LimitsHost = { clock, event: (event) => this.#event(event) }
    this.#state = new PoolState({ ...LIMITS, ...options.limits }, options.onShared)
    this.#state.waiting.onWaited = options.onWaited
    this.#upkeep = new Upkeep({ log, clock, sign: options.upkeepSign, view: this.#state })
    const slowLog = options.slowLog && new SlowLog({ ...options.slowLog, log })
    this.#measures = slowLog !== undefined
    const tools = { source, clock, log, upkeep: this.#upkeep, counters: this.#counters }
    const machine = { state: this.#state, event: (event: PoolEvent) => this.#event(event) }
    const core = { ...tools, ...machine, tenants: this.#tenants }
    const resting = (this.#atRest = new RestingUpkeep({ ...core, enabled: options.tidiesAtRest }))
    this.#shelf = new ImageShelf({
      ...tools,
      resting,
      bytesMax: options.imageCacheBytes ?? LIMITS.imageCacheBytes,
      images: source.images,
      isPinned: (tenant) => this.keepWarm.isPinned(tenant),
      onMoved: (tenant) => this.#work.imageMoved(tenant, 'asleep'),
      onDropped: (tenant) => this.#work.imageMoved(tenant, 'cold'),
    })
    const parts = { ...core, resting, shelf: this.#shelf }
    this.#mover = new TenantMover(parts)
    this.resting = new RestingTenants({ ...parts, pool: this })
    this.pauses = new Pauses(parts)
    this.keepWarm = new KeepWarm({ ...parts, learns: options.keepWarm ?? true })
    this.#work = new SlotWork({
      ...parts,
      slots: this.#slots,
      mover: this.#mover,
      keepWarm: this.keepWarm,
      onLost: (lost) => this.#slotLost(lost),
    })
    const onLost = (tenant: LiveTenant, error: unknown): void => void this.#work.lose(tenant, error)
    this.#lettingGo = new LettingGo({ ...machine, clock, onLost, limits: this.#state.limits })
    this.#forks = new ReaderForks({
      ...tools,
      ...machine,
      slots: this.#slots,
      pending: this.#pending,
      slowLog,
      later: (event) => this.#effects.runLater(this.#state.handle(event, clock.monotonicMs())),
      advisory: this.#advisory,
      onLost,
      onRead: (client, slot, rest) =>
        noteLimits(client, slot, { status: client.transactionStatus, ...rest }, limitsHost),
    })
    this.#runs = new BatchRuns({
      ...machine,
      clock,
      counters: this.#counters,
      forks: this.#forks,
      lettingGo: this.#lettingGo,
      advisory: this.#advisory,
      limitsHost,
      slowLog,
      onWrote: options.onWrote,
      runLater: (effects) => this.#effects.runLater(effects),
      lose: (tenant, error) => this.#work.lose(tenant, error),
    })
    this.#effects = new EffectQueue(effectsOn({ ...parts, ...this.#ownTargets() }))
    this.#event({ type: 'tick' })
  }

  #ownTargets(): Omit<EffectTargets, 'clock' | 'counters' | 'shelf' | 'tenants' | 'event'> {
    return {
      slots: this.#slots,
      work: this.#work,
      forks: this.#forks,
      pauses: this.pauses,
      live: (name) => this.#live(name),
      grant: (entry) => this.#grant(entry),
      goOn: (entry) => this.#runs.goOn(entry),
      reject: (effect) => this.#reject(effect),
      setTimer: (atMs) => this.#setTimer(atMs),
      drained: () => this.#ended(),
    }
  }

  /**
   * One more client of `tenant`. Wakes nothing; whether the tenant exists shows at the first batch.
   * @throws PgnapError SHUTTING_DOWN
   */
  connect(tenant: TenantName, listener?: PoolClientListener, rights: Rights = {}): PoolClient {
    if (this.#state.drainDeadlineMs !== undefined) throw shuttingDown()
    this.#clientCount++
    const live = this.#live(tenant)
    const entry = new ClientEntry(live.entry)
    const client = new LiveClient(this, { entry, tenant: live, listener, rights })
    live.clients.add(client)
    if (this.#measures) client.measure()
    this.#event({ type: 'clientArrived', client: entry })
    this.#work.pin(live)
    return client
  }

  /** Where a tenant is. Whether it exists the directory knows: unknown ones are cold. */
  phaseOf(tenant: TenantName): TenantPhase {
    return this.#state.tenants.get(tenant)?.phase ?? 'cold'
  }

  /** Clients connected to any tenant now. */
  get clientCount(): number {
    return this.#clientCount
  }

  /** Clients connected to one tenant now. */
  clientCountOf(tenant: TenantName): number {
    return this.#state.tenants.get(tenant)?.clientCount ?? 0
  }

  /** Loads a tenant before it is asked for. Rejects as a batch of a client would. */
  async wake(tenant: TenantName): Promise<void> {
    const client = this.connect(tenant)
    try {
      await keptBytes(client.run(SYNC, true))
    } finally {
      client.close()
    }
  }

  /**
   * Takes a tenant out of its slot now, whatever the idle time.
   * @throws PgnapError TENANT_BUSY while a transaction is open in it, or while it is waking
   */
  nap(tenant: TenantName): void {
    this.#atRest.forget(tenant)
    const entry = this.#state.tenants.get(tenant)
    if (!entry) return
    this.#event({ type: 'napRequested', tenant: entry })
    if (entry.slot === undefined) return this.#shelf.closeStore(this.#live(tenant))
    throw new PgnapError('TENANT_BUSY', `tenant "${tenant}" is in use`, {
      hint: 'wait until its open transaction has ended, or close the connection that holds it',
    })
  }

  /**
   * Sends all clients of a tenant away with `error` and takes it out of its slot, so that its store
   * is closed when the promise is kept.
   * @throws PgnapError TENANT_BUSY if it is just waking: try again
   */
  async expel(tenant: TenantName, error: PgnapError): Promise<void> {
    const live = this.#tenants.get(tenant)
    for (const client of live?.clients ?? []) client.dismiss(error)
    if (live?.syncing) await this.synced(tenant)
    this.nap(tenant)
    if (live?.image) {
      this.#shelf.drop(live)
      this.#event({ type: 'imageMoved', tenant: live.entry, to: 'cold' })
    }
    this.#mover.forget(tenant)
    this.keepWarm.forget(tenant)
  }

  /** One step of upkeep now, see {@link SlotWork.maintainNow}. */
  maintain(tenant: TenantName): boolean {
    return this.#work.maintainNow(this.#live(tenant))
  }

  /** Until the disk has what a batch of `tenant` waits for; of a failure the client is told. */
  async synced(tenant: TenantName): Promise<void> {
    await Promise.allSettled([this.#tenants.get(tenant)?.syncing])
  }

  statistics(): PoolStatistics {
    const held = { memoryBytes: this.#slots.memoryBytes, images: this.#shelf }
    const parts = { ...held, keepWarm: this.keepWarm, journal: this.#source.journal }
    return poolStatistics(this.#state, this.#counters, parts)
  }

  /** Those that have kept the thread busiest lately, the busiest first. */
  busiest(countMax: number): TenantTime[] {
    return busiestTenants(this.#tenants, countMax, this.#clock.monotonicMs())
  }

  overview(): PoolOverview {
    return poolOverview(this.#state, this.#slots, this.#clock.monotonicMs())
  }

  /**
   * Ends the pool: waiting and new batches are refused with SHUTTING_DOWN, open transactions may
   * go on for `graceMs` and are then rolled back, all tenants leave, all slots are given up.
   */
  drain(graceMs: number = LIMITS.drainMs): Promise<void> {
    this.#event({ type: 'drainRequested', deadlineMs: this.#clock.monotonicMs() + graceMs })
    const late = this.#clock.setTimer(graceMs, () => this.#cancelPaused())
    return this.#drained.promise.finally(() => late.cancel())
  }

  /** What has paused has had its time. */
  #cancelPaused(): void {
    for (const { clients, slot } of this.#tenants.values()) {
      if ([...clients].some(({ running }) => running !== undefined)) slot?.cancel?.(true)
    }
  }

  runBatch(
    client: LiveClient,
    messages: Uint8Array,
    complete: boolean,
  ): Uint8Array | Promise<Uint8Array> {
    if (client.ending) throw client.ending
    assert(!client.closed && !client.pending, 'one batch at a time, none after close')
    this.#counters.requests++
    if (client.tenant.slot?.lost) this.#work.lose(client.tenant, undefined)
    if (!acquire(this.#state, client.entry)) {
      const answer = this.#forks.readNow(client, messages, complete)
      return answer ?? this.#wait(client, messages, complete)
    }
    this.#counters.found.awake++
    if (client.timings) resetTimings(client.timings)
    return this.#runNow(client, { messages, complete, isLent: true })
  }

  #runNow(client: LiveClient, batch: GrantedBatch): Uint8Array | Promise<Uint8Array> {
    const { messages, complete, isLent } = batch
    const pieces = severalIn(client, messages)
    const run = (piece: Uint8Array, ends: boolean): Uint8Array | Promise<Uint8Array> => {
      const answer = this.#runs.run(client, piece, ends, isLent && !pieces)
      return carriedOut(client, answer, this.#databases)
    }
    return pieces ? runPiecewise(client, { pieces, complete }, run) : run(messages, complete)
  }

  cancelWait(client: LiveClient): void {
    if (client.pending) this.#event({ type: 'waitCanceled', client: client.entry })
  }

  closeClient(client: LiveClient): void {
    if (client.closed) return
    if (client.running) {
      // What it has left running ends first: until then its session is in the backend.
      client.closeDue = true
      return client.tenant.slot?.cancel?.(true)
    }
    client.closed = true
    this.#clientCount--
    client.limits?.works()
    client.tenant.clients.delete(client)
    client.tenant.sessions.leave(client)
    const pending = this.#pending.settle(client.entry)
    this.#event({ type: 'clientLeft', client: client.entry })
    // An error takes its time to be made, and mostly nobody waits for one.
    if (pending ?? client.giveUpLock) {
      const error = client.ending ?? clientGone()
      pending?.reject(error)
      client.giveUpLock?.(error)
    }
    this.#advisory.review(client.tenant)
    // A backend that naps is in its session until the next one comes. What it was connected by need
    // not stay for that.
    client.listener = undefined
  }

  #wait(client: LiveClient, messages: Uint8Array, complete: boolean): Promise<Uint8Array> {
    const reading = this.#forks.readingOf(client, messages, complete)
    const sinceMs = this.#clock.monotonicMs()
    const answer = this.#pending.add(client, { messages, complete, sinceMs })
    this.#counters.waits++
    client.limits?.waits(client.isFloating)
    this.#event({ type: 'batchRequested', client: client.entry, reading })
    this.#lettingGo.wanted(client.tenant)
    return answer
  }

  #grant(entry: ClientEntry): void {
    const client = this.#pending.clientOf(entry)
    const pending = this.#pending.settle(entry)
    // Without: it was closed after it had been granted the backend.
    if (!client || !pending) {
      return this.#event({ type: 'batchFinished', client: entry, result: NOTHING_RAN })
    }
    const nowMs = this.#clock.monotonicMs()
    this.#counters.wait.record(nowMs - pending.sinceMs)
    this.#counters.countFound(client.tenant, pending.sinceMs)
    if (client.timings) noteWait(client.timings, client.tenant, pending.sinceMs, nowMs)
    try {
      pending.resolve(keptBytes(this.#runNow(client, { ...pending, isLent: false })))
    } catch (error) {
      pending.reject(error)
    }
  }

  // Effects

  #event(event: PoolEvent): void {
    if (event.type === 'turn' || event.type === 'tick') this.#work.noticeTaken()
    this.#effects.run(this.#state.handle(event, this.#clock.monotonicMs()))
  }

  #reject(effect: Extract<PoolEffect, { type: 'reject' }>): void {
    const error = rejectionError(effect, this.#state.limits)
    this.#counters.rejections++
    this.#counters.errors.record(error.sqlState)
    this.#pending.reject(effect.client, error)
  }

  #ended(): void {
    this.#timer?.cancel()
    this.#atRest.stop()
    this.#drained.resolve(this.#shelf.close())
  }

  #setTimer(atMs: number): void {
    this.#timer?.cancel()
    if (atMs === Number.POSITIVE_INFINITY) return
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs())
    this.#timer = this.#clock.setTimer(delayMs, () => this.#event({ type: 'tick' }))
  }

  /** The caller tells who was running, and may wait for something else by then. */
  #slotLost({ slot, error, isQuiet }: LostSlot): void {
    const effects = this.#state.handle({ type: 'slotLost', slot, error }, this.#clock.monotonicMs())
    this.#effects.runLater(effects.filter(({ type }) => isQuiet || type !== 'reject'))
  }

  #live(name: TenantName): LiveTenant {
    return this.#tenants.of(this.#state.tenant(name))
  }
}
