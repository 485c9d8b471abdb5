/** The end of the process, at any moment, loses nothing that was acknowledged (promise 1). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'
import { runtimes } from './runtimes.ts'

const TENANTS = ['one', 'two', 'three']
const ROUNDS = 2

/** Inserts 1, 2, 3, ... until the Worker is gone; the last one that was acknowledged. */
async function insertUntilGone(
  worker: WorkerUnderTest,
  tenant: string,
  from: number,
): Promise<number> {
  let last = from
  try {
    for (;;) {
      await worker.ask(tenant, 'insert into t values ($1)', last + 1)
      last++
    }
  } catch (error) {
    // No answer at all, and not one that says no.
    assert.ok(error instanceof TypeError, String(error))
    return last
  }
}

test('kill -9 during inserts loses nothing acknowledged and tears nothing', async (context) => {
  if (process.platform !== 'linux') return context.skip('finds the process in /proc')
  using folder = temporaryFolder()
  const open = (): Promise<WorkerUnderTest> =>
    startPgnap({}, { durableObjectsPersist: folder.path })
  const acknowledged = new Map(TENANTS.map((tenant) => [tenant, 0]))
  let worker = await open()
  context.after(() => worker[Symbol.asyncDispose]())
  for (const tenant of TENANTS) await worker.ask(tenant, 'create table t(n int primary key)')
  for (let round = 0; round < ROUNDS; round++) {
    const working = worker
    const inserting = TENANTS.map((tenant) =>
      insertUntilGone(working, tenant, acknowledged.get(tenant) ?? 0),
    )
    // Some turns of somebody else's, whatever they take.
    for (let turn = 0; turn < 30; turn++) await worker.ask('other', 'select $1::int', turn)
    const [id, ...others] = runtimes()
    assert.ok(id !== undefined && others.length === 0, 'one runtime')
    process.kill(id, 'SIGKILL')
    const last = await Promise.all(inserting)
    await worker[Symbol.asyncDispose]()
    worker = await open()
    for (const [index, tenant] of TENANTS.entries()) {
      const before = acknowledged.get(tenant) ?? 0
      const known = last[index] ?? 0
      const found = Number(await worker.ask(tenant, 'select max(n) from t'))
      // That which was on its way may be there.
      assert.ok(found === known || found === known + 1, `${tenant}: ${known} known, ${found} found`)
      assert.equal(await worker.ask(tenant, 'select count(*)::int from t'), found)
      assert.ok(found > before, `${tenant} got on in round ${round}`)
      acknowledged.set(tenant, found)
    }
  }
})
