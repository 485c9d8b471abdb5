/**
 * Which shard each tenant belongs to, now: its hash, and a bounded table of those that have moved.
 * Every request passes here before it goes to a shard, and is counted until it has ended, because
 * the channels to a shard keep no order among each other: only what was counted out is known not to
 * be on its way.
 *
 *              begin                     letGo                  end
 *     settled -------> moving, old owner ------> moving, nobody's ------> settled
 *        ^                  |  end: it stays                 (to the new owner, or back)
 *        +------------------+
 *
 * While a tenant moves, its newcomers wait; those in flight end first (`quiet`), or the move is
 * called off. Every wait is bounded. All of it is in memory only: after a restart everybody is
 * where the hash says.
 *
 * It must never send a request to one shard while another may have the tenant's store open.
 */
import { assert } from '../base/assert.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { ShardIndex, TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { shardOf } from './assignment.ts'
import type { MovedTenant } from './ownership.ts'

/** A connection stays in its shard's thread, so its tenant does; a call ends soon. */
export type VisitKind = 'connection' | 'call'

/** One request to a tenant, from when it knows its shard until it is disposed of. */
export interface Visit extends Disposable {
  readonly shard: ShardIndex
}

export interface Move {
  readonly tenant: TenantName
  readonly from: ShardIndex
  readonly to: ShardIndex
}

export interface AssignmentsOptions {
  readonly shardCount: number
  readonly clock: Clock
  /** Longest wait for the end of a move. Default: `LIMITS.queryWaitMs`. */
  readonly waitMs?: number
  /** Longest wait of a move for calls in flight. Default: `LIMITS.moveQuietMs`. */
  readonly quietMs?: number
  /** Requests that wait for one move. Default: `LIMITS.tenantQueueMax`. */
  readonly waitingMax?: number
  /** Tenants that are not where their hash says. Default: `LIMITS.movedTenantsMax`. */
  readonly movedMax?: number
}

interface Uses {
  connections: number
  calls: number
}

interface Moving {
  readonly move: Move
  /** The old owner has let go, and nobody has it. */
  letGo: boolean
  readonly waiting: Set<Waiting>
  quiet: (() => void) | undefined
}

interface Waiting {
  readonly kind: VisitKind
  readonly admit: (visit: Visit) => void
  readonly timer: Timer
}

interface Exception {
  readonly shard: ShardIndex
  usedMs: number
}

export class Assignments {
  readonly shardCount: number
  readonly #clock: Clock
  readonly #limits: { waitMs: number; quietMs: number; waitingMax: number; movedMax: number }
  /** Tenants that somebody uses now. */
  readonly #uses = new Map<TenantName, Uses>()
  readonly #moving = new Map<TenantName, Moving>()
  /** Those that have moved, in order of their moves. */
  readonly #moved = new Map<TenantName, Exception>()
  /** Of each shard: tenants with connections, and those that are moving there. */
  readonly #connected: number[]

  constructor(options: AssignmentsOptions) {
    const { shardCount, clock } = options
    const { waitMs = LIMITS.queryWaitMs, quietMs = LIMITS.moveQuietMs } = options
    const { waitingMax = LIMITS.tenantQueueMax, movedMax = LIMITS.movedTenantsMax } = options
    this.shardCount = shardCount
    this.#clock = clock
    this.#limits = { waitMs, quietMs, waitingMax, movedMax }
    this.#connected = Array.from({ length: shardCount }, () => 0)
  }

  /** For whoever only wants to know; while a tenant moves, its old owner. */
  ownerOf(tenant: TenantName): ShardIndex {
    return this.#moved.get(tenant)?.shard ?? shardOf(tenant, this.shardCount)
  }

  /**
   * A request to `tenant`: tells the shard that it goes to, at once or when the tenant has moved.
   * Dispose of the visit when the request has ended or was not sent after all.
   * @throws PgnapError (as a rejection) QUEUE_FULL, QUERY_WAIT_TIMEOUT: it goes nowhere
   */
  enter(tenant: TenantName, kind: VisitKind): Visit | Promise<Visit> {
    const moving = this.#moving.get(tenant)
    return moving ? this.#wait(moving, kind) : this.#visit(tenant, kind)
  }

  /** Whether somebody uses it, or it is moving. */
  isInUse(tenant: TenantName): boolean {
    return this.#uses.has(tenant) || this.#moving.has(tenant)
  }

  /** Of each shard: tenants with connections, and those that are moving there. */
  get connected(): readonly number[] {
    return this.#connected
  }

  /** Whether half of those that may be elsewhere than their hash says are. */
  get isHalfMoved(): boolean {
    return this.#awayCount >= this.#limits.movedMax / 2
  }

  /** Tenants that are elsewhere than their hash says, or may soon be. */
  get #awayCount(): number {
    return this.#moved.size + this.#moving.size
  }

  /** Whether somebody is connected to it: then it stays. */
  isConnected(tenant: TenantName): boolean {
    return (this.#uses.get(tenant)?.connections ?? 0) > 0
  }

  /**
   * A move begins; from now on newcomers wait. Undefined: it does not, because the tenant has
   * connections, moves already or is there, or because too many have moved.
   */
  begin(tenant: TenantName, to: ShardIndex): Move | undefined {
    assert(to >= 0 && to < this.shardCount, 'a tenant moves to a shard that exists')
    const from = this.ownerOf(tenant)
    if (from === to || this.#moving.has(tenant) || this.isConnected(tenant)) return undefined
    const isNew = to !== shardOf(tenant, this.shardCount) && !this.#moved.has(tenant)
    if (isNew && this.#awayCount >= this.#limits.movedMax) return undefined
    const move = { tenant, from, to }
    this.#count(to, 1)
    this.#moving.set(tenant, { move, letGo: false, waiting: new Set(), quiet: undefined })
    return move
  }

  /** Settles when no call to the tenant is in flight; false if that takes too long. */
  quiet(move: Move): Promise<boolean> {
    const moving = this.#movingOf(move)
    if (!this.#uses.has(move.tenant)) return Promise.resolve(true)
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(this.#limits.quietMs, () => resolve(false))
      moving.quiet = () => {
        timer.cancel()
        resolve(true)
      }
    })
  }

  /** The old owner has let go of it. */
  letGo(move: Move): void {
    assert(!this.#uses.has(move.tenant), 'nobody uses a tenant that changes hands')
    this.#movingOf(move).letGo = true
  }

  /** The move has ended, with the tenant at `owner`; whoever waited goes there. */
  end(move: Move, owner: ShardIndex): void {
    const { waiting, letGo } = this.#movingOf(move)
    const { tenant, from, to } = move
    assert(owner === from || (letGo && owner === to), 'the new owner comes after the old one')
    this.#moving.delete(tenant)
    this.#count(to, -1)
    if (owner === to) this.#moved.delete(tenant)
    if (owner === to && owner !== shardOf(tenant, this.shardCount)) {
      this.#moved.set(tenant, { shard: owner, usedMs: this.#clock.monotonicMs() })
    }
    for (const { kind, admit, timer } of waiting) {
      timer.cancel()
      admit(this.#visit(tenant, kind))
    }
  }

  /** What the thread of a shard has to know when it starts. */
  moved(): MovedTenant[] {
    const all = new Map<TenantName, ShardIndex | undefined>()
    for (const [tenant, { shard }] of this.#moved) all.set(tenant, shard)
    for (const [tenant, { letGo }] of this.#moving) if (letGo) all.set(tenant, undefined)
    return Array.from(all, ([tenant, shard]) => ({ tenant, shard }))
  }

  /** Tenants at a shard that is not that of their hash. */
  guestsOf(shard: number): number {
    let count = 0
    for (const { shard: at } of this.#moved.values()) if (at === shard) count++
    return count
  }

  /** Moved tenants that nobody has used for `restMs`: they may go home. */
  restingAway(restMs: number): TenantName[] {
    const untilMs = this.#clock.monotonicMs() - restMs
    return Array.from(this.#moved)
      .filter(([tenant, { usedMs }]) => usedMs <= untilMs && !this.#uses.has(tenant))
      .map(([tenant]) => tenant)
  }

  #visit(tenant: TenantName, kind: VisitKind): Visit {
    const uses = this.#uses.get(tenant) ?? { connections: 0, calls: 0 }
    this.#uses.set(tenant, uses)
    const of = kind === 'call' ? 'calls' : 'connections'
    uses[of]++
    const shard = this.ownerOf(tenant)
    if (kind === 'connection' && uses.connections === 1) this.#count(shard, 1)
    let isOver = false
    const leave = (): void => {
      if (isOver) return
      isOver = true
      uses[of]--
      if (kind === 'connection' && uses.connections === 0) this.#count(shard, -1)
      const exception = this.#moved.get(tenant)
      if (exception) exception.usedMs = this.#clock.monotonicMs()
      if (uses.calls + uses.connections > 0) return
      this.#uses.delete(tenant)
      this.#moving.get(tenant)?.quiet?.()
    }
    return { shard, [Symbol.dispose]: leave }
  }

  #count(shard: ShardIndex, change: 1 | -1): void {
    this.#connected[shard] = (this.#connected[shard] ?? 0) + change
  }

  #wait({ move, waiting }: Moving, kind: VisitKind): Promise<Visit> {
    const { waitMs, waitingMax } = this.#limits
    if (waiting.size >= waitingMax) return Promise.reject(tooManyWait(move, waitingMax))
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(waitMs, () => {
        waiting.delete(waiter)
        reject(waitedTooLong(move, waitMs))
      })
      const waiter: Waiting = { kind, admit: resolve, timer }
      waiting.add(waiter)
    })
  }

  #movingOf(move: Move): Moving {
    const moving = this.#moving.get(move.tenant)
    assert(moving?.move === move, 'a move goes on until it ends')
    return moving
  }
}

function tooManyWait({ tenant }: Move, waitingMax: number): PgnapError {
  return new PgnapError('QUEUE_FULL', `too many requests are waiting for tenant "${tenant}"`, {
    detail: `it moves to another thread; tenantQueueMax is ${waitingMax}`,
    hint: 'try again in a moment',
  })
}

function waitedTooLong({ tenant }: Move, waitMs: number): PgnapError {
  return new PgnapError('QUERY_WAIT_TIMEOUT', `the request waited too long for "${tenant}"`, {
    detail: `waited ${waitMs} ms while the tenant moved to another thread`,
    hint: 'look for a statement that holds up its shard, or raise --query-wait-timeout',
  })
}
