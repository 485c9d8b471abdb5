/**
 * All tenants of one compute: a seat for each, over one slot that they share. Rows of tenants that
 * nobody asks for are kept as long as there is room; the least recently used go first. What has
 * been acknowledged and is not at home is never let go for room.
 */
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import { SyncDelayMonitor, type SyncDelayFacts } from '../../../base/sync-delay.ts'
import type { SlotShare } from '../../../engine/slot-share.ts'
import { LOAD_STRATEGIES, type LoadName } from '../../../replica/load-strategy.ts'
import { TenantReplica } from '../../../replica/tenant-replica.ts'
import type { Loss } from '../../../replica/compute-tenant.ts'
import type { Ahead } from '../../../replica/tenant-replica.ts'
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

export interface SeatKey {
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

  /**
   * The one seat of a tenant, however it is asked: two of one home would fence each other, and what
   * one of them has acknowledged ahead would be lost to the other.
   */
  seatOf(key: SeatKey, tools: SeatTools): ComputeSeat {
    const name = nameOf(key)
    const known = this.#seats.get(name)
    const seat = known?.seat.broken ? this.#replace(known) : (known ?? this.#make(key, tools))
    seat.tools = tools
    this.#seats.delete(name)
    this.#seats.set(name, seat)
    return seat.seat
  }

  /** The seat that there is, if there is one: for whoever only flushes. */
  knownSeat(key: SeatKey): ComputeSeat | undefined {
    return this.#seats.get(nameOf(key))?.seat
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

  #make({ tenant }: SeatKey, tools: SeatTools): Seat {
    const replica = new TenantReplica({
      clock: workerClock,
      random: workerRandom,
      // Each request says how.
      load: LOAD_STRATEGIES.image,
      write: WRITE_STRATEGIES.sync,
      template: (id) => made.tools.template(id),
      flushWithin: (delayMs, ahead) => made.tools.flushWithin(delayMs, ahead),
      observe: ({ kind, tookMs }) => {
        if (kind === 'load') made.seat.fetched(tookMs)
        else this.monitor.record(kind, tookMs, tenant)
      },
    })
    const onLoaded = (ms: number): void => void this.monitor.record('load', ms, tenant)
    const seat = new ComputeSeat({ name: tenant, tenant: replica, share: this.share, onLoaded })
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
    const { loss } = seat.options.tenant
    this.#lost.commits += loss.commits
    this.#lost.bytes += loss.bytes
    this.#seats.delete(name)
    seat.end()
  }
}

function nameOf({ home, tenant }: SeatKey): string {
  return `${home} ${tenant}`
}
