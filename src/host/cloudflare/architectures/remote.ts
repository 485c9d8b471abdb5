/** Calls between the objects and Workers of the comparison: outcomes with phases. */
import type { Phases, PhaseTime } from '../../../base/phases.ts'
import type { Timings } from '../../../front/control.ts'
import { done, type Outcome } from '../outcome.ts'
import type { RemoteServed, Served } from './architecture.ts'

/**
 * Asks another one; what it has measured is included, and what is left of the time is the way there
 * and back, the phase `name`. Throws what the other one has failed with.
 */
export function askRemote(
  phases: Phases,
  name: string,
  ask: () => Promise<Outcome<RemoteServed>>,
): Promise<Served> {
  return phases.measure(name, async () => {
    const { phases: theirs, ...served } = await done(ask())
    phases.include(theirs)
    return served
  })
}

/** The timings that a pool tells of a request, as phases. */
export function poolPhases(timings: Omit<Timings, 'routeMs' | 'wokenFrom'>): PhaseTime[] {
  const { queueMs, wakeMs, executeMs, persistMs } = timings
  return [
    { name: 'queue', ms: queueMs },
    { name: 'wake', ms: wakeMs },
    { name: 'execute', ms: executeMs },
    { name: 'persist', ms: persistMs },
  ]
}
