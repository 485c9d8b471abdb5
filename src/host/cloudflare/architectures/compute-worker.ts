/**
 * The compute Worker: Postgres without a store. It is asked over a service binding by whoever has
 * the store of a tenant, or knows who has it, loads what it lacks from there, and answers when what
 * was written is there. All that it keeps is a copy, and can go at any time.
 *
 * Where answers leave before their commits are home (`async`), the request that has made them goes
 * on until they are flushed: only this isolate has them, and no call is sure to reach it. A Worker
 * has no alarms, so the object of the home is asked to see to it that they come all the same.
 */
import { WorkerEntrypoint } from 'cloudflare:workers'
import { type Outcome, outcomeOf } from '../outcome.ts'
import { theIsolate } from '../isolate.ts'
import type { Ahead } from '../../../replica/tenant-replica.ts'
import { Phases } from '../../../base/phases.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import type { RemoteServed } from './architecture.ts'
import { ComputePool, type ComputeFacts } from './compute-pool.ts'
import {
  compute,
  type ComputeRequest,
  engineFacts,
  type EngineFacts,
  type FlushOrder,
  homeCalls,
  reachHome,
  seatKeyOf,
} from './compute.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { delaysOf } from './isolate-delays.ts'

let pool: ComputePool | undefined

/** That of this isolate. */
export function theComputePool(): ComputePool {
  const monitor = delaysOf('compute-worker')
  return (pool ??= new ComputePool({ share: theIsolate().share, monitor }))
}

export class Compute extends WorkerEntrypoint<ArchitecturesEnvironment> {
  query(request: ComputeRequest): Promise<Outcome<RemoteServed>> {
    const { env, ctx } = this
    const { home, load, write } = request
    const flushWithin = (delayMs: number, ahead: Ahead): void => {
      const order = { home, load, write, ...ahead }
      const asking = homeCalls(env, home).flushWithin(delayMs, order)
      // The next commit asks again; until then the answer has said what may be lost.
      ctx.waitUntil(asking.catch((error: unknown) => consoleLog.warn('nobody flushes', { error })))
      const seat = theComputePool().knownSeat(seatKeyOf(home))
      const flushing = seat?.flushLater(reachHome(env, home), delayMs)
      if (!flushing) return
      ctx.waitUntil(
        flushing.catch((error: unknown) =>
          consoleLog.warn('a flush has to be repeated', { error }),
        ),
      )
    }
    const servedBy = 'compute-worker'
    const asked = { ...request, servedBy }
    const waitUntil = (work: Promise<unknown>): void => ctx.waitUntil(work)
    const answer = outcomeOf(() =>
      compute(theComputePool(), env, asked, { flushWithin, waitUntil }),
    )
    // Whoever asked may go away; others wait for their turn, and are not to wait in vain.
    ctx.waitUntil(answer)
    return answer
  }

  /** Brings home what was acknowledged. False: it was not in this isolate. */
  flush({ home, writer }: FlushOrder): Promise<Outcome<boolean>> {
    return outcomeOf(async () => {
      const seat = theComputePool().knownSeat(seatKeyOf(home))
      if (seat?.options.tenant.writer !== writer) return false
      await seat.flush(reachHome(this.env, home), new Phases(workerClock))
      return true
    })
  }

  engine(): Promise<Outcome<EngineFacts>> {
    return outcomeOf(() => engineFacts(this.env))
  }

  /** Has a slot ready, and says how full this isolate is. */
  keepWarm(): Promise<Outcome<ComputeFacts>> {
    return outcomeOf(async () => {
      await theIsolate().share.prepare()
      return theComputePool().facts()
    })
  }

  facts(): Promise<Outcome<ComputeFacts>> {
    return outcomeOf(async () => theComputePool().facts())
  }
}
