/**
 * One tenant: a Durable Object that has its store in its own storage, and a pool of its own over
 * the slot that all objects of the isolate share (`isolate.ts`).
 *
 * What an object does for a request, from taking the slot to the commit, is synchronous, so that no
 * other object comes in between; only then it answers, and the platform holds the answer back until
 * the commit is durable. Timers, waiting requests and upkeep are the pool's, and so this object's:
 * nothing here ever happens in another object's name.
 *
 * Losing the object loses nothing that was acknowledged. Losing the isolate loses images, which are
 * a cache.
 */
import { DurableObject } from 'cloudflare:workers'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { LentSlot } from '../../engine/lent-slot.ts'
import type {
  Answer,
  Batch,
  BatchAnswer,
  Statement,
  StoreFacts,
  TenantState,
} from '../../front/control.ts'
import type { PoolClient } from '../../pool/pool-client.ts'
import { Pool } from '../../pool/pool.ts'
import { parseTenantName } from '../../router/tenant-name.ts'
import { Call } from '../call.ts'
import { STATE_OF_PHASE } from '../pool-facts.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'
import { DIRECTORY_NAME, type Environment } from './environment.ts'
import { Incarnation } from './incarnation.ts'
import { theIsolate } from './isolate.ts'
import type { IsolateFacts } from './isolate-facts.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import { PreparedClient } from './prepared-client.ts'
import { TenantStorage } from './tenant-storage.ts'

/** What is known of one tenant. */
export interface TenantStanding extends StoreFacts {
  readonly state: TenantState
  readonly clients: number
}

export class TenantObject extends DurableObject<Environment> {
  readonly #storage: TenantStorage
  readonly #createOnConnect: boolean
  readonly #incarnation: Incarnation
  #pool: Pool | undefined
  /** What the pool has for its slot. */
  #lent: LentSlot | undefined

  constructor(context: DurableObjectState, environment: Environment) {
    super(context, environment)
    this.#createOnConnect = environment.PGNAP_CREATE_ON_CONNECT !== 'false'
    this.#incarnation = new Incarnation(context.id.toString(), (tenant) =>
      this.#pool?.resting.handOver(tenant),
    )
    const { images } = this.#incarnation
    this.#storage = new TenantStorage(context.storage, this.#createOnConnect, images)
  }

  query(tenant: string, statement: Statement): Promise<Outcome<Answer>> {
    return this.#called(tenant, (call) => call.statement(within(statement)))
  }

  transaction(tenant: string, batch: Batch): Promise<Outcome<BatchAnswer>> {
    return this.#called(tenant, (call) => call.transaction(within(batch)))
  }

  create(tenant: string): Promise<Outcome<TenantStanding>> {
    return outcomeOf(async () => {
      const name = parseTenantName(tenant)
      await this.#enter(name)
      this.#storage.create(name)
      return this.#standing(name)
    })
  }

  /** Sends its clients away, and removes it with all its data. */
  remove(tenant: string): Promise<Outcome<void>> {
    return outcomeOf(async () => {
      const name = parseTenantName(tenant)
      this.#storage.facts(name)
      await this.#pool?.expel(
        name,
        new PgnapError('TENANT_UNKNOWN', `database "${name}" has been deleted`, {
          hint: 'connecting again makes a new, empty one',
        }),
      )
      this.#pool = undefined
      await this.#storage.remove()
      await this.#directory.remove(name)
    })
  }

  /** Writes a checkpoint and lets go of the slot: the next request finds nothing to recover. */
  nap(tenant: string): Promise<Outcome<TenantStanding>> {
    return outcomeOf(async () => {
      const name = parseTenantName(tenant)
      const standing = this.#standing(name)
      await theIsolate().share.prepare(this.#lent)
      this.#pool?.nap(name)
      return { ...standing, ...this.#phase(name) }
    })
  }

  wake(tenant: string): Promise<Outcome<TenantStanding>> {
    return outcomeOf(async () => {
      const name = parseTenantName(tenant)
      this.#storage.facts(name)
      await theIsolate().share.prepare(this.#lent)
      await this.#poolOf().wake(name)
      return this.#standing(name)
    })
  }

  standing(tenant: string): Promise<Outcome<TenantStanding>> {
    return outcomeOf(async () => this.#standing(parseTenantName(tenant)))
  }

  /** With how full the isolate is in which this object lives. */
  show(tenant: string): Promise<Outcome<TenantStanding & { readonly isolate: IsolateFacts }>> {
    return outcomeOf(async () => ({
      ...this.#standing(parseTenantName(tenant)),
      isolate: isolateFacts(),
    }))
  }

  #called<Result>(tenant: string, ask: (call: Call) => Promise<Result>): Promise<Outcome<Result>> {
    return outcomeOf(async () => {
      const name = parseTenantName(tenant)
      if (this.#createOnConnect && !this.#pool) await this.#enter(name)
      const call = new Call(this.#connect(name), 0)
      try {
        return await ask(call)
      } finally {
        call.close()
      }
    })
  }

  /** Listed before it exists, so that nothing exists that is not listed. */
  async #enter(tenant: TenantName): Promise<void> {
    if (!this.#storage.exists()) await this.#directory.add(tenant)
  }

  #connect(tenant: TenantName): PoolClient {
    const pool = this.#poolOf()
    if (pool.clientCount >= LIMITS.connectionsPerTenantMax) {
      throw new PgnapError('CONNECTIONS_EXHAUSTED', `too many connections for "${tenant}"`, {
        detail: `at most ${LIMITS.connectionsPerTenantMax} connections to one database`,
        hint: 'close idle connections, or ask again',
      })
    }
    const { share } = theIsolate()
    return new PreparedClient(pool.connect(tenant), share, () => this.#lent, workerClock)
  }

  #poolOf(): Pool {
    return (this.#pool ??= this.#makePool())
  }

  #makePool(): Pool {
    const { share, engine } = theIsolate()
    const { fingerprint, postgresMajor } = engine
    const createSlot = async (): Promise<LentSlot> => {
      this.#lent = await share.lend(() => this.#incarnation.end())
      this.#incarnation.begin()
      return this.#lent
    }
    return new Pool({
      engine: { fingerprint, postgresMajor, createSlot },
      source: this.#storage,
      clock: workerClock,
      log: consoleLog,
      keepWarm: false,
      // Images are the share's: what leaves by itself leaves for its store.
      imageCacheBytes: 0,
      limits: {
        slotsPerShard: 1,
        spareSlots: 0,
        // A timer would keep the object from being put away by the platform.
        napAfterMs: Number.POSITIVE_INFINITY,
      },
    })
  }

  #standing(tenant: TenantName): TenantStanding {
    return { ...this.#storage.facts(tenant), ...this.#phase(tenant) }
  }

  #phase(tenant: TenantName): Pick<TenantStanding, 'state' | 'clients'> {
    const phase = this.#pool?.phaseOf(tenant) ?? 'cold'
    return { state: STATE_OF_PHASE[phase], clients: this.#pool?.clientCount ?? 0 }
  }

  get #directory(): ReturnType<Environment['DIRECTORY']['getByName']> {
    return this.env.DIRECTORY.getByName(DIRECTORY_NAME)
  }
}

function isolateFacts(): IsolateFacts {
  const { share, memory } = theIsolate()
  const { slotBytes, imageCount, imageBytes, counters } = share
  return { memory, slotBytes, imageCount, imageBytes, counters: { ...counters } }
}

/** With a limit of its answer that fits a call between objects. */
function within<Asked extends { readonly answerBytesMax?: number }>(asked: Asked): Asked {
  const { answerBytesMax = Number.POSITIVE_INFINITY } = asked
  return { ...asked, answerBytesMax: Math.min(answerBytesMax, LIMITS.isolateAnswerBytesMax) }
}
