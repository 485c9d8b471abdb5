/**
 * The consumer's own object: its store and a Postgres of its own, for comparing with the factory.
 */
import { DurableObject } from 'cloudflare:workers'
import type { TenantName } from '../../../base/ids.ts'
import { Phases } from '../../../base/phases.ts'
import type { Statement } from '../../../front/control.ts'
import { workerClock } from '../clock.ts'
import { type Outcome, outcomeOf } from '../outcome.ts'
import type { RemoteServed } from './architecture.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { OwnPostgres } from './own-postgres.ts'

export interface ConsumerQuery {
  readonly tenant: TenantName
  readonly statement: Statement
}

export class ConsumerObject extends DurableObject<ArchitecturesEnvironment> {
  readonly #postgres = new OwnPostgres(this.ctx, this.env)

  query({ tenant, statement }: ConsumerQuery): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      const phases = new Phases(workerClock)
      const { result, timings } = await this.#postgres.run(tenant, statement, phases)
      const notes = { wokenFrom: timings.wokenFrom }
      return { result, servedBy: 'consumer-object', notes, phases: phases.times() }
    })
  }

  /** In an object that nobody will ask again: nothing of it is left. */
  async coldQuery(asked: ConsumerQuery): Promise<Outcome<RemoteServed>> {
    try {
      return await this.query(asked)
    } finally {
      this.#postgres.end()
      await this.ctx.storage.deleteAll()
    }
  }
}
