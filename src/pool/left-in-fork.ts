/**
 * What a batch has done to its client's session in a fork, but for its settings: statements that it
 * has prepared, closed and forgotten, sequences, and channels that it does not listen to any more.
 * Those are the doings of a pool of connections that makes a session as new (DISCARD ALL), which
 * nobody else can see, and so it need not wait for the backend.
 */
import type { Forgotten } from '../engine/write-watch.ts'
import type { Slot } from '../engine/engine.ts'
import { ASCII, type ForgottenWhole } from './owed-statements.ts'
import { type SaidStatements, saidIn } from './reading-batch.ts'
import { listen } from './tenant-channels.ts'

export interface LeftInFork {
  /** What it has prepared and closed. */
  readonly said: SaidStatements
  /** What it has forgotten besides. */
  readonly forgotten: ForgottenWhole
  /** Channels that it has said UNLISTEN to. */
  readonly unheard: ReadonlySet<string>
}

/**
 * @param forgotten what Postgres was told to forget; that it was done shows in the session
 * @param listened the fork's channels before the batch
 * @returns undefined: it cannot be told, or not in which order
 */
export function leftInFork(
  slot: Slot,
  { messages, answer }: { readonly messages: Uint8Array; readonly answer: Uint8Array },
  { names, allStatements, sequences }: Forgotten,
  listened: readonly string[],
): LeftInFork | undefined {
  const said = saidIn(messages, answer)
  if (!said) return undefined
  const named = [...said.keys()].filter((name) => name !== '')
  const isForgotten = allStatements || names.length > 0
  // What is closed and made by messages and what by SQL are told apart, and so their order is lost.
  if (isForgotten && named.length > 0) return undefined
  // Postgres says them in its own encoding, the client in another.
  if (!names.every((name) => ASCII.test(name))) return undefined
  // In a transaction DISCARD ALL is refused.
  if (allStatements && slot.session.preparedCount > 0) return undefined
  if (sequences && slot.session.frame.sequences !== 0) return undefined
  for (const name of names) said.set(name, undefined)
  const now = new Set(slot.session.channels)
  const unheard = new Set(listened.filter((channel) => !now.has(channel)))
  return { said, forgotten: { allStatements, sequences }, unheard }
}

/** Whether there is nothing but what has become of the unnamed statement. */
export function isNothingLeft({ said, forgotten, unheard }: LeftInFork): boolean {
  const { allStatements, sequences } = forgotten
  if (allStatements || sequences || unheard.size > 0) return false
  return [...said.keys()].every((name) => name === '')
}

/** The fork listens for all clients, as the backend does. Throws what the slot throws. */
export function hearAgain(slot: Slot, { unheard }: LeftInFork): void {
  for (const channel of unheard) listen(slot, channel)
}
