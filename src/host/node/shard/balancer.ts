/**
 * Looks once a second how busy the shards' threads are, and moves tenants when the rebalancer says
 * so. A look at threads that are all idle, or all busy, asks none of them anything.
 */
import type { Clock, Timer } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { ShardIndex } from '../../../base/ids.ts'
import { shardOf } from '../../../router/assignment.ts'
import { Rebalancer, type Transfer } from '../../../router/rebalancer.ts'
import type { ShardSet } from './shard-set.ts'

export interface BalancerOptions {
  readonly shards: ShardSet
  readonly clock: Clock
}

export class Balancer {
  readonly #shards: ShardSet
  readonly #clock: Clock
  readonly #rebalancer: Rebalancer
  #timer: Timer | undefined
  #stopped = false

  constructor({ shards, clock }: BalancerOptions) {
    this.#shards = shards
    this.#clock = clock
    this.#rebalancer = new Rebalancer(shards.count)
  }

  start(): void {
    if (this.#stopped) return
    this.#timer = this.#clock.setTimer(LIMITS.rebalanceEveryMs, () => {
      // The next look is after the moves of this one, however long they take.
      void this.#look().finally(() => this.start())
    })
  }

  /** Begins no more moves. One that is under way ends by itself, or with the shards. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  async #look(): Promise<void> {
    const transfer = this.#rebalancer.look(this.#shards.utilization())
    if (transfer) await this.#transfer(transfer)
    await this.#bringHome()
  }

  async #transfer(transfer: Transfer): Promise<void> {
    // A thread that ends instead of answering has other troubles than its load.
    const load = await this.#shards
      .at(transfer.from)
      .load()
      .catch(() => undefined)
    if (!load) return
    if (this.#stopped) return
    const chosen = this.#rebalancer.choose(transfer, load, this.#clock.monotonicMs())
    const here = chosen.filter((tenant) => this.#shards.indexOf(tenant) === transfer.from)
    // At once: a hot shard takes its time for each step, and the steps of all fit into one turn.
    await Promise.all(here.map((tenant) => this.#shards.move(tenant, transfer.to)))
    for (const tenant of here) this.#rebalancer.rest(tenant, this.#clock.monotonicMs())
  }

  async #bringHome(): Promise<void> {
    const resting = this.#shards.assignments.restingAway(LIMITS.moveHomeMs)
    for (const tenant of resting.slice(0, LIMITS.movesPerRoundMax)) {
      if (this.#stopped || !this.#shards.running) return
      const home: ShardIndex = shardOf(tenant, this.#shards.count)
      await this.#shards.move(tenant, home)
    }
  }
}
