/**
 * Interrupting a running query from another thread, through Postgres's own flags.
 *
 * The module exports the addresses of `InterruptPending` and `QueryCancelPending`. Its memory is
 * shared, so any thread may store 1 there; the next CHECK_FOR_INTERRUPTS() raises SQLSTATE 57014
 * and the backend stays usable. Where memory cannot be shared (Workers) only the own thread can do
 * it.
 */

/** Where the flags of one slot live. Can be posted to another thread if the memory is shared. */
export interface CancelFlags {
  readonly memory: WebAssembly.Memory
  readonly interruptPendingAt: number
  readonly queryCancelPendingAt: number
}

/** The same, and what tells that it is time to raise them. */
export interface InterruptFlags extends CancelFlags {
  /** All of Postgres's timeouts; see `timeout-memory.ts`. */
  readonly timeoutTableAt: number
  /** A byte: Postgres reads what it is to run, and would forget a cancel. */
  readonly commandReadAt: number
}

/**
 * Asks the backend to cancel what it runs; a backend that runs nothing ignores it at its next
 * query.
 */
export function requestCancel(flags: CancelFlags): void {
  const words = new Int32Array(flags.memory.buffer)
  // The cause first, then the flag that makes Postgres look for causes.
  Atomics.store(words, flags.queryCancelPendingAt >> 2, 1)
  Atomics.store(words, flags.interruptPendingAt >> 2, 1)
}

/** Makes the backend look for causes, of which there need be none; it may pause then. */
export function requestLook({ memory, interruptPendingAt }: CancelFlags): void {
  Atomics.store(new Int32Array(memory.buffer), interruptPendingAt >> 2, 1)
}

/** Whether nobody has taken note of a cancel yet. */
export function isCancelPending({ memory, queryCancelPendingAt }: CancelFlags): boolean {
  return Atomics.load(new Int32Array(memory.buffer), queryCancelPendingAt >> 2) !== 0
}

/** Whether a cancel would be forgotten: what runs has to be read first. */
export function isReadingCommand({ memory, commandReadAt }: InterruptFlags): boolean {
  return new Uint8Array(memory.buffer)[commandReadAt] !== 0
}

/**
 * Takes back what {@link requestCancel} asked for, if nobody has taken note of it. Postgres will
 * look for a cause and find none.
 */
export function withdrawCancel(flags: CancelFlags): void {
  Atomics.store(new Int32Array(flags.memory.buffer), flags.queryCancelPendingAt >> 2, 0)
}
