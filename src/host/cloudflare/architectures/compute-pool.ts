/**
 * All tenants of one compute: a seat for each, over one slot that they share. Rows of tenants that
 * nobody asks for are kept as long as there is room; the least recently used go first. What has
 * been acknowledged and is not at home is never let go for room.
 */
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import { SyncDelayMonitor, type SyncDelayFacts } from '../../../base/sync-delay.ts'
import type { SlotShare } from '../../../engine/slot-share.ts'
import { LOAD_STRATEGIES, type LoadName } from '../../../replica/load-strategy.ts'
import { checkStrategies } from '../../../replica/local-tenant.ts'
import { TenantReplica } from '../../../replica/tenant-replica.ts'
import type { Ahead, Loss } from '../../../replica/tenant-replica.ts'
import { WRITE_STRATEGIES, type WriteName } from '../../../replica/write-back.ts'
import type { Template } from '../../../store/template.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { workerRandom } from '../random.ts'
import { ComputeSeat } from './compute-seat.ts'

/** How a tenant is loaded and written. */
export interface Strategies {
  readonly load: LoadName
  readonly write: WriteName
}

export interface ComputePoolOptions {
  readonly share: SlotShare
  /** Counts from one per key that is not in memory; the fewer, the rows that are kept. */
  readonly rowBytesMax?: number
  /** Told how long loads and saves take. Default: one of its own. */
  readonly monitor?: SyncDelayMonitor
}

export interface SeatKey extends Strategies {
  /** Of its home, which may be an architecture's own. */
  readonly home: string
  readonly tenant: TenantName
}

/** What only the request knows that makes a seat, or uses it. */
export interface SeatTools {
  readonly template: (id: string) => Promise<Template>
  /** Of `async`: somebody is to flush this seat. */
  readonly flushWithin: (delayMs: number, ahead: Ahead) => void
}

export interface ComputeFacts {
  readonly tenants: number
  readonly rowBytes: number
  /** Acknowledged and not at home. */
  readonly pending: { readonly commits: number; readonly bytes: number }
  /** Acknowledged, and never came home. */
  readonly lost: Loss
  readonly slotBytes: number
  readonly images: number
  readonly syncDelay: SyncDelayFacts
}

interface Seat {
  seat: ComputeSeat
  /** Of the request that has it now. */
  tools: SeatTools
}

export class ComputePool {
  readonly share: SlotShare
  readonly monitor: SyncDelayMonitor
  readonly #rowBytesMax: number
  readonly #seats = new Map<string, Seat>()
  /** Of seats that are gone. */
  readonly #lost: Loss = { commits: 0, bytes: 0 }

  constructor({ share, rowBytesMax = LIMITS.computeRowBytes, monitor }: ComputePoolOptions) {
    this.share = share
    this.monitor = monitor ?? new SyncDelayMonitor({ clock: workerClock, log: consoleLog })
    this.#rowBytesMax = rowBytesMax
  }

  /** @throws PgnapError NOT_SUPPORTED for strategies that cannot be */
  seatOf(key: SeatKey, tools: SeatTools): ComputeSeat {
    const { load, write, home, tenant } = key
    checkStrategies(load, write, false)
    const name = `${home} ${tenant} ${load} ${write}`
    const known = this.#seats.get(name)
    const seat = known?.seat.broken ? this.#replace(known) : (known ?? this.#make(key, tools))
    seat.tools = tools
    this.#seats.delete(name)
    this.#seats.set(name, seat)
    return seat.seat
  }

  /** The seat that there is, if there is one: for whoever only flushes. */
  knownSeat({ load, write, home, tenant }: SeatKey): ComputeSeat | undefined {
    return this.#seats.get(`${home} ${tenant} ${load} ${write}`)?.seat
  }

  /** Lets tenants go that are asked least, until the others have room. After a request. */
  makeRoom(): void {
    let bytes = this.#rowBytes
    for (const [name, { seat }] of this.#seats) {
      if (bytes <= this.#rowBytesMax && this.#seats.size <= LIMITS.computeSeatsMax) return
      if (!seat.isIdle) continue
      bytes -= seat.options.tenant.byteLength
      this.#drop(name, seat)
    }
  }

  facts(): ComputeFacts {
    const lost = { ...this.#lost }
    const pending = { commits: 0, bytes: 0 }
    for (const { seat } of this.#seats.values()) {
      const { tenant } = seat.options
      pending.commits += tenant.pending.commits
      pending.bytes += tenant.pending.bytes
      lost.commits += tenant.loss.commits
      lost.bytes += tenant.loss.bytes
    }
    return {
      tenants: this.#seats.size,
      rowBytes: this.#rowBytes,
      pending,
      lost,
      slotBytes: this.share.slotBytes,
      images: this.share.imageCount,
      syncDelay: this.monitor.facts(),
    }
  }

  get #rowBytes(): number {
    return [...this.#seats.values()].reduce(
      (sum, { seat }) => sum + seat.options.tenant.byteLength,
      0,
    )
  }

  #make({ load, write, tenant }: SeatKey, tools: SeatTools): Seat {
    if (load === 'lazy') throw new PgnapError('INTERNAL', 'pages on demand need no seat')
    const strategy = LOAD_STRATEGIES[load]
    const replica = new TenantReplica({
      clock: workerClock,
      random: workerRandom,
      load: strategy,
      write: WRITE_STRATEGIES[write],
      template: (id) => made.tools.template(id),
      flushWithin: (delayMs, ahead) => made.tools.flushWithin(delayMs, ahead),
      observe: ({ kind, tookMs }) => void this.monitor.record(kind, tookMs, tenant),
    })
    const seat = new ComputeSeat({
      name: tenant,
      tenant: replica,
      write: WRITE_STRATEGIES[write],
      share: this.share,
      keepsMemory: strategy.keepsMemory,
    })
    const made: Seat = { seat, tools }
    return made
  }

  /** Whoever has the turn there may never come back: what is acknowledged goes on without it. */
  #replace(broken: Seat): Seat {
    const tenant = broken.seat.options.tenant.handOver()
    broken.seat.end()
    broken.seat = new ComputeSeat({ ...broken.seat.options, tenant })
    return broken
  }

  #drop(name: string, seat: ComputeSeat): void {
    const { loss, pending } = seat.options.tenant
    const { mayLose } = seat.options.write
    this.#lost.commits += loss.commits + (mayLose ? pending.commits : 0)
    this.#lost.bytes += loss.bytes + (mayLose ? pending.bytes : 0)
    this.#seats.delete(name)
    seat.end()
  }
}
