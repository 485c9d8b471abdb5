/**
 * The states of code that is fetched and compiled when it is first needed, while somebody else
 * answers (seed 002). Pure: `(state, event) -> state`, a total table. Whoever owns the state
 * carries out what its name says and reports how that ended (`lazy-wasm.ts`).
 *
 *   not_started --start--> loading_from_cache --missed--> loading_from_r2
 *                                 |                             |
 *                                 +----------done---------------+--done--> compiling
 *   compiling --done--> initializing --done--> ready
 *   loading_from_cache, loading_from_r2, compiling, initializing --failed--> failed
 *   failed --force--> loading_from_cache        (a request alone does not try again)
 *
 * On Workers the platform compiles no code at run time, so that `compiling` always ends in `failed`
 * and requests are delegated for ever.
 */

export type LazyState =
  | 'not_started'
  | 'loading_from_cache'
  | 'loading_from_r2'
  | 'compiling'
  | 'initializing'
  | 'ready'
  | 'failed'

/**
 * `start`: a request has come. `force`: somebody wants it loaded, whatever has happened. `done`,
 * `missed`, `failed`: how the work of the state has ended; `missed` says that the cache is empty.
 */
export type LazyEvent = 'start' | 'force' | 'done' | 'missed' | 'failed'

/** What comes of each event in each state; undefined: it cannot happen there. */
export const LAZY_TRANSITIONS: Readonly<
  Record<LazyState, Readonly<Record<LazyEvent, LazyState | undefined>>>
> = {
  not_started: {
    start: 'loading_from_cache',
    force: 'loading_from_cache',
    done: undefined,
    missed: undefined,
    failed: undefined,
  },
  loading_from_cache: {
    start: 'loading_from_cache',
    force: 'loading_from_cache',
    done: 'compiling',
    missed: 'loading_from_r2',
    failed: 'failed',
  },
  loading_from_r2: {
    start: 'loading_from_r2',
    force: 'loading_from_r2',
    done: 'compiling',
    missed: undefined,
    failed: 'failed',
  },
  compiling: {
    start: 'compiling',
    force: 'compiling',
    done: 'initializing',
    missed: undefined,
    failed: 'failed',
  },
  initializing: {
    start: 'initializing',
    force: 'initializing',
    done: 'ready',
    missed: undefined,
    failed: 'failed',
  },
  ready: { start: 'ready', force: 'ready', done: undefined, missed: undefined, failed: undefined },
  failed: {
    start: 'failed',
    force: 'loading_from_cache',
    done: undefined,
    missed: undefined,
    failed: undefined,
  },
}

export type WorkingState = 'loading_from_cache' | 'loading_from_r2' | 'compiling' | 'initializing'

/** Whether something is under way in a state, which ends by an event of its own. */
export function isWorking(state: LazyState): state is WorkingState {
  return LAZY_TRANSITIONS[state].done !== undefined
}
