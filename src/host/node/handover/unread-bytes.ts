/**
 * Whether anybody has said something that nobody has read yet, asked of the kernel for all
 * connections of a shard in one call. While the shard's thread is held by one statement it reads
 * nothing, so whatever is unread waits for that statement.
 *
 * A client that has ended its side is passed over: the end itself counts as unread for ever, and a
 * connection that has gone waits for nothing.
 */
import { loadPoll, POLL } from './poll.ts'

/** Whether any of these has unread bytes. */
export type AskUnread = (descriptors: readonly number[]) => boolean

const ENDED = POLL.error | POLL.hangUp | POLL.invalid | POLL.readHangUp

/** Undefined: nobody can tell who waits. */
export function loadAskUnread(): AskUnread | undefined {
  const poll = loadPoll()
  if (!poll) return undefined
  return (descriptors) => {
    if (descriptors.length === 0) return false
    const found = poll(descriptors, POLL.in | POLL.readHangUp)
    return found.some((bits) => (bits & POLL.in) !== 0 && (bits & ENDED) === 0)
  }
}
