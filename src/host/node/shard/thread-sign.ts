/**
 * What a shard's thread is doing, where the main thread can see it while the shard's own is held by
 * a statement: four shared integers.
 *
 *     batches   counts up when a batch begins and when it ends: odd while one runs
 *     slot      in which it runs
 *     shared    1 while clients of more than one tenant are connected to the shard
 *     canceled  the batch that the main thread has asked Postgres to cancel
 *
 * A statement may hold the thread for as long as it likes while that keeps nobody waiting. When
 * other tenants have clients in the shard it has `neighbourWaitMs`. Then it is cancelled through
 * Postgres's own flags, and its client is told why, in our words instead of Postgres's.
 */
import type { Clock, Timer } from '../../../base/clock.ts'
import { ERRORS, PgnapError } from '../../../base/errors.ts'
import { BACKEND, frameEnd } from '../../../front/wire/frame.ts'
import { readAnswer } from '../../../front/wire/result.ts'
import { errorResponse } from '../../../front/wire/server-messages.ts'
import { concatBytes } from '../../../base/bytes.ts'

const BATCHES = 0
const SLOT = 1
const SHARED = 2
const CANCELED = 3
const CELL_COUNT = 4

/** How often the main thread looks; more often if the limit is short. */
const LOOK_EVERY_MS = 1_000
/** Looks within the limit: by so much a statement may exceed it. */
const LOOKS_MIN = 4

/** The shard's end. */
export class ThreadSign {
  readonly #cells: Int32Array
  readonly #limitMs: number
  #number = 0

  /** @param memory from {@link ThreadSign.allocate} */
  constructor(memory: SharedArrayBuffer, limitMs: number) {
    this.#cells = new Int32Array(memory)
    this.#limitMs = limitMs
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(CELL_COUNT * Int32Array.BYTES_PER_ELEMENT)
  }

  set shared(shared: boolean) {
    Atomics.store(this.#cells, SHARED, shared ? 1 : 0)
  }

  /** A batch begins. */
  begin(slotNo: number): void {
    this.#cells[SLOT] = slotNo
    this.#number = Atomics.add(this.#cells, BATCHES, 1) + 1
  }

  /** Its answer; it says why if the batch was cancelled for its neighbours' sake. */
  answered(answer: Uint8Array): Uint8Array {
    return this.#cells[CANCELED] === this.#number ? explained(answer, this.#limitMs) : answer
  }

  /** It has ended, one way or the other. */
  end(): void {
    Atomics.add(this.#cells, BATCHES, 1)
  }
}

export interface ThreadWatchOptions {
  readonly memory: SharedArrayBuffer
  /** 0: nobody is ever cancelled. */
  readonly limitMs: number
  readonly clock: Clock
  /** Cancels what runs in a slot. */
  readonly cancel: (slotNo: number) => void
}

/** The main thread's end. */
export class ThreadWatch {
  readonly #options: ThreadWatchOptions
  readonly #cells: Int32Array
  #seen = 0
  #sinceMs = 0
  #timer: Timer | undefined

  constructor(options: ThreadWatchOptions) {
    this.#options = options
    this.#cells = new Int32Array(options.memory)
    if (options.limitMs > 0) this.#look()
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #look(): void {
    const { clock, limitMs } = this.#options
    const lookMs = Math.min(LOOK_EVERY_MS, limitMs / LOOKS_MIN)
    this.#timer = clock.setTimer(lookMs, () => this.#look())
    const nowMs = clock.monotonicMs()
    const batches = Atomics.load(this.#cells, BATCHES)
    const alone = Atomics.load(this.#cells, SHARED) === 0
    if (batches !== this.#seen || batches % 2 === 0 || alone) {
      this.#seen = batches
      this.#sinceMs = nowMs
    } else if (nowMs - this.#sinceMs >= limitMs) {
      // Again at every look: a function may catch a cancel and go on.
      Atomics.store(this.#cells, CANCELED, batches)
      this.#options.cancel(this.#cells[SLOT] ?? 0)
    }
  }
}

/** `answer` with Postgres's word of a cancel replaced by ours. */
function explained(answer: Uint8Array, limitMs: number): Uint8Array {
  const parts: Uint8Array[] = []
  for (let at = 0; at < answer.length;) {
    const end = frameEnd(answer, at, answer.length)
    if (end < 0) return answer
    const frame = answer.subarray(at, end)
    parts.push(answer[at] === BACKEND.errorResponse && isCancel(frame) ? told(limitMs) : frame)
    at = end
  }
  return concatBytes(parts)
}

function isCancel(frame: Uint8Array): boolean {
  return readAnswer(frame).error?.sqlState === ERRORS.STATEMENT_CANCELED.sqlState
}

function told(limitMs: number): Uint8Array {
  const error = new PgnapError(
    'STATEMENT_CANCELED',
    'canceling statement because it kept other tenants waiting',
    {
      detail: `it held a thread that it shares with other tenants for ${limitMs} ms`,
      hint: 'split it up, or raise --neighbour-wait-timeout (0: no limit) or --shards',
    },
  )
  return errorResponse(error, 'ERROR')
}
