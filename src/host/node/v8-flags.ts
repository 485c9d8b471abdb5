/**
 * How V8 is set up for this program. Flags belong to the process: a library leaves them alone, but
 * for the moment in which PGlite's module is compiled.
 *
 * Most of them are part of what V8 compares before it takes parsed code from a cache, also that of
 * Node's own modules: while one of them is not what it was, whatever is loaded in any thread is
 * compiled from its source. Forty milliseconds of each thread's start, so they are changed when
 * what the first row needs has been loaded, and changed back before the rest is. Only a shard that
 * somebody else wants in that moment starts slowly.
 */
import { setFlagsFromString } from 'node:v8'

/**
 * Runs `compile` so that each function of a module is validated when it is first compiled. Few of
 * them ever are, and checking 9 MB takes 55 ms of processor time. If one is called later that turns
 * out to be invalid, V8 ends the process: nothing may be called before a hash has proven it all.
 */
export function validatingLazily<Result>(compile: () => Result): Result {
  setFlagsFromString('--wasm-lazy-validation')
  try {
    return compile()
  } finally {
    setFlagsFromString('--no-wasm-lazy-validation')
  }
}

/**
 * For threads to come. A young generation begins with 1 MB, which is full every few milliseconds,
 * and grows to three times 16 MB in each thread; three times 8 cost a percent of a thread's time.
 * Caches of code do not depend on these two.
 */
export function makeRoom(): void {
  setFlagsFromString('--min-semi-space-size=8')
  setFlagsFromString('--max-semi-space-size=8')
}

/**
 * For the time to the first row, once everything is loaded that it needs. A start makes little
 * garbage and much memory that is no garbage: slots, assets, PGlite's files. V8 takes that for a
 * reason to collect, in each thread again and again.
 */
export function favourFirstRow(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit')
}

/** From here on memory outside of V8's heap makes it collect, so that images are let go of soon. */
export function favourNobody(): void {
  setFlagsFromString('--no-external-memory-accounted-in-global-limit')
}

/**
 * For a server that runs: what is not young may become a third larger than what is alive in it
 * before it is collected; V8's own choice is up to four times as large, in each thread. And the
 * young generation of the main thread, which was there before {@link makeRoom}, grows no more.
 */
export function beThrifty(): void {
  setFlagsFromString('--heap-growing-percent=30')
  setFlagsFromString('--semi-space-growth-factor=1')
}
