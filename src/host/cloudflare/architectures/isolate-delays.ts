/** How long loading and saving takes in this isolate, by who does it; see sync-delay.ts. */
import { type SyncDelayFacts, SyncDelayMonitor } from '../../../base/sync-delay.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'

const monitors = new Map<string, SyncDelayMonitor>()

/** That of an architecture, or of computes, in this isolate. */
export function delaysOf(place: string): SyncDelayMonitor {
  const known = monitors.get(place)
  if (known) return known
  const made = new SyncDelayMonitor({ clock: workerClock, log: consoleLog })
  monitors.set(place, made)
  return made
}

/** Of all that have loaded or saved something in this isolate. */
export function allDelays(): Readonly<Record<string, SyncDelayFacts>> {
  return Object.fromEntries(Array.from(monitors, ([name, monitor]) => [name, monitor.facts()]))
}
