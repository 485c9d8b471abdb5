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
import { WorkerShard } from './worker-shard.ts'

export interface ShardSetOptions {
  readonly count: number
  readonly handover: Handover
  readonly settings: Promise<ShardSettings>
  readonly clock: Clock
  readonly log: Log
  readonly hangMs?: number
  readonly graceMs?: number
}

export class ShardSet {
  readonly #shards: readonly WorkerShard[]

  /** Starts the threads; `started` settles when all of them take requests. */
  constructor({ count, ...options }: ShardSetOptions) {
    this.#shards = Array.from(
      { length: count },
      (_, index) => new WorkerShard({ ...options, index }),
    )
  }

  get count(): number {
    return this.#shards.length
  }

  async started(): Promise<void> {
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
  }
}
