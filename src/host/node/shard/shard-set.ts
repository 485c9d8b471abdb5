/**
 * All shards of a server, and which tenant belongs to which: a rendezvous hash of its name, so that
 * a tenant stays with its shard for as long as their number stays.
 */
import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import type { TenantName } from '../../../base/ids.ts'
import type { ShardFacts } from '../../../front/control.ts'
import { shardOf } from '../../../router/assignment.ts'
import type { Handover } from '../handover/handover.ts'
import type { Remote } from './rpc.ts'
import type { ShardApi } from './shard-api.ts'
import type { ShardSettings } from './shard.ts'
import type { EarlyThread } from './shard-thread.ts'
import { WorkerShard } from './worker-shard.ts'

export interface ShardSetOptions {
  readonly count: number
  readonly handover: Handover
  readonly settings: Promise<ShardSettings>
  /** Started before the shards were known. Default: none. */
  readonly early?: EarlyThread
  readonly clock: Clock
  readonly log: Log
  readonly hangMs?: number
  readonly graceMs?: number
}

/** Between the greeting of a client on the same machine and its first query. */
const FIRST_QUERY_MS = 10
/** What the rest of a start gives the first client: a cold boot takes 100 ms. */
const FIRST_SERVED_MS_MAX = 250

export class ShardSet {
  readonly #shards: readonly WorkerShard[]
  readonly #clock: Clock
  readonly #early: EarlyThread | undefined

  /** Starts no thread yet: see {@link want} and {@link start}. */
  constructor({ count, early, ...options }: ShardSetOptions) {
    this.#early = early
    this.#clock = options.clock
    this.#shards = Array.from(
      { length: count },
      (_, index) => new WorkerShard({ ...options, index }),
    )
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
    await this.#pause(FIRST_QUERY_MS)
    // A thread answers when it has nothing else to do: after the boot that a query asked for. The
    // query itself may take for ever, and nobody else is to wait for that.
    await Promise.race([first.api.ping(), this.#pause(FIRST_SERVED_MS_MAX)])
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

  indexOf(tenant: TenantName): number {
    return shardOf(tenant, this.#shards.length)
  }

  /** The shard that owns a tenant. */
  of(tenant: TenantName): Remote<ShardApi> {
    return this.at(this.indexOf(tenant))
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
    return this.#shards.map((shard) => shard.facts())
  }

  async close(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.close()))
    await this.#early?.take()?.terminate()
  }
}
