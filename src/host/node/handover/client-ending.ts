/**
 * Finding out, while a shard's thread is held by a statement, whether the statement's client is
 * still there. The thread that reads its socket cannot look, so the main thread does, through its
 * own descriptor of the same connection, without reading.
 *
 * A client that has ended its side may still read (`printf ... | nc`), or may have gone: TCP looks
 * the same for both. Whoever has gone answers the next byte with a reset, which shows at once, or
 * by the failure of the byte after it. So it is sent a message that means nothing, twice and then
 * seldom; who is there reads over it.
 */
import type { Clock } from '../../../base/clock.ts'
import { loadPoll, POLL } from './poll.ts'

/** What is known without sending anything. */
export type Ending =
  | 'open'
  /** The client sends nothing any more. */
  | 'half'
  /** The connection is broken: it also reads nothing. */
  | 'whole'

export type AskEnding = (descriptor: number) => Ending

/** How often a client that has ended its side is asked, and the pause after that. */
const QUESTIONS = 2
const ASK_AGAIN_MS = 10_000

/** Undefined: a client's end shows when its statement has ended. */
export function loadAskEnding(): AskEnding | undefined {
  const poll = loadPoll()
  if (!poll) return undefined
  return (descriptor) => {
    const [bits = 0] = poll([descriptor], POLL.readHangUp)
    if ((bits & (POLL.error | POLL.hangUp)) !== 0) return 'whole'
    return (bits & POLL.readHangUp) === 0 ? 'open' : 'half'
  }
}

/** Of one client: when it may be asked for a sign of life. */
export class LifeQuestion {
  readonly #clock: Clock
  #count = 0
  #sinceMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether to ask now; true is taken for done. */
  isDue(): boolean {
    const nowMs = this.#clock.monotonicMs()
    if (this.#count === QUESTIONS && nowMs - this.#sinceMs >= ASK_AGAIN_MS) this.#count = 0
    if (this.#count === QUESTIONS) return false
    this.#count++
    this.#sinceMs = nowMs
    return true
  }
}
