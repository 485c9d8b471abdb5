/** How the numbers of a run came about, as every report of it says. */

/** Of the cold tenants of a round, so many come first and are not counted. */
export const WARM_UP_SHARE = 0.3

/** Sentences, one each. */
export const METHOD: readonly string[] = [
  'The clock is outside of workerd; inside, a door of the benchmark asks the architecture ' +
    'itself, so that authentication, routing and the JSON of POST /NAME/query are in no number.',
  `Of the cold tenants of each round the first ${WARM_UP_SHARE * 100} % are left out: with them ` +
    'the runtime compiles what all later ones use.',
  '/warm-proxy keeps nothing, so that a cold tenant of it is an empty one, asked for a literal: ' +
    'it is not compared with others by its first and cold times.',
]
