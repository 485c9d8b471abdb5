/**
 * What an object keeps in memory of its tenant: its pool, its place in the shared slot, and the
 * connections of its clients. It outlives the object. The platform puts an object away that has
 * nothing to do, be it that nobody asks or that its clients' WebSockets sleep, and makes another
 * one of it when somebody does; the isolate, and with it all this, usually lives on.
 *
 * The new object goes on with it if the store is at the very stamp that it was left at: whatever
 * has written in between has changed that, and then memory is worth nothing (promise 2). It must
 * never be used by two lives at once: whoever adopts it gives it its own storage.
 */
import { Histogram, type HistogramData } from '../../base/histogram.ts'
import type { Timer } from '../../base/clock.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { LentSlot } from '../../engine/lent-slot.ts'
import type { SlotShare } from '../../engine/slot-share.ts'
import type { PoolClient, PoolClientListener, Rights } from '../../pool/pool-client.ts'
import { DepartedPools } from '../../pool/departed-pools.ts'
import type { PoolStatistics } from '../../pool/pool-statistics.ts'
import type { Pool } from '../../pool/pool.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'
import { theIsolate } from './isolate.ts'
import { LoadWait } from './load-wait.ts'
import { ObjectClock } from './object-clock.ts'
import { PreparedClient } from './prepared-client.ts'
import { type SleepingConnection, tagOf } from './sleeping-connection.ts'
import { tenantPool } from './tenant-pool.ts'
import { TenantStorage } from './tenant-storage.ts'
import { UpkeepAlarm } from './upkeep-alarm.ts'

/** By the id of the object. Those that have nothing in memory any more are not in here. */
const runtimes = new Map<string, TenantRuntime>()
/** What those counted that were in here. */
const departed = new DepartedPools()
/** Tenants put back into the slot for somebody's batch. To their pools they were awake. */
const swaps = new Histogram()

export interface RuntimeOptions {
  /** Of the object. */
  readonly id: string
  readonly storage: DurableObjectStorage
  readonly createMissing: boolean
  /** As for {@link UpkeepAlarm}. Default: 0, there is no alarm. */
  readonly upkeepAfterMs?: number
  /** What the platform has kept open for the object's clients. */
  readonly sockets: readonly WebSocket[]
  /**
   * Told when nothing is left that is worth keeping, so that the object lets go of this, too. In
   * the middle of what another object does: memory and nothing else.
   */
  readonly onSpent: () => void
  /** What its next load has waited for already. Default: nothing. */
  readonly loadWait?: LoadWait
  /** Whose slot it takes. Default: that of all objects of the isolate. */
  readonly share?: SlotShare
}

/** What there is of tenants in an isolate. */
export interface RuntimeCensus {
  readonly places: readonly LentSlot['place'][]
  readonly pools: readonly PoolStatistics[]
  readonly swaps: HistogramData
}

export class TenantRuntime {
  readonly storage: TenantStorage
  readonly clock: ObjectClock = new ObjectClock(() => this.#share.preparing(this.#lent))
  readonly pool: Pool
  readonly upkeep: UpkeepAlarm
  /** By the number that its client knows as its process id. See {@link disconnected}. */
  readonly connections: Map<number, SleepingConnection> = new Map()
  /** For the slot, of whoever is loaded next. */
  #loadWait: LoadWait
  /** Names this memory: what a client has set up lives in here and nowhere else. */
  readonly epoch: string = crypto.randomUUID()
  /** Clients of this object's requests, which end with it. */
  readonly #callers = new Set<PoolClient>()
  readonly #id: string
  readonly #share: SlotShare
  #onSpent: () => void
  /** What the pool has for its slot. */
  #lent: LentSlot | undefined
  /** Whose pool it is, once somebody has come. */
  #tenant: TenantName | undefined
  /** Gives the slot up if it has grown. */
  #retiring: Timer | undefined
  /** What its object is doing with it, see {@link during}. */
  readonly #works = new Set<object>()

  private constructor(options: RuntimeOptions) {
    const { id, storage, createMissing, onSpent, share = theIsolate().share } = options
    const { upkeepAfterMs: afterMs = 0 } = options
    this.upkeep = new UpkeepAlarm(storage, { clock: workerClock, log: consoleLog, afterMs })
    this.#id = id
    this.#share = share
    this.#loadWait = options.loadWait ?? new LoadWait()
    this.#onSpent = onSpent
    this.storage = new TenantStorage(storage, createMissing)
    this.pool = this.#makePool()
  }

  /** That of the object's former life, if there is one and its store is as it left it; or one. */
  static of(options: RuntimeOptions): TenantRuntime {
    const { id, storage } = options
    const known = runtimes.get(id)
    if (known?.storage.rebind(storage)) {
      known.#onSpent = options.onSpent
      known.#loadWait = options.loadWait ?? known.#loadWait
      known.upkeep.rebind(storage)
      known.#goOn(options.sockets)
      return known
    }
    known?.forget()
    const made = new TenantRuntime(options)
    runtimes.set(id, made)
    return made
  }

  /** Ends that of an object, if there is one: what it has in memory is gone. Writes nothing. */
  static end(id: string): void {
    runtimes.get(id)?.forget()
  }

  /** All that have something in memory now, and what those counted that had. */
  static get census(): RuntimeCensus {
    const places = [...runtimes.values()].map((runtime) => runtime.place)
    const pools = [...runtimes.values()].map(({ pool }) => pool.statistics())
    return { places, pools: [...pools, ...departed.statistics], swaps: swaps.toData() }
  }

  /** Where the memory of its tenant is; undefined: nowhere. */
  get place(): LentSlot['place'] {
    return this.#lent?.place
  }

  /** A client for one request of the object. The caller ends it, or else the object's end does. */
  call(tenant: TenantName): PoolClient {
    const client = this.connect(tenant)
    this.#callers.add(client)
    return client
  }

  endCall(client: PoolClient): void {
    this.#callers.delete(client)
    client.close()
  }

  /** One more client of the tenant; see {@link Pool.connect}. */
  connect(tenant: TenantName, listener?: PoolClientListener, rights?: Rights): PoolClient {
    const client = this.pool.connect(tenant, listener, rights)
    this.#tenant = tenant
    this.upkeep.used()
    return new PreparedClient(client, {
      share: this.#share,
      lent: () => this.#lent,
      clock: this.clock,
      onSwap: (ms) => swaps.record(ms),
      waiting: (made) => this.#loadWait.during(made),
      onRan: () => this.#ran(),
      onClosed: () => this.leaveIfSpent(),
    })
  }

  /** The WebSocket of a client has gone. */
  disconnected(processId: number): void {
    this.connections.delete(processId)
    this.leaveIfSpent()
  }

  /** Something that its object does in steps: in the middle of that it does not leave. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    const underWay = {}
    this.#works.add(underWay)
    try {
      return await work()
    } finally {
      this.#works.delete(underWay)
      this.leaveIfSpent()
    }
  }

  /**
   * Leaves if nothing is in memory that is worth keeping, and nobody is there who would use it. To
   * be asked when somebody has gone, and when an object has looked at what there is: memory that
   * was lost while a client was there is not lost again.
   */
  leaveIfSpent(): void {
    const { clientCount } = this.pool
    if (this.connections.size > 0 || clientCount > 0 || this.#works.size > 0) return
    if (this.place !== undefined) return
    // Its client did not wait for it. It is there in a moment.
    if (this.#tenant !== undefined && this.pool.phaseOf(this.#tenant) === 'waking') return
    this.#leave()
  }

  /** One step of upkeep, see {@link UpkeepAlarm}: the tenant is loaded for it if it has to be. */
  async maintain(tenant: TenantName): Promise<boolean> {
    const preparing = (): Promise<void> | undefined => this.#share.preparing(this.#lent)
    for (let waiting = preparing(); waiting; waiting = preparing()) await waiting
    if (this.place === undefined) {
      await this.pool.wake(tenant)
      return true
    }
    return this.pool.maintain(tenant)
  }

  /** To be awaited before the pool is asked to do something in the slot by itself. */
  prepare(): Promise<void> {
    return this.#share.prepare(this.#lent)
  }

  /** Nothing of this is used any more. Writes nothing. */
  forget(): void {
    this.#leave()
    this.connections.clear()
    this.#lent?.forget()
  }

  /**
   * The object is made anew. If it was not put away but has failed, then requests have ended in the
   * middle, and sockets without a word: what they had open is rolled back, so that nobody waits for
   * it.
   */
  #goOn(sockets: readonly WebSocket[]): void {
    // Works of the former life have ended with it. Whoever this one is made for comes next.
    this.#works.clear()
    const comes = {}
    this.#works.add(comes)
    this.clock.rearm()
    for (const client of this.#callers) this.endCall(client)
    const open = new Set(sockets.map((socket) => tagOf(socket)?.processId))
    for (const [processId, connection] of this.connections) {
      if (!open.has(processId)) connection.closed()
    }
    this.#works.delete(comes)
  }

  #leave(): void {
    if (runtimes.get(this.#id) !== this) return
    runtimes.delete(this.#id)
    departed.add(this.pool.statistics())
    this.#onSpent()
  }

  #ran(): void {
    // Whoever was there already has not been loaded.
    this.#loadWait.take()
    this.#retireLater()
  }

  /** What has made the slot grow may come again at once, and would wait for another one. */
  #retireLater(): void {
    if (!this.#share.isOutgrown) return
    this.#retiring?.cancel()
    this.#retiring = workerClock.setTimer(LIMITS.isolateSlotRetireMs, () => {
      if (this.#lent) this.#share.retireGrown(this.#lent, this.pool.clientCount > 0)
    })
  }

  #makePool(): Pool {
    const createSlot = async (): Promise<LentSlot> => {
      // The tree of a tenant's files is as large as its image: it goes with that.
      const lend = (): Promise<LentSlot> => this.#share.lend(() => this.leaveIfSpent())
      this.#lent = await this.#loadWait.during(lend)
      return this.#lent
    }
    const slotWaitMs = (): number => this.#loadWait.take()
    const onWrote = (tenant: TenantName): void => this.upkeep.wrote(tenant)
    const { storage: source, clock } = this
    return tenantPool({ source, clock, createSlot, onWrote, slotWaitMs })
  }
}
