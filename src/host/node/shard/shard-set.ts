/**
 * All shards of a server, and which tenant belongs to which: a rendezvous hash of its name, so that
 * a tenant stays with its shard for as long as their number stays.
 */
import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import type { TenantName } from '../../../base/ids.ts'
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

export class ShardSet {
  readonly #shards: readonly WorkerShard[]
  readonly #early: EarlyThread | undefined

  /** Starts no thread yet: see {@link want} and {@link start}. */
  constructor({ count, early, ...options }: ShardSetOptions) {
    this.#early = early
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
   * Starts every shard, those after that which somebody waits for already: on a machine with few
   * cores they would take its time. Settles when all of them take requests.
   */
  async start(): Promise<void> {
    const wanted = this.#shards.filter(({ begun }) => begun)
    if (wanted.length > 0) await Promise.race(wanted.map(({ started }) => started))
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

  async close(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.close()))
    await this.#early?.take()?.terminate()
  }
}
