/**
 * Scenario 1 of seed 000, section 3.2: everything ends in the middle of everything, computes and
 * homes alike. What was acknowledged is there; of what was on its way, all or nothing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { LIMITS } from '../../src/base/limits.ts'
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

interface AheadAnswer {
  readonly mayLose: { readonly commits: number }
  readonly lost: { readonly commits: number }
}

test('async: kill -9 loses at most what the last answer said', async (context) => {
  if (process.platform !== 'linux') return context.skip('finds the process in /proc')
  using folder = temporaryFolder()
  const open = (): Promise<ArchitecturesUnderTest> =>
    startArchitecturesForTest({}, { durableObjectsPersist: folder.path } as object)
  for (const architecture of ['thin', 'ws']) {
    const way: Way = { architecture, query: '?write=async', tenant: 'ahead', last: 0 }
    const first = await open()
    let said: AheadAnswer | undefined
    try {
      await ask(first, { ...way, query: '' }, 'create table t(n int)')
      // Until somebody has flushed, and to the middle of what comes then.
      const endMs = performance.now() + LIMITS.flushMs * 1.6
      while (performance.now() < endMs || (said?.mayLose.commits ?? 0) >= way.last) {
        const sql = `insert into t values (${way.last + 1})`
        const answer = await first.post(`/${architecture}/query?write=async`, 'ahead', { sql })
        assert.equal(answer.status, 200)
        said = (await answer.json()) as unknown as AheadAnswer
        assert.equal(said.lost.commits, 0)
        way.last++
        await sleep(10)
      }
      const [id, ...others] = runtimes()
      assert.ok(id !== undefined && others.length === 0, 'one runtime')
      process.kill(id, 'SIGKILL')
    } finally {
      await first[Symbol.asyncDispose]()
    }
    const second = await open()
    try {
      const found = Number(await ask(second, way, 'select count(*)::int from t'))
      const mayLose = said?.mayLose.commits ?? 0
      const lost = way.last - found
      assert.ok(mayLose > 0 && found > 0, `${mayLose} might be lost, ${found} are there`)
      assert.ok(lost >= 0 && lost <= mayLose, `${lost} are lost, of ${mayLose} that might be`)
      // In order: what is there is what came first.
      assert.equal(await ask(second, way, 'select max(n) from t'), found)
    } finally {
      await second[Symbol.asyncDispose]()
    }
  }
})

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
