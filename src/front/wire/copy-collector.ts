/**
 * The data of one COPY FROM STDIN message on its way: collected while the client sends, handed over
 * in one piece when the statement can run. A Query may hold several COPYs; a client sends the data
 * of each only after it was asked, so they are collected one after the other.
 *
 * Data is kept in the pieces it came in, small ones together, and never moved until the end.
 * Beyond LIMITS.copyBytesMax it is let go at once and the COPY fails the way Postgres lets a client
 * fail it, so that a transaction around it ends up failed and not half filled.
 */
import { assert } from '../../base/assert.ts'
import { PgnapError } from '../../base/errors.ts'
import { type HeldBytes, shareOfOne } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkHead } from './batch-scanner.ts'
import { type CopyPlan, type CopyShape, planBytes } from './copy-plan.ts'
import { FRAME_HEAD_BYTES, FRONTEND, copyBytes, int32At } from './frame.ts'
import { MessageWriter } from './message-writer.ts'

const NOTHING = new Uint8Array(0)
/**
 * Pieces below a quarter of this are kept in blocks of so much: an array for each would take two
 * hundred bytes, and a client may send five at a time.
 */
const BLOCK_BYTES = 16_384

/**
 * What the last `collect` came to:
 *   more        the client has more to send
 *   next        this COPY has its data; the client is to be asked for the next one's
 *   done        everything is there, or the client or a limit has failed the COPY
 *   terminate   the client leaves
 *   violation   a message that has no place here; `error` says which
 */
export type CopyOutcome = 'more' | 'next' | 'done' | 'terminate' | 'violation'

export interface CopyCollectorOptions {
  /** The Query or Execute message that begins the COPY; kept, so the caller's own copy. */
  readonly head: Uint8Array
  readonly plan: CopyPlan
  /** Most bytes kept. Default LIMITS.copyBytesMax. */
  readonly bytesMax?: number
}

/**
 * What one COPY may have where so much may be `held` of all clients: the COPY is to fail, and not
 * the connection, if it alone is too much.
 */
export function copyBytesMax(held: HeldBytes | undefined): number {
  return held ? Math.min(LIMITS.copyBytesMax, shareOfOne(held.bytesMax)) : LIMITS.copyBytesMax
}

/** The message that fails a COPY. Outside of one, a backend ignores it. */
export function copyFail(reason: string): Uint8Array {
  return new MessageWriter().begin(FRONTEND.copyFail).string(reason).end().copy()
}

export class CopyCollector {
  /** The COPY came in a Query: its answer ends in ReadyForQuery without a Sync. */
  readonly simple: boolean
  readonly head: Uint8Array
  readonly #shapes: readonly CopyShape[]
  readonly #bytesMax: number
  #chunks: Uint8Array[] = []
  /** What comes behind the chunks is in the front of this. */
  #block: Uint8Array = NOTHING
  #blockEnd = 0
  /** Where the chunks of the current COPY begin: those before belong to COPYs that are whole. */
  #chunkStart = 0
  #bytes = 0
  #copyIndex = 0
  outcome: CopyOutcome = 'more'
  error: PgnapError | undefined

  constructor(options: CopyCollectorOptions) {
    this.head = options.head
    this.simple = options.head[0] === FRONTEND.query
    this.#shapes = options.plan.shapes
    this.#bytesMax = options.bytesMax ?? LIMITS.copyBytesMax
  }

  /** Of the statement, of the data that has come, and of what was there before it. */
  get keptBytes(): number {
    return this.head.length + planBytes(this.#shapes) + this.#bytes
  }

  /** The COPY whose data is expected. */
  get shape(): CopyShape {
    const shape = this.#shapes[this.#copyIndex]
    assert(shape, 'there is a COPY that waits for data')
    return shape
  }

  /** Takes whole messages of [start, end); the offset after the last one taken. */
  collect(bytes: Uint8Array, start: number, end: number): number {
    this.outcome = 'more'
    let at = start
    let dataStart = start
    while (this.outcome === 'more' && end - at >= FRAME_HEAD_BYTES) {
      const type = bytes[at] as number
      const length = int32At(bytes, at + 1)
      this.error = checkHead(type, length)
      if (this.error) {
        this.outcome = 'violation'
        break
      }
      const next = at + 1 + length
      if (next > end) break
      at = next
      if (type === FRONTEND.copyData) continue
      if (!this.#keep(bytes, dataStart, next - length - 1)) return next - length - 1
      dataStart = next
      this.#control(type, bytes.subarray(next - length - 1, next))
    }
    this.#keep(bytes, dataStart, at)
    return at
  }

  /** The statement with all its data. Gives up the memory; call once. */
  messages(): Uint8Array {
    this.#endBlock()
    const chunks = this.#chunks
    let length = this.head.length
    for (const chunk of chunks) length += chunk.length
    const whole = new Uint8Array(length)
    whole.set(this.head)
    let at = this.head.length
    for (const [index, chunk] of chunks.entries()) {
      whole.set(chunk, at)
      at += chunk.length
      // Let go one by one, so that a large copy does not stand in memory twice.
      chunks[index] = NOTHING
    }
    this.#chunks = []
    return whole
  }

  #control(type: number, message: Uint8Array): void {
    switch (type) {
      case FRONTEND.copyDone:
        this.#append(message)
        this.#endBlock()
        this.#chunkStart = this.#chunks.length
        this.#copyIndex++
        this.outcome = this.#copyIndex < this.#shapes.length ? 'next' : 'done'
        return
      case FRONTEND.copyFail:
        this.#fail(copyBytes(message))
        return
      case FRONTEND.flush:
      case FRONTEND.sync:
        // A client that executes a COPY like any other statement has sent these before it knew.
        return
      case FRONTEND.terminate:
        this.outcome = 'terminate'
        return
      default:
        this.error = new PgnapError(
          'PROTOCOL_VIOLATION',
          `unexpected message type ${hex(type)} during COPY from stdin`,
        )
        this.outcome = 'violation'
    }
  }

  /** False if the limit is passed: the COPY is over then. */
  #keep(bytes: Uint8Array, start: number, end: number): boolean {
    if (start === end) return true
    this.#bytes += end - start
    if (this.#bytes <= this.#bytesMax) {
      this.#append(bytes.subarray(start, end))
      return true
    }
    const limit = `it may have ${this.#bytesMax} bytes (copyBytesMax, --client-memory)`
    this.#fail(copyFail(`the data of one COPY is too large: ${limit}; copy in several parts`))
    return false
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length > this.#block.length - this.#blockEnd) {
      this.#endBlock()
      if (bytes.length * 4 > BLOCK_BYTES) {
        this.#chunks.push(copyBytes(bytes))
        return
      }
      this.#block = new Uint8Array(BLOCK_BYTES)
    }
    this.#block.set(bytes, this.#blockEnd)
    this.#blockEnd += bytes.length
  }

  #endBlock(): void {
    const [block, end] = [this.#block, this.#blockEnd]
    const isFull = end * 2 > BLOCK_BYTES
    if (end > 0) this.#chunks.push(isFull ? block.subarray(0, end) : block.slice(0, end))
    this.#block = NOTHING
    this.#blockEnd = 0
  }

  /** The statement runs only to fail in its right place: what this COPY had is not needed. */
  #fail(message: Uint8Array): void {
    this.#endBlock()
    this.#chunks.length = this.#chunkStart
    this.#chunks.push(message)
    this.outcome = 'done'
  }
}

function hex(type: number): string {
  return `0x${type.toString(16).toUpperCase().padStart(2, '0')}`
}
