/**
 * A tenant whose object begins with the help of the compute Worker, and goes on by itself:
 *
 *     delegating -- first answer has left --> warming -- has a slot --> draining
 *     ^                                                                    |
 *     |                                        nothing delegated is under way
 *     |                                                                    v
 *     +------ made anew, or its slot has gone to another object -------- local
 *
 * While it delegates, it is the tenant's home (`src/replica/home.ts`), and the compute commits to
 * its store. When it is local, its own Postgres does. The two never overlap: it goes local only
 * when nothing that was delegated is under way, and from then on refuses whatever comes from a
 * compute.
 */
import { DurableObject } from 'cloudflare:workers'
import { PgnapError } from '../../../base/errors.ts'
import { Phases } from '../../../base/phases.ts'
import type { SyncDelayFacts } from '../../../base/sync-delay.ts'
import type { Delivery, FetchRequest, Receipt, Slice } from '../../../replica/home.ts'
import { fenced } from '../../../store/state.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { heard, type Outcome, outcomeOf } from '../outcome.ts'
import { existsIn } from '../tenant-storage.ts'
import type { RemoteServed } from './architecture.ts'
import type { EngineFacts, FlushOrder, HomeCalls } from './compute.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { FlushAlarm } from './flush-alarm.ts'
import { HomeStore } from './home-store.ts'
import { OwnPostgres } from './own-postgres.ts'
import { askRemote } from './remote.ts'
import type { StateQuery } from './state-object.ts'

export type HybridPhase = 'delegating' | 'warming' | 'draining' | 'local'

export interface HybridFacts {
  readonly phase: HybridPhase
  /** Statements of this life of the object, by who has run them. */
  readonly ran: { readonly compute: number; readonly local: number }
  readonly exists: boolean
  readonly storeBytes: number
  /** Of its own Postgres; undefined if it has none now. Those of the compute are the compute's. */
  readonly syncDelay: SyncDelayFacts | undefined
}

let engine: EngineFacts | undefined

export class HybridObject extends DurableObject<ArchitecturesEnvironment> implements HomeCalls {
  readonly #alarm = new FlushAlarm(this.ctx.storage, workerClock, consoleLog)
  #phase: HybridPhase = 'delegating'
  readonly #ran = { compute: 0, local: 0 }
  readonly #postgres = new OwnPostgres(this.ctx, this.env)
  /** While it delegates. */
  #store: HomeStore | undefined
  /** Delegated statements that are under way, and who waits for their end. */
  #underWay = 0
  #drained = Promise.withResolvers<void>()
  #turningLocal: Promise<void> | undefined
  #warming: Promise<void> | undefined

  query(asked: StateQuery): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      const phases = new Phases(workerClock)
      this.#look()
      if (this.#phase === 'draining') {
        await phases.measure('drain', () => (this.#turningLocal ??= this.#turnLocal()))
      }
      const served =
        this.#phase === 'local'
          ? await this.#runHere(asked, phases)
          : await this.#delegateWhatFits(asked, phases)
      return { ...served, phases: phases.times() }
    })
  }

  fetchRows(request: FetchRequest): Promise<Outcome<Slice>> {
    return outcomeOf(async () => (await this.#home()).fetch(request))
  }

  deliver(delivery: Delivery): Promise<Outcome<Receipt>> {
    return outcomeOf(async () => (await this.#home()).deliver(delivery))
  }

  flushWithin(delayMs: number, order: FlushOrder): Promise<void> {
    return this.#alarm.set(delayMs, order)
  }

  override async alarm(): Promise<void> {
    await this.#flush()
  }

  facts(): Promise<Outcome<HybridFacts>> {
    return outcomeOf(async () => {
      this.#look()
      const { databaseSize: storeBytes } = this.ctx.storage.sql
      const { syncDelay } = this.#postgres
      const exists = existsIn(this.ctx.storage)
      return { phase: this.#phase, ran: { ...this.#ran }, exists, storeBytes, syncDelay }
    })
  }

  /** A slot may be there from a former life, or have ended since the last request. */
  #look(): void {
    const { isWarm } = this.#postgres
    if (isWarm && this.#phase === 'delegating') this.#phase = 'draining'
    if (!isWarm && this.#phase === 'local') this.#phase = 'delegating'
  }

  /** What is too large for a compute waits for its own slot, which reads pages as it needs them. */
  async #delegateWhatFits(asked: StateQuery, phases: Phases): Promise<RemoteServed> {
    try {
      return await this.#delegate(asked, phases)
    } catch (error) {
      if (!(error instanceof PgnapError && error.code === 'DATABASE_TOO_LARGE')) throw error
      await phases.measure('warm', async () => this.#warming)
      if (this.#phase === 'draining') {
        await phases.measure('drain', () => (this.#turningLocal ??= this.#turnLocal()))
      }
      if (this.#phase !== 'local') throw error
      return this.#runHere(asked, phases)
    }
  }

  async #delegate({ home, ...asked }: StateQuery, phases: Phases): Promise<RemoteServed> {
    this.#underWay++
    try {
      const { state } = await phases.measure('store', () => this.#home())
      const served = await askRemote(phases, 'compute', () =>
        this.env.COMPUTE.query({ ...asked, home, hint: state.stamp }),
      )
      this.#ran.compute++
      return { ...served, phases: [] }
    } finally {
      this.#underWay--
      if (this.#underWay === 0) this.#drained.resolve()
      this.#warm()
    }
  }

  /** Not before the first answer: to make a slot takes the thread that would have to write it. */
  #warm(): void {
    if (this.#phase !== 'delegating') return
    this.#phase = 'warming'
    const warming = async (): Promise<void> => {
      await new Promise<void>((resolve) => workerClock.nextTurn(resolve))
      await this.#postgres.prepare()
      this.#phase = 'draining'
    }
    this.#warming = warming().catch((error: unknown) => {
      consoleLog.error('an object has no Postgres of its own', { error })
      this.#phase = 'delegating'
    })
    this.ctx.waitUntil(this.#warming)
  }

  async #turnLocal(): Promise<void> {
    try {
      while (this.#underWay > 0) {
        this.#drained = Promise.withResolvers()
        await this.#drained.promise
      }
      // What was acknowledged elsewhere comes first; until it has come, others go on.
      if (!(await this.#flush())) return
      this.#store?.close()
      this.#store = undefined
      this.#phase = 'local'
    } finally {
      this.#turningLocal = undefined
    }
  }

  /** True: nothing is acknowledged that is not here, as far as can be known. */
  #flush(): Promise<boolean> {
    return this.#alarm.ring({
      has: async (order) => (await this.#home()).has(order),
      flush: (order) => heard(this.env.COMPUTE.flush(order)),
    })
  }

  async #runHere({ home, statement }: StateQuery, phases: Phases): Promise<RemoteServed> {
    const { result, timings } = await this.#postgres.run(home.tenant, statement, phases)
    this.#ran.local++
    const notes = { wokenFrom: timings.wokenFrom }
    return { result, servedBy: 'tenant-object', notes, phases: [] }
  }

  /** @throws PgnapError STORE_FENCED when it does everything by itself */
  async #home(): Promise<HomeStore> {
    engine ??= await heard(this.env.COMPUTE.engine())
    if (this.#phase === 'local') throw fenced('its object runs it by itself now')
    return (this.#store ??= new HomeStore(this.ctx.storage, engine))
  }
}
