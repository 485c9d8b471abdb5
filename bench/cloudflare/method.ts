/** How the numbers of a run came about, as every report of it says. */

/**
 * Cold tenants of a round that come first and are not counted: V8 compiles Postgres a second time
 * while the first thirty are served.
 */
export const WARM_UP_TENANTS = 30
/** Fewer where to make one takes so long that this is not enough for all, in ms. */
export const WARM_UP_MS = 10_000
/** Of who keeps all of them in memory. */
export const WARM_UP_TENANTS_HELD = 4

/** Sentences, one each. */
export const METHOD: readonly string[] = [
  'The clock is outside of workerd; inside, a door of the benchmark asks the architecture ' +
    'itself, so that authentication, routing and the JSON of POST /NAME/query are in no number.',
  `Before the cold tenants of each round come up to ${WARM_UP_TENANTS} others (as many as can ` +
    `be made in ${WARM_UP_MS / 1000} s) that are not counted: with them the runtime compiles ` +
    'what all later ones use.',
  '/warm-proxy keeps nothing, so that a cold tenant of it is an empty one, asked for a literal: ' +
    'it is not compared with others by its first and cold times.',
]
