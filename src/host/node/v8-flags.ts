/**
 * How V8 is set up for this program. Flags belong to the process: a library leaves them alone, but
 * for the one that says how PGlite's module is compiled.
 *
 * They are part of what V8 compares before it takes parsed code from its cache, so the command sets
 * them before anything is loaded, whatever its verb.
 */
import { setFlagsFromString } from 'node:v8'

/**
 * Each function of a module is validated when it is first compiled, and few of them ever are: 9 MB
 * are known by their hash, and checking them all at each start takes 30 ms of processor time.
 */
export function validateLazily(): void {
  setFlagsFromString('--wasm-lazy-validation')
}

/**
 * A start makes little garbage and much memory that is no garbage: slots, assets, PGlite's files.
 * V8 takes that for a reason to collect, in each thread again and again until the first row: a
 * fifth of the processor time of a start. {@link endStart} takes this back.
 */
export function setStartFlags(): void {
  validateLazily()
  setFlagsFromString('--external-memory-accounted-in-global-limit')
  // Of threads to come: 1 MB, where each begins, is full every few milliseconds.
  setFlagsFromString('--min-semi-space-size=8')
}

/** From here on memory outside of V8's heap makes it collect, so that images are let go of soon. */
export function endStart(): void {
  setFlagsFromString('--no-external-memory-accounted-in-global-limit')
}
