/**
 * One tenant in one compute: its replica, how it is brought up to date (`load-strategy.ts`), and
 * how what is committed on it comes home (`write-back.ts`).
 *
 *     freshen --> files on `view` --> commitAhead --> (answer withheld) --> at home
 *        ^                                |
 *        +---- rolled back: fenced, lost, refused by the home
 *
 * One request uses it at a time: whoever has it sees to that. What a delivery could not bring is
 * taken back here at once, so rows are always those of the home plus what may still get there; the
 * views and the memory over what was taken back are refused from then on.
 *
 * It must never let an answer out that says more than its strategy promises: with `sync` and `cdc`
 * the promise of `commitAhead` is kept only when the home has said that it has the commit.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import type { Template } from '../store/template.ts'
import type { FileView } from '../store/view.ts'
import type { ComputeTenant, Freshened, FreshenOptions, Loss } from './compute-tenant.ts'
import type { Fetched } from './fetch.ts'
import type { Home, Receipt } from './home.ts'
import type { LoadReport, LoadStrategy } from './load-strategy.ts'
import { packCommit } from '../store/packing.ts'
import { Replica, replicaTooLarge, type ReplicaWriter } from './replica.ts'
import { fenced } from '../store/state.ts'
import { outcomeUnknown } from './store-home.ts'
import { answeringHome, isUnheard, isUnreached, pause, unreachable } from './within.ts'
import type { DeliveryDesk, Pending, WriteStrategy } from './write-back.ts'

/** A load or a save that has ended, well or not: either has kept somebody waiting. */
export interface Transfer {
  readonly kind: 'load' | 'save'
  readonly tookMs: number
  /** What has been brought; 0 if it failed. */
  readonly byteLength: number
}

/** Commits of one compute that were acknowledged before they were at home, by the last of them. */
export interface Ahead {
  readonly writer: string
  readonly sequence: number
}

export interface TenantReplicaOptions {
  readonly clock: Clock
  readonly random: Random
  /** At first, see {@link FreshenOptions.strategies}. */
  readonly load: LoadStrategy
  /** Likewise. */
  readonly write: WriteStrategy
  /** By its id. Rejects with STORE_ENGINE_MISMATCH if nobody has it. */
  readonly template: (id: string) => Promise<Template>
  /** Somebody is to call {@link TenantReplica.flush} within so many ms. For `async`. */
  readonly flushWithin?: (delayMs: number, ahead: Ahead) => void
  /** Told of every load and save. */
  readonly observe?: (transfer: Transfer) => void
}

export class TenantReplica implements ComputeTenant, DeliveryDesk, ReplicaWriter {
  readonly options: TenantReplicaOptions
  readonly loss: Loss = { commits: 0, bytes: 0 }
  /** That of the last request. */
  #load: LoadStrategy
  /**
   * Likewise, once it holds for all that is pending: between two requests nothing is but what was
   * acknowledged ahead.
   */
  #write: WriteStrategy
  /** Names this compute to the home, among all that there ever are. */
  #writer: string
  #replica: Replica | undefined
  #replicasMade = 0
  #sequence = 0
  #home: Home | undefined
  /** When rows were last known to be those of the home. */
  #freshMs = 0
  #delivering: Promise<void> | undefined
  #deliveryCount = 0
  /** Something was brought of which nothing was heard. */
  #again = false
  /** Whoever runs now has no connection home. */
  #stale = false
  /** The home has not answered the last call. */
  #isAway = false
  #unreachedCount = 0
  /** Another one goes on with all that was here. */
  #isHandedOver = false

  constructor(options: TenantReplicaOptions) {
    this.options = options
    this.#load = options.load
    this.#write = options.write
    const digits = [...options.random.bytes(12)].map((byte) => byte.toString(16).padStart(2, '0'))
    this.#writer = digits.join('')
  }

  // Called by the replica

  nowMs(): number {
    return this.options.clock.nowMs()
  }

  nextSequence(): number {
    this.#checkMine()
    this.#sequence++
    return this.#sequence
  }

  // Called by whoever has the tenant

  get writer(): string {
    return this.#writer
  }

  /** Of the last commit that was made here. */
  get lastSequence(): number {
    return this.#sequence
  }

  get unreachedCount(): number {
    return this.#unreachedCount
  }

  get byteLength(): number {
    return this.#replica?.byteLength ?? 0
  }

  get template(): Template {
    return this.#loaded.template
  }

  get pristine(): boolean {
    return this.#loaded.pristine
  }

  get stamp(): string {
    return this.#loaded.stamp
  }

  get generation(): string {
    return `${this.#replicasMade}.${this.#replica?.generation}`
  }

  /** What the home had when it was last heard of. */
  get baseStamp(): string | undefined {
    return this.#replica?.base.stamp
  }

  get pending(): Pending {
    const undelivered = this.#replica?.undelivered ?? []
    return {
      commits: undelivered.length,
      bytes: this.#replica?.undeliveredBytes ?? 0,
      sinceMs: undelivered[0]?.sinceMs,
    }
  }

  view(): FileView {
    return this.#loaded.view()
  }

  async freshen(home: Home, options: FreshenOptions = {}): Promise<Freshened> {
    const { clock } = this.options
    const { since = this.#unreachedCount, strategies } = options
    const { load, write } = strategies ?? { load: this.#load, write: this.#write }
    this.#home = this.#reached(home)
    this.#stale = false
    await this.#delivering?.catch(() => {})
    this.#checkMine()
    const { base } = this.#replica ?? {}
    try {
      this.#checkThere(since)
      this.#load = load
      // What was acknowledged ahead stands before whatever is to be at home before it is.
      if (!write.mayLose) await this.#bringOnceMore()
      this.#write = write
      if (base && options.hint === base.stamp) {
        this.#freshMs = clock.nowMs()
        return untouched(load)
      }
      await this.#settle()
      return await this.#take(await this.#fetch(this.#home))
    } catch (error) {
      if (!options.staleAllowed || !base || !isUnheard(error)) throw error
      this.#stale = true
      return { ...untouched(load), staleMs: clock.nowMs() - this.#freshMs }
    }
  }

  commitAhead(work: () => void): Promise<void> | undefined {
    work()
    // Without a connection home only what nobody is told of is ever committed.
    if (this.pending.commits === 0 || this.#stale) return undefined
    return this.#write.committed(this)
  }

  async flush(home: Home): Promise<void> {
    this.#home = this.#reached(home)
    await this.#delivering?.catch(() => {})
    this.#checkMine()
    if (this.pending.commits > 0) await this.deliver(true)
  }

  /** What comes while one delivery is under way goes with the next; if that fails, so does this. */
  deliver(again: boolean): Promise<void> {
    this.#delivering = this.#deliverAfter(this.#delivering, again)
    return this.#delivering
  }

  flushWithin(delayMs: number): void {
    const { flushWithin } = this.options
    assert(flushWithin, 'what is buffered has somebody to flush it')
    flushWithin(delayMs, { writer: this.#writer, sequence: this.#sequence })
  }

  leave(load: LoadStrategy = this.#load): void {
    if (!this.#delivering && !this.#write.mayLose) this.#takeBack()
    if (!load.keepsRows && this.pending.commits === 0) this.#replica = undefined
  }

  /**
   * One that goes on with the rows that are here and with what was acknowledged and is not at home.
   * For a request that has this one and never comes back: whatever it still does is refused
   * (STORE_FENCED).
   */
  handOver(): TenantReplica {
    this.#checkMine()
    if (!this.#write.mayLose) this.#takeBack()
    const next = new TenantReplica({ ...this.options, load: this.#load, write: this.#write })
    this.#replica?.handOver(next)
    next.#replica = this.#replica
    next.#replicasMade = this.#replicasMade
    next.#writer = this.#writer
    next.#sequence = this.#sequence
    next.#freshMs = this.#freshMs
    next.#again = this.pending.commits > 0
    Object.assign(next.loss, this.loss)
    this.#replica = undefined
    this.#isHandedOver = true
    return next
  }

  #checkMine(): void {
    if (this.#isHandedOver) throw fenced('it took too long, and others go on with the tenant')
  }

  /** `home`, whose silence is noted. */
  #reached(home: Home): Home {
    const answering = answeringHome(home, this.options.clock)
    let isCounted = false
    const heard = async <Result>(answer: Promise<Result>): Promise<Result> => {
      try {
        const result = await answer
        this.#isAway = false
        return result
      } catch (error) {
        this.#isAway = isUnreached(error)
        if (this.#isAway && !isCounted) {
          isCounted = true
          this.#unreachedCount++
        }
        throw error
      }
    }
    return {
      fetch: (request) => heard(answering.fetch(request)),
      deliver: (delivery) => heard(answering.deliver(delivery)),
    }
  }

  /** One request that hears nothing may itself have ended; a second one is sure. */
  #checkThere(since: number): void {
    const isSure = this.#unreachedCount - since >= 2
    if (this.#isAway && isSure) throw unreachable('it has not answered others')
  }

  get #loaded(): Replica {
    this.#checkMine()
    assert(this.#replica, 'what is used has been loaded')
    return this.#replica
  }

  /**
   * The home has moved, or may have: perhaps by what is pending, of which only the answer was lost.
   * Whatever comes of bringing it again shows in what is fetched next.
   */
  async #settle(): Promise<void> {
    if (this.pending.commits === 0) return
    await this.deliver(false).catch(() => {})
    if (this.#isAway) throw unreachable('it was silent when it was brought what is pending')
  }

  async #fetch(home: Home): Promise<Fetched> {
    const startMs = this.options.clock.monotonicMs()
    let byteLength = 0
    try {
      const fetched = await this.#load.fetch(home, this.#replica)
      byteLength = fetched.byteLength
      return fetched
    } finally {
      this.#observe('load', startMs, byteLength)
    }
  }

  async #take({ kind, state, rows, byteLength, sliceCount }: Fetched): Promise<Freshened> {
    const { template, clock } = this.options
    this.#checkMine()
    const report = {
      strategy: this.#load.name,
      how: kind,
      rowCount: rows.length,
      byteLength,
      sliceCount,
    }
    this.#freshMs = clock.nowMs()
    if (kind === 'same') return report
    await this.#bringOnceMore()
    // Others have written: what is pending here stands on what is not there any more.
    this.#takeBack()
    if (kind === 'whole' || !this.#replica) {
      assert(kind === 'whole', 'whoever has nothing is sent everything')
      const standsOn = await template(state.templateId)
      this.#checkMine()
      this.#replicasMade++
      this.#replica = new Replica(state, standsOn, this)
    }
    this.#replica.bringUpTo(state, rows)
    if (this.#replica.byteLength > LIMITS.replicaBytesMax) {
      this.#replica = undefined
      throw replicaTooLarge()
    }
    return report
  }

  /**
   * The home has moved: by others, or by what is pending here, of which only the answer was lost.
   * It tells which, since it takes nothing twice. Throws SERVER_UNREACHABLE if that is not heard.
   */
  async #bringOnceMore(): Promise<void> {
    if (this.pending.commits === 0) return
    try {
      await this.deliver(false)
    } catch (error) {
      // Whoever asks has run nothing yet, so for them nothing is unknown.
      if (this.pending.commits > 0) throw unreachable(error)
    }
  }

  async #deliverAfter(before: Promise<void> | undefined, again: boolean): Promise<void> {
    this.#deliveryCount++
    try {
      await before
      await this.#deliverAll(again)
    } finally {
      this.#deliveryCount--
      if (this.#deliveryCount === 0) this.#delivering = undefined
    }
  }

  async #deliverAll(again: boolean): Promise<void> {
    const { clock } = this.options
    const startMs = clock.monotonicMs()
    const { bytes } = this.pending
    const untilMs = startMs + LIMITS.deliveryMs
    try {
      await this.#deliverUntil(untilMs, again)
    } finally {
      if (bytes > 0) this.#observe('save', startMs, Math.max(0, bytes - this.pending.bytes))
    }
  }

  async #deliverUntil(untilMs: number, again: boolean): Promise<void> {
    const { clock } = this.options
    for (let pauseMs: number = LIMITS.deliveryPauseMs; this.pending.commits > 0; pauseMs *= 2) {
      try {
        await this.#deliverSome()
      } catch (error) {
        const isLost = isUnheard(error)
        this.#again ||= isLost
        const mayWait = again && clock.monotonicMs() + pauseMs < untilMs
        if (isLost && mayWait) await pause(clock, pauseMs)
        else throw this.#failed(error, isLost)
      }
    }
    // What was taken from it has not come home by it.
    this.#checkMine()
  }

  async #deliverSome(): Promise<void> {
    const { clock } = this.options
    const replica = this.#loaded
    const home = this.#home
    const [first] = replica.undelivered
    assert(home && first, 'there is something to bring, and somewhere')
    const commits: Uint8Array[] = []
    let byteLength = 0
    for (const { changes } of replica.undelivered) {
      const packed = packCommit(changes)
      if (commits.length > 0 && byteLength + packed.length > LIMITS.deliveryBytesMax) break
      byteLength += packed.length
      commits.push(packed)
    }
    const { sequence } = first
    const base = replica.base.stamp
    const receipt: Receipt = await home.deliver({
      base,
      writer: this.#writer,
      sequence,
      commits,
      again: this.#again,
    })
    this.#checkMine()
    this.#again = false
    this.#freshMs = clock.nowMs()
    replica.delivered(receipt.count, receipt.state)
  }

  /**
   * What could not be brought. With `async` it stays until the next flush, unless the home has
   * refused it; a disk that failed has refused nothing. After a refusal, what was brought before
   * and not heard of may still get there, unless another's commit is there first.
   */
  #failed(error: unknown, isLost: boolean): unknown {
    const isFenced = error instanceof PgnapError && error.code === 'STORE_FENCED'
    const isStorage = error instanceof PgnapError && error.code === 'STORE_IO'
    const stays = this.#write.mayLose && (isUnreached(error) || isStorage)
    const isUnknown = isLost || stays || (this.#again && !isFenced)
    if (!stays) this.#takeBack()
    return isUnknown ? outcomeUnknown('the home did not say that it has it', error) : error
  }

  #takeBack(): void {
    const lost = this.#replica?.rollBack() ?? []
    this.#again = false
    if (!this.#write.mayLose) return
    this.loss.commits += lost.length
    this.loss.bytes += lost.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  #observe(kind: Transfer['kind'], startMs: number, byteLength: number): void {
    const { observe, clock } = this.options
    observe?.({ kind, tookMs: clock.monotonicMs() - startMs, byteLength })
  }
}

function untouched({ name }: LoadStrategy): LoadReport {
  return { strategy: name, how: 'none', rowCount: 0, byteLength: 0, sliceCount: 0 }
}
