/** The number that a client of a tenant goes by as its process id. */
import type { SessionOwner } from './tenant-channels.ts'

/** A call over HTTP is known by a negative number, and no process is. */
export function processIdOf({ number }: SessionOwner): number {
  return Math.abs(number)
}
