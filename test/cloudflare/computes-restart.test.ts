/**
 * Scenario 1 of seed 000, section 3.2: everything ends in the middle of everything, computes and
 * homes alike. What was acknowledged is there; of what was on its way, all or nothing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type ArchitecturesUnderTest, startArchitecturesForTest } from './architectures-worker.ts'
import { runtimes } from './runtimes.ts'

/** Where tenants are asked: each has one of its own. */
const WAYS: readonly (readonly [architecture: string, query: string])[] = [
  ['thin', '?load=image&write=sync'],
  ['thin', '?load=delta&write=cdc'],
  ['hybrid', ''],
  ['factory', ''],
  ['ws', ''],
]
const ROUNDS = 2
const STATEMENTS_BEFORE_THE_END = 40

interface Way {
  readonly architecture: string
  readonly query: string
  readonly tenant: string
  /** The last insert that was acknowledged. */
  last: number
}

async function ask(
  worker: ArchitecturesUnderTest,
  { architecture, query, tenant }: Way,
  sql: string,
): Promise<unknown> {
  const answer = await worker.post(`/${architecture}/query${query}`, tenant, { sql })
  const body = (await answer.json()) as { rows?: Record<string, unknown>[] }
  assert.ok(answer.ok, `${tenant}: ${JSON.stringify(body)}`)
  return Object.values(body.rows?.[0] ?? {})[0]
}

/** Inserts the next numbers until there is no answer. Two rows each, in one transaction. */
async function insertUntilGone(
  worker: ArchitecturesUnderTest,
  way: Way,
  acknowledged: () => void,
): Promise<void> {
  try {
    for (;;) {
      await ask(worker, way, `insert into t select ${way.last + 1} from generate_series(1, 2)`)
      way.last++
      acknowledged()
    }
  } catch (error) {
    // No answer at all, and not one that says no.
    assert.ok(error instanceof TypeError, String(error))
  }
}

test('scenario 1: kill -9 loses nothing acknowledged, wherever Postgres is', async (context) => {
  if (process.platform !== 'linux') return context.skip('finds the process in /proc')
  using folder = temporaryFolder()
  const open = (): Promise<ArchitecturesUnderTest> =>
    startArchitecturesForTest({}, { durableObjectsPersist: folder.path } as object)
  const ways = WAYS.map(([architecture, query], index): Way => ({
    architecture,
    query,
    tenant: `way-${index}`,
    last: 0,
  }))
  let worker = await open()
  context.after(() => worker[Symbol.asyncDispose]())
  for (const way of ways) await ask(worker, way, 'create table t(n int)')
  for (let round = 0; round < ROUNDS; round++) {
    const working = worker
    const enough = Promise.withResolvers<void>()
    let left = STATEMENTS_BEFORE_THE_END
    const acknowledged = (): void => {
      left--
      if (left === 0) enough.resolve()
    }
    const before = ways.map(({ last }) => last)
    const inserting = ways.map((way) => insertUntilGone(working, way, acknowledged))
    await enough.promise
    const [id, ...others] = runtimes()
    assert.ok(id !== undefined && others.length === 0, 'one runtime')
    process.kill(id, 'SIGKILL')
    await Promise.all(inserting)
    await worker[Symbol.asyncDispose]()
    worker = await open()
    for (const [index, way] of ways.entries()) {
      const found = Number(await ask(worker, way, 'select max(n) from t'))
      const { last, tenant } = way
      // That which was on its way may be there.
      assert.ok(found === last || found === last + 1, `${tenant}: ${last} known, ${found} found`)
      assert.equal(await ask(worker, way, 'select count(*)::int from t'), 2 * found)
      assert.ok(found > (before[index] ?? 0), `${tenant} got on in round ${round}`)
      way.last = found
    }
  }
})
