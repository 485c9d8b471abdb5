/**
 * Claim: one slot serves many tenants by turns, and a turn costs what a context switch costs. Two
 * tenants, one slot, a point select by turns: each statement finds the other tenant in the slot, so
 * the server naps that one and wakes its own before it answers. What a swap costs depends on the
 * memory that a tenant has dirtied, not on its database: hence the sizes, and beside each the same
 * statement where nothing is swapped.
 *
 * Measured through the server, from the statement's first byte to its answer, because that is what
 * the other tenant's coming costs a client; what the pool counts of it is noted beside. Tenants
 * have open connections and open stores. A tenant with a client keeps its slot until it has rested
 * for a millisecond (`slotThinkMs`), and while swaps go on it then naps before the next one comes;
 * every statement leaves a few milliseconds after the last answer. By turns without a pause, the
 * rest is waited for.
 *
 * What was loaded was loaded in an earlier life: tenants have dirtied what point selects dirty. The
 * last metric is the opposite: tenants that were loaded and vacuumed a moment ago. Tenants of
 * pgvector search an index of it, so each turn needs code and memory of an extension.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { assert } from '../../src/base/assert.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { DurationFacts, PoolFacts } from '../../src/front/control.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Metric, Observation, Row } from '../harness.ts'
import { type PgnapServer, startPgnap } from '../peers/pgnap.ts'
import { addressOf } from '../peers/server.ts'
import { Connection } from '../wire/connection.ts'
import { prepareProcess, wakeProcess } from './native-process.ts'
import { expectTier } from './tiers.ts'
import {
  accountSql,
  accountStatements,
  hashOfRows,
  nearestSql,
  repeat,
  vectorStatements,
} from './work.ts'

/**
 * Its rest, its nap, and a turn of the timer. Not longer: the more a machine has slept, the longer
 * it takes to wake, which is in both contenders' times and in no swap.
 */
const PAUSE_MS = LIMITS.slotThinkMs + 3

/** Requests in a row that find their tenant awake, when nothing is left of the swaps before. */
const SETTLED_COUNT = 5
const SETTLE_TURNS_MAX = 20

const ONE_SLOT = ['--shards', '1', '--slots', '1']

interface Size {
  readonly metric: string
  readonly words: string
  readonly rowCount: number
  readonly smokeRowCount: number
  /** Its tenants hold what loading their tables has left in memory. */
  readonly justLoaded?: boolean
  /** What its tables hold, and what is asked of them. Default: accounts. */
  readonly work?: Work
}

interface Work {
  readonly setup: (rowCount: number) => readonly string[]
  /** Has one answer for each of the rows. */
  readonly select: (row: number) => string
}

const ACCOUNTS: Work = { setup: accountStatements, select: accountSql }
const VECTORS: Work = { setup: vectorStatements, select: nearestSql }

/** What the claim's limit is about. */
const SMALL = 'swap-1k'

const SIZES: readonly Size[] = [
  { metric: 'swap-0', words: 'empty', rowCount: 0, smokeRowCount: 0 },
  { metric: SMALL, words: '1k-row', rowCount: 1_000, smokeRowCount: 50 },
  { metric: 'swap-100k', words: '100k-row', rowCount: 100_000, smokeRowCount: 50 },
  { metric: 'swap-1m', words: '1M-row', rowCount: 1_000_000, smokeRowCount: 50 },
  {
    metric: 'swap-vectors',
    words: 'pgvector',
    rowCount: 1_000,
    smokeRowCount: 50,
    work: VECTORS,
  },
  {
    metric: 'swap-loaded',
    words: 'just loaded',
    rowCount: 100_000,
    smokeRowCount: 50,
    justLoaded: true,
  },
]

export const swapRow: Row = {
  name: 'swap',
  metrics: SIZES.map(({ metric, words }): Metric => ({
    name: metric,
    title: `one slot by turns, two ${words} tenants`,
    unit: 'ms',
    better: 'lower',
    reference: metric === SMALL ? 'native process' : 'pgnap, no swap',
    goals: metric === SMALL ? [{ kind: 'limit', value: 1.5 }] : [],
  })),
  contenders: (bench) => {
    const pairs = new Pairs(bench)
    return [
      byTurns(bench, pairs, { label: 'pgnap', swaps: true }),
      byTurns(bench, pairs, { label: 'pgnap, no swap', swaps: false }),
      nativeProcess(bench),
    ]
  },
}

interface Pair {
  readonly size: Size
  readonly connections: readonly Connection[]
}

interface Prepared {
  readonly server: PgnapServer
  readonly pairs: readonly Pair[]
}

/** One server for both contenders of pgnap, and two tenants of each size in it. */
class Pairs {
  readonly #bench: Bench
  #ready: Promise<Prepared> | undefined

  constructor(bench: Bench) {
    this.#bench = bench
  }

  get ready(): Promise<Prepared> {
    this.#ready ??= this.#prepare()
    return this.#ready
  }

  async #prepare(): Promise<Prepared> {
    const bench = this.#bench
    const folder = bench.newFolder('swap')
    const start = (): Promise<PgnapServer> => startPgnap(bench.pgnapEntry, folder, ONE_SLOT)
    const earlier = await start()
    try {
      for (const size of SIZES) if (!size.justLoaded) await this.#load(earlier, size)
    } finally {
      await earlier.stop()
    }
    rmSync(join(folder, 'images'), { recursive: true })
    const server = await start()
    bench.keep(() => server.stop())
    const pairs: Pair[] = []
    for (const size of SIZES) {
      if (size.justLoaded) await this.#load(server, size)
      const connections = await repeat(2, (side) =>
        Connection.open(addressOf(server, nameOf(size, side))),
      )
      for (const connection of connections) bench.keep(() => connection[Symbol.asyncDispose]())
      pairs.push({ size, connections })
    }
    return { server, pairs }
  }

  async #load(server: PgnapServer, size: Size): Promise<void> {
    const rowCount = this.#bench.size(size.rowCount, size.smokeRowCount)
    for (const side of [0, 1]) {
      await using connection = await Connection.open(addressOf(server, nameOf(size, side)))
      const { setup } = size.work ?? ACCOUNTS
      for (const sql of setup(rowCount)) await connection.query(sql)
    }
  }
}

const nameOf = (size: Size, side: number): string => `${size.metric}-${side}`

/** The same point selects for everybody. The first ones of a round are not timed. */
interface Turns {
  readonly warmUpCount: number
  readonly statements: readonly string[]
}

function turnsOf(bench: Bench, size: Size): Turns {
  const warmUpCount = bench.size(200, 2)
  const count = warmUpCount + bench.size(200, 4)
  const rowCount = Math.max(1, bench.size(size.rowCount, size.smokeRowCount))
  const random = new SeededRandom(1)
  const { select } = size.work ?? ACCOUNTS
  const statements = Array.from({ length: count }, () => select(1 + random.below(rowCount)))
  return { warmUpCount, statements }
}

function byTurns(
  bench: Bench,
  pairs: Pairs,
  { label, swaps }: { readonly label: string; readonly swaps: boolean },
): Contender {
  const measure = async (pair: Pair, turns: Turns): Promise<Observation> => {
    const answers: (string | null)[][] = []
    const values = await repeat(turns.statements.length, async (turn) => {
      const connection = pair.connections[swaps ? turn % 2 : 0]
      assert(connection !== undefined, 'a pair has two sides')
      await delay(PAUSE_MS)
      const startMs = performance.now()
      const rows = await connection.query(turns.statements[turn] ?? '')
      const elapsedMs = performance.now() - startMs
      answers.push(...rows)
      return elapsedMs
    })
    return { values: values.slice(turns.warmUpCount), work: hashOfRows(answers) }
  }
  return {
    peer: 'pgnap',
    label,
    prepare: async () => void (await pairs.ready),
    round: async (index) => {
      const { server, pairs: all } = await pairs.ready
      const observations: Record<string, Observation> = {}
      for (const pair of all) {
        const turns = turnsOf(bench, pair.size)
        // So that already the first turn finds what all others find.
        for (const connection of pair.connections) await connection.query(turns.statements[0] ?? '')
        if (!swaps) {
          await settle(server, pair)
        }
        const before = await server.pool()
        const expected = {
          tier: swaps ? 'napping' : 'awake',
          count: turns.statements.length,
        } as const
        const run = (): Promise<Observation> => measure(pair, turns)
        observations[pair.size.metric] = await expectTier(server, expected, run)
        if (!swaps || index + 1 < bench.roundCount) continue
        bench.note(`${pair.size.metric}, last round: ${meansOf(before, await server.pool())}`)
      }
      return observations
    },
  }
}

/**
 * Asks until a tenant stays in the slot: after a swap it naps once ahead of others that do not
 * come, and how soon a busy machine lets it is not known.
 */
async function settle(server: PgnapServer, pair: Pair): Promise<void> {
  const { select } = pair.size.work ?? ACCOUNTS
  for (let turn = 0; turn < SETTLE_TURNS_MAX; turn++) {
    const before = (await server.pool()).found.awake
    for (let asked = 0; asked < SETTLED_COUNT; asked++) {
      await pair.connections[0]?.query(select(1))
      await delay(PAUSE_MS)
    }
    if ((await server.pool()).found.awake - before === SETTLED_COUNT) return
  }
  throw new Error('a tenant without neighbours naps again and again')
}

/** What the pool itself counts of a swap. */
function meansOf(before: PoolFacts, after: PoolFacts): string {
  const mean = (pick: (facts: PoolFacts) => DurationFacts): string => {
    const count = pick(after).count - pick(before).count
    return `${((pick(after).totalMs - pick(before).totalMs) / count).toFixed(2)} ms`
  }
  const nap = mean(({ leave }) => leave)
  return `nap ${nap}, wake ${mean(({ wakes }) => wakes.napping)} on average`
}

/** Its swap is a process that ends and another one that starts. */
function nativeProcess(bench: Bench): Contender {
  const folder = bench.newPath('swap-process')
  const size = SIZES.find(({ metric }) => metric === SMALL)
  assert(size !== undefined, 'the small size is one of all')
  const { statements } = turnsOf(bench, size)
  let work = 0
  return {
    peer: 'native',
    label: 'native process',
    prepare: async () => {
      const load = accountStatements(bench.size(size.rowCount, size.smokeRowCount))
      work = hashOfRows(await prepareProcess(bench, folder, [...load, statements.join('; ')]))
    },
    round: async () => {
      const turns = await repeat(bench.size(4, 1), () =>
        wakeProcess(bench, folder, statements[0] ?? ''),
      )
      return { [SMALL]: { values: turns.map((turn) => turn.elapsedMs + turn.sleepMs), work } }
    },
  }
}
