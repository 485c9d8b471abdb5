/**
 * The object of `/traditional`: a tenant with a slot of its own, whose code is bound when the
 * Worker starts. Nothing is shared between tenants but the compiled code, so each of them that is
 * in memory costs an isolate a whole slot, and every object that is made anew makes one (seed 001,
 * "Consumer DO").
 *
 * An isolate has room for two or three. There is no budget here that could refuse the next one: how
 * many there are is what its status tells.
 */
import { DurableObject } from 'cloudflare:workers'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import { Phases } from '../../../base/phases.ts'
import type { SyncDelayFacts } from '../../../base/sync-delay.ts'
import type { Slot } from '../../../engine/engine.ts'
import type { WasmSlot } from '../../../engine/wasm-slot.ts'
import type { Statement } from '../../../front/control.ts'
import type { Pool } from '../../../pool/pool.ts'
import { Call } from '../../call.ts'
import { workerClock } from '../clock.ts'
import { DIRECTORY_NAME } from '../environment.ts'
import { theIsolate } from '../isolate.ts'
import { fetchTemplate, keepTemplate } from '../kept-templates.ts'
import { type Outcome, outcomeOf } from '../outcome.ts'
import { tenantPool } from '../tenant-pool.ts'
import { TenantStorage } from '../tenant-storage.ts'
import type { RemoteServed } from './architecture.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { poolPhases } from './remote.ts'

export interface TraditionalFacts {
  /** Whether Postgres runs in this object now. */
  readonly isWarm: boolean
  readonly slotBytes: number
  readonly storeBytes: number
  /** Of this isolate: slots of all objects of this kind that it has in memory. */
  readonly isolate: { readonly liveSlots: number; readonly slotBytes: number }
  /** Since this object was made. */
  readonly requests: number
  readonly syncDelay: SyncDelayFacts
}

/** Of objects that have gone they are gone with the next collection. */
const liveSlots = new Set<WeakRef<WasmSlot>>()

export class TraditionalObject extends DurableObject<ArchitecturesEnvironment> {
  readonly #storage: TenantStorage
  #pool: Pool | undefined
  #slot: WasmSlot | undefined
  /** Of the slot that was made for the request that is under way. */
  #instantiateMs = 0
  #requests = 0

  constructor(context: DurableObjectState, environment: ArchitecturesEnvironment) {
    super(context, environment)
    this.#storage = new TenantStorage(context.storage, true)
  }

  query(tenant: TenantName, statement: Statement): Promise<Outcome<RemoteServed>> {
    return outcomeOf(() => this.#query(tenant, statement))
  }

  /** The same in an object that nobody will use again: all of it is removed. */
  queryOnce(tenant: TenantName, statement: Statement): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      try {
        return await this.#query(tenant, statement)
      } finally {
        await this.#remove(tenant)
      }
    })
  }

  facts(): Promise<Outcome<TraditionalFacts>> {
    return outcomeOf(async () => {
      const live = [...liveSlots].map((slot) => slot.deref()).filter((slot) => slot !== undefined)
      return {
        isWarm: this.#slot !== undefined,
        slotBytes: this.#slot?.memoryBytes ?? 0,
        storeBytes: this.ctx.storage.sql.databaseSize,
        isolate: {
          liveSlots: live.length,
          slotBytes: live.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
        },
        requests: this.#requests,
        syncDelay: this.#thePool().statistics().syncDelay,
      }
    })
  }

  async #query(tenant: TenantName, statement: Statement): Promise<RemoteServed> {
    const phases = new Phases(workerClock)
    this.#requests++
    const isCold = this.#slot === undefined
    // What the isolate unpacks once for all of them.
    phases.measureSync('engine', theIsolate)
    await phases.measure('template', () => this.#haveTemplate())
    this.#instantiateMs = 0
    const client = this.#thePool().connect(tenant)
    const ended = phases.begin('run')
    try {
      const asked = { ...statement, answerBytesMax: LIMITS.isolateAnswerBytesMax }
      const { result, timings } = await new Call(client, 0).statement(asked)
      const instantiateMs = this.#instantiateMs
      phases.include([{ name: 'instantiate', ms: instantiateMs }])
      phases.include(
        poolPhases({ ...timings, queueMs: Math.max(0, timings.queueMs - instantiateMs) }),
      )
      ended()
      const notes = { wokenFrom: timings.wokenFrom, isCold }
      return { result, servedBy: 'tenant-object', phases: phases.times(), notes }
    } finally {
      client.close()
    }
  }

  /** The store may stand on another build's template, and a new one's has to be kept. */
  async #haveTemplate(): Promise<void> {
    if (this.#slot) return
    const directory = this.env.DIRECTORY.getByName(DIRECTORY_NAME)
    const templateId = this.#storage.templateId()
    if (templateId === undefined) await keepTemplate(directory)
    else await fetchTemplate(templateId, directory)
  }

  #thePool(): Pool {
    const createSlot = async (): Promise<Slot> => {
      const startMs = workerClock.monotonicMs()
      const slot = await theIsolate().engine.createSlot()
      this.#instantiateMs = workerClock.monotonicMs() - startMs
      this.#slot = slot
      liveSlots.add(new WeakRef(slot))
      return slot
    }
    return (this.#pool ??= tenantPool({ source: this.#storage, clock: workerClock, createSlot }))
  }

  async #remove(tenant: TenantName): Promise<void> {
    await this.#thePool().expel(tenant, new PgnapError('TENANT_UNKNOWN', 'it was for one request'))
    await this.#storage.remove()
    this.#slot = undefined
    this.#pool = undefined
  }
}
