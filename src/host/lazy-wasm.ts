/**
 * Loads code while others answer: carries out the states of `lazy-wasm-state.ts`, one after the
 * other, and keeps how long each took and what went wrong. What the work is, is the host's: where
 * the cache and the bucket are, what is compiled, and what a running instance is.
 *
 * It must never keep a request waiting that did not ask for that: `start` returns at once.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { type PhaseTime, Phases } from '../base/phases.ts'
import {
  isWorking,
  LAZY_TRANSITIONS,
  type LazyEvent,
  type LazyState,
  type WorkingState,
} from './lazy-wasm-state.ts'

export interface LazyWasmOptions<Instance> {
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** Undefined if it is not there. A cache that rejects is one that misses. */
  readonly fromCache: () => Promise<Uint8Array<ArrayBuffer> | undefined>
  /** Rejects if it is not there: then it is nowhere. */
  readonly fromBucket: () => Promise<Uint8Array<ArrayBuffer>>
  /** Not waited for; a cache that refuses is a cache that misses. */
  readonly toCache: (code: Uint8Array<ArrayBuffer>) => Promise<void>
  readonly compile: (code: Uint8Array<ArrayBuffer>) => Promise<WebAssembly.Module>
  readonly initialize: (module: WebAssembly.Module) => Promise<Instance>
}

export interface LazyFacts {
  readonly state: LazyState
  /** What it has failed with, as it was said; undefined otherwise. */
  readonly failure: string | undefined
  /** Of the last attempt, so far. */
  readonly phases: readonly PhaseTime[]
  /** Where the code came from; undefined while nobody knows. */
  readonly source: 'cache' | 'bucket' | undefined
  readonly codeBytes: number
  /** Attempts since the start. */
  readonly attempts: number
}

export class LazyWasm<Instance> {
  readonly #options: LazyWasmOptions<Instance>
  #state: LazyState = 'not_started'
  #failure: string | undefined
  #phases: Phases
  #source: LazyFacts['source']
  #code: Uint8Array<ArrayBuffer> | undefined
  #codeBytes = 0
  #module: WebAssembly.Module | undefined
  #instance: Instance | undefined
  #attempts = 0
  #loading: Promise<void> | undefined

  constructor(options: LazyWasmOptions<Instance>) {
    this.#options = options
    this.#phases = new Phases(options.clock)
  }

  /** To be used if there is one; otherwise somebody else answers. */
  get instance(): Instance | undefined {
    return this.#instance
  }

  facts(): LazyFacts {
    return {
      state: this.#state,
      failure: this.#failure,
      phases: this.#phases.times(),
      source: this.#source,
      codeBytes: this.#codeBytes,
      attempts: this.#attempts,
    }
  }

  /**
   * A request has come: loading begins if it never has. What it returns is kept when nothing is
   * under way any more, for a host that has to be told that there is; it does not reject.
   */
  start(): Promise<void> {
    return this.#begin('start')
  }

  /** Loads it even if that has failed before, and waits until it is ready or has failed again. */
  force(): Promise<void> {
    return this.#begin('force')
  }

  #begin(event: 'start' | 'force'): Promise<void> {
    const wasWorking = isWorking(this.#state)
    this.#step(event)
    if (isWorking(this.#state) && !wasWorking) {
      this.#attempts++
      this.#phases = new Phases(this.#options.clock)
      this.#loading = this.#load()
    }
    return this.#loading ?? Promise.resolve()
  }

  async #load(): Promise<void> {
    while (isWorking(this.#state)) {
      const state: WorkingState = this.#state
      this.#step(await this.#phases.measure(state, () => this.#work(state)))
    }
    this.#code = undefined
    this.#module = undefined
  }

  async #work(state: WorkingState): Promise<LazyEvent> {
    try {
      return await this.#carryOut(state)
    } catch (error) {
      this.#failure = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
      return 'failed'
    }
  }

  async #carryOut(state: WorkingState): Promise<LazyEvent> {
    const { fromCache, fromBucket, toCache, compile, initialize } = this.#options
    switch (state) {
      case 'loading_from_cache':
        this.#failure = undefined
        return this.#take('cache', await fromCache().catch(() => undefined)) ? 'done' : 'missed'
      case 'loading_from_r2': {
        const code = await fromBucket()
        this.#take('bucket', code)
        toCache(code).catch(() => {})
        return 'done'
      }
      case 'compiling':
        assert(this.#code, 'code is there before it is compiled')
        this.#module = await compile(this.#code)
        return 'done'
      case 'initializing':
        assert(this.#module, 'code is compiled before it runs')
        this.#instance = await initialize(this.#module)
        return 'done'
    }
  }

  #take(source: LazyFacts['source'], code: Uint8Array<ArrayBuffer> | undefined): boolean {
    if (!code) return false
    this.#source = source
    this.#code = code
    this.#codeBytes = code.length
    return true
  }

  #step(event: LazyEvent): void {
    const next = LAZY_TRANSITIONS[this.#state][event]
    assert(next, `${event} cannot happen in ${this.#state}`)
    this.#state = next
  }
}
