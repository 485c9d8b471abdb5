/** How much there is in a session: less than everything is put aside, or forgotten, sooner. */
import type { BackendSession, SessionRemains } from '../engine/session-memory.ts'

/**
 * Whether a session has nothing that the next one could find but, it may be, an unnamed statement:
 * as most that ask something over HTTP, or once. To forget all of it takes as long as a select.
 */
export function hasOnlyAsked(session: BackendSession): boolean {
  if (!isOnlySettings(session) || session.settings.size > 0) return false
  const { sequences, lastSequence } = session.frame
  return session.channels.length === 0 && sequences === 0 && lastSequence === 0
}

/** Where the catalog cannot be asked, whoever may have temporary tables has some. */
export function isOnlySettings(remains: SessionRemains): boolean {
  const { preparedCount, holdsOn, holdsLocks, mayHaveTemporaryTables } = remains
  return preparedCount === 0 && !holdsOn && !holdsLocks && !mayHaveTemporaryTables
}
