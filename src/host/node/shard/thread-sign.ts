/**
 * What a shard's thread is doing, where the main thread can see it while the shard's own is held by
 * a statement: a few shared integers, and the rule by which the main thread interrupts a batch
 * without ever hitting the next one.
 *
 *     batches       counts up when a batch begins and when it ends: odd while one runs; modulo
 *                   2^32, and below zero for half of the time
 *     slot, client  in which it runs, and for whom
 *     begunByte     where it begins in what that client has sent; modulo 2^32, as the next one
 *     spentWish     the last cancel request of that client that the shard has made use of
 *     wishes        1 while the main thread knows of cancel requests that are not done with
 *     shared        1 while clients of more than one tenant are connected to the shard
 *     patience      of upkeep that runs: ms that somebody may wait for it, and 1; else 0
 *     waited        1 while somebody waits for a turn that the shard knows of
 *     interrupting  1 while the main thread raises the flags of the batch that it has seen
 *     pauses        how often the batch that runs has paused
 *     pauseWanted   the batch that is to pause, at Postgres's next look for interrupts
 *     away          how many batches of the shard have paused and not gone on yet
 *     canceled      that batch, and why it was cancelled: by which cancel request, if it was one
 *
 * The main thread says `interrupting`, then looks whether its batch still runs; the shard says that
 * the batch has ended, then looks whether somebody is interrupting, waits for that, and takes
 * back what came too late. One of the two always sees the other (Dekker), so a cancel that was
 * meant for one client never meets another.
 *
 * A batch that pauses is off these books until it goes on, under another number: what was meant for
 * it stays in its slot, where nothing else runs.
 *
 * Why a statement was cancelled Postgres knows if a client asked or its own timeout passed. For the
 * other reasons the words are ours.
 */
import { concatBytes } from '../../../base/bytes.ts'
import { ERRORS, PgnapError } from '../../../base/errors.ts'
import { type InterruptFlags, withdrawCancel } from '../../../engine/interrupts.ts'
import { noteStatementTimeout } from '../../../engine/timeout-memory.ts'
import { BACKEND, frameEnd } from '../../../front/wire/frame.ts'
import { readAnswer } from '../../../front/wire/result.ts'
import { errorResponse } from '../../../base/error-message.ts'
import type { UpkeepSign } from '../../../pool/upkeep-patience.ts'

/** Places of the integers. */
export const SIGN = {
  batches: 0,
  slot: 1,
  client: 2,
  shared: 3,
  interrupting: 4,
  canceled: 5,
  reason: 6,
  begunByte: 7,
  spentWish: 8,
  wish: 9,
  wishes: 10,
  patience: 11,
  pauses: 12,
  pauseWanted: 13,
  away: 14,
  waited: 15,
} as const

/** Why a batch was cancelled. */
export const REASON = { known: 0, neighbours: 1, transaction: 2, upkeep: 3 } as const

/** Whether the count of batches says that one runs. */
export function isRunning(batches: number): boolean {
  return (batches & 1) === 1
}

/** Cells of a {@link ThreadSign}, for both threads. */
export function allocateSign(): SharedArrayBuffer {
  return new SharedArrayBuffer(Object.keys(SIGN).length * Int32Array.BYTES_PER_ELEMENT)
}

/** Of a client's batch, see above. */
export interface BatchPlace {
  readonly begunByte: number
  readonly spentWish: number
}

/** What fits a cell. */
const PATIENCE_MS_MAX = 2 ** 31 - 2

/** What is known of a batch that has paused. */
export interface PausedBatch {
  readonly slotNo: number
  readonly client: number
  readonly place: BatchPlace
  readonly wish: number
  readonly pauses: number
  /** Why it was cancelled, if it was. */
  readonly reason: number | undefined
}

const NO_PLACE: BatchPlace = { begunByte: 0, spentWish: 0 }

/** The shard's end. */
export class ThreadSign implements UpkeepSign {
  readonly #cells: Int32Array
  readonly #neighbourWaitMs: number
  #number = 0
  #isOn = false

  /** @param memory from {@link allocateSign} */
  constructor(memory: SharedArrayBuffer, neighbourWaitMs: number) {
    this.#cells = new Int32Array(memory)
    this.#neighbourWaitMs = neighbourWaitMs
  }

  set shared(shared: boolean) {
    Atomics.store(this.#cells, SIGN.shared, shared ? 1 : 0)
  }

  set waited(isWaited: boolean) {
    Atomics.store(this.#cells, SIGN.waited, isWaited ? 1 : 0)
  }

  /** Whether a cancel request may be about what comes next. */
  get hasWishes(): boolean {
    return Atomics.load(this.#cells, SIGN.wishes) === 1
  }

  /** What begins next is upkeep; see {@link UpkeepSign}. */
  beginUpkeep(patienceMs: number): void {
    const wholeMs = Math.min(Math.ceil(patienceMs), PATIENCE_MS_MAX)
    Atomics.store(this.#cells, SIGN.patience, wholeMs + 1)
  }

  endUpkeep(): boolean {
    Atomics.store(this.#cells, SIGN.patience, 0)
    return this.#wasCanceled && this.#cells[SIGN.reason] === REASON.upkeep
  }

  /** A batch begins. @param client its number, 0 if nobody can ask for it to be cancelled */
  begin(slotNo: number, client: number, place: BatchPlace = NO_PLACE): void {
    // What has trapped after a pause is heard of a moment later.
    this.#stop()
    this.#say(slotNo, client, place)
    this.#cells[SIGN.wish] = 0
    this.#cells[SIGN.pauses] = 0
    this.#isOn = true
    this.#number = Atomics.add(this.#cells, SIGN.batches, 1) + 1
  }

  #say(slotNo: number, client: number, place: BatchPlace): void {
    this.#cells[SIGN.slot] = slotNo
    this.#cells[SIGN.client] = client
    this.#cells[SIGN.begunByte] = place.begunByte
    this.#cells[SIGN.spentWish] = place.spentWish
  }

  /** Whether what runs is to pause. */
  get wantsPause(): boolean {
    return Atomics.load(this.#cells, SIGN.pauseWanted) === this.#number
  }

  /** It pauses. */
  pause(): PausedBatch {
    this.#stop()
    const cells = this.#cells
    Atomics.add(cells, SIGN.away, 1)
    return {
      slotNo: cells[SIGN.slot] ?? 0,
      client: cells[SIGN.client] ?? 0,
      place: { begunByte: cells[SIGN.begunByte] ?? 0, spentWish: cells[SIGN.spentWish] ?? 0 },
      wish: cells[SIGN.wish] ?? 0,
      pauses: (cells[SIGN.pauses] ?? 0) + 1,
      reason: this.#wasCanceled ? cells[SIGN.reason] : undefined,
    }
  }

  /** It goes on. */
  goOn({ slotNo, client, place, wish, pauses, reason }: PausedBatch): void {
    this.#stop()
    const cells = this.#cells
    this.#say(slotNo, client, place)
    cells[SIGN.wish] = wish
    cells[SIGN.pauses] = pauses
    Atomics.sub(cells, SIGN.away, 1)
    const number = Atomics.load(cells, SIGN.batches) + 1
    if (reason !== undefined) {
      cells[SIGN.reason] = reason
      Atomics.store(cells, SIGN.canceled, number)
    }
    this.#isOn = true
    this.#number = number
    Atomics.store(cells, SIGN.batches, number)
  }

  /** Its answer; it says why the batch was cancelled, if Postgres does not know the reason. */
  answered(answer: Uint8Array): Uint8Array {
    if (!this.#wasCanceled) return answer
    const reason = this.#cells[SIGN.reason]
    if (reason === REASON.neighbours) return explained(answer, keptOthers(this.#neighbourWaitMs))
    // As in a server, where it ends the session.
    return reason === REASON.transaction ? explained(answer, tookTooLong(), 'FATAL') : answer
  }

  /**
   * It has ended, one way or the other; nothing that was meant for it stays in its slot.
   * @returns the number of the cancel request that was about it; 0 if there was none
   */
  end(flags: InterruptFlags): number {
    this.#stop()
    if (!this.#wasCanceled) return 0
    withdrawCancel(flags)
    noteStatementTimeout(flags, false)
    return this.#cells[SIGN.wish] ?? 0
  }

  /** Nothing runs; whoever was about to interrupt it has done so. */
  #stop(): void {
    if (!this.#isOn) return
    this.#isOn = false
    Atomics.add(this.#cells, SIGN.batches, 1)
    while (Atomics.load(this.#cells, SIGN.interrupting) === 1) {
      Atomics.wait(this.#cells, SIGN.interrupting, 1)
    }
  }

  get #wasCanceled(): boolean {
    return Atomics.load(this.#cells, SIGN.canceled) === this.#number
  }
}

/** `answer` with Postgres's word of a cancel replaced by ours. */
function explained(
  answer: Uint8Array,
  error: PgnapError,
  severity: 'ERROR' | 'FATAL' = 'ERROR',
): Uint8Array {
  const told = errorResponse(error, severity)
  const parts: Uint8Array[] = []
  for (let at = 0; at < answer.length;) {
    const end = frameEnd(answer, at, answer.length)
    if (end < 0) return answer
    const frame = answer.subarray(at, end)
    parts.push(answer[at] === BACKEND.errorResponse && isCancel(frame) ? told : frame)
    at = end
  }
  return concatBytes(parts)
}

function isCancel(frame: Uint8Array): boolean {
  return readAnswer(frame).error?.sqlState === ERRORS.STATEMENT_CANCELED.sqlState
}

function keptOthers(limitMs: number): PgnapError {
  return new PgnapError(
    'STATEMENT_CANCELED',
    'canceling statement because it kept other tenants waiting',
    {
      detail: `it held a thread that it shares with other tenants for ${limitMs} ms`,
      hint: 'split it up, or raise --neighbour-wait-timeout (0: no limit) or --shards',
    },
  )
}

function tookTooLong(): PgnapError {
  return new PgnapError('TRANSACTION_TIMEOUT', 'terminating connection due to transaction timeout')
}
