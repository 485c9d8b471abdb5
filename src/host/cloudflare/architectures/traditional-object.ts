/**
 * The object of `/traditional`: a tenant with a Postgres of its own, whose code is bound when the
 * Worker starts (seed 002; `own-postgres.ts`). Tenants share compiled code and nothing else: each
 * one in memory costs a whole slot, of which an isolate has room for a few, and who finds none
 * makes one, for which another tenant's ends.
 */
import { DurableObject } from 'cloudflare:workers'
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import { Phases } from '../../../base/phases.ts'
import type { SyncDelayFacts } from '../../../base/sync-delay.ts'
import type { Statement } from '../../../front/control.ts'
import { workerClock } from '../clock.ts'
import { type Outcome, outcomeOf } from '../outcome.ts'
import { existsIn } from '../tenant-storage.ts'
import type { RemoteServed } from './architecture.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { OwnPostgres } from './own-postgres.ts'
import { ownSlot, ownSlotCount } from './own-slots.ts'

export interface TraditionalFacts {
  /** Whether it has a slot now. */
  readonly isWarm: boolean
  readonly slotBytes: number
  readonly exists: boolean
  readonly storeBytes: number
  /** Slots of objects that have their own, of this isolate, and as many it has room for. */
  readonly isolate: { readonly slots: number; readonly slotsMax: number }
  /** Since this object was made. */
  readonly requests: number
  /** Of what is in memory; undefined if nothing is. */
  readonly syncDelay: SyncDelayFacts | undefined
}

export class TraditionalObject extends DurableObject<ArchitecturesEnvironment> {
  readonly #postgres = new OwnPostgres(this.ctx, this.env)
  #requests = 0

  query(tenant: TenantName, statement: Statement): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      const phases = new Phases(workerClock)
      this.#requests++
      const isCold = !this.#postgres.isWarm
      const asked = { ...statement, answerBytesMax: LIMITS.isolateAnswerBytesMax }
      const { result, timings } = await this.#postgres.run(tenant, asked, phases)
      const notes = { wokenFrom: timings.wokenFrom, isCold }
      return { result, servedBy: 'tenant-object', phases: phases.times(), notes }
    })
  }

  /** The same in an object that nobody will use again: nothing of it is left. */
  async queryOnce(tenant: TenantName, statement: Statement): Promise<Outcome<RemoteServed>> {
    try {
      return await this.query(tenant, statement)
    } finally {
      this.#postgres.end()
      await this.ctx.storage.deleteAll()
    }
  }

  facts(): Promise<Outcome<TraditionalFacts>> {
    return outcomeOf(async () => ({
      isWarm: this.#postgres.isWarm,
      slotBytes: ownSlot(this.ctx.id.toString())?.slotBytes ?? 0,
      exists: existsIn(this.ctx.storage),
      storeBytes: this.ctx.storage.sql.databaseSize,
      isolate: { slots: ownSlotCount(), slotsMax: LIMITS.isolateOwnSlotsMax },
      requests: this.#requests,
      syncDelay: this.#postgres.syncDelay,
    }))
  }
}
