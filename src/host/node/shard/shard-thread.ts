/**
 * A thread for a shard, before it is known for which: loading its code takes as long as loading the
 * engine, so the first one is started before anything else, and makes its first slot while the
 * engine's files are still being verified. It serves nobody before it is told which shard it is.
 */
import { Worker } from 'node:worker_threads'
import type { Config } from '../config.ts'
import { forgetDirtyOf, shareDirtyCounts } from '../dirty-count.ts'
import type { EngineCode, EngineParts, Preparer } from '../engine/load-engine.ts'
import { giveBackFor, shareDeepStacks } from '../engine/deep-stack.ts'
import { besideModule } from '../module-url.ts'
import type { ToWorker } from './worker-messages.ts'

/**
 * Stack of a shard's thread. Postgres counts only its own stack (`max_stack_depth`, 2 MB); the
 * frames of the machine are several times as large, and where they end first, the slot is lost
 * instead of the statement. Address space, not memory, until somebody goes as deep.
 */
const STACK_MB = 64

/** Starts a thread. It does not keep the process alive. */
export function startThread(): Worker {
  shareDeepStacks()
  shareDirtyCounts()
  const worker = new Worker(besideModule(import.meta.url, './worker-main'), {
    resourceLimits: { stackSizeMb: STACK_MB },
  })
  // Asked now: who has ended has no number any more.
  const { threadId } = worker
  worker.once('exit', () => {
    giveBackFor(threadId)
    forgetDirtyOf(threadId)
  })
  // A shard that sleeps must not be what keeps a library's process alive.
  worker.unref()
  return worker
}

/** One thread that was started early, for whichever shard is begun first. */
export class EarlyThread implements Preparer {
  #worker: Worker | undefined = startThread()
  readonly #loaded = Promise.withResolvers<void>()
  /** If it fails, nobody gets it: the thread that is started in its place says why. */
  readonly #forget = (): void => {
    this.#worker = undefined
    this.#loaded.resolve()
  }

  constructor() {
    this.#worker?.once('error', this.#forget).once('exit', this.#forget)
    this.#worker?.once('message', () => this.#loaded.resolve())
  }

  /** Settles when its code is there, or will never be. */
  get loaded(): Promise<void> {
    return this.#loaded.promise
  }

  /** What the settings decide about a slot; must be known before {@link begin}. */
  config: Config | undefined

  begin(code: EngineCode): void {
    const { config } = this
    if (config) this.#post({ kind: 'load', code, config })
  }

  prepare(engine: EngineParts): void {
    const { config } = this
    if (config) this.#post({ kind: 'prepare', engine, config })
  }

  #post(message: ToWorker): void {
    this.#worker?.postMessage(message)
  }

  discard(): void {
    // Nobody is to hear of an error that is on its way.
    void this.take()
      ?.once('error', () => {})
      .terminate()
  }

  /** The thread, the first time; it is the caller's from then on. */
  take(): Worker | undefined {
    const worker = this.#worker
    this.#worker = undefined
    worker?.off('error', this.#forget).off('exit', this.#forget)
    worker?.once('exit', () => this.#loaded.resolve())
    return worker
  }
}
