/**
 * When what a compute has committed may be acknowledged, and how it comes home.
 *
 *     strategy   acknowledged                    if the answer of the home is lost
 *     sync       when the home has it            the client is told that nobody knows (08007)
 *     cdc        when the home has it            brought again, until it is heard
 *     async      at once, within bounds          brought again with the next flush
 *
 * `cdc` is an ordered feed of changes: commits go home in their order, those that gather while one
 * delivery is under way together with the next one, each at least once; the home takes each once.
 * `async` says what it may lose, and to whom: commits that a fence or the end of the isolate keeps
 * from coming home were acknowledged, and are gone. Beyond its bounds an answer waits for a flush.
 */
import { LIMITS } from '../base/limits.ts'

export type WriteName = 'sync' | 'async' | 'cdc'

/** What has been committed here and is not at home. */
export interface Pending {
  readonly commits: number
  readonly bytes: number
  /** When the oldest was made, ms since 1970; undefined if there are none. */
  readonly sinceMs: number | undefined
}

/** What brings commits home. */
export interface DeliveryDesk {
  readonly pending: Pending
  /**
   * Brings all that is pending.
   * @param again whether what was not heard of is brought again, so often and so long as LIMITS say
   */
  deliver(again: boolean): Promise<void>
  /** Sees to it that somebody flushes in so many milliseconds, at the latest. */
  flushWithin(delayMs: number): void
}

export interface WriteStrategy {
  readonly name: WriteName
  /** Whether what was acknowledged may be lost. */
  readonly mayLose: boolean
  /** Something was committed. The promise withholds its answer; undefined: it may leave. */
  committed(desk: DeliveryDesk): Promise<void> | undefined
}

export const WRITE_STRATEGIES: Readonly<Record<WriteName, WriteStrategy>> = {
  sync: { name: 'sync', mayLose: false, committed: (desk) => desk.deliver(false) },
  cdc: { name: 'cdc', mayLose: false, committed: (desk) => desk.deliver(true) },
  async: { name: 'async', mayLose: true, committed: buffer },
}

function buffer(desk: DeliveryDesk): Promise<void> | undefined {
  const { commits, bytes } = desk.pending
  const { bufferedCommitsMax, bufferedBytesMax, flushMs } = LIMITS
  if (commits > bufferedCommitsMax || bytes > bufferedBytesMax) return desk.deliver(true)
  desk.flushWithin(flushMs)
  return undefined
}
