/**
 * `pg_cancel_backend` and `pg_terminate_backend` among the clients of one tenant, which are one
 * process: there is no other one that kill(2) could reach. Postgres's two functions are replaced in
 * its table of built-in functions, where the engine's build finds them; what the new ones are told
 * for a client of the tenant is the pool's business, for anything else Postgres's own are asked,
 * which know nobody else.
 *
 * A statement that signals itself is interrupted by Postgres's own flags, as by a cancel request.
 * To be terminated it is cancelled, too, and its client sent away behind it: a backend that ends
 * would take the other clients along.
 *
 * Source: Postgres 18, fmgr.h and fmgrtab.h (FunctionCallInfoBaseData, FmgrBuiltin), signalfuncs.c;
 * on a machine with pointers of 32 bits, where an int8 argument is a pointer.
 */
import { argumentAt, type BuiltinFunction, replaceBuiltin } from './builtin-functions.ts'
import type { Instance } from './instance.ts'
import { requestCancel, withdrawCancel } from './interrupts.ts'
import type { Signal, SignalFunctions } from './lent-functions.ts'
import type { MemorySearch } from './memory-search.ts'
import type { SessionFacts } from './session-activity.ts'
import type { BackendSession } from './session-memory.ts'

/** The clients of a tenant, as those that can be signalled and seen by each other. */
export interface SignalReceiver {
  /** All of them. */
  sessions(): readonly SessionFacts[]
  /** Whether a client goes by that process id. */
  has(processId: number): boolean
  /** In the middle of a run: nothing may be done to any slot before the run has ended. */
  send(processId: number, signal: Signal): void
}

const FUNCTIONS: Readonly<Record<Signal, BuiltinFunction>> = {
  cancel: [2171, 'pg_cancel_backend'],
  terminate: [2096, 'pg_terminate_backend'],
}

/**
 * Puts other functions in the place of Postgres's. To be done where Postgres has not started.
 * @param own entries of the function table that are to be called
 * @returns those that were called before
 */
export function replaceSignalFunctions(
  memory: MemorySearch,
  own: SignalFunctions,
): SignalFunctions {
  const replace = (signal: Signal): number => replaceBuiltin(memory, FUNCTIONS[signal], own[signal])
  return { cancel: replace('cancel'), terminate: replace('terminate') }
}

type SignalInstance = Pick<
  Instance,
  'module' | 'functionOf' | 'functionAt' | 'cancelFlags' | 'lent'
>

/** The replaced functions of one slot. */
export class BackendSignals {
  readonly #instance: SignalInstance
  readonly #originals: SignalFunctions
  readonly #session: BackendSession
  /** Undefined: nobody can be signalled. */
  receiver: SignalReceiver | undefined
  #reachedItself = false

  constructor(instance: SignalInstance, originals: SignalFunctions, session: BackendSession) {
    this.#instance = instance
    this.#originals = originals
    this.#session = session
    instance.lent.onSignal = (signal, callAt) => this.#called(signal, callAt)
  }

  /** A run has ended: what a statement has sent itself does not meet the next one. */
  settle(): void {
    if (!this.#reachedItself) return
    this.#reachedItself = false
    withdrawCancel(this.#instance.cancelFlags)
  }

  /** Postgres calls. Throws what wasm throws. @returns a truth value of C */
  #called(signal: Signal, callAt: number): number {
    const { receiver } = this
    const view = new DataView(this.#instance.module.HEAPU8.buffer)
    const processId = view.getInt32(argumentAt(callAt, 0), true)
    const original = (): number =>
      Number(this.#instance.functionAt(this.#originals[signal])(callAt))
    if (signal === 'terminate') {
      const timeoutAt = view.getUint32(argumentAt(callAt, 1), true)
      // Refused, whoever it is for.
      if (view.getBigInt64(timeoutAt, true) < 0n) return original()
    }
    if (!receiver?.has(processId)) return original()
    if (this.#instance.functionOf('superuser')() === 0) return this.#refused(processId, original)
    if (processId === this.#session.processId) {
      this.#reachedItself = true
      requestCancel(this.#instance.cancelFlags)
      // That is all of a cancel.
      if (signal === 'cancel') return 1
    }
    receiver.send(processId, signal)
    return 1
  }

  /** Every client has logged in as a superuser: who is none may not signal it. Postgres says so. */
  #refused(processId: number, original: () => number): number {
    const own = this.#session.processId
    this.#session.processId = processId
    try {
      return original()
    } finally {
      this.#session.processId = own
    }
  }
}
