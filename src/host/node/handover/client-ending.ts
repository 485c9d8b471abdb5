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
import { withoutWarning } from './descriptors.ts'

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
/** struct pollfd: descriptor, what is asked for, what is so. */
const POLLFD_BYTES = 8
const EVENTS_AT = 4
const RETURNED_AT = 6
/** Linux's. */
const POLL_ERROR_OR_HANG_UP = 0x08 | 0x10
const POLL_READ_HANG_UP = 0x2000

/** `poll(2)`, where it can tell the one end from the other and this Node can call it. */
export function loadAskEnding(): AskEnding | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const { poll } = withoutWarning(() => process.getBuiltinModule('node:ffi')).dlopen(null, {
      poll: { arguments: ['pointer', 'uint64', 'int32'], return: 'int32' },
    }).functions
    const request = new DataView(new ArrayBuffer(POLLFD_BYTES))
    const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
    return (descriptor) => {
      request.setInt32(0, descriptor, isLittleEndian)
      request.setInt16(EVENTS_AT, POLL_READ_HANG_UP, isLittleEndian)
      request.setInt16(RETURNED_AT, 0, isLittleEndian)
      if (poll(request.buffer, 1n, 0) <= 0) return 'open'
      const returned = request.getInt16(RETURNED_AT, isLittleEndian)
      if ((returned & POLL_ERROR_OR_HANG_UP) !== 0) return 'whole'
      return (returned & POLL_READ_HANG_UP) === 0 ? 'open' : 'half'
    }
  } catch {
    // As with `dup(2)`: a client's end then shows when its statement has ended.
    return undefined
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
