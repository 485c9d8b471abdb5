/**
 * The factory Worker: a Worker in front of one compute object that is kept warm, for other Workers
 * to ask over a service binding. It has no address of its own.
 */
import { WorkerEntrypoint } from 'cloudflare:workers'
import type { Outcome } from '../outcome.ts'
import type { RemoteServed } from './architecture.ts'
import type { ComputeRequest } from './compute.ts'
import type { ComputeObjectFacts } from './compute-object.ts'
import type { ArchitecturesEnvironment } from './environment.ts'

/** The one that everybody is served by. */
const FACTORY_NAME = 'factory'

export class Factory extends WorkerEntrypoint<ArchitecturesEnvironment> {
  /** Whether it is there; the object behind it is not asked. */
  async ping(): Promise<'pong'> {
    return 'pong'
  }

  query(request: ComputeRequest): Promise<Outcome<RemoteServed>> {
    return passedOn(this.#object.query(request))
  }

  /** In an object that was never there before. */
  coldQuery(request: ComputeRequest): Promise<Outcome<RemoteServed>> {
    const { COMPUTES } = this.env
    return passedOn(COMPUTES.get(COMPUTES.newUniqueId()).coldQuery(request))
  }

  warmUp(): Promise<Outcome<ComputeObjectFacts>> {
    return passedOn(this.#object.warmUp())
  }

  facts(): Promise<Outcome<ComputeObjectFacts>> {
    return passedOn(this.#object.facts())
  }

  get #object(): ReturnType<ArchitecturesEnvironment['COMPUTES']['getByName']> {
    return this.env.COMPUTES.getByName(FACTORY_NAME)
  }
}

/** What one call has brought, as the result of another: a copy, since the first one is let go. */
async function passedOn<Result>(
  call: Promise<Outcome<Result> & Disposable>,
): Promise<Outcome<Result>> {
  using outcome = await call
  return 'error' in outcome ? { error: outcome.error } : { result: outcome.result }
}
