/**
 * A batch that only prepares (Parse, then Sync) and has waited for another client for
 * `earlyParseMs` is answered before it is done, which is when its turn comes. A program that keeps
 * several connections from one thread, such as pgbench, prepares on one while it is in a
 * transaction on another, and waits for the answer: a server has a backend for each and answers;
 * with one for all it would wait for itself.
 *
 * What is promised too early is kept or told: if the statement cannot be prepared after all, its
 * error is the answer to the client's next batch, which has not been begun then. If it was only the
 * wait that ended (a cancel request, a limit of time), it is prepared with whatever comes next:
 * clients that were told that a statement is there will not say it again.
 */
import { concatBytes } from '../../base/bytes.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { BackendClient } from '../../router/gateway.ts'
import { BACKEND, FRONTEND, copyBytes, findFrame, frameEnd } from './frame.ts'
import { readyForQuery } from './server-messages.ts'

const PARSE_COMPLETE: Uint8Array = new Uint8Array([0x31, 0, 0, 0, 4])
const NOTHING: Uint8Array = new Uint8Array(0)
/** Batches whose every frame would have to be looked at are no such ones. */
const PARSES_MAX = 16

export interface EarlyParseOptions {
  readonly client: Pick<BackendClient, 'transactionStatus' | 'waitingSinceMs'>
  readonly clock: Pick<Clock, 'setTimer'>
  readonly send: (answer: Uint8Array) => void
}

export class EarlyParse {
  readonly #options: EarlyParseOptions
  #timer: Timer | undefined
  #pending = false
  /** What is in flight, if it is such a batch. */
  #promised: Uint8Array = NOTHING
  /** Batches whose wait has ended in vain, to be run before the next one. */
  #owed: Uint8Array = NOTHING
  #broken: Uint8Array | undefined

  constructor(options: EarlyParseOptions) {
    this.#options = options
  }

  /** The batch in flight has been answered. */
  get pending(): boolean {
    return this.#pending
  }

  /** What is kept of batches that have been answered, or may be. */
  get keptBytes(): number {
    return this.#promised.length + this.#owed.length + (this.#broken?.length ?? 0)
  }

  /** A batch is in flight. If it waits, and only prepares, it is answered after a while. */
  promise(messages: Uint8Array): void {
    const { client, clock, send } = this.#options
    if (client.waitingSinceMs === undefined) return
    const answer = earlyAnswer(messages, client.transactionStatus)
    if (!answer || this.#owed.length + messages.length > LIMITS.pipelineBytesMax) return
    this.#promised = copyBytes(messages)
    this.#timer = clock.setTimer(LIMITS.earlyParseMs, () => {
      if (client.waitingSinceMs === undefined) return
      this.#pending = true
      send(answer)
    })
  }

  close(): void {
    this.#timer?.cancel()
  }

  /** What is to be run for a batch of the client. */
  before(messages: Uint8Array): Uint8Array {
    return this.#owed.length > 0 ? concatBytes([this.#owed, messages]) : messages
  }

  /** The part of the backend's answer to {@link before} that is the client's. */
  behind(answer: Uint8Array): Uint8Array {
    const owed = this.#owed
    this.#owed = NOTHING
    let at = 0
    for (let from = 0; from < owed.length; from = frameEnd(owed, from, owed.length)) {
      if (owed[from] === FRONTEND.sync) at = endOfReady(answer, at)
    }
    return at > 0 ? answer.subarray(at) : answer
  }

  /** The batch in flight has not been run. @returns as {@link answered} */
  failed(error: Uint8Array): boolean {
    if (!this.#pending) return this.answered(error)
    this.#owed = concatBytes([this.#owed, this.#promised])
    return this.answered(error)
  }

  /**
   * What the backend has answered in the end, or who was to pass the batch on.
   * @returns whether the client has had its answer, so that it is not to be told
   */
  answered(answer: Uint8Array): boolean {
    this.#timer?.cancel()
    this.#promised = NOTHING
    if (!this.#pending) return false
    this.#pending = false
    const at = findFrame(answer, BACKEND.errorResponse)
    if (at >= 0) this.#broken = copyBytes(answer, at, frameEnd(answer, at, answer.length))
    return true
  }

  /** The error that the next batch is answered instead of being run. */
  takeBroken(): Uint8Array | undefined {
    const broken = this.#broken
    this.#broken = undefined
    return broken
  }
}

/** Where the next ReadyForQuery from `start` on ends. */
function endOfReady(answer: Uint8Array, start: number): number {
  let at = start
  for (;;) {
    const end = frameEnd(answer, at, answer.length)
    if (end < 0) return start
    if (answer[at] === BACKEND.readyForQuery) return end
    at = end
  }
}

/** The answer to a batch that only prepares; undefined if it does anything else. */
function earlyAnswer(
  messages: Uint8Array,
  status: BackendClient['transactionStatus'],
): Uint8Array | undefined {
  // Only the backend knows that nothing can be prepared in it.
  if (status === 'failed') return undefined
  const answers: Uint8Array[] = []
  for (let at = 0; at < messages.length && answers.length <= PARSES_MAX;) {
    const end = frameEnd(messages, at, messages.length)
    if (end < 0) break
    const isLast = end === messages.length
    if (isLast && messages[at] === FRONTEND.sync && answers.length > 0) {
      return concatBytes([...answers, readyForQuery(status)])
    }
    if (messages[at] !== FRONTEND.parse) break
    answers.push(PARSE_COMPLETE)
    at = end
  }
  return undefined
}
