/**
 * Which architecture to choose when, read off the numbers of one run. A need names who can serve it
 * and what counts for it; whoever has the lowest number is chosen, together with all that are as
 * good within what a median of a few rounds tells apart.
 */
import type { ArchitectureResult } from './results.ts'

export interface Choice {
  readonly need: string
  /** Names, the best first; those within `AS_GOOD` of it are there too. */
  readonly chosen: readonly string[]
  /** What was looked at, for each of them. */
  readonly figures: readonly string[]
}

/** Closer than this is no difference: the larger of a share and an absolute. */
const AS_GOOD = { share: 0.15, ms: 0.1 }

/** They hold no data past their runtime, or no Postgres. */
const NOT_DURABLE: ReadonlySet<string> = new Set(['warm-proxy'])
const NOT_POSTGRES: ReadonlySet<string> = new Set(['sqlite'])
/** They cost an isolate a whole slot for each tenant that is in memory. */
const SLOT_PER_TENANT: ReadonlySet<string> = new Set(['traditional', 'consumer', 'hybrid'])
/** To look at, not to build on: they are others with something beside. */
const EXPERIMENTS: ReadonlySet<string> = new Set(['consumer', 'lazy-wasm'])

interface Need {
  readonly need: string
  readonly serves: (name: string) => boolean
  /** Milliseconds, or another number that is better if it is lower. */
  readonly value: (result: ArchitectureResult) => number
  readonly unit: (value: number) => string
}

const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`
const megabytes = (value: number): string => `${(value / 1e6).toFixed(2)} MB`
const isPostgres = (name: string): boolean =>
  !NOT_DURABLE.has(name) && !NOT_POSTGRES.has(name) && !EXPERIMENTS.has(name)

const NEEDS: readonly Need[] = [
  {
    need: 'many tenants of Postgres, most of them cold, each asked now and then',
    serves: (name) => isPostgres(name) && !SLOT_PER_TENANT.has(name),
    value: ({ times }) => times.cold.median,
    unit: milliseconds,
  },
  {
    need: 'the first request after a deployment, or in a new place',
    serves: isPostgres,
    value: ({ times }) => times.first.median,
    unit: milliseconds,
  },
  {
    need: 'one busy tenant of Postgres that reads',
    serves: isPostgres,
    value: ({ times }) => times.warm.median,
    unit: milliseconds,
  },
  {
    need: 'one busy tenant of Postgres that writes',
    serves: isPostgres,
    value: ({ times }) => times.write.median,
    unit: milliseconds,
  },
  {
    need: 'several busy tenants by turns',
    serves: isPostgres,
    value: ({ times }) => times.turns.median,
    unit: milliseconds,
  },
  {
    need: 'the least memory per tenant that is in use',
    // The others have no more than two of them in memory, however many are in use.
    serves: (name) => isPostgres(name) && !SLOT_PER_TENANT.has(name),
    value: ({ memory }) => Math.max(0, memory.further),
    unit: megabytes,
  },
  {
    need: 'the smallest Worker for the tenants themselves',
    serves: (name) => !NOT_DURABLE.has(name) && !EXPERIMENTS.has(name),
    value: ({ bundle }) => bundle.ownBytes,
    unit: megabytes,
  },
  {
    need: 'Postgres that may forget everything, by its warm select: previews, calculations, tests',
    // By cold times /warm-proxy would be compared with others that load something (`method.ts`).
    serves: (name) => !NOT_POSTGRES.has(name) && !EXPERIMENTS.has(name),
    value: ({ times }) => times.warm.median,
    unit: milliseconds,
  },
]

/** The choices as rows of a table: what is needed, what to choose, what was measured. */
export function choiceRows(
  results: readonly ArchitectureResult[],
  show: (architecture: string) => string,
): string[][] {
  return choices(results).map(({ need, chosen, figures }) => [
    need,
    chosen.map(show).join(', '),
    figures.join(', '),
  ])
}

export function choices(results: readonly ArchitectureResult[]): Choice[] {
  return NEEDS.flatMap(({ need, serves, value, unit }) => {
    const able = results
      .filter(({ name }) => serves(name))
      .map((result) => ({ name: result.name, value: value(result) }))
      .toSorted((a, b) => a.value - b.value)
    const best = able[0]
    if (!best) return []
    const limit = best.value + Math.max(best.value * AS_GOOD.share, AS_GOOD.ms)
    const chosen = able.filter((each) => each.value <= limit)
    return [
      {
        need,
        chosen: chosen.map(({ name }) => name),
        figures: chosen.map((each) => unit(each.value)),
      },
    ]
  })
}

/** How many times as fast as the first architecture the second one is, by a time. */
export function times(
  results: readonly ArchitectureResult[],
  slower: string,
  faster: string,
  pick: (result: ArchitectureResult) => number,
): number | undefined {
  const of = (name: string): ArchitectureResult | undefined =>
    results.find((result) => result.name === name)
  const [a, b] = [of(slower), of(faster)]
  if (!a || !b || pick(b) <= 0) return undefined
  return pick(a) / pick(b)
}
