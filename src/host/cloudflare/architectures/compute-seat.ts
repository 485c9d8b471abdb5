/**
 * One tenant in one compute: its rows (`src/replica`), and over them, while the tenant has memory
 * in the shared slot or as an image, a pool of its own, as in the tenant's object.
 *
 *     request -- turn --> freshen --> [memory of other rows, or none: a new run] --> statement
 *                                                                  answer <-- at home, as promised
 *
 * A *run* is a pool over one opening of the files. It ends with whatever makes its memory
 * worthless: rows that moved, a commit that was refused, memory that was given to others. What a
 * run has that is not at home is nobody's.
 */
import type { Clock, Timer } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import { Phases } from '../../../base/phases.ts'
import { isGivenToOthers, type LentSlot } from '../../../engine/lent-slot.ts'
import type { SlotShare } from '../../../engine/slot-share.ts'
import type { Answer, Statement } from '../../../front/control.ts'
import { LOADED } from '../../../pool/pool-statistics.ts'
import type { Pool } from '../../../pool/pool.ts'
import type { OpenTenant } from '../../../pool/tenant-source.ts'
import type { Home } from '../../../replica/home.ts'
import { outcomeUnknown } from '../../../replica/store-home.ts'
import type { LoadStrategy } from '../../../replica/load-strategy.ts'
import type { Freshened } from '../../../replica/compute-tenant.ts'
import type { TenantReplica } from '../../../replica/tenant-replica.ts'
import { pause } from '../../../replica/within.ts'
import type { WriteStrategy } from '../../../replica/write-back.ts'
import { TenantFiles } from '../../../store/tenant-files.ts'
import { Call } from '../../call.ts'
import { workerClock } from '../clock.ts'
import { theIsolate } from '../isolate.ts'
import { LoadWait } from '../load-wait.ts'
import { PreparedClient } from '../prepared-client.ts'
import { tenantPool } from '../tenant-pool.ts'
import { poolPhases } from './remote.ts'
import { Turns } from './turns.ts'

export interface SeatOptions {
  readonly name: TenantName
  readonly tenant: TenantReplica
  readonly share: SlotShare
  /** Told how long it took until a tenant was there that was not: rows, slot and start. */
  readonly onLoaded: (ms: number) => void
}

export interface SeatRequest {
  /** As this request reaches it: what another one has opened is not its to use. */
  readonly home: Home
  /** What the home has said that it has. Default: it is asked. */
  readonly hint?: string
  readonly statement: Statement
  readonly load: LoadStrategy
  readonly write: WriteStrategy
  /** Reads what is known if the home does not answer. Default: no */
  readonly staleAllowed?: boolean
  readonly phases: Phases
}

export interface SeatAnswer {
  readonly answer: Answer
  readonly freshened: Freshened
}

const CHECKPOINT: Statement = { sql: 'checkpoint', parameters: [] }

/** A pool over one opening of the files. */
interface Run {
  readonly pool: Pool
  readonly clock: RunClock
  readonly generation: string
  /** Whether its memory is kept while other tenants have the slot, by the last request. */
  keepsMemory: boolean
  lent: LentSlot | undefined
  files: TenantFiles | undefined
  /** `files.walBytesWritten` at the last checkpoint. */
  checkpointAtBytes: number
}

export class ComputeSeat {
  readonly options: SeatOptions
  readonly #turns = new Turns(workerClock)
  #run: Run | undefined
  #flushDueMs = -Infinity
  /** Of what has been asked last; for whoever makes room. */
  usedMs = 0
  /** For rows and for a slot, of the request that has the turn. */
  readonly #loadWait = new LoadWait()
  #isLoading = false
  /** Whoever has the turn has had it for too long, and may never come back. */
  broken = false

  constructor(options: SeatOptions) {
    this.options = options
  }

  get isIdle(): boolean {
    return this.#turns.count === 0 && this.options.tenant.pending.commits === 0
  }

  /** Rows have been fetched, or were to be, and it took so long. */
  fetched(tookMs: number): void {
    this.#isLoading = true
    this.#loadWait.add(tookMs)
  }

  ask(request: SeatRequest): Promise<SeatAnswer> {
    // Those who queue while the home does not answer are told together when that is sure.
    const { unreachedCount } = this.options.tenant
    return this.#inTurn(request.phases, () => this.#ask(request, unreachedCount))
  }

  /** So much WAL has gathered that whoever loads this tenant next would have to recover it. */
  get needsCheckpoint(): boolean {
    const { files, checkpointAtBytes = 0 } = this.#run ?? {}
    return (files?.walBytesWritten ?? 0) - checkpointAtBytes >= LIMITS.checkpointIdleBytes
  }

  /**
   * Writes a checkpoint, if the tenant is as it was left. Here no timer of the pool can do it: a
   * Worker's timers end with the request that has set them.
   */
  checkpoint(home: Home, phases: Phases): Promise<void> {
    return this.#inTurn(phases, async () => {
      const run = this.#run
      if (!run?.files || !this.needsCheckpoint || run.lent?.lost) return
      await this.options.tenant.freshen(home)
      if (run.generation !== this.options.tenant.generation) return this.#endRun()
      const { walBytesWritten } = run.files
      await this.#answer(run, CHECKPOINT, { isStale: false, phases })
      run.checkpointAtBytes = walBytesWritten
    })
  }

  /** Brings home what has been acknowledged and is not there. */
  flush(home: Home, phases: Phases): Promise<void> {
    return this.#inTurn(phases, () => this.options.tenant.flush(home))
  }

  /**
   * Flushes in so many ms, unless that will happen anyway: undefined then. The platform has to be
   * told that the request goes on for so long.
   */
  flushLater(home: Home, delayMs: number): Promise<void> | undefined {
    const nowMs = workerClock.monotonicMs()
    if (this.#flushDueMs > nowMs) return undefined
    this.#flushDueMs = nowMs + delayMs
    return pause(workerClock, delayMs).then(() => this.flush(home, new Phases(workerClock)))
  }

  /** Memory and, unless they are kept, rows go. */
  end(): void {
    const run = this.#run
    this.#run = undefined
    run?.clock.stop()
    run?.lent?.forget()
    this.options.tenant.leave()
  }

  async #inTurn<Result>(phases: Phases, work: () => Promise<Result>): Promise<Result> {
    const ended = phases.begin('turn')
    let waits = true
    const late = (): Error => {
      this.broken ||= this.#turns.heldMs >= LIMITS.computeTurnMs
      return new PgnapError('QUERY_WAIT_TIMEOUT', 'the request waited too long for its database', {
        detail: `computeTurnMs is ${LIMITS.computeTurnMs} ms`,
        hint: 'try again',
      })
    }
    try {
      return await this.#turns.run(LIMITS.computeTurnMs, late, () => {
        waits = false
        ended()
        this.usedMs = workerClock.monotonicMs()
        return this.#noteLoad(work)
      })
    } finally {
      if (waits) ended()
    }
  }

  /** One that fails has kept whoever asked waiting, too. */
  async #noteLoad<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } finally {
      const ms = this.#loadWait.take()
      if (this.#isLoading) this.options.onLoaded(ms)
      this.#isLoading = false
    }
  }

  /**
   * Others have the slot whenever something is awaited, and this tenant's memory may go then: while
   * the home is asked, while a slot is made, before the pool has loaded it. What has committed
   * nothing has not been, and begins anew with the rows that are here.
   */
  async #ask(request: SeatRequest, since: number): Promise<SeatAnswer> {
    const { tenant } = this.options
    for (let attempt = 1; ; attempt++) {
      const { lastSequence } = tenant
      try {
        return await this.#askOnce(request, since)
      } catch (error) {
        if (!isGivenToOthers(error)) throw error
        if (tenant.lastSequence !== lastSequence) {
          throw outcomeUnknown('the slot was lost when it had committed', error)
        }
        if (attempt === LIMITS.computeAttemptsMax) throw error
        this.end()
      }
    }
  }

  async #askOnce(request: SeatRequest, since: number): Promise<SeatAnswer> {
    const { tenant } = this.options
    const { home, hint, staleAllowed = false, phases, statement, load, write } = request
    if (this.#run?.lent?.lost) this.end()
    if (this.#run?.lent?.place !== 'slot') this.#keepAs(load)
    const strategies = { load, write }
    const options = { strategies, staleAllowed, since, ...(hint === undefined ? {} : { hint }) }
    const freshened = await phases.measure('load', () => tenant.freshen(home, options))
    // Others may have had the slot meanwhile.
    if (this.#run?.lent?.lost) this.#endRun()
    if (this.#run && this.#run.generation !== tenant.generation) this.#endRun()
    const run = (this.#run ??= this.#newRun())
    run.keepsMemory = load.keepsMemory
    if (run.lent) run.lent.keepsImage = load.keepsMemory
    try {
      const isStale = freshened.staleMs !== undefined
      const answer = await this.#answer(run, statement, { isStale, phases })
      if (LOADED[answer.timings.wokenFrom]) this.fetched(answer.timings.wakeMs)
      return { answer, freshened }
    } finally {
      // What failed at home has cost the run its slot.
      if (run.pool.phaseOf(this.options.name) === 'cold') this.end()
    }
  }

  async #answer(
    run: Run,
    statement: Statement,
    { isStale, phases }: { isStale: boolean; phases: Phases },
  ): Promise<Answer> {
    const { share, name } = this.options
    const prepare = (): Promise<void> => share.prepare(run.lent)
    await phases.measure('slot', () => this.#loadWait.during(prepare))
    const connected = run.pool.connect(name)
    const client = new PreparedClient(connected, {
      share,
      lent: () => run.lent,
      clock: workerClock,
    })
    const ended = phases.begin('run')
    try {
      const answer = await answerOf(new Call(client, 0), statement, isStale)
      phases.include(poolPhases(answer.timings))
      return answer
    } finally {
      ended()
      client.close()
    }
  }

  /** Another way of loading may have kept what this one does not. */
  #keepAs(load: LoadStrategy): void {
    if (!load.keepsMemory) this.#endRun()
    this.options.tenant.leave(load)
  }

  /** Rows have moved under it, and stay. */
  #endRun(): void {
    const run = this.#run
    this.#run = undefined
    run?.clock.stop()
    run?.lent?.forget()
  }

  #newRun(): Run {
    const { share, tenant } = this.options
    const clock = new RunClock()
    const run: { -readonly [Key in keyof Run]?: Run[Key] } = {}
    const createSlot = async (): Promise<LentSlot> => {
      run.lent = await share.lend(() => {}, run.keepsMemory)
      return run.lent
    }
    const open = (): OpenTenant => {
      const opened = openOver(tenant)
      run.files = opened.files
      return opened
    }
    const pool = tenantPool({ source: { open }, clock, createSlot })
    const { generation } = tenant
    const made = { pool, clock, generation, lent: undefined, files: undefined }
    return Object.assign(run, { ...made, keepsMemory: true, checkpointAtBytes: 0 })
  }
}

/** What may be stale is read only: a write would be refused later, when it was acknowledged. */
async function answerOf(call: Call, statement: Statement, isStale: boolean): Promise<Answer> {
  if (!isStale) return call.statement(statement)
  const { answerBytesMax } = statement
  const { results, timings } = await call.transaction({
    statements: [statement],
    readOnly: true,
    ...(answerBytesMax === undefined ? {} : { answerBytesMax }),
  })
  const [result] = results
  if (!result) throw new PgnapError('INTERNAL', 'a statement has no result')
  return { result, timings }
}

function openOver(tenant: TenantReplica): OpenTenant {
  const { engine } = theIsolate()
  const { template } = tenant
  const files = TenantFiles.open(tenant.view(), {
    template,
    clock: workerClock,
    cacheBytesMax: LIMITS.isolatePageCacheBytesMax,
    ephemeralBytesMax: LIMITS.isolateEphemeralBytesMax,
    databaseBytesMax: LIMITS.isolateDatabaseBytesMax,
  })
  return {
    files,
    stamp: () => tenant.stamp,
    get pristine() {
      return tenant.pristine && template.id === engine.template.id
    },
    tidy: () => false,
    // Counters are the run's: whoever writes next begins to count anew.
    readNotes: () => undefined,
    writeNotes: () => {},
    commitAhead: (work) => tenant.commitAhead(work),
    isElsewhere: true,
    close: () => files.close(),
  }
}

/** Timers of a run end with it: they would work in a slot that is others' by then. */
class RunClock implements Clock {
  readonly #timers = new Set<Timer>()
  #isStopped = false

  nowMs(): number {
    return workerClock.nowMs()
  }

  monotonicMs(): number {
    return workerClock.monotonicMs()
  }

  setTimer(delayMs: number, action: () => void): Timer {
    const timer = workerClock.setTimer(delayMs, () => {
      this.#timers.delete(timer)
      if (!this.#isStopped) action()
    })
    this.#timers.add(timer)
    return {
      cancel: () => {
        this.#timers.delete(timer)
        timer.cancel()
      },
    }
  }

  nextTurn(action: () => void): void {
    this.setTimer(0, action)
  }

  stop(): void {
    this.#isStopped = true
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }
}
