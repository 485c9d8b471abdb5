/**
 * Cuts a client's stream into batches: whole messages up to the last one that makes a backend
 * answer (Query, Sync, Flush, FunctionCall). A batch is what is run at once, and answered at once.
 *
 * Of what a client has sent ahead, some goes with it. A pipeline is not run as one piece, because
 * others may want the thread in between, and because a quick query would wait for the answer to a
 * slow one behind it. Which are slow nobody knows before. So a client's pipelines begin with pieces
 * of one query, which double as long as they are quick.
 *
 * It remembers how far it has looked, so that a stream in small pieces is looked at once. It
 * reports what it meets as a `stop` and decides nothing. Lengths are checked as soon as they can be
 * read: what a client only claims is never waited for.
 */
import type { Clock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { CopyPlan, CopyWatch } from './copy-plan.ts'
import { FRAME_HEAD_BYTES, FRONTEND, frameEnd, int32At } from './frame.ts'

/**
 * Why the scan ended:
 *   more        the next message is not whole yet
 *   terminate   the next message is Terminate
 *   copy        the next message begins COPY FROM STDIN; `plan` says which
 *   copy-rest   the next message belongs to a COPY that is over; it is skipped
 *   violation   the next bytes are no message; `error` says why
 */
export type ScanStop = 'more' | 'terminate' | 'copy' | 'copy-rest' | 'violation'

/** How a message takes part in a batch. 0 stands for a type that does not exist. */
const Role = { within: 1, ready: 2, flush: 3, copyRest: 4, terminate: 5 } as const

const ROLES = new Uint8Array(256)
const SMALL = new Uint8Array(256)
for (const type of ['parse', 'bind', 'describe', 'execute', 'close'] as const) {
  ROLES[FRONTEND[type]] = Role.within
}
for (const type of ['query', 'sync', 'functionCall'] as const) ROLES[FRONTEND[type]] = Role.ready
for (const type of ['copyData', 'copyDone', 'copyFail'] as const) {
  ROLES[FRONTEND[type]] = Role.copyRest
}
ROLES[FRONTEND.flush] = Role.flush
ROLES[FRONTEND.terminate] = Role.terminate
for (const type of ['close', 'describe', 'execute', 'flush', 'sync', 'terminate'] as const) {
  SMALL[FRONTEND[type]] = 1
}
for (const type of ['copyDone', 'copyFail'] as const) SMALL[FRONTEND[type]] = 1

export class BatchScanner {
  readonly #watch: CopyWatch
  readonly #clock: Pick<Clock, 'monotonicMs'>
  /** Bytes of whole messages looked at and not yet taken. */
  scannedBytes = 0
  /** Bytes up to the end of the last message that makes a backend answer; 0 if there is none. */
  batchBytes = 0
  /**
   * No extended message has come since the last Sync: the batch ends in Sync, Query or
   * FunctionCall, or in a Flush behind one of those, as libpq's pipelines send it, which asks for
   * nothing. After an error in an extended message the backend skips everything up to Sync: given
   * to another client in that state, it would skip that client's query, without an answer.
   */
  batchComplete = false
  /** ReadyForQuery messages that the batch will be answered with. */
  readyCount = 0
  stop: ScanStop = 'more'
  plan: CopyPlan | undefined
  error: PgnapError | undefined
  /** An extended message has come since the last Sync. */
  #unsynced = false
  /** Queries of a pipeline that may be one batch now. */
  #queriesMax = 1
  /** The batch has as many, and more is there. */
  #isCut = false
  /** When the batch in flight was taken; undefined if nothing can be learnt from it. */
  #takenMs: number | undefined

  constructor(watch: CopyWatch, clock: Pick<Clock, 'monotonicMs'>) {
    this.#watch = watch
    this.#clock = clock
  }

  /**
   * Looks on in `bytes`, whose untaken messages begin at `start`. Never throws.
   * @param one whether the batch is to end with the first message that makes a backend answer
   */
  scan(bytes: Uint8Array, start: number, end: number, one = false): void {
    this.stop = 'more'
    this.#isCut = false
    const queriesMax = this.#queriesMax
    let at = start + this.scannedBytes
    while (end - at >= FRAME_HEAD_BYTES) {
      const type = bytes[at] as number
      const length = int32At(bytes, at + 1)
      const role = ROLES[type] as number
      // A Flush behind its last Sync belongs to the batch.
      if (this.batchBytes > 0 && (one || this.readyCount >= queriesMax) && role !== Role.flush) {
        this.#isCut = !one
        break
      }
      this.error = checkHead(type, length)
      if (this.error) {
        this.stop = 'violation'
        break
      }
      const next = at + 1 + length
      if (next > end) break
      if (role >= Role.copyRest) {
        this.stop = role === Role.terminate ? 'terminate' : 'copy-rest'
        break
      }
      if (type !== FRONTEND.sync && this.#beginsCopy(type, bytes, at, next)) break
      at = next
      if (role === Role.within) this.#unsynced = true
      else if (type === FRONTEND.sync) this.#unsynced = false
      if (role === Role.within) continue
      this.batchBytes = at - start
      this.batchComplete = !this.#unsynced
      if (role === Role.ready) this.readyCount++
    }
    this.scannedBytes = at - start
  }

  /** Forgets the first `count` bytes: they were taken as a batch. */
  take(count: number): void {
    const says = this.#isCut || this.readyCount > 1
    this.#takenMs = says ? this.#clock.monotonicMs() : undefined
    this.scannedBytes -= count
    this.batchBytes = 0
    this.batchComplete = false
    this.readyCount = 0
  }

  /** The batch that was taken last has its answer. */
  answered(): void {
    if (this.#takenMs === undefined) return
    const isSlow = this.#clock.monotonicMs() - this.#takenMs > LIMITS.pieceQuickMs
    this.#takenMs = undefined
    if (isSlow) this.#queriesMax = 1
    else if (this.#isCut) this.#queriesMax = Math.min(LIMITS.batchQueriesMax, this.#queriesMax * 2)
  }

  /** A Sync was passed over by somebody else. */
  synced(): void {
    this.#unsynced = false
  }

  #beginsCopy(type: number, bytes: Uint8Array, at: number, next: number): boolean {
    try {
      this.plan = this.#watch.inspect(type, bytes, at + FRAME_HEAD_BYTES, next)
    } catch (error) {
      if (!(error instanceof PgnapError)) throw error
      this.error = error
      this.stop = 'violation'
      return true
    }
    if (!this.plan) return false
    this.stop = 'copy'
    return true
  }
}

/** What is wrong with the head of a message, if something is. */
export function checkHead(type: number, length: number): PgnapError | undefined {
  if (ROLES[type] === 0) {
    return new PgnapError('PROTOCOL_VIOLATION', `invalid frontend message type ${type}`)
  }
  if (length < 4) return new PgnapError('PROTOCOL_VIOLATION', 'invalid message length')
  const bytesMax = SMALL[type] === 1 ? LIMITS.smallMessageBytesMax : LIMITS.messageBytesMax
  if (length <= bytesMax) return undefined
  return new PgnapError('MESSAGE_TOO_LARGE', `a message of ${length} bytes is too large`, {
    hint: `send less at once: the limit of this message is ${bytesMax} bytes`,
  })
}

/** The part of a batch behind its first message that is answered with ReadyForQuery. */
export function behindFirst(batch: Uint8Array): Uint8Array {
  let at = 0
  while (at < batch.length) {
    const role = ROLES[batch[at] as number]
    at = frameEnd(batch, at, batch.length)
    if (role === Role.ready) break
  }
  return batch.subarray(at)
}

/**
 * Passes over a client's messages from `start` to the next Sync, and that too.
 * @returns where what has not been passed over begins, and what was met, if not only messages
 */
export function passToSync(
  bytes: Uint8Array,
  start: number,
): { readonly end: number; readonly met?: 'sync' | 'terminate' | PgnapError } {
  let at = start
  while (bytes.length - at >= FRAME_HEAD_BYTES) {
    const type = bytes[at] as number
    const error = checkHead(type, int32At(bytes, at + 1))
    if (error) return { end: at, met: error }
    const next = frameEnd(bytes, at, bytes.length)
    if (next < 0) break
    if (type === FRONTEND.terminate) return { end: next, met: 'terminate' }
    at = next
    if (type === FRONTEND.sync) return { end: at, met: 'sync' }
  }
  return { end: at }
}
