/**
 * Drives Postgres's main loop inside the module: request bytes in, answer bytes out, nothing
 * parsed but errors (`answer-errors.ts`).
 *
 * Postgres reads through one callback and writes through another; both are JavaScript functions in
 * its function table. One turn of `_PostgresMainLoopOnce` handles one message. An error inside
 * Postgres leaves the loop by a longjmp that surfaces here as an exception with status 100; the
 * module then wants to be told to finish its handling (`_PostgresMainLongJmp`), as `PostgresMain`
 * itself would after sigsetjmp. Every other exception is a wasm trap or an exit and is rethrown:
 * the memory is not to be trusted after it.
 */
import { PgnapError } from '../base/errors.ts'
import { SYNC } from '../base/protocol-message.ts'
import type { FileLimit } from '../store/file-node.ts'
import { explainErrors } from './answer-errors.ts'
import { copyEnd } from './copy-end.ts'
import { type EmscriptenModule, isExitStatus } from './emscripten.ts'
import type { Pausing, Turns } from './pausing.ts'

const STATUS_LONGJMP = 100
const ANSWER_BYTES_INITIAL = 64 * 1024
/** Below this a byte loop beats the call into TypedArray.prototype.set. */
const COPY_LOOP_BYTES_MAX = 64

export interface DriverOptions {
  readonly module: EmscriptenModule
  /** Longest answer kept; beyond it the query is cancelled by `cancel` and `run` throws. */
  readonly answerBytesMax: number
  /** Raises the query cancel flag of the backend. */
  readonly cancel: () => void
  /** Where `DoingCommandRead` lies. Absent: nobody cancels from another thread. */
  readonly commandReadAt?: number
  /** Nothing is left to be said in a run but that Postgres is ready, and what goes with that. */
  readonly beforeReady?: () => void
  /** Which limit its files have met since this was last asked. Default: none. */
  readonly takeMetLimit?: () => FileLimit | undefined
}

/** What is made of the end of a run that has paused, before the thread does anything else. */
export interface LaterEnd {
  ended(answer: Uint8Array): Uint8Array
  failed(error: unknown): unknown
}

export class Driver {
  readonly #module: EmscriptenModule
  readonly #answerBytesMax: number
  readonly #cancel: () => void
  readonly #commandReadAt: number | undefined
  readonly #beforeReady: (() => void) | undefined
  readonly #takeMetLimit: (() => FileLimit | undefined) | undefined
  readonly #readCallback: number
  readonly #writeCallback: number
  #request: Uint8Array = new Uint8Array(0)
  #requestAt = 0
  #answer = new Uint8Array(ANSWER_BYTES_INITIAL)
  #answerBytes = 0
  #overflowed = false
  #errorsRaised = 0
  /** The limit that each error of this run is about, if any. */
  #met: (FileLimit | undefined)[] = []

  constructor(options: DriverOptions) {
    const { module, answerBytesMax, cancel, commandReadAt, beforeReady } = options
    this.#module = module
    this.#answerBytesMax = answerBytesMax
    this.#cancel = cancel
    this.#commandReadAt = commandReadAt
    this.#beforeReady = beforeReady
    this.#takeMetLimit = options.takeMetLimit
    this.#readCallback = module.addFunction(this.#read.bind(this), 'iii')
    this.#writeCallback = module.addFunction(this.#write.bind(this), 'iii')
    this.bind()
  }

  /** Tells Postgres which callbacks to use. Needed again whenever its memory was replaced. */
  bind(): void {
    this.#module._pgl_set_rw_cbs(this.#readCallback, this.#writeCallback)
  }

  /**
   * Runs complete frontend messages. The answer is a view that the next call overwrites.
   * @throws PgnapError ANSWER_TOO_LARGE, or whatever wasm threw (a trap, an exit).
   */
  run(request: Uint8Array): Uint8Array {
    const raisedBefore = this.#begin(request)
    const module = this.#module
    const stackPointer = module.___stack_pointer
    do {
      const stackTop = stackPointer.value
      this.expectCommand()
      try {
        module._PostgresMainLoopOnce()
      } catch (error) {
        this.#recover(error, stackTop)
      }
    } while (this.#isMore)
    return this.#end(raisedBefore)
  }

  /** The same, during which it may pause: then `later` makes something of its end. */
  runPausing(
    request: Uint8Array,
    pausing: Pausing,
    later: LaterEnd,
  ): Uint8Array | Promise<Uint8Array> {
    const raisedBefore = this.#begin(request)
    const goOn = (): Uint8Array | Promise<Uint8Array> => {
      do {
        const stackTop: unknown = this.#module.___stack_pointer.value
        this.expectCommand()
        const turns = pausing.turns(this.#goesOn)
        if (turns instanceof Promise) return turns.then((end) => comeBack(end, stackTop))
        this.#turned(turns, stackTop)
      } while (this.#isMore)
      return this.#end(raisedBefore)
    }
    // In one go from here to the end, or to the next pause: the thread is nobody else's.
    const comeBack = (turns: Turns, stackTop: unknown): Uint8Array | Promise<Uint8Array> => {
      pausing.comeBack()
      let answer: Uint8Array | Promise<Uint8Array>
      try {
        this.#turned(turns, stackTop)
        answer = this.#isMore ? goOn() : this.#end(raisedBefore)
        if (!(answer instanceof Promise)) answer = later.ended(answer)
      } catch (error) {
        throw later.failed(error)
      }
      return answer
    }
    return goOn()
  }

  /**
   * Has Postgres handle an error that `cause` makes it raise outside of any run; what it says of it
   * is nobody's, and what it had read of that run is skipped.
   * @returns whether there was one
   */
  raise(cause: () => void): boolean {
    const stackTop: unknown = this.#module.___stack_pointer.value
    const { errorsRaised } = this
    try {
      cause()
    } catch (error) {
      this.#recover(error, stackTop)
    }
    this.run(SYNC)
    return this.errorsRaised > errorsRaised
  }

  /**
   * Whether Postgres has read nothing yet of what comes after the statement that it is at, but the
   * Sync of the same query.
   */
  get isAtLast(): boolean {
    const unread = Number(this.#module._pq_buffer_remaining_data())
    const at = this.#requestAt - unread
    return (
      unread === 0 ||
      (unread === SYNC.length && SYNC.every((byte, i) => this.#request[at + i] === byte))
    )
  }

  /** How many errors there have been so far. */
  #begin(request: Uint8Array): number {
    this.#request = request
    this.#requestAt = 0
    this.#answerBytes = 0
    this.#overflowed = false
    if (this.#met.length > 0) this.#met = []
    return this.#errorsRaised
  }

  #turned(turns: Turns, stackTop: unknown): void {
    if ('error' in turns) this.#recover(turns.error, stackTop)
  }

  /**
   * Postgres finishes the handling of its own error; anything else is the end. That it cannot be
   * told in the client's encoding is another error, which is told instead; Postgres sees to it that
   * there is an end to that.
   * @param stackTop where the stack pointer was before what threw
   */
  #recover(error: unknown, stackTop: unknown): void {
    for (let raised: unknown = error; raised !== undefined;) {
      this.#module.___stack_pointer.value = stackTop
      if (!isExitStatus(raised) || raised.status !== STATUS_LONGJMP) throw raised
      this.#errorsRaised++
      this.#met.push(this.#takeMetLimit?.())
      raised = undefined
      try {
        this.#module._PostgresMainLongJmp()
      } catch (next) {
        raised = next
      }
    }
  }

  get #isMore(): boolean {
    return this.#requestAt < this.#request.length || this.#module._pq_buffer_remaining_data() > 0
  }

  /** Whether the main loop has another turn. */
  readonly #goesOn = (): boolean => {
    if (!this.#isMore) return false
    this.expectCommand()
    return true
  }

  #end(raisedBefore: number): Uint8Array {
    this.#beforeReady?.()
    this.#module._PostgresSendReadyForQueryIfNecessary()
    this.#module._pgl_pq_flush()
    if (this.#overflowed) this.#throwOverflow()
    if (this.#errorsRaised === raisedBefore) return this.answer
    return explainErrors(this.answer, this.#met)
  }

  /** As Postgres has it when it reads a command, and already before it has come so far. */
  expectCommand(): void {
    if (this.#commandReadAt !== undefined) this.#module.HEAPU8[this.#commandReadAt] = 1
  }

  /** How often an error has ended a message, since the slot was made. */
  get errorsRaised(): number {
    return this.#errorsRaised
  }

  /** What Postgres has answered so far; after a throw of `run`, its last words. */
  get answer(): Uint8Array {
    return this.#answer.subarray(0, this.#answerBytes)
  }

  /** Memory for answers, in bytes. It is as large as the largest so far needed. */
  get bufferBytes(): number {
    return this.#answer.length
  }

  /** Lets go of a large buffer. A view that somebody still has stays good. */
  forgetAnswer(): void {
    this.#answerBytes = 0
    if (this.#answer.length > ANSWER_BYTES_INITIAL) {
      this.#answer = new Uint8Array(ANSWER_BYTES_INITIAL)
    }
  }

  #throwOverflow(): never {
    this.forgetAnswer()
    throw new PgnapError('ANSWER_TOO_LARGE', `answer larger than ${this.#answerBytesMax} bytes`, {
      hint: 'fetch in portions with a cursor or LIMIT; answerBytesMax is in docs/limits.md',
    })
  }

  #read(pointer: number, bytesMax: number): number {
    if (this.#requestAt === this.#request.length) this.#goOn()
    const heap = this.#module.HEAPU8
    const request = this.#request
    const from = this.#requestAt
    const count = Math.min(bytesMax, request.length - from)
    if (count < COPY_LOOP_BYTES_MAX) {
      for (let index = 0; index < count; index++) heap[pointer + index] = request[from + index] ?? 0
    } else {
      heap.set(request.subarray(from, from + count), pointer)
    }
    this.#requestAt = from + count
    return count
  }

  /** Postgres has read everything, and asks for more. */
  #goOn(): void {
    const end = this.#overflowed ? undefined : copyEnd(this.#request, this.answer)
    if (!end) return
    this.#request = end
    this.#requestAt = 0
  }

  #write(pointer: number, count: number): number {
    if (this.#overflowed) return count
    const end = this.#answerBytes + count
    if (end > this.#answerBytesMax) {
      this.#overflowed = true
      this.#cancel()
      return count
    }
    if (end > this.#answer.length) this.#grow(end)
    this.#answer.set(this.#module.HEAPU8.subarray(pointer, pointer + count), this.#answerBytes)
    this.#answerBytes = end
    return count
  }

  #grow(bytesMin: number): void {
    const larger = new Uint8Array(Math.max(this.#answer.length * 2, bytesMin))
    larger.set(this.#answer.subarray(0, this.#answerBytes))
    this.#answer = larger
  }
}
