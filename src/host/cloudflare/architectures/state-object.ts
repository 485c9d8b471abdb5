/**
 * A tenant without Postgres: an object that has its store, and answers computes that load from it
 * and write to it (`src/replica/home.ts`). It needs no engine, no slot and no WebAssembly, so it is
 * up at once and has room for nothing but its pages.
 *
 * `/thin` asks it, and it asks the compute Worker, telling what it has: a compute that has the same
 * needs no call back. `/factory` and `/ws` ask their compute, which finds it here.
 */
import { DurableObject } from 'cloudflare:workers'
import { Phases } from '../../../base/phases.ts'
import type { Statement } from '../../../front/control.ts'
import type { Delivery, FetchRequest, HomeState, Receipt, Slice } from '../../../replica/home.ts'
import { readMeta } from '../../../store/schema.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { DurableSqliteMedium } from '../durable-sqlite-medium.ts'
import { heard, type Outcome, outcomeOf } from '../outcome.ts'
import type { RemoteServed } from './architecture.ts'
import type { EngineFacts, FlushOrder, HomeAddress, HomeCalls } from './compute.ts'
import type { Strategies } from './compute-pool.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { FlushAlarm } from './flush-alarm.ts'
import { HomeStore } from './home-store.ts'
import { askRemote } from './remote.ts'

export interface StateQuery extends Strategies {
  /** This object. */
  readonly home: HomeAddress
  readonly statement: Statement
  readonly staleAllowed: boolean
}

export interface StateFacts {
  readonly exists: boolean
  readonly storeBytes: number
  readonly home: HomeState | undefined
}

let engine: EngineFacts | undefined

export class StateObject extends DurableObject<ArchitecturesEnvironment> implements HomeCalls {
  readonly #alarm = new FlushAlarm(this.ctx.storage, workerClock, consoleLog)
  #home: HomeStore | undefined

  query(asked: StateQuery): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      const phases = new Phases(workerClock)
      const { state } = await phases.measure('store', () => this.#open())
      const served = await askRemote(phases, 'compute', () =>
        this.env.COMPUTE.query({ ...asked, hint: state.stamp }),
      )
      return { ...served, phases: phases.times() }
    })
  }

  fetchRows(request: FetchRequest): Promise<Outcome<Slice>> {
    return outcomeOf(async () => (await this.#open()).fetch(request))
  }

  deliver(delivery: Delivery): Promise<Outcome<Receipt>> {
    return outcomeOf(async () => (await this.#open()).deliver(delivery))
  }

  flushWithin(delayMs: number, order: FlushOrder): Promise<void> {
    return this.#alarm.set(delayMs, order)
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring({
      has: async (order) => (await this.#open()).has(order),
      flush: (order) => heard(this.env.COMPUTE.flush(order)),
    })
  }

  facts(): Promise<Outcome<StateFacts>> {
    return outcomeOf(async () => {
      const exists = readMeta(new DurableSqliteMedium(this.ctx.storage)) !== undefined
      const home = exists ? (await this.#open()).state : undefined
      return { exists, storeBytes: this.ctx.storage.sql.databaseSize, home }
    })
  }

  /** Of a new store the compute says what engine it is for; afterwards the store says it. */
  async #open(): Promise<HomeStore> {
    if (this.#home) return this.#home
    engine ??= await heard(this.env.COMPUTE.engine())
    // Another request may have opened it while this one waited: two would fence each other.
    this.#home ??= new HomeStore(this.ctx.storage, engine)
    return this.#home
  }
}
