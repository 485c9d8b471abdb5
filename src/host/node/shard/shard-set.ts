/**
 * All shards of a server, and which tenant belongs to which: a rendezvous hash of its name, so that
 * a tenant stays with its shard for as long as their number stays; but for those that have moved
 * because their shard was busy. Whoever asks something of a tenant's shard enters before.
 */
import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import type { ShardIndex, TenantName } from '../../../base/ids.ts'
import type {
  Answer,
  Batch,
  BatchAnswer,
  MoveFacts,
  ShardFacts,
  Statement,
} from '../../../front/control.ts'
import { shardOf } from '../../../router/assignment.ts'
import { Assignments, type Visit, type VisitKind } from '../../../router/assignments.ts'
import { Placement } from '../../../router/placement.ts'
import { type MoveOutcome, moveTenant } from '../../../router/tenant-move.ts'
import type { MovedTenant } from '../../../router/ownership.ts'
import { CANCEL_SECRET_BYTES, CancelKeys } from '../cancel-keys.ts'
import type { Handover } from '../handover/handover.ts'
import type { Remote } from './rpc.ts'
import type { ShardApi, TenantWatcher } from './shard-api.ts'
import { shardOfProcess } from './process-id.ts'
import type { EarlyThread } from './shard-thread.ts'
import { WorkerShard, type WorkerShardOptions } from './worker-shard.ts'

export interface ShardSetOptions {
  readonly count: number
  readonly handover: Handover
  readonly settings: WorkerShardOptions['settings']
  readonly folderReady: Promise<void>
  /** Started before the shards were known. Default: none. */
  readonly early?: Pick<EarlyThread, 'take'>
  /** Longest wait for a tenant that moves. Default: `LIMITS.queryWaitMs`. */
  readonly queryWaitMs?: number
  /**
   * Which tenants go elsewhere when their first client connects, if their shard has more of them.
   * Asked while nobody knows yet who connects. Default: none.
   */
  readonly mayPlace?: (tenant: TenantName) => boolean
  /** Tenants that will be in memory before anybody connects to them. Default: none. */
  readonly inMemory?: Iterable<TenantName>
  /** Told about the tenants that are made and removed. Default: nobody. */
  readonly tenantWatcher?: TenantWatcher
  readonly databases: WorkerShardOptions['databases']
  readonly paused?: NonNullable<WorkerShardOptions['paused']>
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly hangMs?: number
  readonly graceMs?: number
}

/** The lowest number that fits the integers which threads share. */
const CALLS_MIN = -(2 ** 31)
/** What the rest of a start gives the first client: a cold boot takes 100 ms. */
const FIRST_SERVED_MS_MAX = 250
/** How often it is looked whether the first client has its answer. */
const FIRST_LOOK_EVERY_MS = 5

export class ShardSet {
  readonly #shards: readonly WorkerShard[]
  readonly assignments: Assignments
  readonly #clock: Clock
  readonly #log: Log
  readonly #cancelKeys: CancelKeys
  readonly #placement: Placement | undefined
  readonly #mayPlace: (tenant: TenantName) => boolean
  #lastCall = 0
  readonly #early: Pick<EarlyThread, 'take'> | undefined
  /** Outcomes of moves, by the shard that was to be left. */
  readonly #moves: Record<MoveOutcome, number>[]

  /** Starts no thread yet: see {@link want} and {@link start}. */
  constructor({ count, early, mayPlace, queryWaitMs, random, ...options }: ShardSetOptions) {
    const { clock, log, inMemory = [] } = options
    this.#early = early
    this.#placement = mayPlace && count > 1 ? new Placement() : undefined
    this.#mayPlace = mayPlace ?? (() => false)
    for (const tenant of inMemory) this.saw(tenant)
    this.#clock = clock
    this.#log = log
    const waitMs = queryWaitMs === undefined ? {} : { waitMs: queryWaitMs }
    const assignments = new Assignments({ shardCount: count, clock, ...waitMs })
    this.assignments = assignments
    const moved = (): readonly MovedTenant[] => assignments.moved()
    const cancelSecret = random.bytes(CANCEL_SECRET_BYTES)
    this.#cancelKeys = new CancelKeys(cancelSecret)
    this.#shards = Array.from(
      { length: count },
      (_, index) => new WorkerShard({ ...options, index, moved, cancelSecret }),
    )
    this.#moves = this.#shards.map(() => ({ moved: 0, refused: 0, failed: 0 }))
  }

  get count(): number {
    return this.#shards.length
  }

  /** Somebody waits for this shard: it comes first. */
  want(index: number): void {
    this.#shards[index]?.begin(() => this.#early?.take())
  }

  /**
   * Settles when nobody waits for a shard, or one of those that are waited for has done what it was
   * asked: whatever else a start does would take its time from it, on a machine with few cores.
   */
  async firstServed(): Promise<void> {
    const wanted = this.#shards.filter(({ begun }) => begun)
    if (wanted.length === 0) return
    const first = await Promise.race(wanted.map((shard) => shard.started.then(() => shard)))
    // What was asked may take for ever, and nobody else is to wait for that.
    const untilMs = this.#clock.monotonicMs() + FIRST_SERVED_MS_MAX
    while (this.#clock.monotonicMs() < untilMs) {
      const tooLate = this.#pause(FIRST_SERVED_MS_MAX).then(() => undefined)
      const activity = await Promise.race([first.api.activity(), tooLate])
      if (!activity) return
      // One that has not been greeted yet, or has asked for nothing, is about to.
      const { clients } = activity
      const isServed = clients.every(({ state, requestMs }) => state === 'idle' && requestMs > 0)
      if (clients.length > 0 && isServed) return
      await this.#pause(FIRST_LOOK_EVERY_MS)
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.setTimer(delayMs, resolve))
  }

  /** Starts every shard. Settles when all of them take requests. */
  async start(): Promise<void> {
    for (let index = 0; index < this.count; index++) this.want(index)
    await Promise.all(this.#shards.map((shard) => shard.started))
  }

  get running(): boolean {
    return this.#shards.every((shard) => shard.running)
  }

  /** Where a tenant is. Before something is asked of it there: {@link enter} or {@link call}. */
  indexOf(tenant: TenantName): ShardIndex {
    return this.assignments.ownerOf(tenant)
  }

  /** A tenant is in memory where it belongs, or will be, though nobody has connected to it. */
  saw(tenant: TenantName): void {
    this.#placement?.saw(tenant)
  }

  /** See {@link Assignments.enter}. */
  enter(tenant: TenantName, kind: VisitKind): Visit | Promise<Visit> {
    if (kind === 'call') this.saw(tenant)
    else if (this.#placement) this.#place(tenant, this.#placement)
    return this.assignments.enter(tenant, kind)
  }

  /** Who enters next waits for the move, if there is one. */
  #place(tenant: TenantName, placement: Placement): void {
    const { assignments } = this
    if (assignments.isInUse(tenant) || assignments.isHalfMoved || !this.#mayPlace(tenant)) return
    const at = assignments.ownerOf(tenant)
    // Where its own thread is held it waits for the end of that anyway, and then it goes.
    const connected = this.#shards.map(({ running, hears }, shard) =>
      (shard === at ? running : hears) ? assignments.connected[shard] : undefined,
    )
    const to = placement.choose(tenant, at, connected, this.#clock.monotonicMs())
    if (to !== undefined) void this.move(tenant, to, 'debug')
  }

  /** Asks the shard that owns a tenant. */
  async call<Result>(
    tenant: TenantName,
    ask: (shard: Remote<ShardApi>) => Promise<Result>,
  ): Promise<Result> {
    using visit = await this.enter(tenant, 'call')
    return await ask(this.at(visit.shard))
  }

  /**
   * Moves a tenant that rests to another shard. Does not reject.
   * @param level of what is logged if it has moved
   */
  async move(
    tenant: TenantName,
    to: ShardIndex,
    level: 'info' | 'debug' = 'info',
  ): Promise<MoveOutcome> {
    const from = this.indexOf(tenant)
    const startMs = this.#clock.monotonicMs()
    const at = (shard: ShardIndex): Remote<ShardApi> => this.at(shard)
    const outcome = await moveTenant(this.assignments, { tenant, to, at })
    const counts = this.#moves[from]
    if (counts) counts[outcome]++
    const tookMs = Math.round(this.#clock.monotonicMs() - startMs)
    const facts = { tenant, from, to, tookMs }
    if (outcome === 'moved') this.#log[level]('a tenant has moved to another shard', facts)
    else this.#log.debug('a tenant did not move to another shard', { ...facts, outcome })
    return outcome
  }

  /**
   * A tenant is gone: nobody is to find the places taken of those that may be elsewhere than their
   * hash says. Does not reject.
   */
  async forget(tenant: TenantName): Promise<void> {
    const home = shardOf(tenant, this.count)
    if (this.indexOf(tenant) !== home) await this.move(tenant, home, 'debug')
  }

  /**
   * Runs a statement in the shard that owns a tenant, unless it is given up before. If it is given
   * up later, it is cancelled.
   */
  query(tenant: TenantName, statement: Statement, signal?: AbortSignal): Promise<Answer> {
    return this.#ask(tenant, signal, (shard, number) => shard.query(tenant, statement, number))
  }

  /** The same of statements in one transaction. */
  transaction(tenant: TenantName, batch: Batch, signal?: AbortSignal): Promise<BatchAnswer> {
    return this.#ask(tenant, signal, (shard, number) => shard.transaction(tenant, batch, number))
  }

  async #ask<Result>(
    tenant: TenantName,
    signal: AbortSignal | undefined,
    ask: (shard: Remote<ShardApi>, number: number) => Promise<Result>,
  ): Promise<Result> {
    using visit = await this.enter(tenant, 'call')
    // It may have waited for the tenant to move.
    signal?.throwIfAborted()
    // Clients of the wire have numbers above 0.
    const number = (this.#lastCall = this.#lastCall > CALLS_MIN ? this.#lastCall - 1 : -1)
    const giveUp = (): void => this.#shards[visit.shard]?.cancel(number)
    signal?.addEventListener('abort', giveUp, { once: true })
    try {
      return await ask(this.at(visit.shard), number)
    } finally {
      signal?.removeEventListener('abort', giveUp)
    }
  }

  /** Cancels what a client runs or waits for. @returns false if the key is not a client's */
  cancel(processId: number, key: Uint8Array): boolean {
    if (!this.#cancelKeys.isRight(processId, key)) return false
    this.#shards[shardOfProcess(processId, this.count)]?.cancel(processId)
    return true
  }

  /** Share of its time that each thread was busy since this was last asked. */
  utilization(): (number | undefined)[] {
    return this.#shards.map((shard) => shard.utilization())
  }

  /**
   * Since the start, of each shard: tenants that have left it, would not, could not; its guests.
   */
  moves(): MoveFacts[] {
    return this.#moves.map(({ moved, refused, failed }, shard) => ({
      done: moved,
      refused,
      failed,
      guests: this.assignments.guestsOf(shard),
    }))
  }

  at(index: number): Remote<ShardApi> {
    const shard = this.#shards[index]
    if (!shard) throw new RangeError(`there is no shard ${index}`)
    return shard.api
  }

  /** Asks each shard the same thing. */
  map<Result>(ask: (shard: Remote<ShardApi>) => Promise<Result>): Promise<Result>[] {
    return this.#shards.map((shard) => ask(shard.api))
  }

  facts(): ShardFacts[] {
    const moves = this.moves()
    return this.#shards.map((shard, index) => {
      const { done = 0, refused = 0, guests = 0 } = moves[index] ?? {}
      return { ...shard.facts(), movedOut: done, moveRefusals: refused, guests }
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.close()))
    await this.#early?.take()?.terminate()
  }
}
